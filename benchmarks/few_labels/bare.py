"""The train images of a Parquet file without their texts: what an archive is before anybody has transcribed a line.

``python benchmarks/few_labels/bare.py timeus_lines.parquet bare.parquet``
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def main() -> None:
    """Writes the file and says how many images are in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    table = pq.read_table(options.data)
    table = table.filter(pc.equal(table["split"], "train"))
    bare = pa.nulls(len(table), pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index("text"), "text", bare), options.out)
    print(f"{options.out}: {len(table)} images")


if __name__ == "__main__":
    main()
