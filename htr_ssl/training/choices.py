"""What the engine chooses by itself, each with its reason: precision, loader processes, threads, devices."""

from __future__ import annotations

import os

import torch

from htr_ssl import environment
from htr_ssl.config import TrainConfig
from htr_ssl.data.loading import Place


def threads(config: TrainConfig) -> int:
    """CPU threads of each process; the processes of a machine share its cores."""
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


def explained(config: TrainConfig, device: torch.device, place: Place) -> dict[str, str]:
    """Every choice and its reason, in words."""
    count = config.devices * config.num_nodes
    number = "bf16" if environment.precision(config.precision, device) == "bf16-mixed" else "32"
    sharing = f" for {_sharing(config)} processes" if _sharing(config) > 1 else ""
    shared = f"train.threads=0: {environment.cores()} cores{sharing}"
    fit = {"memory": "the images fit in memory", "cache": "data.cache has the images decoded"}.get(
        place, "the images do not fit in memory"
    )
    share = f", about {config.batch_size / count:g} images of each batch per process" if count > 1 else ""
    return {
        "precision": f"{number}: {_why(device) if config.precision == 'auto' else 'as configured'}",
        "workers": f"{workers(config, place)}: {fit if config.workers < 0 else 'as configured'}",
        "threads": f"{torch.get_num_threads()}: {'as configured' if config.threads else shared}",
        "devices": f"{count} × {device.type}: train.device={config.device}, {config.devices} per machine × "
        f"{config.num_nodes}{share}",
    }


def _why(device: torch.device) -> str:
    """Reason of the number format on a device."""
    name = {"cuda": "the GPU", "cpu": "the CPU"}.get(device.type, device.type)
    if not environment.native_bfloat16(device):
        return f"{name} computes bfloat16 only emulated, if at all"
    return f"{name} computes it natively" + (f" ({', '.join(environment.bfloat16())})" if device.type == "cpu" else "")
