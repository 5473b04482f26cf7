"""Speed and memory beside kraken and PyLaia: python benchmarks/speed/peers.py data/timeus_lines.parquet --out FILE.json

Every tool trains and reads the same lines in processes of its own, one after the other, in alternating rounds, so that
other load hits all alike. Peers are installed on first use, each in its own environment under --envs; one that cannot
be installed is left out, and the reason is written down. Prints a Markdown table of medians over the rounds.

What is timed. train: updates with loading and what the tool does to a batch by default, the first left out as warm-up,
without validation, all within one pass over the data. read: from the image files to text, with the model of that short
training. Each tool with its own default model, precision and optimiser; threads are the same for all. On a machine that
does other work too, take --threads 1: threads that wait for each other measure the other work.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _lines import export

from htr_ssl.config import DataConfig
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.environment import environment, hardware
from htr_ssl.errors import UserError
from htr_ssl.files import write_json

HERE = Path(__file__).parent
ENVS = Path("~/.cache/htr-ssl-peers")
BATCH = 16
"""Largest batch: so many more lines than are timed, so that no pass over the data ends while the clock runs."""


@dataclass(frozen=True)
class Peer:
    """How to install a tool."""

    packages: list[str]
    pythons: list[str]
    module: str


@dataclass(frozen=True)
class Variant:
    """One tool with one setting."""

    tool: str
    height: int
    batch_size: int
    precision: str
    source: int = 64
    extra: dict[str, Any] = field(default_factory=dict)


PEERS = {
    "kraken": Peer(["kraken>=7,<8"], ["python3.12", "python3.11", "python3.10"], "kraken.train"),
    "pylaia": Peer(["pylaia"], ["python3.10", "python3.9"], "laia.engine"),
}
VARIANTS = {
    "ours, 40 px": Variant("ours", 40, 8, "auto"),
    "ours, 40 px, batch 16": Variant("ours", 40, 16, "auto"),  # the recipe
    "ours, 40 px, AdamW": Variant("ours", 40, 8, "auto", extra={"optimiser": "adamw"}),
    "ours, 64 px": Variant("ours", 64, 8, "auto"),
    "ours, 64 px, float32": Variant("ours", 64, 8, "32"),
    "kraken": Variant("kraken", 120, 1, "32-true", extra={"workers": 1}),
    "kraken, bf16": Variant("kraken", 120, 1, "bf16-mixed", extra={"workers": 1}),
    "kraken, batch 8": Variant("kraken", 120, 8, "32-true", extra={"workers": 1}),
    "PyLaia, 64 px": Variant("pylaia", 64, 8, "32"),
    "PyLaia, 128 px": Variant("pylaia", 128, 8, "32", source=128),
}
NOTES = {
    "ours": "finetune.run: crnn small, Muon and AdamW, augmentation on, lines decoded once; Reader.read, batches of 32",
    "kraken": "VGSLRecognitionModel in KrakenTrainer as in ketos train: default specification and AdamW, no "
    "augmentation, 1 loader process; RecognitionTaskModel.predict, 2 processes that cut out lines; each line is "
    "scaled to 120 px by its loader; default batch size is 1",
    "pylaia": "LaiaCRNN, HTREngineModule, DataModule as in pylaia-htr-train-ctc: defaults, RMSProp, no augmentation, "
    "as many loader processes as processors; EvaluatorModule and CTCGreedyDecoder; images prepared at its height",
}


def interpreter(peer: Peer, wanted: str | None) -> str:
    """A Python that runs and suits the peer.

    Raises:
        UserError: there is none.
    """
    for name in [wanted] if wanted else peer.pythons:
        path = shutil.which(name)
        if path and not subprocess.run([path, "-c", "import venv"], capture_output=True, check=False).returncode:
            return path
    tried = wanted or ", ".join(peer.pythons)
    raise UserError(f"no Python that suits was found ({tried}); name one with --python-kraken or --python-pylaia")


def install(name: str, envs: Path, wanted: str | None = None) -> Path:
    """Interpreter of the peer's environment, which is made if it is not there.

    Raises:
        UserError: it cannot be installed; the message has pip's last words.
    """
    peer, folder = PEERS[name], envs.expanduser() / name
    python = folder / "bin" / "python"

    def works() -> bool:
        command = [str(python), "-c", f"import {peer.module}"]
        return python.exists() and not subprocess.run(command, capture_output=True, check=False).returncode

    if not works():
        print(f"{name}: installing into {folder}", file=sys.stderr)
        commands = [
            [interpreter(peer, wanted), "-m", "venv", str(folder)],
            [str(python), "-m", "pip", "install", "--quiet", *peer.packages],
        ]
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise UserError(f"{name}: {' '.join(command)} failed: {_last_words(done.stderr)}")
        if not works():
            raise UserError(f"{name}: it was installed into {folder}, but {peer.module} cannot be imported")
    return python


def call(python: Path, tool: str, job: dict[str, Any], affinity: Sequence[str] = ()) -> dict[str, Any]:
    """Runs one job of a tool in a process of its own and returns its result.

    Args:
        python: interpreter of the tool's environment.
        tool: helper file, without the underscore.
        job: see the helpers.
        affinity: command put in front, e.g. ``taskset -c 0``.

    Raises:
        UserError: it failed; the message has its last words.
    """
    threads = str(job["threads"])
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("job.json", "result.json")]
        write_json(paths[0], job)
        command = [*affinity, str(python), str(HERE / f"_{tool}.py"), *map(str, paths)]
        variables = os.environ | dict.fromkeys(names, threads) | {"CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, cwd=folder)
        if done.returncode or not paths[1].exists():
            raise UserError(f"{tool}: {job['mode']} failed with code {done.returncode}: {_last_words(done.stderr)}")
        return json.loads(paths[1].read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _last_words(text: str) -> str:
    return " | ".join(text.strip().splitlines()[-3:])[-600:]


def data(source: str, lines: int, work: Path) -> dict[str, str]:
    """Folders of the same train lines at each height, and of a few validation lines.

    The widths are a fair sample: the lines are spread evenly over the split.
    """
    samples = read_samples(DataConfig(source=source, level="line"))
    found = {}
    for split, wanted in (("train", lines), ("validation", 16)):
        rows = rows_of(samples, split, labelled=True)
        rows = [rows[i * len(rows) // wanted] for i in range(min(wanted, len(rows)))]
        for height in sorted({variant.source for variant in VARIANTS.values()}):
            found[f"{split} {height}"] = str(export(samples, rows, work / f"{split}_{len(rows)}_{height}px", height))
    return found


def measure(variant: Variant, python: Path, folders: dict[str, str], options: argparse.Namespace) -> dict[str, Any]:
    """Train and read of one variant, each in its own process."""
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "lines": folders[f"train {variant.source}"],
            "validation": folders[f"validation {variant.source}"],
            "height": variant.height,
            "batch_size": variant.batch_size,
            "precision": variant.precision,
            "threads": options.threads,
            "warmup": -(-options.warmup // variant.batch_size),
            "steps": max(2, options.lines // variant.batch_size),
            "model": f"{folder}/model.safetensors",
            **variant.extra,
        }
        train = call(python, variant.tool, job | {"mode": "train"})
        read = call(python, variant.tool, job | {"mode": "read"})
    return {"train": train, "read": {key: value for key, value in read.items() if key != "texts"}}


def summary(rounds: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Medians over the rounds of each variant."""
    table = {}
    for name, results in rounds.items():
        if not results:
            continue

        def middle(part: str, key: str, results: list[dict[str, Any]] = results) -> float:
            return round(float(statistics.median(result[part][key] for result in results)), 2)

        table[name] = {
            "train_lines_per_second": middle("train", "lines_per_second"),
            "train_lines_per_second_median_step": middle("train", "lines_per_second_median"),
            "read_lines_per_second": middle("read", "lines_per_second"),
            "train_peak_mb": max(result["train"]["peak_mb"] for result in results),
            "read_peak_mb": max(result["read"]["peak_mb"] for result in results),
            "largest_child_mb": max(result["train"]["largest_child_mb"] for result in results),
            "parameters": results[0]["train"]["parameters"],
            "torch": results[0]["train"]["torch"],
            "height": VARIANTS[name].height,
            "batch_size": VARIANTS[name].batch_size,
            "precision": results[0]["train"].get("precision", VARIANTS[name].precision),
            "rounds": len(results),
        }
    return table


def markdown(table: dict[str, dict[str, Any]], reference: str) -> str:
    """The medians, and how many times the reference's speed each has."""
    lines = [
        "| | train [lines/s] | read [lines/s] | peak memory train / read [MB] | parameters [M] | precision | torch "
        f"| train, read relative to {reference} |",
        "| --- | ---: | ---: | ---: | ---: | --- | --- | ---: |",
    ]
    for name, row in table.items():
        speeds = row["train_lines_per_second"], row["read_lines_per_second"]
        base = table.get(reference)
        ratio = (
            f"{speeds[0] / base['train_lines_per_second']:.2f}, {speeds[1] / base['read_lines_per_second']:.2f}"
            if base
            else ""
        )
        lines.append(
            f"| {name} | {speeds[0]:.1f} | {speeds[1]:.1f} | {row['train_peak_mb']:.0f} / {row['read_peak_mb']:.0f} "
            f"| {row['parameters'] / 1e6:.2f} | {row['precision']} | {row['torch']} | {ratio} |"
        )
    return "\n".join(lines) + "\n"


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", default="../shared/data/timeus_lines.parquet", help="labelled lines")
    parser.add_argument("--envs", type=Path, default=ENVS, help="folder of the peers' environments")
    parser.add_argument("--work", type=Path, default=Path("runs/peers"), help="folder of the exported lines")
    parser.add_argument("--python-kraken", help="interpreter for kraken's environment")
    parser.add_argument("--python-pylaia", help="interpreter for PyLaia's environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--lines", type=int, default=160, help="lines trained on and read in each round")
    parser.add_argument("--warmup", type=int, default=24, help="lines trained on before the clock starts")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), help="variants, all if left out")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def main() -> None:
    """Measures."""
    options = arguments()
    variants = {name: VARIANTS[name] for name in options.only or VARIANTS}
    pythons, skipped = {"ours": Path(sys.executable)}, {}
    for name in sorted({variant.tool for variant in variants.values()} - {"ours"}):
        try:
            pythons[name] = install(name, options.envs, getattr(options, f"python_{name}"))
        except UserError as error:
            skipped[name] = str(error)
            print(f"{name} is left out: {error}", file=sys.stderr)
    folders = data(options.source, options.lines + options.warmup + 2 * BATCH, options.work.resolve())
    result: dict[str, Any] = {
        "environment": environment(),
        "load_before_and_after_each_round": [os.getloadavg()],
        "data": f"{Path(options.source).name}, {options.lines} train lines timed, 64 px high (128 for PyLaia, 128 px)",
        "threads": options.threads,
        "what": NOTES,
        "left_out": skipped,
    }
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for number in range(options.rounds):
        for name, variant in variants.items():
            if variant.tool not in pythons or name in skipped:
                continue
            print(f"round {number + 1}/{options.rounds}: {name}", file=sys.stderr)
            try:
                rounds[name].append(measure(variant, pythons[variant.tool], folders, options))
            except UserError as error:
                skipped[name] = str(error)
                print(f"{name} is left out: {error}", file=sys.stderr)
        result["load_before_and_after_each_round"].append(os.getloadavg())
        table = summary(rounds)
        if options.out:
            write_json(options.out, result | {"medians": table, "rounds": rounds})
    print(f"{hardware()}, {options.threads} thread(s)\n")
    print(markdown(table, "kraken"))


if __name__ == "__main__":
    main()
