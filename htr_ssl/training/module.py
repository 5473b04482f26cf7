"""Adapters between our tasks and the training engine: the only LightningModule of the project.

A task is an ``nn.Module`` whose forward takes (batch, generator) and returns a dict of scalars with ``loss``. What the
loss was divided by may be there as ``weight``: the shares of several processes are weighted with it. Without, they are
weighted with their number of images.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from torch import Generator, Tensor, nn
from torch.optim.swa_utils import AveragedModel

from htr_ssl.config import TrainConfig
from htr_ssl.data.batch import Batch
from htr_ssl.layers.passes import Passes
from htr_ssl.objective import Objective
from htr_ssl.recognizers.probe import ProbeRecognizer
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.seeds import derive
from htr_ssl.text import ctc
from htr_ssl.text.charset import Charset, normalise
from htr_ssl.text.metrics import count
from htr_ssl.training import distributed
from htr_ssl.training.collapse import Monitor
from htr_ssl.training.optim import optimiser, schedule
from htr_ssl.views.augment import TextAugment


class Unlabelled(nn.Module):
    """Task of pretraining: a method on the images of a batch.

    Attributes:
        unused: whether a step may leave parameters without a gradient; a method may.
    """

    unused = True

    def __init__(self, method: Objective) -> None:
        super().__init__()
        self.model = method

    def forward(self, batch: Batch, generator: Generator, progress: float) -> dict[str, Tensor | float]:
        """Terms of the method's loss."""
        return dict(self.model(batch.images(), generator))


class Labelled(nn.Module):
    """Task of fine-tuning: augmentation, recognizer, CTC.

    Attributes:
        unused: whether a step may leave parameters without a gradient; a frozen encoder has none.
    """

    def __init__(self, recognizer: Recognizer | ProbeRecognizer, augment: TextAugment, head_warmup: float) -> None:
        super().__init__()
        self.model = recognizer
        self.augment = augment
        self.head_warmup = head_warmup
        self.unused = head_warmup > 0

    def forward(self, batch: Batch, generator: Generator, progress: float) -> dict[str, Tensor | float]:
        """Terms of the recognizer's loss; while `progress` is below the head's warm-up, only the heads learn."""
        images = self.augment(batch.images(), generator)
        terms = self.model.loss(images, batch, freeze_encoder=progress < self.head_warmup)
        return {"weight": batch.target_lengths.sum(), **terms}


class JointTask(nn.Module):
    """Task of fine-tuning with an objective beside it: CTC on the labelled images, a method on the unlabelled ones.

    The recognizer and the method share the encoder; the recognizer alone is validated and saved.

    Attributes:
        unused: a method may leave parameters without a gradient.
    """

    unused = True

    def __init__(self, labelled: Labelled, method: Objective, weight: float) -> None:
        super().__init__()
        self.labelled, self.method, self.weight = labelled, method, weight

    @property
    def model(self) -> Recognizer | ProbeRecognizer:
        """The recognizer."""
        return self.labelled.model

    def forward(self, batch: Batch, generator: Generator, progress: float) -> dict[str, Tensor | float]:
        """The sum of both losses; the method's terms are named method.TERM.

        With several processes each one scales both losses by its share of the joined batch.
        """
        assert batch.beside is not None
        unlabelled = batch.beside.images()
        terms, others = self.labelled(batch, generator, progress), dict(self.method(unlabelled, generator))
        own = distributed.scale(terms.pop("weight"))
        other = distributed.scale(others.pop("weight", len(unlabelled.widths)))
        loss = own * terms.pop("loss") + self.weight * other * others["loss"]
        found = {name: own * torch.as_tensor(value).detach() for name, value in terms.items()}
        found |= {f"method.{name}": other * torch.as_tensor(value).detach() for name, value in others.items()}
        return {"loss": loss, "weight": 1.0, **found}


class System(LightningModule):
    """Runs a task: seeds, optimiser, moving average, validation of recognizers.

    Attributes:
        terms: the last step's scalars.
        scale: factor of the last step's loss, 1 if there is one process.
        checks: scores of the last validation.
        samples: written and read of a few validation images.
        monitor: measures the encoder at every check of a pretraining.
        passes: counts the images that go through the encoder.
    """

    def __init__(self, task: Unlabelled | Labelled | JointTask, config: TrainConfig, seed: int) -> None:
        super().__init__()
        self.task, self.config, self.seed = task, config, seed
        self.average = AveragedModel(task.model, multi_avg_fn=self._average) if config.ema else None
        if self.average is not None:
            self.average.requires_grad_(False)
        self.terms: dict[str, Tensor | float] = {}
        self.scale: Tensor | float = 1.0
        self.checks: dict[str, float] = {}
        self.samples: list[tuple[str, str]] = []
        self._read: dict[int, str] = {}
        self.monitor: Monitor | None = None
        self._collapsed = 0  # checks in a row
        self.charset: Charset | None = None
        self.references: Sequence[str] = ()
        self.passes = Passes(task, (task.method if isinstance(task, JointTask) else task.model).encoder)

    def best_model(self) -> Objective | Recognizer | ProbeRecognizer:
        """What is validated and saved: the moving average, or the model itself."""
        model = self.task.model if self.average is None else self.average.module
        return cast(Objective | Recognizer | ProbeRecognizer, model)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Loss of one update. Its random numbers depend on seed and step only, also in a resumed run.

        Each of several processes draws its own numbers and scales its loss by its share of the batch.
        """
        place = (self.global_step, self.global_rank) if self.global_rank else (self.global_step,)
        torch.manual_seed(derive(self.seed, "dropout", *place))
        generator = Generator().manual_seed(derive(self.seed, "augment", *place))
        self.passes.start()
        self.terms = self.task(batch, generator, self.global_step / self.config.steps)
        self.passes.stop(len(batch.widths) + (len(batch.beside.widths) if batch.beside else 0))
        self.scale = distributed.scale(self.terms.pop("weight", len(batch.widths)))
        loss = self.terms["loss"]
        assert isinstance(loss, Tensor)
        return loss * self.scale if isinstance(self.scale, Tensor) else loss

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        """An update, then the moving averages: part of the step, not of the wait for the next batch."""
        super().optimizer_step(*arguments, **options)
        learner = self.task.method if isinstance(self.task, JointTask) else self.task.model
        after_step = getattr(learner, "after_step", None)
        if after_step is not None:
            after_step((self.global_step + 1) / self.config.steps)  # the engine counts this step later
        if self.average is not None:
            self.average.update_parameters(self.task.model)

    def _average(self, averaged: Any, current: Any, count: Tensor | int) -> None:
        """averaged <- decay * averaged + (1 - decay) * current; the decay rises from 0.1 at the start."""
        decay = min(self.config.ema, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def on_validation_epoch_start(self) -> None:
        """Forgets the last validation."""
        self.best_model().eval()
        distributed.align(self)
        self._read.clear()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Reads one batch."""
        assert self.charset is not None
        images = batch.images()
        logits, lengths = cast(Recognizer | ProbeRecognizer, self.best_model())(images.pixels, images.widths)
        for position, (indices, _) in zip(batch.indices.tolist(), ctc.greedy(logits, lengths), strict=True):
            self._read[position] = self.charset.decode(indices)

    def on_validation_epoch_end(self) -> None:
        """Corpus CER, exact matches, and some readings, of all processes."""
        for other in distributed.gathered(self._read):
            self._read |= other
        places = sorted(self._read)
        read = [normalise(self._read[place]) for place in places]
        edits, characters, _, _, exact, _ = count([self.references[i] for i in places], read, "word").sum(0).tolist()
        self.checks = {
            "val_cer": edits / max(characters, 1),
            "val_exact": exact / len(read),
            "val_empty": sum(not text for text in read) / len(read),
        }
        chosen = sorted(self._read)[:: max(1, len(self._read) // 5)][:5]
        self.samples = [(self.references[i], self._read[i]) for i in chosen]
        self.log("val_cer", torch.tensor(self.checks["val_cer"]))
        self.best_model().train()

    def health(self) -> dict[str, float]:
        """Measures of the encoder, if there is a monitor; a collapse is warned of at its second check."""
        if self.monitor is None:
            return {}
        found = self.monitor(self.best_model().encoder)
        wrong = self.monitor.verdict(found)
        self._collapsed = self._collapsed + 1 if wrong else 0
        if self._collapsed == 2:
            warnings.warn(
                f"step {self.global_step}: the encoder has collapsed: {wrong}; what it learns from here on is worth "
                "little. Stop it, and try a lower train.lr, stronger views or another method (docs/methods.md)",
                stacklevel=2,
            )
        return found

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: str | None = None
    ) -> None:
        """Scales the gradients to the norm `train.clip`; the engine's own clipping refuses fused optimisers."""
        nn.utils.clip_grad_norm_(self.task.parameters(), self.config.clip)

    def configure_optimizers(self) -> Any:
        """The optimiser with warm-up and cosine."""
        chosen = optimiser(self.task, self.config)
        return {"optimizer": chosen, "lr_scheduler": {"scheduler": schedule(chosen, self.config), "interval": "step"}}
