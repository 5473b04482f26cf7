"""Speed of reading: ``python benchmarks/base/reading.py PARQUET [MODEL] [THREADS]``, with and without language model.

Reads 300 test lines three times in turns and prints the best lines per second of each, decoding of the files left out.
"""

from __future__ import annotations

import io
import sys
import time

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from htr_ssl.environment import hardware
from htr_ssl.models import shelf
from htr_ssl.recognizers.reader import Reader

LINES, ROUNDS = 300, 3


def main() -> None:
    """Reads and prints."""
    model = shelf.find(sys.argv[2] if len(sys.argv) > 2 else "base")
    threads = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    table = pq.read_table(sys.argv[1], filters=[("split", "=", "test")], columns=["image"])
    images = [
        np.array(Image.open(io.BytesIO(row["bytes"])).convert("RGB")) for row in table["image"].to_pylist()[:LINES]
    ]
    readers = {lm: Reader.load(model, "cpu", threads, "auto", lm) for lm in ("auto", "none")}
    best = dict.fromkeys(readers, 0.0)
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            start = time.perf_counter()
            reader.read(images)
            best[name] = max(best[name], len(images) / (time.perf_counter() - start))
    print(f"{hardware()}: {best['auto']:.0f} lines/s with the language model, {best['none']:.0f} without")


if __name__ == "__main__":
    main()
