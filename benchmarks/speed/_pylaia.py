"""PyLaia's side of peers.py and equal_minutes.py; runs in PyLaia's environment, with its own classes.

Model, optimiser, data module and engine are those that `pylaia-htr-create-model`, `pylaia-htr-train-ctc` and
`pylaia-htr-decode-ctc` put together, with their defaults; the model has a fixed input height.
"""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from _job import Job, Stopwatch, lines_of, memory, run
from laia.common.arguments import CommonArgs, CreateCRNNArgs, OptimizerArgs
from laia.decoders import CTCGreedyDecoder
from laia.engine import Compose, DataModule, EvaluatorModule, HTREngineModule, ImageFeeder, ItemFeeder
from laia.scripts.htr.create_model import run as create_model
from laia.utils import SymbolsTable

SPACE = "<space>"
PATIENCE = 20
"""Passes without a lower validation CER after which its training ends: the default."""


class Timer(pl.Callback):
    """Notes the end of every update; stops after `seconds` of updates, in which validation does not count."""

    def __init__(self, seconds: float = math.inf) -> None:
        self.watch, self.seconds = Stopwatch(), seconds
        self.spent = self._mark = 0.0
        self.lines = 0

    def on_train_epoch_start(self, trainer: Any, module: Any) -> None:
        """Starts the clock of a pass."""
        self._mark = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """An update has ended."""
        now = time.perf_counter()
        self.spent, self._mark = self.spent + now - self._mark, now
        self.lines += len(batch["id"])
        self.watch.done(len(batch["id"]))
        if self.spent >= self.seconds:
            trainer.should_stop = True


class Best(pl.Callback):
    """Keeps the model with the lowest validation CER; ends the training after `PATIENCE` passes without a lower one."""

    def __init__(self, path: str) -> None:
        self.path, self.best, self.stale = path, math.inf, 0

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """A pass is over."""
        cer = float(trainer.callback_metrics["va_cer"])
        self.stale += 1
        if cer < self.best:
            self.best, self.stale = cer, 0
            torch.save(module.model, self.path)
        trainer.should_stop = trainer.should_stop or self.stale >= PATIENCE


class Reads(pl.Callback):
    """Greedy decoding of every batch, timed; the first batch is warm-up."""

    def __init__(self, symbols: SymbolsTable) -> None:
        self.watch, self.decoder, self.symbols = Stopwatch(), CTCGreedyDecoder(), symbols
        self.texts: list[str] = []

    def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Decodes a batch."""
        found = [[self.symbols[int(index)] for index in line] for line in self.decoder(outputs)["hyp"]]
        self.texts += ["".join(" " if name == SPACE else name for name in line) for line in found]
        self.watch.done(len(batch["id"]))


def table(folder: str, path: Path) -> set[str]:
    """Writes PyLaia's table of texts of a folder; returns its symbols."""
    rows, symbols = [], set()
    for image in lines_of(folder):
        text = Path(image).with_suffix(".gt.txt").read_text(encoding="utf-8").strip()
        tokens = [SPACE if letter.isspace() else letter for letter in text]
        symbols.update(tokens)
        rows.append(f"{Path(image).stem} {' '.join(tokens)}\n")
    path.write_text("".join(rows), encoding="utf-8")
    return symbols


def prepared(job: Job) -> tuple[Path, dict[str, Path]]:
    """Tables of train and validation and the list of symbols, in a folder beside the model."""
    folder = Path(job["model"] + "_files")
    folder.mkdir(parents=True, exist_ok=True)
    tables = {name: folder / f"{name}.txt" for name in ("lines", "validation")}
    symbols = set().union(*(table(job[name], path) for name, path in tables.items())) - {SPACE}
    names = ["<ctc>", SPACE, *sorted(symbols)]
    (folder / "syms.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(names)), encoding="utf-8")
    return folder, tables


def fitted(job: Job, callbacks: list[Any], **options: Any) -> Any:
    """Trains with PyLaia's defaults but for height and batch size, and returns the model."""
    pl.seed_everything(job.get("seed", 0))
    folder, tables = prepared(job)
    common = CommonArgs(train_path=str(folder))
    model = create_model(str(folder / "syms.txt"), job["height"], common=common, crnn=CreateCRNNArgs())
    symbols = SymbolsTable(str(folder / "syms.txt"))
    engine = HTREngineModule(
        model,
        [symbols[SPACE]],
        optimizer=OptimizerArgs(),
        batch_input_fn=Compose([ItemFeeder("img"), ImageFeeder()]),
        batch_target_fn=ItemFeeder("txt"),
        batch_id_fn=ItemFeeder("id"),
    )
    data = DataModule(
        syms=symbols,
        img_dirs=[job["lines"], job["validation"]],
        tr_txt_table=str(tables["lines"]),
        va_txt_table=str(tables["validation"]),
        batch_size=job["batch_size"],
        stage="fit",
    )
    trainer = pl.Trainer(
        num_sanity_val_steps=0,
        logger=False,
        checkpoint_callback=False,
        progress_bar_refresh_rate=0,
        weights_summary=None,
        callbacks=callbacks,
        default_root_dir=str(folder),
        **options,
    )
    trainer.fit(engine, datamodule=data)
    return model


def train(job: Job) -> dict[str, Any]:
    """Times updates; no validation."""
    timer = Timer()
    model = fitted(job, [timer], max_steps=job["warmup"] + job["steps"] + 1, limit_val_batches=0)
    torch.save(model, job["model"])
    return {**timer.watch.result(job["warmup"]), "parameters": sum(p.numel() for p in model.parameters()), **memory()}


def fit(job: Job) -> dict[str, Any]:
    """Trains until its patience or `seconds` of updates are over; keeps the best model."""
    timer, best = Timer(job["seconds"]), Best(job["model"])
    start = time.perf_counter()
    model = fitted(job, [timer, best], max_epochs=100000)
    return {
        "update_seconds": timer.spent,
        "wall_seconds": time.perf_counter() - start,
        "lines_seen": timer.lines,
        "validation_accuracy": 1 - best.best,
        "stopped_by_itself": timer.spent < timer.seconds,
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def read(job: Job) -> dict[str, Any]:
    """Times the loader, the model and greedy decoding."""
    model = torch.load(job["model"])
    images = Path(job["model"] + "_files") / "read.txt"
    images.write_text("".join(f"{path}\n" for path in lines_of(job["lines"])), encoding="utf-8")
    engine = EvaluatorModule(
        model, batch_input_fn=Compose([ItemFeeder("img"), ImageFeeder()]), batch_id_fn=ItemFeeder("id")
    )
    data = DataModule(te_img_list=str(images), img_dirs=[], batch_size=job["batch_size"], stage="test")
    symbols = SymbolsTable(str(Path(job["model"] + "_files") / "syms.txt"))
    reads = Reads(symbols)
    trainer = pl.Trainer(logger=False, progress_bar_refresh_rate=0, callbacks=[reads], checkpoint_callback=False)
    trainer.test(engine, datamodule=data, verbose=False)
    return {**reads.watch.result(0), "texts": reads.texts}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run({"train": train, "fit": fit, "read": read})
