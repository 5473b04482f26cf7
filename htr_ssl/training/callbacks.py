"""What happens around the steps of a run: checkpoints, log and progress."""

from __future__ import annotations

import csv
import io
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from htr_ssl import model_file
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path, write_text
from htr_ssl.training import distributed
from htr_ssl.training.module import System


class Checkpoints(Callback):
    """At every check: the best weights so far, the log, then the whole state; in this order, each file atomically.

    A run killed between two of them repeats the round and writes the same files again.

    Args:
        folder: of the run.
        patience: checks without a better CER before it stops; 0 = never.
        last: keep the weights after the last step, whatever the validation says.

    Attributes:
        best: validation CER of the weights that are kept.
        stale: checks since the lowest.
        stopped: whether patience ran out.
        rows: one row of the log per check.
        readings: step, what is written and what was read of a few validation images at each check.
        choices: what the engine chose, with reasons.
        threads: CPU threads of the process.
    """

    def __init__(self, folder: Path, patience: int, last: bool = False) -> None:
        self.folder, self.patience, self.keeps_last = folder, patience, last
        self.best, self.stale, self.stopped = float("inf"), 0, False
        self.rows: list[dict[str, Any]] = []
        self.readings: list[tuple[int, str, str]] = []
        self.choices: dict[str, str] = {}
        self.threads = 1
        self._clock = _Clock()

    @property
    def last(self) -> Path:
        """The whole state."""
        return self.folder / "checkpoints" / "last.ckpt"

    @property
    def best_weights(self) -> Path:
        """Weights with the lowest validation CER, or the last ones."""
        return self.folder / "checkpoints" / "best.safetensors"

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Starts the clocks of a round, at whose end the engine validates: the last may be shorter than the first."""
        assert trainer.train_dataloader is not None
        trainer.val_check_batch = len(trainer.train_dataloader)
        self._clock = _Clock()

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        """A batch has arrived."""
        self._clock.arrived()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """A batch is done."""
        self._clock.done(len(batch.widths), float(outputs["loss"]))

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """A check."""
        assert isinstance(module, System)
        row = {
            "step": trainer.global_step,
            **self._clock.row(trainer.world_size, module.passes.taken()),
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
        }
        self._refuse_divergence(row["loss"], trainer, module)
        row |= self._terms(module) | module.checks | module.health()
        self.rows.append(row)
        better = bool(module.checks) and module.checks["val_cer"] < self.best
        if better or (self.keeps_last and trainer.global_step >= module.config.steps):
            self.best = module.checks.get("val_cer", self.best)
            if trainer.is_global_zero:
                model_file.save(self.best_weights, module.best_model().state_dict(), {"kind": "weights", **row})
        if module.checks:
            self.stale = 0 if better else self.stale + 1
            self.readings += [(trainer.global_step, *reading) for reading in module.samples]
            self.stopped = bool(self.patience) and self.stale >= self.patience
        if trainer.is_global_zero:
            self._write_log()
            with atomic_path(self.last) as temporary:
                trainer.save_checkpoint(temporary)
        else:
            trainer.save_checkpoint(self.last)  # takes part, writes nothing
        trainer.should_stop = trainer.should_stop or self.stopped

    def _refuse_divergence(self, loss: float, trainer: Trainer, module: System) -> None:
        """A network of what is no number reads nothing; the checkpoint before it stays.

        Raises:
            UserError: the loss of the round or a weight after it is no number.
        """
        if math.isfinite(loss) and all(bool(weight.isfinite().all()) for weight in module.best_model().parameters()):
            return
        before = self.rows[-1]["step"] if self.rows else 0
        raise UserError(
            f"{self.folder}: the training has diverged between steps {before} and {trainer.global_step}: its loss or "
            f"its weights are no numbers any more. Lower train.lr (now {module.config.lr:g}) and train in another "
            "folder; if that does not help, try train.precision=32"
        )

    @staticmethod
    def _terms(module: System) -> dict[str, float]:
        """Terms of the last step but the loss; of several processes the weighted mean."""
        terms = {name: float(value) for name, value in module.terms.items() if name != "loss"}
        sums = distributed.total([value * float(module.scale) for value in terms.values()])
        return {name: value / module.trainer.world_size for name, value in zip(terms, sums, strict=True)}

    def _write_log(self) -> None:
        names = list(dict.fromkeys(key for row in self.rows for key in row))
        values = [[_plain(row.get(name, "")) for name in names] for row in self.rows]
        write_text(self.folder / "metrics.csv", _csv([names, *values]))
        if self.readings:
            write_text(self.folder / "readings.csv", _csv([("step", "written", "read"), *self.readings]))

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to know."""
        return {name: getattr(self, name) for name in ("best", "stale", "stopped", "rows", "readings")}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.__dict__.update(state)


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _csv(rows: Iterable[Iterable[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


class _Clock:
    """Times of one round of steps."""

    def __init__(self) -> None:
        self.start = self.mark = time.perf_counter()
        self.waited, self.images, self.loss, self.steps = 0.0, 0, 0.0, 0

    def arrived(self) -> None:
        self.waited += time.perf_counter() - self.mark

    def done(self, images: int, loss: float) -> None:
        self.mark = time.perf_counter()
        self.images, self.loss, self.steps = self.images + images, self.loss + loss, self.steps + 1

    def row(self, world: int, passes: tuple[int, int]) -> dict[str, float]:
        """Mean loss, seconds of the steps (validation not counted), images/s, share of the time without a batch.

        Loss, images, passes through the encoder and views are those of all `world` processes, times those of this one.
        """
        seconds = max(self.mark - self.start, 1e-9)
        loss, images, every, views = distributed.total([self.loss, self.images, *passes])
        return {
            "loss": loss / world / max(self.steps, 1),
            "seconds": seconds,
            "images_per_second": images / seconds,
            "loader_share": self.waited / seconds,
            "encoder_passes": int(every),
            "views": int(views),
        }


class Bar(Callback):
    """Progress of the whole run with loss, validation CER and the time left; plain lines where there is no terminal.

    Before the first step it says what the engine chose, and why, unless an earlier training of this process has.
    """

    _said_choices: ClassVar[dict[str, str]] = {}

    def __init__(self, title: str, steps: int, choices: dict[str, str] | None = None) -> None:
        self.title, self.steps, self.choices = title, steps, choices or {}
        self.console = Console(stderr=True)
        self.live = self.console.is_terminal and sys.stderr.isatty()
        self.progress: Progress | None = None
        self._text = ""
        self._said = self._began = time.monotonic()
        self._first = 0

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Says the choices, draws the bar."""
        for name, choice in self.choices.items():
            if self._said_choices.get(name) != choice:
                self._say(f"{name} {choice}", "dim")
        self._said_choices.update(self.choices)
        self._began, self._first = time.monotonic(), trainer.global_step
        if self.live:
            columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
            self.progress = Progress(TextColumn("{task.description}"), *columns, console=self.console)
            self.progress.start()
            self._task = self.progress.add_task(self.title, total=self.steps, completed=trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves on."""
        text = f"{self.title}  loss {float(outputs['loss']):.3f}{self._text}"
        if self.progress is not None:
            self.progress.update(self._task, completed=trainer.global_step, description=text)
        elif time.monotonic() - self._said > 30:
            self._said = time.monotonic()
            done = trainer.global_step - self._first
            minutes = (self._said - self._began) / done * (self.steps - trainer.global_step) / 60
            left = f"about {minutes:.0f} min" if minutes >= 1.5 else "about a minute"
            self._say(f"{text}  step {trainer.global_step}/{self.steps}, {left} left")

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Shows the last validation and what was read."""
        assert isinstance(module, System)
        if module.checks:
            self._text = f"  validation CER {100 * module.checks['val_cer']:.1f} %"

    def _say(self, text: str, style: str | None = None) -> None:
        self.console.print(text, highlight=False, markup=False, style=style, soft_wrap=True)

    def _stop(self) -> None:
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Leaves the finished bar."""
        self._stop()

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Gives the terminal back."""
        self._stop()
