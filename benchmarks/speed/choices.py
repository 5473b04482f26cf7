"""What the engine's defaults are worth on this machine: python benchmarks/speed/choices.py DATA.parquet line 40

Each pair is measured in turn, step by step in one process, so that other load hits both alike:

- AdamW of PyTorch with foreach and fused, and Muon, on the recognizer's own parameters and gradients;
- a fine-tuning step with and without torch.compile of the encoder's backbone, widths changing from batch to batch;
- a fine-tuning step whose widths are rounded up to 8, 16 or 32 px;
- the share of the batches' pixels that is padding, with and without sorting by width.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch

from htr_ssl import model_file
from htr_ssl.config import AugmentConfig, DataConfig, TrainConfig
from htr_ssl.data.batch import padded
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.sampling import StepSampler
from htr_ssl.environment import environment
from htr_ssl.files import write_json
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.text.charset import Charset
from htr_ssl.training.optim import optimiser
from htr_ssl.views import augment
from htr_ssl.views.augment import TextAugment


def strips_of(data: DataConfig, most: int) -> tuple[Strips, int]:
    """Labelled train images, at most `most` of them, and the number of characters."""
    samples = read_samples(data)
    strips = Strips(samples, rows_of(samples, "train", labelled=True)[:most], data)
    charset = Charset.build(strips.texts())
    strips.labels = [charset.encode(text) for text in strips.texts()]
    return strips, len(charset)


def recognizer(data: DataConfig, classes: int) -> Recognizer:
    """The recognizer that fine-tuning builds."""
    torch.manual_seed(0)
    encoder = model_file.build_encoder("crnn", {}, data.height, data.channels)
    return Recognizer(encoder, classes).to(memory_format=torch.channels_last)


def step(model: Recognizer, strips: Strips, positions: list[int], change: TextAugment | None = None) -> float:
    """Seconds of augmentation, forward and backward pass in bfloat16."""
    batch = strips[positions]
    images = batch.images()
    start = time.perf_counter()
    if change is not None:
        images = change(images, torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(images, batch)["loss"]
    model.zero_grad()
    loss.backward()
    return time.perf_counter() - start


def updates(data: DataConfig, strips: Strips, classes: int, rounds: int) -> dict[str, float]:
    """Milliseconds of one update by AdamW, with foreach and fused, and by Muon."""
    model = recognizer(data, classes)
    sampler = StepSampler(strips.widths, 8, 0, 1, 1)
    step(model, strips, sampler.batch(0))
    kinds: dict[str, tuple[Recognizer, Any]] = {}
    for name in ("foreach", "fused", "muon"):
        own = copy.deepcopy(model)
        chosen = optimiser(own, TrainConfig(lr=1e-6, optimiser="muon" if name == "muon" else "adamw"))
        if name == "foreach":
            groups = [{key: group[key] for key in ("params", "weight_decay")} for group in chosen.param_groups]
            chosen = torch.optim.AdamW(groups, lr=1e-6, foreach=True)
        kinds[name] = own, chosen
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, (own, chosen) in kinds.items():
            for mine, theirs in zip(own.parameters(), model.parameters(), strict=True):
                mine.grad = theirs.grad
            start = time.perf_counter()
            chosen.step()
            times[name].append(time.perf_counter() - start)
    return {f"{name}_ms": round(1000 * statistics.median(values[1:]), 3) for name, values in times.items()}


def compiled(data: DataConfig, strips: Strips, classes: int, batch_size: int, rounds: int) -> dict[str, float]:
    """Start-up seconds and median milliseconds of a step, plain and with a compiled backbone."""
    plain, fast = recognizer(data, classes), recognizer(data, classes)
    fast.encoder.backbone.compile(dynamic=True)
    sampler = StepSampler(strips.widths, batch_size, 0, rounds + 3, rounds + 3)
    start = time.perf_counter()
    for i in range(3):
        step(fast, strips, sampler.batch(i))
    started = time.perf_counter() - start
    for i in range(3):
        step(plain, strips, sampler.batch(i))
    times = [
        (step(plain, strips, sampler.batch(i)), step(fast, strips, sampler.batch(i))) for i in range(3, rounds + 3)
    ]
    eager, built = (statistics.median(column) for column in zip(*times, strict=True))
    return {
        "start_up_s": round(started, 1),
        "eager_ms": round(1000 * eager, 1),
        "compiled_ms": round(1000 * built, 1),
        "gain": round(eager / built - 1, 3),
        "slowest_compiled_ms": round(1000 * max(pair[1] for pair in times), 1),
    }


def rounding(data: DataConfig, strips: Strips, classes: int, batch_size: int, rounds: int) -> dict[str, float]:
    """Median milliseconds of a step with augmentation for each rounding of the widths [px]."""
    model, change = recognizer(data, classes), TextAugment(AugmentConfig())
    sampler = StepSampler(strips.widths, batch_size, 0, rounds + 10, rounds + 10)
    times: dict[int, list[float]] = {8: [], 16: [], 32: []}
    for i in range(rounds + 10):
        for width_step, values in times.items():
            augment._WIDTH_STEP = width_step  # type: ignore[attr-defined]
            values.append(step(model, strips, sampler.batch(i), change))
    return {f"{size}_px_ms": round(1000 * statistics.fmean(values[10:]), 2) for size, values in times.items()}


def padding(widths: list[int], batch_size: int, passes: int = 2) -> dict[str, float]:
    """Shares of the pixels that are padding, and how much the batches' widths differ."""
    per_pass = -(-len(widths) // batch_size)
    sampler = StepSampler(widths, batch_size, 0, passes * per_pass, 1)
    batches = [[widths[i] for i in sampler.batch(s)] for s in range(passes * per_pass)]
    shuffled = [widths[i] for i in torch.randperm(len(widths), generator=torch.Generator().manual_seed(0)).tolist()]
    loose = [shuffled[i : i + batch_size] for i in range(0, len(widths) - batch_size + 1, batch_size)]
    sizes = [len(batch) * padded(max(batch)) for batch in batches]
    return {
        "padding": _share(batches),
        "rounding": round(1 - sum(len(b) * max(b) for b in batches) / sum(sizes), 4),
        "unsorted": _share(loose),
        "largest_batch_over_mean": round(max(sizes) / statistics.fmean(sizes), 2),
    }


def _share(batches: list[list[int]]) -> float:
    return round(1 - sum(map(sum, batches)) / sum(len(batch) * padded(max(batch)) for batch in batches), 4)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="Parquet file or folder with labels")
    parser.add_argument("level", choices=["word", "line"])
    parser.add_argument("height", type=int)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=30, help="timed steps of each pair")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=["updates", "compile", "rounding", "padding"])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(given.threads)
    data = DataConfig(source=given.source, level=given.level, height=given.height)
    strips, classes = strips_of(data, given.images)
    result: dict[str, Any] = {"height": given.height, "batch_size": given.batch_size, "images": len(strips)}
    if "padding" in given.only:
        result["padding"] = {str(size): padding(strips.widths, size) for size in (8, 16, 32, 64)}
    if "updates" in given.only:
        result["updates"] = updates(data, strips, classes, 5 * given.rounds)
    if "compile" in given.only:
        result["compile"] = compiled(data, strips, classes, given.batch_size, given.rounds)
    if "rounding" in given.only:
        result["rounding"] = rounding(data, strips, classes, given.batch_size, 5 * given.rounds)
    result["environment"] = environment()
    for name, value in result.items():
        print(f"{name}: {value}")
    if given.out:
        write_json(given.out, result)


if __name__ == "__main__":
    main()
