"""Keeps the cells of a table of `run.py` in two small files, and makes the table's folder from them again.

    python benchmarks/wacc/cells.py pack runs/wacc/muon/copiste_words RESULTS/copiste_words
    python benchmarks/wacc/cells.py unpack RESULTS/copiste_words runs/wacc/muon/copiste_words \
        --data DATA/copiste_words.parquet

`readings.parquet` has what each cell read of each sample, `cells.json` the rest. What is written on the images is not
kept: it comes from the data. So intervals and p-values can be computed anew, and another computer runs only the cells
that are missing (`run.py` with the same data, by the same path).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from htr_ssl.config import DataConfig
from htr_ssl.data.loading import read_samples
from htr_ssl.experiments.evaluate import PREDICTIONS, RESULT, Prediction, read_predictions, write_predictions
from htr_ssl.files import write_json
from htr_ssl.text.metrics import normalise

READINGS, CELLS = "readings.parquet", "cells.json"
MARK = "belongs_to.json"


def main() -> None:
    """Packs or unpacks one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["pack", "unpack"])
    parser.add_argument("source", type=Path, help="the table's folder, or that of the two files")
    parser.add_argument("target", type=Path, help="the other")
    parser.add_argument("--data", type=Path, help="unpack: the corpus the table was made on")
    options = parser.parse_args()
    if options.action == "pack":
        print(f"{pack(options.source, options.target)} cells")
    elif options.data is None:
        parser.error("unpack needs --data")
    else:
        print(f"{unpack(options.source, options.target, options.data)} cells")


def pack(table: Path, target: Path, only: Collection[str] = ()) -> int:
    """Writes both files of all finished cells, or of those named alone, and returns how many there are."""
    cells: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for path in sorted(table.glob(f"*/f*/{RESULT}")):
        cell = path.parent.relative_to(table).as_posix()
        result = json.loads(path.read_text(encoding="utf-8"))
        mark = json.loads((path.parent / MARK).read_text(encoding="utf-8"))["sha256"]
        if result.get("cell_sha256") != mark or (only and cell not in only):
            continue
        cells[cell] = result | {"data": Path(result["data"]).name, "init": bool(result["init"])}
        for item in read_predictions(path.parent / PREDICTIONS):
            rows.append({"cell": cell, **item._asdict()})
    target.mkdir(parents=True, exist_ok=True)
    columns = {name: [row[name] for row in rows] for name in ("cell", "id", "page", "writer", "read", "confidence")}
    columns["confidence"] = pa.array(columns["confidence"], pa.float32())
    pq.write_table(pa.table(columns), target / READINGS, compression="zstd", compression_level=19)
    write_json(target / CELLS, cells)
    return len(cells)


def unpack(source: Path, table: Path, data: Path) -> int:
    """Makes the folders of all packed cells that are not there, and returns how many it made."""
    cells = json.loads((source / CELLS).read_text(encoding="utf-8"))
    level = next(iter(cells.values()))["level"]
    samples = read_samples(DataConfig(source=str(data), level=level))
    written = dict(zip(samples.column("id"), samples.column("text"), strict=True))
    rows = pq.read_table(source / READINGS).to_pylist()
    made = 0
    for cell, items in groupby(rows, itemgetter("cell")):
        folder, result = table / cell, cells[cell]
        if (folder / RESULT).exists():
            continue
        predictions = [
            Prediction(
                row["id"],
                row["page"],
                row["writer"],
                normalise(written[row["id"]] or ""),
                row["read"],
                row["confidence"],
            )
            for row in items
        ]
        write_json(folder / MARK, {"sha256": result["cell_sha256"]})
        write_predictions(folder / PREDICTIONS, predictions)
        write_json(folder / RESULT, result | {"data": str(data)})
        made += 1
    return made


if __name__ == "__main__":
    main()
