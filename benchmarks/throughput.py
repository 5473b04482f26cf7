"""Throughput of training on this machine: python benchmarks/throughput.py DATA.parquet word 32 --out FILE.json

Trains each method and the recognizer for a few rounds through the public interface, prints images/s and the share of
the time spent waiting for the loader; then the same fine-tuning step in float32 contiguous, float32 channels_last and
bfloat16 channels_last, in turn in one process, so that other load hits all alike.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import torch

from htr_ssl import model_file, plugins
from htr_ssl.config import DataConfig, FinetuneConfig, PluginConfig, PretrainConfig, TrainConfig
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.sampling import StepSampler
from htr_ssl.environment import environment
from htr_ssl.files import write_json
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.text.charset import Charset
from htr_ssl.training import finetune, pretrain


def runs(data: DataConfig, steps: int, batch_size: int, threads: int) -> dict[str, dict[str, float]]:
    """Images/s and loader's share of every method and of fine-tuning."""
    train = TrainConfig(steps=steps, batch_size=batch_size, check_every=steps, threads=threads)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in plugins.names("htr_ssl.methods"):
            encoder = getattr(plugins.load("htr_ssl.methods", name), "ENCODERS", ["crnn"])[0]
            config = PretrainConfig(
                data=data, encoder=PluginConfig(name=encoder), method=PluginConfig(name=name), train=train
            )
            pretrain.run(config, Path(folder) / name, progress=False)
            found[f"pretrain {name}"] = Path(folder) / name
        finetune.run(FinetuneConfig(data=data, train=train), Path(folder) / "finetune", progress=False)
        found["finetune"] = Path(folder) / "finetune"
        summaries = {name: json.loads((path / "summary.json").read_text()) for name, path in found.items()}
    return {name: {key: s[key] for key in ("images_per_second", "loader_share")} for name, s in summaries.items()}


def formats(data: DataConfig, batch_size: int, rounds: int) -> dict[str, float]:
    """Median images/s of a fine-tuning step in each number and memory format."""
    samples = read_samples(data)
    strips = Strips(samples, rows_of(samples, "train", labelled=True)[:1000], data)
    charset = Charset.build(strips.texts())
    strips.labels = [charset.encode(text) for text in strips.texts()]
    sampler = StepSampler(strips.widths, batch_size, 0, rounds, rounds)
    kinds = {
        "float32 contiguous": (torch.float32, torch.contiguous_format),
        "float32 channels_last": (torch.float32, torch.channels_last),
        "bfloat16 channels_last": (torch.bfloat16, torch.channels_last),
    }
    times: dict[str, list[float]] = {name: [] for name in kinds}
    recognizers = {
        name: Recognizer(model_file.build_encoder("crnn", {}, data.height, 1), len(charset)).to(memory_format=layout)
        for name, (_, layout) in kinds.items()
    }
    for step in range(rounds):
        batch = strips[sampler.batch(step)]
        for name, (number, layout) in kinds.items():
            images = batch.images()
            images.pixels = images.pixels.contiguous(memory_format=layout)
            start = time.perf_counter()
            with torch.autocast("cpu", number, enabled=number is not torch.float32):
                loss = recognizers[name].loss(images, batch)["loss"]
            loss.backward()
            times[name].append((time.perf_counter() - start) / batch_size)
    return {name: 1 / statistics.median(values[1:]) for name, values in times.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="Parquet file, folder, or synthetic")
    parser.add_argument("level", choices=["word", "line"])
    parser.add_argument("height", type=int)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    data = DataConfig(source=options.source, level=options.level, height=options.height)
    result = {
        "environment": environment(),
        "load_before": os.getloadavg(),
        "data": f"{Path(options.source).name}, {options.level}, height {options.height}",
        "batch_size": options.batch_size,
        "training": runs(data, options.steps, options.batch_size, options.threads),
        "formats_images_per_second": formats(data, options.batch_size, options.rounds),
    }
    print(json.dumps(result, indent=2))
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
