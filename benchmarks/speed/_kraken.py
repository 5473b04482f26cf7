"""kraken's side of peers.py and equal_minutes.py; runs in kraken's environment (7.x), with its own classes.

Training is put together as `ketos train -f path` does it: VGSLRecognitionModel with the default specification, or that
of the job, and the default optimiser on its data module, in KrakenTrainer; pretraining as `ketos pretrain -r 1e-4
--warmup 0` does it, for the default rate of 1e-6 after 32,000 steps of warm-up does nothing in minutes. Reading is
`RecognitionTaskModel.predict`, as in `kraken ocr`.
"""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
from _job import Job, Stopwatch, chunks, lines_of, paced, run
from kraken.configs import (
    RecognitionInferenceConfig,
    VGSLPreTrainingConfig,
    VGSLPreTrainingDataConfig,
    VGSLRecognitionTrainingConfig,
    VGSLRecognitionTrainingDataConfig,
)
from kraken.containers import BBoxLine, Segmentation
from kraken.lib.pretrain import PretrainDataModule, RecognitionPretrainModel
from kraken.models.convert import convert_models
from kraken.tasks import RecognitionTaskModel
from kraken.train import KrakenTrainer
from kraken.train.vgsl import VGSLRecognitionDataModule, VGSLRecognitionModel
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from PIL import Image
from threadpoolctl import threadpool_limits

PAPER = 255


class Timer(Callback):
    """Notes the end of every update; stops after `seconds` of updates, in which validation does not count."""

    def __init__(self, seconds: float = math.inf) -> None:
        self.watch, self.seconds = Stopwatch(), seconds
        self.spent = self._mark = 0.0
        self.lines = 0

    def on_train_start(self, trainer: Any, module: Any) -> None:
        """Starts the clock."""
        self._mark = time.perf_counter()

    def on_validation_end(self, trainer: Any, module: Any) -> None:
        """Starts it again."""
        self._mark = time.perf_counter()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """An update has ended."""
        now = time.perf_counter()
        self.spent, self._mark = self.spent + now - self._mark, now
        self.lines += len(batch["image"])
        self.watch.done(len(batch["image"]))
        if self.spent >= self.seconds:
            trainer.should_stop = True


def fitted(job: Job, timer: Timer, callbacks: list[Callback], **options: Any) -> Any:
    """Trains with kraken's defaults but for batch size, precision, threads and loader processes."""
    lightning.seed_everything(job.get("seed", 0), workers=True)
    pretraining = job["mode"] == "pretrain"
    data_config = VGSLPreTrainingDataConfig if pretraining else VGSLRecognitionTrainingDataConfig
    data = data_config(
        training_data=lines_of(job["lines"]),
        evaluation_data=lines_of(job["validation"]),
        partition=1,
        format_type="path",
        batch_size=job["batch_size"],
        num_workers=job["workers"],
    )
    # early stopping asks for a validation, which a mere timing does not have
    settings = {"batch_size": job["batch_size"], "precision": job["precision"]}
    settings["quit"] = "early" if job["mode"] == "fit" else "fixed"
    if job.get("spec"):
        settings["spec"] = job["spec"]
    if pretraining:
        config = VGSLPreTrainingConfig(**settings, lrate=1e-4, warmup=0)
    else:
        config = VGSLRecognitionTrainingConfig(**settings, resize="new" if job.get("load") else "fail")
    trainer = KrakenTrainer(
        accelerator="cpu",
        devices=1,
        precision=job["precision"],
        min_epochs=0,
        enable_progress_bar=False,
        enable_summary=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=config.gradient_clip_val,
        callbacks=[timer, *callbacks],
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        **options,
    )
    with trainer.init_module(empty_init=not job.get("load")):
        kind = RecognitionPretrainModel if pretraining else VGSLRecognitionModel
        module = kind.load_from_weights(job["load"], config) if job.get("load") else kind(config)
    with threadpool_limits(limits=job["threads"]):
        trainer.fit(module, (PretrainDataModule if pretraining else VGSLRecognitionDataModule)(data))
    return module


def train(job: Job) -> dict[str, Any]:
    """Times updates; no validation."""
    timer = Timer()
    steps = job["warmup"] + job["steps"] + 1
    module = fitted(job, timer, [], max_epochs=-1, max_steps=steps, limit_val_batches=0)
    module.trainer.save_checkpoint(job["model"] + ".ckpt")
    convert_models([job["model"] + ".ckpt"], job["model"], weights_format="safetensors")
    return {**timer.watch.result(job["warmup"]), "parameters": sum(p.numel() for p in module.net.parameters())}


def fit(job: Job) -> dict[str, Any]:
    """Trains for `seconds` of updates, checks about `checks` times, converts the best checkpoint."""
    keeper = ModelCheckpoint(
        dirpath=job["folder"],
        save_top_k=1,
        monitor="val_metric",
        mode="max",
        auto_insert_metric_name=False,
        filename="checkpoint_{epoch:02d}-{val_metric:.4f}",
    )
    timer = Timer(job["seconds"])
    freq = job["freq"]
    often = {"check_val_every_n_epoch": int(freq)} if freq > 1 else {"val_check_interval": freq}
    start = time.perf_counter()
    fitted(job, timer, [keeper], max_epochs=-1, **often)
    wall = time.perf_counter() - start
    convert_models([keeper.best_model_path], job["model"], weights_format="safetensors")
    return {
        "update_seconds": timer.spent,
        "wall_seconds": wall,
        "lines_seen": timer.lines,
        "validation_accuracy": float(keeper.best_model_score),
        "checkpoint": Path(keeper.best_model_path).name,
        "stopped_by_itself": timer.spent < job["seconds"],
    }


def pretrain(job: Job) -> dict[str, Any]:
    """Contrastive pretraining on the images of a folder for `seconds` of updates; keeps the last weights."""
    timer = Timer(job["seconds"])
    module = fitted(job, timer, [], max_epochs=-1, limit_val_batches=0)
    module.trainer.save_checkpoint(job["model"] + ".ckpt")
    convert_models([job["model"] + ".ckpt"], job["model"], weights_format="safetensors")
    return {"update_seconds": timer.spent, "lines_seen": timer.lines}


def sheet(paths: list[str]) -> tuple[Image.Image, Segmentation]:
    """Line images one below the other, and their boxes."""
    images = [Image.open(path).convert("L") for path in paths]
    page = Image.new("L", (max(i.width for i in images), sum(i.height for i in images)), PAPER)
    lines, top = [], 0
    for image in images:
        page.paste(image, (0, top))
        lines.append(BBoxLine(id=f"l{top}", bbox=(0, top, image.width, top + image.height)))
        top += image.height
    return page, Segmentation(
        type="bbox", imagename=paths[0], text_direction="horizontal-lr", script_detection=False, lines=lines
    )


def read(job: Job) -> dict[str, Any]:
    """Times opening of the files and `predict`, `batch_size` lines to one image as kraken batches within an image."""
    model = RecognitionTaskModel.load_model(job["model"])
    config = RecognitionInferenceConfig(
        precision=job["precision"],
        accelerator="cpu",
        device=1,
        batch_size=job["batch_size"],
        num_threads=job["threads"],
        num_line_workers=job.get("line_workers", 2),
    )

    def texts(paths: list[str]) -> list[str]:
        page, segmentation = sheet(paths)
        return [record.prediction for record in model.predict(im=page, segmentation=segmentation, config=config)]

    with threadpool_limits(limits=job["threads"]):
        speed, found = paced(chunks(lines_of(job["lines"]), job["batch_size"]), texts)
    return {**speed, "texts": found}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    run({"train": train, "pretrain": pretrain, "fit": fit, "read": read})
