"""Where the time of a training goes: a few steps exactly as the engine runs them, every part of them timed.

The run is the engine's own (loader, precision, memory format, optimiser, clipping, moving average) in a folder that is
removed afterwards; it is broken off before the first validation. Its schedule is pressed into the steps that are run,
so that phases such as the head's warm-up have their share.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from htr_ssl import model_file
from htr_ssl.config import FinetuneConfig, PretrainConfig, TrainConfig
from htr_ssl.data.loading import collate, prepare
from htr_ssl.data.pairs import parts
from htr_ssl.environment import environment
from htr_ssl.files import write_bytes, write_json
from htr_ssl.training import finetune, pretrain
from htr_ssl.training._profile_picture import picture
from htr_ssl.training._stopwatch import STAGES, Enough, Stopwatch

LIMIT = 0.05
"""Share of the time from which on the loader holds a training up."""
_SAMPLED = 3  # batches made again after the run to see what decoding costs

_MEANING = {
    "wait": "no batch was ready: loader and its processes",
    "decode": "reading, decoding and scaling images between the steps",
    "transfer": "batch to the device",
    "augment": "random changes of the images",
    "forward": "encoder, heads and loss",
    "backward": "gradients",
    "optimiser": "clipping, update, schedule, moving averages, loss to the CPU",
    "other": "everything else: engine, seeds of the step",
}


def run(config: PretrainConfig | FinetuneConfig, out: Path, steps: int = 40) -> dict[str, Any]:
    """Runs one step to warm up and `steps` timed ones; leaves profile.json, which it returns, and profile.png in `out`.

    Raises:
        UserError: as the training itself.
    """
    watch = Stopwatch(steps + 1)
    alone = {"devices": 1, "num_nodes": 1, "track": False}
    train = config.train.model_copy(update={"steps": steps + 1, "check_every": steps + 1, **alone})
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), suppress(Enough):
        warnings.simplefilter("ignore")  # what the data is warned of, the training itself says
        if isinstance(config, PretrainConfig):
            pretrain.run(config.model_copy(update={"train": train}), Path(folder), False, [watch])
        else:
            finetune.run(config.model_copy(update={"train": train}), Path(folder), False, [watch])
    result = _measured(watch, config.train)
    result = {
        "kind": "pretrain" if isinstance(config, PretrainConfig) else "finetune",
        "name": config.name,
        **result,
        "preparation_s": round(watch.started - started, 2),
        "settings": watch.choices,
        "environment": environment(),
        "per_step_ms": [{name: round(1000 * value, 2) for name, value in step.items()} for step in watch.steps],
    }
    write_json(out / "profile.json", result)
    write_bytes(out / "profile.png", picture(result))
    return result


def _measured(watch: Stopwatch, config: TrainConfig) -> dict[str, Any]:
    """Means over all steps but the first."""
    timed = watch.steps[1:]
    total = statistics.fmean(step["total"] for step in timed)
    loader = _loader_cost(watch.loader)
    seconds = {name: statistics.fmean(step[name] for step in timed) for name in STAGES}
    # Without loader processes the wait is the making of the batch; with them, decoding goes on beside the steps.
    inside = not loader["workers"] and loader["place"] == "source"
    decode = min(seconds["wait"], loader["decode_ms"] / 1000) if inside else 0.0
    seconds = {"wait": seconds.pop("wait") - decode, "decode": decode, **seconds}
    return {
        "steps": len(timed),
        "warm_up_ms": round(1000 * watch.steps[0]["total"], 2),
        "step_ms": round(1000 * total, 2),
        "step_ms_median": round(1000 * statistics.median(step["total"] for step in timed), 2),
        "images_per_second": round(sum(watch.images[1:]) / sum(step["total"] for step in timed), 2),
        "stages": {
            name: {"ms": round(1000 * value, 3), "share": round(value / total, 4), "meaning": _MEANING[name]}
            for name, value in seconds.items()
        },
        "loader_share": round((seconds["wait"] + decode) / total, 4),
        "loader": loader,
        "padding": round(statistics.fmean(watch.padding[1:]), 4),
        "rounding": round(statistics.fmean(watch.rounding[1:]), 4),
        **_memory(model_file.resolve_device(config.device)),
    }


def _loader_cost(loader: Any) -> dict[str, Any]:
    """What making a batch costs in one thread [ms], by making a few of the run's batches again."""
    decode = collating = 0.0
    for strips, order in parts(loader):
        for step in range(_SAMPLED):
            positions = order.batch(step)
            samples = [strips.samples[strips.rows[position]] for position in positions]
            start = time.perf_counter()
            made = [prepare(sample.load(), strips.config) for sample in samples]
            decoded = time.perf_counter()
            collate(made, positions)
            decode, collating = decode + decoded - start, collating + time.perf_counter() - decoded
    return {
        "place": loader.dataset.place,
        "images": len(loader.dataset),
        "workers": loader.num_workers,
        "decode_ms": round(1000 * decode / _SAMPLED, 2),
        "collate_ms": round(1000 * collating / _SAMPLED, 2),
    }


def _memory(device: torch.device) -> dict[str, float]:
    """Largest resident memory of this process, and largest allocation on a CUDA device [MB]."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        peak = int(lines["VmHWM"].split()[0]) / 1024
    else:
        import resource  # not on Windows

        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = used / (1 << 20) if sys.platform == "darwin" else used / 1024
    memory = {"peak_rss_mb": round(peak, 1)}
    if device.type == "cuda":
        memory["peak_device_mb"] = round(torch.cuda.max_memory_allocated(device) / (1 << 20), 1)
    return memory


def verdict(result: dict[str, Any]) -> str:
    """Whether the loader holds the training up, in one line."""
    share = result["loader_share"]
    limit = f"{100 * LIMIT:.0f} %"
    below = f"below {limit}: the loader is not the bottleneck"
    above = f"{limit} or more: the loader holds the training up"
    return f"loader: {100 * share:.1f} % of the time ({below if share < LIMIT else above})"
