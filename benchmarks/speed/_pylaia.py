"""PyLaia's side of peers.py; runs in PyLaia's environment, with its own classes.

Model, optimiser, data module and engine are those that `pylaia-htr-create-model`, `pylaia-htr-train-ctc` and
`pylaia-htr-decode-ctc` put together, with their defaults; the model has a fixed input height.
"""

from __future__ import annotations

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


class Timer(pl.Callback):
    """Notes the end of every update."""

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """An update has ended."""
        self.watch.done(len(batch["id"]))


class Reads(pl.Callback):
    """Greedy decoding of every batch, timed; the first batch is warm-up."""

    def __init__(self) -> None:
        self.watch, self.decoder, self.texts = Stopwatch(), CTCGreedyDecoder(), []

    def on_test_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, *_: Any) -> None:
        """Decodes a batch."""
        self.texts += [" ".join(map(str, found)) for found in self.decoder(outputs)["hyp"]]
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


def train(job: Job) -> dict[str, Any]:
    """Times updates; no validation."""
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
    timer = Timer()
    trainer = pl.Trainer(
        max_steps=job["warmup"] + job["steps"] + 1,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        logger=False,
        checkpoint_callback=False,
        progress_bar_refresh_rate=0,
        weights_summary=None,
        callbacks=[timer],
        default_root_dir=str(folder),
    )
    trainer.fit(engine, datamodule=data)
    torch.save(model, job["model"])
    return {**timer.watch.result(job["warmup"]), "parameters": sum(p.numel() for p in model.parameters()), **memory()}


def read(job: Job) -> dict[str, Any]:
    """Times the loader, the model and greedy decoding."""
    model = torch.load(job["model"])
    images = Path(job["model"] + "_files") / "read.txt"
    images.write_text("".join(f"{path}\n" for path in lines_of(job["lines"])), encoding="utf-8")
    engine = EvaluatorModule(
        model, batch_input_fn=Compose([ItemFeeder("img"), ImageFeeder()]), batch_id_fn=ItemFeeder("id")
    )
    data = DataModule(te_img_list=str(images), img_dirs=[], batch_size=job["batch_size"], stage="test")
    reads = Reads()
    trainer = pl.Trainer(logger=False, progress_bar_refresh_rate=0, callbacks=[reads], checkpoint_callback=False)
    trainer.test(engine, datamodule=data, verbose=False)
    return {**reads.watch.result(0), "texts": reads.texts}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run({"train": train, "read": read})
