"""Kills commands at random moments, changes their inputs in a third of the cases, and runs them again.

After the second run the outputs must be byte for byte those of an undisturbed run over the same inputs, or the command
must say in one sentence what is wrong, or which further files of the first run stay. Each command runs in a child of
this process, which has the libraries loaded already, so that most kills hit the work and not the start.

    python benchmarks/reliability/kills.py --moments 200 --out benchmarks/results/reliability/kills.json
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch  # loaded once for all children
from PIL import Image

import htr_ssl.training.engine  # noqa: F401
from htr_ssl.cli import main as command_line
from htr_ssl.data import synthetic
from htr_ssl.environment import hardware
from htr_ssl.files import write_json
from htr_ssl.handwriting.page import page

_TRAIN = ["train.steps=9", "train.batch_size=4", "train.check_every=3", "train.threads=1", "data.height=32"]
_DATA = ["run.yaml", "data.source=lines", "data.level=word", *_TRAIN]
_ROWS = (  # the rows of the recipe train for minutes
    "{supervised: [], simclr: [{method: {name: simclr}, train: {steps: 9, batch_size: 4, check_every: 3, threads: 1}}]}"
)
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    # arguments, and the outputs that are compared
    "import": (["data", "import", "auto", "lines", "out.parquet"], ["out.parquet"]),
    "pretrain": (["pretrain", *_DATA, "-o", "run", "-q"], ["run/encoder.safetensors"]),
    "finetune": (["finetune", *_DATA, "-o", "run", "-q"], ["run/model.safetensors", "run/subset.txt"]),
    "joint": (
        ["finetune", *_DATA, "joint.method.name=simclr", "joint.batch_size=4", "-o", "run", "-q"],
        ["run/model.safetensors", "run/subset.txt"],
    ),
    "probe": (["finetune", *_DATA, "probe=linear", "-o", "run", "-q"], ["run/model.safetensors", "run/subset.txt"]),
    "table": (
        ["table", *_DATA, f"rows={_ROWS}", "fractions=[1.0]", "seeds=[0]", "-o", "run", "-q"],
        ["run/**/predictions.csv"],
    ),
    "export": (["export", "model.safetensors", "out.onnx"], ["out.onnx"]),
    "transcribe": (
        ["transcribe", "model.safetensors", "pages", "--out", "text", "--format", "txt,json,alto"],
        ["text/[0-9]*.txt", "text/[0-9]*.json", "text/[0-9]*.xml"],
    ),
    "evaluate": (
        ["evaluate", "model.safetensors", "lines", "--split", "all", "-o", "score"],
        ["score/predictions.csv"],
    ),
}
_TRACES = re.compile(r"Traceback|Error:.*\n.*Error:|core dumped")
LIMIT = 300.0
"""Longest run of a command [s]."""


def inputs(folder: Path) -> None:
    """Words with their texts, and pages."""
    words = synthetic.samples(synthetic.Config(samples=32, hands=8, height=32, characters=(3, 6)), "word", 0)
    (folder / "lines").mkdir(parents=True)
    for number in range(len(words)):
        Image.fromarray(words.image(number)).save(folder / f"lines/{number:02d}.png")
        (folder / f"lines/{number:02d}.gt.txt").write_text(str(words.cell("text", number)) + "\n", encoding="utf-8")
    (folder / "run.yaml").write_text("name: run\n")
    (folder / "pages").mkdir()
    for number in range(3):
        Image.fromarray(page(number, lines=3, width=500)[0]).save(folder / f"pages/{number}.png")


def change(folder: Path, random: np.random.Generator) -> str:
    """Changes the inputs in one of several ways; says which."""
    kind = str(random.choice(["label", "image", "removed", "added", "new characters"]))
    if kind == "label":
        (folder / "lines/05.gt.txt").write_text("tous\n", encoding="utf-8")
    elif kind == "new characters":
        (folder / "lines/07.gt.txt").write_text("§¤¶\n", encoding="utf-8")
    elif kind == "image":
        for name in ("lines/06.png", "pages/1.png"):
            image = np.asarray(Image.open(folder / name))
            Image.fromarray(np.ascontiguousarray(image[::-1])).save(folder / name)
    elif kind == "removed":
        for name in ("lines/08.png", "lines/08.gt.txt", "pages/2.png"):
            (folder / name).unlink()
    else:
        shutil.copy(folder / "lines/01.png", folder / "lines/99.png")
        (folder / "lines/99.gt.txt").write_text("encore\n", encoding="utf-8")
        shutil.copy(folder / "pages/0.png", folder / "pages/9.png")
    return kind


class Child:
    """A command in a process of its own, in a folder."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.log = folder / "log.txt"
        self.begun = time.monotonic()
        self.number = os.fork()
        if self.number:
            return
        code = 70
        try:
            os.setpgid(0, 0)
            os.chdir(folder)
            handle = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            sys.argv = ["htr-ssl", *arguments]
            try:
                command_line()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(bool(end.code))
            except BaseException:
                import traceback

                traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def wait(self, seconds: float) -> int | None:
        """Exit status, or None after so many seconds."""
        while True:
            number, status = os.waitpid(self.number, os.WNOHANG)
            if number:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() - self.begun > seconds:
                return None
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL to the command and its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.number, signal.SIGKILL)
        os.waitpid(self.number, 0)


def outputs(folder: Path, patterns: list[str]) -> dict[str, str]:
    """Hash of each output by its name."""
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern) if not path.name.startswith("."))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


@contextlib.contextmanager
def fresh(base: Path, place: Path) -> Iterator[Path]:
    """A copy of the inputs, always at the same path, for outputs may name it."""
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(base, place)
    yield place
    shutil.rmtree(place, ignore_errors=True)


def sentence(log: str) -> bool:
    """Whether the log is an answer to a person: some words, no traceback."""
    return bool(log.strip()) and not _TRACES.search(log)


class Trials:
    """Undisturbed runs, worked out once, and disturbed ones."""

    def __init__(self, base: Path, place: Path) -> None:
        self.base, self.place = base, place
        self.whole: dict[tuple[str, str], tuple[int, dict[str, str], float]] = {}

    def undisturbed(self, name: str, changed: str, seed: int) -> tuple[int, dict[str, str], float]:
        """Exit status, outputs and seconds of a run without a kill over the inputs, changed or not."""
        if (name, changed) not in self.whole:
            arguments, patterns = COMMANDS[name]
            with fresh(self.base, self.place) as folder:
                if changed:
                    change(folder, np.random.default_rng(seed))
                child = Child(folder, arguments)
                status = child.wait(LIMIT)
                if status is None:
                    child.kill()
                    raise RuntimeError(f"{name}: it ran longer than {LIMIT:g} s")
                seconds = time.monotonic() - child.begun
                found = outputs(folder, patterns)
                if not changed and (status or not found):
                    raise RuntimeError(f"{name} does not run undisturbed: {child.log.read_text()[-2000:]}")
            self.whole[name, changed] = status, found, seconds
        return self.whole[name, changed]

    def disturbed(self, name: str, number: int) -> dict[str, Any]:
        """One kill (or two) at a random moment, then the command again."""
        random = np.random.default_rng((number, *name.encode()))
        arguments, patterns = COMMANDS[name]
        seconds = self.undisturbed(name, "", 0)[2]
        with_change = number % 3 == 2
        seed = int(random.integers(1 << 30))
        kind = change_kind(seed) if with_change else ""
        status, wanted, _ = self.undisturbed(name, kind, seed)
        moments = []
        with fresh(self.base, self.place) as folder:
            for _ in range(int(random.integers(1, 3))):
                moment = float(random.uniform(0.02, 1.0) * seconds)
                child = Child(folder, arguments)
                if child.wait(moment) is None:
                    child.kill()
                moments.append(round(moment, 2))
            if with_change:
                change(folder, np.random.default_rng(seed))
            child = Child(folder, arguments)
            code = child.wait(LIMIT)
            if code is None:
                child.kill()
            log, found = child.log.read_text(errors="replace"), outputs(folder, patterns)
        same = code == status and found == wanted
        said = code not in (0, None) and sentence(log)
        further = set(found) - set(wanted)  # of inputs that are gone
        named = all(name.partition(".")[0] in log for name in further)
        said = said or (with_change and code == status and found == {**found, **wanted} and bool(further) and named)
        verdict = "same bytes" if same else "one sentence" if said and (with_change or code == 2) else "wrong"
        result = {"command": name, "number": number, "changed": kind, "moments": moments, "verdict": verdict}
        places_cut = log.replace(f"{self.place.resolve()}/", "").replace(f"{self.place}/", "")
        return result if verdict == "same bytes" else {**result, "code": code, "log": places_cut[-600:]}


def change_kind(seed: int) -> str:
    """The change that a seed stands for."""
    return str(np.random.default_rng(seed).choice(["label", "image", "removed", "added", "new characters"]))


def run(names: list[str], moments: int, work: Path, out: Path | None, first: int = 0) -> list[dict[str, Any]]:
    """Disturbs the commands in turn; returns a row for each time."""
    torch.set_num_threads(1)
    base = work / "inputs"
    if not base.exists():
        inputs(base)
    if set(names) & {"export", "transcribe", "evaluate"} and not (base / "model.safetensors").exists():
        child = Child(base, ["finetune", *_DATA, "-o", "model", "-q"])
        if child.wait(LIMIT):
            raise RuntimeError(child.log.read_text()[-2000:])
        shutil.move(base / "model/model.safetensors", base / "model.safetensors")
        shutil.rmtree(base / "model")
    trials = Trials(base, work / "place")
    rows: list[dict[str, Any]] = []
    for number in range(first, first + moments):
        rows.append(trials.disturbed(names[number % len(names)], number // len(names)))
        if rows[-1]["verdict"] == "wrong":
            print(rows[-1], flush=True)
        if out is not None:
            counts = {name: Counter(row["verdict"] for row in rows if row["command"] == name) for name in names}
            kills = sum(len(row["moments"]) for row in rows)
            odd = [row for row in rows if row["verdict"] != "same bytes"]
            write_json(
                out,
                {"moments": len(rows), "kills": kills, "changed": sum(bool(row["changed"]) for row in rows)}
                | {"verdicts": counts, "not the same bytes": odd, "hardware": hardware("cpu")},
            )
    return rows


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=200)
    parser.add_argument("--commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--work", type=Path, default=None, help="folder to work in [default: a temporary one]")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    work = arguments.work or Path(tempfile.mkdtemp())
    rows = run(arguments.commands, arguments.moments, work, arguments.out)
    print(Counter(row["verdict"] for row in rows))
    if arguments.work is None:
        shutil.rmtree(work)
    sys.exit(any(row["verdict"] == "wrong" for row in rows))


if __name__ == "__main__":
    main()
