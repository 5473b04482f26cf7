"""What a start costs: ``python benchmarks/speed/start.py [MODEL] [--starts 5] [--beside TREE] [--out FILE.json]``.

Starts `transcribe` on one blank page, in turn with the code of another checkout (--beside) and with a Python that only
imports PyTorch. Prints the medians of the seconds on the clock and of computing until the page is opened, and until the
process has ended. Computing is the processor's time, which other programs on the machine change less than the clock.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from htr_ssl.environment import hardware
from htr_ssl.files import write_json
from htr_ssl.models import shelf

Medians = dict[str, dict[str, float]]
HERE = Path(__file__).parents[2]
SEEN = """
import resource, sys, time

def seen(event, given):
    if event == "open" and str(given[0]).endswith("blank.png"):
        spent = resource.getrusage(resource.RUSAGE_SELF)
        print(time.time(), spent.ru_utime + spent.ru_stime)

sys.addaudithook(seen)
from htr_ssl.cli import main
main()
"""
"""The command line, which says when it opens the page, and how much it has computed until then."""


def measured(command: list[str], tree: Path) -> list[float]:
    """Seconds on the clock and of computing until the command prints them, and until it has ended."""
    start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    place: Any = {"cwd": tree, "env": {**os.environ, "PYTHONPATH": str(tree)}}
    done = subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True, **place)
    end, after = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    computing = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    opened, until = map(float, done.stdout.split()[:2]) if done.stdout else (end, computing)
    return [opened - start, until, end - start, computing]


def starts(model: Path, number: int, trees: dict[str, Path]) -> dict[str, Medians]:
    """Medians of `number` starts with the code of each tree, and of an import of PyTorch, all in turn."""
    rows: dict[str, list[list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "blank.png"
        Image.new("L", (64, 64), 255).save(page)
        for turn in range(number):
            for name, tree in trees.items():
                out = Path(folder) / f"{name}{turn}"
                given = ["transcribe", str(model), str(page), "--quiet", "--jobs", "1", "--out", str(out)]
                rows.setdefault(name, []).append(measured(["-c", SEEN, *given], tree))
            rows.setdefault("import torch", []).append(measured(["-c", "import torch"], HERE))
    medians = {name: np.median(values, axis=0).round(2).tolist() for name, values in rows.items()}
    return {
        name: {"to_the_page": {"clock": a, "computing": b}, "whole_command": {"clock": c, "computing": d}}
        for name, (a, b, c, d) in medians.items()
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="base")
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--beside", type=Path, help="another checkout")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    trees = {"before": options.beside.resolve()} if options.beside else {}
    result = {
        "starts": options.starts,
        "seconds": starts(shelf.find(options.model), options.starts, trees | {"now": HERE}),
        "hardware": hardware("cpu"),
    }
    if options.out:
        write_json(options.out, result)
    print(result)


if __name__ == "__main__":
    main()
