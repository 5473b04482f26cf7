"""What `data.cache` costs and saves: making, opening, and batches from it beside those from memory and from the source.

python benchmarks/data/cache.py data/timeus_lines.parquet --height 40 --out benchmarks/results/data_cache.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from htr_ssl.config import DataConfig
from htr_ssl.data.loading import MEMORY, Strips, read_samples, rows_of
from htr_ssl.data.sampling import StepSampler
from htr_ssl.environment import environment
from htr_ssl.files import write_json

BATCHES, BATCH_SIZE = 100, 32


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that this process computed, and the result."""
    start = time.process_time()
    result = work()
    return round(time.process_time() - start, 3), result


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--height", type=int, default=40)
    parser.add_argument("--channels", type=int, default=1)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("memory", "source", "cache, first run", "cache, later run"):
            cache = folder if name.startswith("cache") else None
            config = DataConfig(source=options.data, height=options.height, channels=options.channels, cache=cache)
            samples = read_samples(config)
            rows = rows_of(samples, "train", labelled=False)
            memory = 0 if name == "source" else MEMORY
            opening, strips = timed(lambda: Strips(samples, rows, config, memory))  # noqa: B023
            sampler = StepSampler(strips.widths, BATCH_SIZE, 0, BATCHES, BATCHES, pieces=strips.pieces())
            batches, _ = timed(lambda: [strips[positions] for positions in sampler])  # noqa: B023
            runs[name] = {"train_images": len(strips), "cpu_seconds_to_open": opening}
            runs[name]["cpu_ms_per_batch"] = round(1000 * batches / BATCHES, 2)
            print(name, json.dumps(runs[name]), flush=True)
        size = sum(path.stat().st_size for path in Path(folder).rglob("*.arrow"))
    result = {"data": Path(options.data).name, "height": options.height, "channels": options.channels, "runs": runs}
    result |= {"cached_images": len(samples), "bytes_per_image": round(size / len(samples)), "batch_size": BATCH_SIZE}
    if options.out:
        write_json(options.out, {"environment": environment(), **result})


if __name__ == "__main__":
    main()
