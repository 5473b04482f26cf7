"""Damages whatever the program reads, input by input, and reports everything that is not one sentence.

python benchmarks/reliability/fuzz.py --inputs 3000 --out benchmarks/results/reliability/fuzz.json
"""

from __future__ import annotations

import argparse
import logging
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from htr_ssl.environment import hardware
from htr_ssl.errors import UserError
from htr_ssl.files import write_json

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from fuzzing import DOORS, layouts, rounds


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=3000)
    parser.add_argument("--first", type=int, default=1000, help="seed of the first")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    doors = {**DOORS, **{f"reader {name}": door for name, door in layouts().items()}}
    count = -(-arguments.inputs // len(doors))
    verdicts: dict[str, Counter[str]] = {name: Counter() for name in doors}
    bad: list[dict[str, Any]] = []
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say of damaged images
    slowest, begun = dict.fromkeys(doors, 0.0), time.monotonic()
    for name, door in doors.items():
        with tempfile.TemporaryDirectory() as folder:
            for number in rounds(door, Path(folder, "whole"), count, arguments.first):
                start = time.monotonic()
                try:
                    door.read(Path(folder, "whole"))
                    verdict = "read"
                except UserError:
                    verdict = "one sentence"
                except Exception:
                    verdict = "wrong"
                    bad.append({"door": name, "input": number, "trace": traceback.format_exc()[-1500:]})
                    print(name, number, traceback.format_exc()[-1500:], flush=True)
                verdicts[name][verdict] += 1
                slowest[name] = round(max(slowest[name], time.monotonic() - start), 2)
        facts = {
            "inputs": sum(sum(own.values()) for own in verdicts.values()),
            "verdicts": verdicts,
            "slowest [s]": slowest,
            "largest [MB]": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
            "seconds": round(time.monotonic() - begun),
            "wrong": bad,
            "hardware": hardware("cpu"),
        }
        if arguments.out is not None:
            write_json(arguments.out, facts)
    print({name: facts[name] for name in ("inputs", "largest [MB]", "seconds")}, len(bad), "wrong")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
