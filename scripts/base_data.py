"""Gathers the lines that the base recognizer is trained on: ``python scripts/base_data.py SHARED OUT.parquet``.

SHARED holds base_lines-*.parquet, timeus_lines.parquet and poilus_lines.parquet (datasets/base.md says how anyone gets
them). Their splits are kept: unseen documents stay unseen. The texts of all follow one convention.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

COLUMNS = ["image", "text", "writer", "page", "split", "corpus"]
UNIFORM = {"’": "'", "‘": "'", "“": '"', "”": '"', "—": "-", "–": "-", "¬": "-"}
ADDED = ("timeus", "poilus")


def corpus(folder: Path, name: str) -> pa.Table:
    """The lines of one added corpus, under its name; validation and test lines of it stay out.

    The validation is the base lines' alone, so that trainings with and without an added corpus compare.
    """
    table = pq.read_table(folder / f"{name}_lines.parquet")
    table = table.filter(pc.equal(table["split"], "train"))
    texts = [text.translate(str.maketrans(UNIFORM)) for text in table["text"].to_pylist()]
    table = table.set_column(table.schema.get_field_index("text"), "text", pa.array(texts))
    return table.append_column("corpus", pa.array([name] * len(table))).select(COLUMNS)


def main() -> None:
    """Writes one Parquet file and prints how many lines each corpus gives to each split."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--without", nargs="*", default=[], choices=ADDED, help="corpora to leave out")
    options = parser.parse_args()
    paths = sorted(options.folder.glob("base_lines-*.parquet"))
    if not paths:
        parser.error(f"{options.folder} has no base_lines-*.parquet; datasets/base.md says how to get them")
    tables = [pq.read_table(path).select(COLUMNS) for path in paths]
    tables += [corpus(options.folder, name) for name in ADDED if name not in options.without]
    joined = pa.concat_tables(tables, promote_options="permissive")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(joined, options.out, row_group_size=500)
    counts = joined.group_by(["corpus", "split"]).aggregate([("text", "count")]).to_pylist()
    for row in sorted(counts, key=lambda row: (row["corpus"], row["split"])):
        print(row["corpus"], row["split"], row["text_count"])


if __name__ == "__main__":
    main()
