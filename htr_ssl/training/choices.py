"""What the engine chooses by itself, each with its reason: precision, loader processes, threads, devices."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from htr_ssl import environment
from htr_ssl.config import TrainConfig
from htr_ssl.data.loading import Place
from htr_ssl.files import write_json
from htr_ssl.measured import number
from htr_ssl.measured import threads as measured_threads

PRECISION = "precision.json"
"""File of a run with the number format that was measured to be faster."""
THREADS = "threads.json"
"""File of a run with the threads that were measured to be fastest, and where."""


def most_threads(config: TrainConfig) -> int:
    """CPU threads that each process may have; the processes of a machine share its cores."""
    on_cpu = config.device == "cpu" or not (torch.cuda.is_available() or torch.backends.mps.is_available())
    return config.threads or max(1, environment.cores() // (_sharing(config) if on_cpu else 1))


def workers(config: TrainConfig, place: Place) -> int:
    """Loader processes of each process."""
    if config.workers >= 0:
        return config.workers
    return 0 if place != "source" else max(1, (environment.cores() - 1) // _sharing(config))


def _sharing(config: TrainConfig) -> int:
    """Processes among which the cores seen here are divided; srun may have given each its own (`--cpus-per-task`)."""
    own = environment.cores() <= int(os.environ.get("SLURM_CPUS_PER_TASK") or 0) and "LOCAL_RANK" not in os.environ
    return 1 if own else config.devices


def precision(
    config: TrainConfig, device: torch.device, header: Mapping[str, Any], out: Path | None, begun: bool
) -> tuple[str, str]:
    """Number format of a run and its reason; what is measured is kept in the run's folder, for when it goes on.

    Several processes must agree and go by the processor's flags, as a run does that was begun without a measurement.

    Args:
        config: of the run.
        device: where it computes.
        header: of its encoder.
        out: the run's folder; None keeps nothing.
        begun: whether there is a checkpoint.
    """
    if config.precision != "auto":
        if config.precision == "bf16" and not environment.native_bfloat16(device):
            return "bf16", "as configured; only emulated here, which is slow: try train.precision=auto"
        return config.precision, "as configured"
    path = out / PRECISION if out else None
    if path and path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        return kept["precision"], kept["why"]
    if begun or config.devices * config.num_nodes > 1:
        native = environment.native_bfloat16(device)
        return ("bf16", "computed natively") if native else ("32", "bfloat16 is only emulated, if at all")
    chosen, why = number.choose(header, device, training=True)
    if path:
        write_json(path, {"precision": chosen, "why": why})
    return chosen, why


def threads(
    config: TrainConfig, device: torch.device, header: Mapping[str, Any], bf16: bool, out: Path | None, begun: bool
) -> tuple[int, str]:
    """CPU threads of a run and the reason; what was measured is kept, see `precision`, while the cores are the same.

    Several processes, and trainings elsewhere than on a CPU, have an equal share of the cores.
    """
    most = most_threads(config)
    if config.threads:
        return most, "as configured"
    path, where = out / THREADS if out else None, [environment.hardware(), environment.cores()]
    if device.type == "cpu" and config.devices * config.num_nodes == 1:
        kept = json.loads(path.read_text(encoding="utf-8")) if path and path.exists() else {}
        if kept.get("where") == where:
            return kept["threads"], kept["why"]
        if kept or not begun:
            chosen, why = measured_threads.choose(header, bf16, most)
            if path:
                write_json(path, {"threads": chosen, "why": why, "where": where})
            return chosen, why
    sharing = f" for {_sharing(config)} processes" if _sharing(config) > 1 else ""
    return most, f"train.threads=0: {environment.cores()} cores{sharing}"


def explained(
    config: TrainConfig, device: torch.device, place: Place, precision: tuple[str, str], threads: tuple[int, str]
) -> dict[str, str]:
    """Every choice and its reason, in words."""
    count = config.devices * config.num_nodes
    fit = {"memory": "the images fit in memory", "cache": "data.cache has the images decoded"}.get(
        place, "the images do not fit in memory"
    )
    share = f", about {config.batch_size / count:g} images of each batch per process" if count > 1 else ""
    return {
        "precision": ": ".join(precision),
        "workers": f"{workers(config, place)}: {fit if config.workers < 0 else 'as configured'}",
        "threads": f"{threads[0]}: {threads[1]}",
        "devices": f"{count} × {device.type}: train.device={config.device}, {config.devices} per machine × "
        f"{config.num_nodes}{share}",
    }
