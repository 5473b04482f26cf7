"""A million lines in Parquet: time and memory to open them, random access, the order of a pass.

    python benchmarks/data/open.py --out benchmarks/results/data_open.json

Makes the file (or shards) in a temporary folder: small images, texts of the length that lines have. Every figure comes
from a process of its own, opened once before so that the file's columns are in the system's cache.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from htr_ssl.data.importing import GROUP, SCHEMA
from htr_ssl.data.reading import read
from htr_ssl.files import write_json

SYLLABLES = ("le", "la", "des", "que", "ci", "vou", "ment", "est", "ma", "mon", "sieur", "né", "à", "tou", "jour", "s")
READS = 20_000
"""Rows fetched at random."""


def make(folder: Path, rows: int, shards: int) -> None:
    """Shards in the layout that `data import` writes: 20 lines a page, 10 pages a writer, 8 : 1 : 1 in three splits."""
    random = np.random.default_rng(0)
    images = []
    for _ in range(64):
        buffer = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (8, 24), np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
    per_shard = -(-rows // shards)
    for shard in range(shards):
        path = folder / f"lines-{shard:05d}-of-{shards:05d}.parquet"
        with pq.ParquetWriter(path, SCHEMA, compression="zstd", use_dictionary=["writer", "page", "split"]) as writer:
            for start in range(shard * per_shard, min(rows, (shard + 1) * per_shard), 20 * GROUP):
                numbers = range(start, min(start + 20 * GROUP, rows, (shard + 1) * per_shard))
                texts = [" ".join(random.choice(SYLLABLES, 20)) for _ in numbers]
                table = pa.table(
                    {
                        "image": [
                            {"bytes": images[i % 64], "path": f"register_{i // 20:06d}_{i % 20:02d}.webp"}
                            for i in numbers
                        ],
                        "text": texts,
                        "writer": [f"hand {i // 200}" for i in numbers],
                        "page": [f"register_{i // 20:06d}" for i in numbers],
                        "split": [("validation", "test", *["train"] * 8)[i // 200 % 10] for i in numbers],
                    },
                    schema=SCHEMA,
                )
                writer.write_table(table, row_group_size=GROUP)


def resident() -> tuple[float, float]:
    """Memory of this process now and at most [MB]; pages of mapped files count."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    now, most = (round(int(lines[key].split()[0]) / 1024, 1) for key in ("VmRSS", "VmHWM"))
    return now, most


def since(start: tuple[float, float]) -> dict[str, float]:
    """Seconds passed, and those in which this process computed: the same on an idle machine."""
    return {
        "seconds": round(time.perf_counter() - start[0], 2),
        "cpu_seconds": round(time.process_time() - start[1], 2),
    }


def opened(folder: Path) -> dict[str, Any]:
    """Opens the source as readers do, then fetches rows at random."""
    before = resident()[0]
    start = time.perf_counter(), time.process_time()
    samples = read(folder)
    result: dict[str, Any] = {"rows": len(samples), **since(start), "rss_before_mb": before}
    result |= dict(zip(("rss_mb", "peak_rss_mb"), resident(), strict=True))
    rows = np.random.default_rng(1).integers(0, len(samples), READS).tolist()
    start = time.perf_counter(), time.process_time()
    for row in rows:
        assert samples[row].image
    result["random_rows"] = {"count": READS, **since(start), "rss_mb": resident()[0]}
    return result


def ready(folder: Path) -> dict[str, Any]:
    """The same for a training: a split for every row, the rows of one, and the order of one pass."""
    from htr_ssl.config import DataConfig
    from htr_ssl.data.loading import read_samples, rows_of
    from htr_ssl.data.sampling import StepSampler

    result: dict[str, Any] = {"rss_before_mb": resident()[0]}
    start = time.perf_counter(), time.process_time()
    samples = read_samples(DataConfig(source=str(folder)))
    result |= {"train_rows": len(rows_of(samples, "train", labelled=True)), **since(start)}
    result |= dict(zip(("rss_mb", "peak_rss_mb"), resident(), strict=True))
    widths = np.random.default_rng(2).integers(200, 1400, len(samples))
    steps = -(-len(samples) // 32)
    start = time.perf_counter(), time.process_time()
    batches = sum(1 for _ in StepSampler(widths.tolist(), 32, 0, steps, steps, pieces=samples.pieces()))
    result["order_of_a_pass"] = {"batches": batches, **since(start), "peak_rss_mb": resident()[1]}
    return result


def apart(work: Callable[[Path], dict[str, Any]], folder: Path) -> dict[str, Any]:
    """Result of a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(work, (folder,))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result: dict[str, Any] = {"runs": {}}
    for shards in options.shards:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make(folder, options.rows, shards)
            size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
            apart(opened, folder)
            run = {"file_mb": round(size), "open": apart(opened, folder), "training": apart(ready, folder)}
            result["runs"][f"{shards} file(s)"] = run
            print(shards, json.dumps(run), flush=True)
    if options.out:
        from htr_ssl.environment import environment

        write_json(options.out, {"environment": environment(), **result})


if __name__ == "__main__":
    main()
