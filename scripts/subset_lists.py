"""Writes and verifies lists of nested subsets of the train labels (5, 10, 25, 50, 100 %, seeds 0 to 2).

``python scripts/subset_lists.py``                    verifies every list of the package: checksums, and that
                                                      `subsets.subset` draws the same ids.
``python scripts/subset_lists.py DATA.parquet OUT``   writes the lists of the train ids of imported data that carries a
                                                      named split.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from htr_ssl.data.readers.parquet import read
from htr_ssl.data.splits import subset_lists
from htr_ssl.data.splits.splitting import NAME
from htr_ssl.data.splits.subsets import subset
from htr_ssl.errors import UserError
from htr_ssl.files import write_text


def verify(path: Path) -> int:
    """Number of subsets of a file that are what `subset` draws.

    Raises:
        UserError: one is not.
    """
    lists = subset_lists.load(path)
    for seed in lists.seeds:
        ids = lists.ids(seed, lists.fractions[-1])
        for fraction in lists.fractions:
            drawn = [ids[position] for position in subset(ids, fraction, seed)]
            if set(drawn) != set(lists.ids(seed, fraction)):
                raise UserError(f"{path}: {fraction:g}, seed {seed} is not what htr_ssl draws")
    return len(lists.seeds) * len(lists.fractions)


def write(data: Path, out: Path, level: str) -> None:
    """Writes the lists of a Parquet file's labelled train ids."""
    samples = read(data, "word" if level == "word" else "line")
    columns = zip(*(samples.column(name) for name in ("id", "split", "text")), strict=True)
    ids = [str(name) for name, split, text in columns if split == "train" and text]
    if NAME not in samples.facts or not ids:
        raise UserError(f"{data}: it carries no named split with train labels; import it with --splits NAME")
    write_text(out, subset_lists.drawn(ids, samples.facts[NAME], level))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA.parquet")
    parser.add_argument("out", type=Path, nargs="?", metavar="OUT")
    parser.add_argument("--level", choices=("word", "line"), default="line")
    given = parser.parse_args()
    if given.data and given.out:
        write(given.data, given.out, given.level)
        print(f"{given.out}: {verify(given.out)} subsets")
        return
    for name in subset_lists.names():
        print(f"{name}: {verify(subset_lists.FOLDER / f'{name}.yaml')} subsets are what htr_ssl draws")


if __name__ == "__main__":
    main()
