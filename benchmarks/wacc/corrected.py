"""P-values of committed tables, corrected by Holm for all rows of a column: all that can be mended without predictions.

    python benchmarks/wacc/corrected.py benchmarks/results --out benchmarks/results/holm.csv

The plain p-values and differences are those that the tables have, over pages. What was found at 5 % and is lost by the
correction is counted at the end.
"""

from __future__ import annotations

import argparse
import csv
import io
from itertools import groupby
from pathlib import Path

from htr_ssl.files import write_text
from htr_ssl.text.metrics import holm

LEVEL = 0.05
COLUMNS = ("table", "fraction", "probe", "metric", "row", "difference", "p", "p_holm")


def main() -> None:
    """Writes one line for every comparison of every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="folder of the tables")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    rows: list[tuple[object, ...]] = []
    for path in sorted(options.results.rglob("table.csv")):
        rows += corrected(path, str(path.parent.relative_to(options.results)))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    write_text(options.out, buffer.getvalue())
    plain = [row for row in rows if float(str(row[-2])) < LEVEL]
    lost = [row for row in plain if float(str(row[-1])) >= LEVEL]
    print(f"{len(rows)} comparisons; p < {LEVEL:g}: {len(plain)}, of which the correction takes {len(lost)}")


def corrected(path: Path, name: str) -> list[tuple[object, ...]]:
    """Comparisons of one table."""

    def column(row: dict[str, str]) -> tuple[str, str, str]:
        return row["fraction"], row.get("probe", "none"), row["metric"]

    with open(path, encoding="utf-8", newline="") as handle:
        found = sorted((row for row in csv.DictReader(handle) if row["p"]), key=column)
    rows: list[tuple[object, ...]] = []
    for key, part in groupby(found, key=column):
        family = list(part)
        values = holm([float(row["p"]) for row in family])
        rows += [
            (name, *key, row["row"], row["difference"], row["p"], f"{p:.6g}")
            for row, p in zip(family, values, strict=True)
        ]
    return rows


if __name__ == "__main__":
    main()
