"""Times the parts of every training step through the engine's hooks; the training itself is not changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn

from htr_ssl.training.callbacks import Checkpoints
from htr_ssl.training.module import System
from htr_ssl.views.augment import TextAugment

STAGES = ("wait", "transfer", "augment", "forward", "backward", "optimiser", "other")


class Enough(Exception):
    """The wanted steps are timed; nothing after them (validation, checkpoint) is of interest."""


class Stopwatch(Callback):
    """Seconds of every step by stage, from the end of one update to the end of the next.

    On CUDA and MPS every reading of the clock waits for the device first, so that work counts where it was asked for.

    Attributes:
        steps: seconds by stage and ``total`` of each step, the first (warm-up) included.
        images: images of each step.
        padding: share of the pixels right of the images' widths in each step's batch.
        rounding: share of the pixels right of the widest image: the padded width is rounded up.
        loader: the training's loader.
        choices: what the engine chose, with reasons.
        started: `time.perf_counter` when the first batch was asked for.
    """

    def __init__(self, steps: int) -> None:
        """`steps` [updates] are timed, then `Enough` is raised."""
        self.wanted = steps
        self.steps: list[dict[str, float]] = []
        self.images: list[int] = []
        self.padding: list[float] = []
        self.rounding: list[float] = []
        self.loader: Any = None
        self.choices: dict[str, str] = {}
        self.started = 0.0
        self._device = torch.device("cpu")
        self._spent = dict.fromkeys(STAGES, 0.0)
        self._mark = self._end = self._before = 0.0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Puts the clocks around everything that has no hook of its own."""
        assert isinstance(module, System)
        self.loader, self._device = trainer.train_dataloader, module.device
        self.choices = next(one.choices for one in vars(trainer)["callbacks"] if isinstance(one, Checkpoints))
        for part in module.task.modules():
            for name, value in list(vars(part).items()):
                if isinstance(value, TextAugment):
                    setattr(part, name, _TimedAugment(value, self))
        module.task.register_forward_pre_hook(self._forward_starts)
        module.task.register_forward_hook(self._forward_ends)
        self._wrap(module, "transfer_batch_to_device", "transfer")
        self._wrap(module, "on_train_batch_end", "optimiser", self._step_ends)
        self.started = self._end = self._now()

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A batch has arrived."""
        self._spent["wait"] = self._now() - self._end - self._spent["transfer"]
        n, _, width, _ = batch.raw.shape
        self.images.append(n)
        self.padding.append(1 - int(batch.widths.sum()) / (n * width))
        self.rounding.append(1 - int(batch.widths.max()) / width)

    def on_before_zero_grad(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        """Gradients of the last step are dropped."""
        self._mark = self._now()

    def on_before_backward(self, trainer: Trainer, module: LightningModule, loss: Any) -> None:
        """Backward pass begins."""
        self._lap("optimiser")

    def on_after_backward(self, trainer: Trainer, module: LightningModule) -> None:
        """Backward pass is over."""
        self._lap("backward")

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Gradients are clipped and the weights changed; the moving average follows."""
        self._lap("optimiser")

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Counts the time inside as `stage`."""
        start = self._now()
        yield
        self._spent[stage] += self._now() - start

    def _forward_starts(self, task: nn.Module, inputs: Any) -> None:
        self._mark, self._before = self._now(), self._spent["augment"]

    def _forward_ends(self, task: nn.Module, inputs: Any, output: Any) -> None:
        self._spent["forward"] += self._now() - self._mark - (self._spent["augment"] - self._before)

    def _lap(self, stage: str) -> None:
        now = self._now()
        self._spent[stage] += now - self._mark
        self._mark = now

    def _step_ends(self) -> None:
        now = self._now()
        total = now - self._end
        self._spent["other"] = max(0.0, total - sum(self._spent.values()))
        self.steps.append(self._spent | {"total": total})
        self._spent = dict.fromkeys(STAGES, 0.0)
        if len(self.steps) >= self.wanted:
            raise Enough
        self._end = self._now()

    def _wrap(self, module: nn.Module, name: str, stage: str, after: Callable[[], None] = lambda: None) -> None:
        """Counts calls of a method of `module` as `stage`."""
        method = getattr(module, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.timed(stage):
                result = method(*arguments, **named)
            after()
            return result

        setattr(module, name, timed)

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        elif self._device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter()


class _TimedAugment:
    """An augmentation whose calls are timed; everything else is that of the augmentation."""

    def __init__(self, augment: TextAugment, watch: Stopwatch) -> None:
        self._augment, self._watch = augment, watch

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with self._watch.timed("augment"):
            return self._augment(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._augment, name)
