"""Several processes that train one model: which of them this is, and what they tell each other.

`train.devices` × `train.num_nodes` processes take equal shares of every batch. They are started by torchrun, by SLURM
(srun), or by the engine, which runs the same command once more for every further device of its node. Up to the end of
the training all of them do the same; then all but the first leave. The first alone writes files.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch import distributed as group

from htr_ssl.config import TrainConfig
from htr_ssl.errors import UserError
from htr_ssl.layers.collective import several, share

_STARTED = (
    "LOCAL_RANK",
    "NODE_RANK",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)  # set by Lightning when it starts some
_over = threading.Event()  # a training of this process has ended and the other processes are gone


def world(config: TrainConfig) -> int:
    """Number of processes."""
    return config.devices * config.num_nodes


def rank(config: TrainConfig) -> int:
    """Number of this process, 0 = the one that writes."""
    if world(config) == 1:
        return 0
    if "RANK" in os.environ:
        return int(os.environ["RANK"])
    if "LOCAL_RANK" not in os.environ and SLURMEnvironment.detect():
        return int(os.environ["SLURM_PROCID"])
    return int(os.environ.get("NODE_RANK", 0)) * config.devices + int(os.environ.get("LOCAL_RANK", 0))


def check(config: TrainConfig, device: torch.device) -> None:
    """Refuses what cannot run.

    Raises:
        UserError: too few devices or images, one device named for several processes, or a launcher that started
            another number of processes.
    """
    count = world(config)
    if "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ["WORLD_SIZE"]) != count:
        raise UserError(
            f"torchrun started {os.environ['WORLD_SIZE']} process(es), but train.devices={config.devices} × "
            f"train.num_nodes={config.num_nodes} is {count}; make them equal"
        )
    if count == 1:
        return
    if _over.is_set() and _external():
        raise UserError(
            "torchrun and SLURM start one training: use pretrain or finetune, or start this command without them"
        )
    if device.index is not None or device.type not in ("cpu", "cuda"):
        raise UserError(f"train.device={config.device} is one device, train.devices={config.devices}; use cuda or cpu")
    if device.type == "cuda" and torch.cuda.device_count() < config.devices:
        raise UserError(f"train.devices={config.devices}, but there are {torch.cuda.device_count()} GPUs here")
    if config.batch_size < count:
        raise UserError(f"train.batch_size={config.batch_size} is less than an image for each of {count} processes")


def trainer_options(config: TrainConfig, device: torch.device, unused: bool) -> dict[str, Any]:
    """What the engine's trainer needs to know; several processes train with DDP (Li et al. 2020, arXiv 2006.15704).

    Batch norm takes its statistics over all processes on GPUs; on CPUs every process takes those of its share.

    Args:
        config: of the training.
        device: of this process, or its kind.
        unused: whether a step may leave parameters without a gradient.
    """
    if world(config) == 1:
        return {"devices": [device.index] if device.index is not None else 1}
    # Lightning would set the threads itself if this variable were not there.
    os.environ.setdefault("OMP_NUM_THREADS", str(torch.get_num_threads()))
    options: dict[str, Any] = {"strategy": DDPStrategy(find_unused_parameters=unused), "devices": config.devices}
    options |= {"num_nodes": config.num_nodes, "sync_batchnorm": device.type == "cuda"}
    if "LOCAL_RANK" not in os.environ and SLURMEnvironment.detect():
        options["plugins"] = [SLURMEnvironment(auto_requeue=False)]  # the same command goes on, without its help
    return options


def total(values: list[float]) -> list[float]:
    """Sums over all processes."""
    if not several():
        return values
    numbers = torch.tensor(values, dtype=torch.float64, device=_device())
    group.all_reduce(numbers)
    return numbers.tolist()


def scale(weight: Tensor | float) -> Tensor | float:
    """Factor of this process's loss; see `share`."""
    return share(weight, _device()) if several() else 1.0


def gathered(value: Any) -> list[Any]:
    """The value of every process, in their order."""
    if not several():
        return [value]
    values: list[Any] = [None] * group.get_world_size()
    group.all_gather_object(values, value)
    return values


def align(module: torch.nn.Module) -> None:
    """Gives all processes the first one's buffers: statistics of batch norm."""
    if several():
        for buffer in module.buffers():
            group.broadcast(buffer, 0)


class Together(Callback):
    """Checks that all processes train the same thing from the same state; a signal to any of them leaves at once."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.stopped = False

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Compares the processes.

        Raises:
            UserError: they differ.
        """
        for other, facts in enumerate(gathered(self.facts)):
            wrong = [f"{name} {facts[name]}, not {value}" for name, value in self.facts.items() if facts[name] != value]
            if wrong:
                raise UserError(f"process {other} has {'; '.join(wrong)}; all need the same data and the same --out")

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Replaces the engine's handler, which would wait for the other processes inside the signal."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._stop)

    def _stop(self, number: int, frame: Any) -> None:
        self.stopped = True
        raise KeyboardInterrupt


@contextmanager
def joined(config: TrainConfig, together: Together) -> Iterator[None]:
    """Around the training: whatever follows is done by the first process alone, the others leave here.

    Raises:
        SystemExit: in all processes but the first.
    """
    external = _external()
    try:
        yield
    except BaseException as error:
        if world(config) > 1 and (together.stopped or isinstance(error, KeyboardInterrupt)):
            # A process that is waiting for another one sees a lost connection instead of the signal.
            if rank(config):
                raise SystemExit(0) from error
            raise KeyboardInterrupt from error
        raise
    if world(config) > 1:
        last = rank(config) > 0
        if several():
            group.barrier()
            group.destroy_process_group()
        if last:
            raise SystemExit(0)
        _over.set()
        if not external:
            for name in _STARTED:
                os.environ.pop(name, None)  # so that the next training starts processes of its own


def _external() -> bool:
    return "LOCAL_RANK" in os.environ or SLURMEnvironment.detect()


def _device() -> torch.device:
    """Where the tensors of a message lie."""
    return torch.device("cuda", torch.cuda.current_device()) if group.get_backend() == "nccl" else torch.device("cpu")
