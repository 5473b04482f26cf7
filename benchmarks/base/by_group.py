"""How well a model reads by corpus, century and language: ``python benchmarks/base/by_group.py MODEL PARQUET…``.

Every labelled line of one split is read once, with the model's language model and without. Intervals are 95 % and
resample documents (`writer`), or lines where there are fewer than five documents. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from htr_ssl.models import shelf
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import metrics

COLUMNS = ("corpus", "century", "language")
FEWEST = 5
"""Documents; of fewer, lines are resampled."""
CHUNK = 256


def rows_of(paths: list[Path], split: str, most: int) -> list[dict[str, Any]]:
    """Lines of a split; a file without a column of `COLUMNS` has None there, and its name as the corpus."""
    rows = []
    for path in paths:
        table = pq.read_table(path, filters=[("split", "==", split)])
        if most and len(table) > most:
            table = table.take(pa.array(np.linspace(0, len(table) - 1, most).astype(int)))
        rows += [{"corpus": path.stem, **row} for row in table.to_pylist() if row["text"]]
    return rows


def readings(reader: Reader, rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Texts of all lines, greedy and with the language model if there is one."""
    found: dict[str, list[str]] = {"greedy": [], "with LM": []}
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        images = [np.array(Image.open(io.BytesIO(row["image"]["bytes"])).convert("L")) for row in chunk]
        best, scores = reader.read_scored(reader.prepared(images))
        found["greedy"] += [text for text, _ in reader.paths(scores)]
        found["with LM"] += [text for text, _ in best]
    return found if reader.language is not None else {"greedy": found["greedy"]}


def cell(rows: list[dict[str, Any]], counts: np.ndarray) -> str:
    """CER and WAcc [%] with their intervals."""
    documents = [str(row.get("writer")) for row in rows]
    score = metrics.score_counts(counts, documents if len(set(documents)) >= FEWEST else None, 0)
    return " | ".join(
        f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        for value, (low, high) in ((score.cer, score.cer_ci), (score.wacc, score.wacc_ci))
    )


def main() -> None:
    """Reads and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a file, or a name such as base")
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--split", default="test", choices=["validation", "test"])
    parser.add_argument("--lines", type=int, default=0, help="most lines of each file; 0 = all")
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    reader = Reader.load(shelf.find(given.model), "cpu", given.threads)
    rows = rows_of(given.data, given.split, given.lines)
    texts = [row["text"] for row in rows]
    counts = {name: metrics.count(texts, read, "line") for name, read in readings(reader, rows).items()}
    titles = "".join(f" CER, {name} | WAcc, {name} |" for name in counts)
    print(f"| {given.split} | documents | lines |{titles}\n| --- | ---: | ---: |{' ---: | ---: |' * len(counts)}")
    everything = [("all", "lines")]
    groups = [(key, str(value)) for key in COLUMNS for value in sorted({str(row.get(key)) for row in rows})]
    for key, value in everything + groups:
        chosen = [i for i, row in enumerate(rows) if key == "all" or str(row.get(key)) == value]
        own = [rows[i] for i in chosen]
        cells = " | ".join(cell(own, table[chosen]) for table in counts.values())
        print(f"| {key}: {value} | {len({row.get('writer') for row in own})} | {len(own)} | {cells} |")


if __name__ == "__main__":
    main()
