"""Reads random trees of images, labels and names with a known truth; prints every label that goes astray.

python benchmarks/reliability/trees.py --trees 2000 --out benchmarks/results/reliability/trees.json
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path

from htr_ssl.files import write_json

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from random_trees import wrong


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trees", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--out", type=Path, default=None)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    begun, bad = time.monotonic(), {}
    for seed in range(arguments.first, arguments.first + arguments.trees):
        with tempfile.TemporaryDirectory() as folder:
            found = wrong(Path(folder), seed)
        if found:
            bad[seed] = found
            print(seed, found, flush=True)
    facts = {"trees": arguments.trees, "wrong": len(bad), "seconds": round(time.monotonic() - begun, 1)}
    print(facts)
    if arguments.out is not None:
        write_json(arguments.out, facts | {"seeds": bad})
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
