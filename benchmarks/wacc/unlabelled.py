"""One file of train images of the three corpora without their texts, for one pretraining that serves three tables.

Words are taken whole; lines are cut every 1.5 to 5 heights, wherever that falls, and every second piece is taken, so
that lines are not most of it. No image of a validation or test split is in it.

    python benchmarks/wacc/unlabelled.py ../shared/data --out runs/unlabelled.parquet

`--base` adds the train lines of the base corpus, cut like the others.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from PIL import Image

CORPORA = ("poilus_words", "copiste_words", "timeus_lines")
HEIGHT = 48
SEED = 0


def main() -> None:
    """Writes the file and says what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the corpora's Parquet files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--base", action="store_true", help="the lines of base_lines-*.parquet, too")
    options = parser.parse_args()
    corpora = {corpus: [options.data / f"{corpus}.parquet"] for corpus in CORPORA}
    if options.base:
        corpora["base_lines"] = sorted(options.data.glob("base_lines-*.parquet"))
    rows = [row for corpus, paths in corpora.items() for path in paths for row in images(path, corpus)]
    order = np.random.default_rng(SEED).permutation(len(rows))
    names = [f"{number:06d}_{rows[i][0]}.png" for number, i in enumerate(order)]
    table = pa.table(
        {
            "image": [{"bytes": rows[i][1], "path": name} for i, name in zip(order, names, strict=True)],
            "text": pa.nulls(len(rows), pa.string()),
            "split": ["train"] * len(rows),
        }
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, options.out)
    counts = {corpus: sum(name == corpus for name, _ in rows) for corpus in corpora}
    print(f"{options.out}: {len(rows)} images, {counts}")


def images(path: Path, corpus: str) -> Iterator[tuple[str, bytes]]:
    """Name of the corpus and PNG of every train image, or of every piece of it."""
    rng = np.random.default_rng(SEED)
    table = pq.read_table(path, columns=["image", "split"])
    for row in table.filter(pa.compute.equal(table["split"], "train")).to_pylist():
        image = Image.open(io.BytesIO(row["image"]["bytes"])).convert("L")
        image = image.resize((max(1, round(image.width * HEIGHT / image.height)), HEIGHT), Image.Resampling.BILINEAR)
        yield from ((corpus, png(piece)) for piece in (pieces(image, rng)[::2] if "lines" in corpus else [image]))


def pieces(line: Image.Image, rng: np.random.Generator) -> list[Image.Image]:
    """A line cut into pieces of 1.5 to 5 heights; a rest that is shorter goes with the last."""
    left, found = 0, []
    while left < line.width:
        right = left + round(rng.uniform(1.5, 5) * HEIGHT)
        right = line.width if line.width - right < 1.5 * HEIGHT else right
        found.append(line.crop((left, 0, right, HEIGHT)))
        left = right
    return found


def png(image: Image.Image) -> bytes:
    """The image as a PNG file."""
    out = io.BytesIO()
    image.save(out, "png", compress_level=3)
    return out.getvalue()


if __name__ == "__main__":
    main()
