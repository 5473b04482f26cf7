"""Images a second of a recognizer's encoder in float32 and bfloat16, for batches of several sizes.

``python benchmarks/speed/batches.py benchmarks/base/unseen.safetensors --out batches.json``

Random images of 384 pixels, one thread, the time of that thread; the two formats in turns, the shortest time of each.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import torch

from htr_ssl import environment, model_file
from htr_ssl.files import write_json
from htr_ssl.measured import cache, timing


def main() -> None:
    """Times and writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    network = cache.network(model_file.read_header(options.model))
    found: dict[str, object] = {"hardware": environment.hardware(), "torch": torch.__version__}
    torch.set_num_threads(1)
    for work, training in (("training", True), ("reading", False)):
        for images in options.batches:
            with timing.step(network, images, training) as run:
                works = {"32": partial(run, False), "bf16": partial(run, True)}
                times = timing.best(works, options.rounds, float("inf"), timing.ALONE)
            found[f"{work}, {images} images"] = {name: round(images / took, 1) for name, took in times.items()}
    if options.out:
        write_json(options.out, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
