"""Kills `htr-ssl learn` with SIGKILL at random moments of its whole length: are its files those of an undisturbed run?

    python benchmarks/reliability/learn_kills.py OUT [--kills 10] [--seed 0]

Twice: ten courses, each killed once and run again; and one course killed ten times, one after the other. The data are
40 synthetic lines, half of them with a text; the stages are short, and the speed that the plan is made of is given
instead of measured. `learn_kills.json` in OUT says in which stage the kills hit a running course, and which files
differ. Measured times are left out, and so are env.json, metrics.csv and checkpoints, which hold such.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

import torch  # loaded once for all children
from kills import LIMIT, Child
from PIL import Image

import htr_ssl
import htr_ssl.training.engine
from htr_ssl.courses import course, schedule
from htr_ssl.data import synthetic
from htr_ssl.environment import hardware
from htr_ssl.files import write_json

UPDATES = 20  # a round of fewer is not made
LINES = 40
ARGUMENTS = ["learn", "lines", "--hours", "0.1", "--start", "start.safetensors", "--out", "out"]
ARGUMENTS += ["--device", "cpu", "--threads", "1", "-q"]
TIMES = {"seconds", "minutes", "images_per_second", "images_a_second", "device_seconds", "loader_share"}


def make(folder: Path) -> None:
    """Lines, half of them with a text, and a recognizer to start from."""
    (folder / "lines").mkdir(parents=True)
    written = synthetic.samples(synthetic.Config(samples=LINES, hands=8, characters=(8, 14)), "line", 0)
    for number, sample in enumerate(written):
        Image.fromarray(sample.load()).save(folder / f"lines/{number:02d}.png")
        if number % 2:
            (folder / f"lines/{number:02d}.gt.txt").write_text(f"{sample.text}\n", encoding="utf-8")
    train = {"steps": UPDATES, "batch_size": 8, "threads": 1, "device": "cpu"}
    other = {"source": "synthetic", "seed": 1, "synthetic": {"samples": 80, "characters": [8, 14]}}
    run = htr_ssl.finetune(data=other, train=train, select="last", out=folder / "start", progress=False)
    shutil.move(run.path, folder / "start.safetensors")
    shutil.rmtree(folder / "start")


def shorten() -> None:
    """Stages of a few updates, two rounds of self-training, and a speed that is the same each time."""
    schedule.FEWEST, schedule.MOST_ROUNDS = 10, 2
    schedule.first_steps = lambda labels, known: UPDATES
    schedule.round_steps = lambda images: UPDATES
    course._speed = lambda config: 100.0


def contents(folder: Path) -> dict[str, Any]:
    """What the files of a course hold, without measured times."""
    return {
        path.relative_to(folder).as_posix(): _timeless(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("env.json", "metrics.csv") and path.parent.name != "checkpoints"
    }


def _timeless(path: Path) -> Any:
    if path.suffix != ".json":
        return path.read_bytes()

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(inner) for key, inner in value.items() if key not in TIMES}
        return [without(inner) for inner in value] if isinstance(value, list) else value

    return without(json.loads(path.read_text(encoding="utf-8")))


def stage(out: Path) -> str:
    """What a course was at, by what it has left so far."""
    marks = {"model.safetensors": "reading", "round2": "round 2", "round1": "round 1", "first": "labels"}
    return next((name for mark, name in marks.items() if (out / mark).exists()), "start")


def finish(folder: Path) -> None:
    """Runs the course to its end."""
    child = Child(folder, ARGUMENTS)
    if child.wait(LIMIT) != 0:
        with contextlib.suppress(ChildProcessError):
            child.kill()
        raise RuntimeError(child.log.read_text(errors="replace")[-2000:])


def disturb(folder: Path, longest: float, kills: int, draw: random.Random) -> list[str]:
    """Kills a course so many times, each time at a random moment up to the longest [s]; says where it was.

    A kill that comes too late, when the course has ended, is drawn again in a new course.
    """
    hit: list[str] = []
    while len(hit) < kills:
        child = Child(folder, ARGUMENTS)
        status = child.wait(draw.uniform(0, longest))
        if status is None:
            child.kill()
            hit.append(stage(folder / "out"))
        elif status:
            raise RuntimeError(child.log.read_text(errors="replace")[-2000:])
        else:
            hit.clear()
            shutil.rmtree(folder / "out")
    return hit


def differing(folder: Path, whole: dict[str, Any]) -> list[str]:
    """Names of the files that are not as they should be; the folder is emptied."""
    found = contents(folder / "out")
    shutil.rmtree(folder / "out")
    return sorted(name for name in whole.keys() | found.keys() if whole.get(name) != found.get(name))


def main() -> None:
    """Runs once undisturbed, then disturbed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    shorten()
    folder = options.out / "work"
    shutil.rmtree(folder, ignore_errors=True)
    make(folder)
    begun = time.monotonic()
    finish(folder)
    seconds = time.monotonic() - begun
    whole = contents(folder / "out")
    shutil.rmtree(folder / "out")
    draw = random.Random(options.seed)
    single: list[str] = []
    wrong = [] if "round2/pseudo.json" in whole else ["there were no two rounds"]
    for _ in range(options.kills):
        single += disturb(folder, seconds, 1, draw)
        finish(folder)
        wrong += differing(folder, whole)
    every = disturb(folder, seconds / 6, options.kills, draw)
    finish(folder)
    wrong += differing(folder, whole)
    result = {
        "updates of each stage": UPDATES,
        "seconds undisturbed": round(seconds),
        "files": len(whole),
        "a course for each kill, killed in": single,
        "one course, killed in": every,
        "differing": sorted(set(wrong)),
        "hardware": hardware("cpu"),
    }
    write_json(options.out / "learn_kills.json", result)
    shutil.rmtree(folder)
    print(json.dumps(result))
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
