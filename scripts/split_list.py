"""Makes a list for ``--splits`` and ``data.splits`` out of files with one id in each row.

``python scripts/split_list.py bentham.yaml --dataset "Bentham R0" --unit line \\
    --train TrainLines.lst --validation ValidationLines.lst --test TestLines.lst``
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from htr_ssl.data.splits.named_splits import Unit, listed, load
from htr_ssl.data.splits.subsets import SPLITS
from htr_ssl.files import write_text
from htr_ssl.folders import read_text


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT.yaml")
    parser.add_argument("--dataset", required=True, help="data set and version")
    parser.add_argument("--about", default="", help="whose split, and what is special about it")
    parser.add_argument("--source", default="", help="where the lists are from")
    parser.add_argument("--unit", choices=get_args(Unit), required=True, help="what an id names")
    for part in SPLITS:
        parser.add_argument(f"--{part}", type=Path, metavar="FILE", help=f"ids of {part}, one in each row")
    given = parser.parse_args()
    files = {part: getattr(given, part) for part in SPLITS if getattr(given, part)}
    parts = {
        part: [row.strip() for row in read_text(path)[0].split("\n") if row.strip()] for part, path in files.items()
    }
    write_text(given.out, listed(parts, given.dataset, given.about, given.source, given.unit))
    split = load(str(given.out))
    print(f"{given.out}: {split.counts}, SHA-256 {split.sha256}")


if __name__ == "__main__":
    main()
