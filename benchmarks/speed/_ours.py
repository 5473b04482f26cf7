"""Our side of peers.py: fine-tunes or reads the lines of a folder through the public interface."""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from _job import Job, Stopwatch, chunks, lines_of, paced, run
from lightning.pytorch import Callback

from htr_ssl.config import DataConfig, FinetuneConfig, TrainConfig
from htr_ssl.data.images import decode
from htr_ssl.recognizers.reader import Reader
from htr_ssl.training import finetune


class Timer(Callback):
    """Notes the end of every update."""

    def __init__(self) -> None:
        self.watch = Stopwatch()

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """An update has ended."""
        self.watch.done(len(batch.widths))


def train(job: Job) -> dict[str, Any]:
    """Times updates of `finetune.run` with augmentation; the lines are decoded before the first of them."""
    steps = job["warmup"] + job["steps"] + 1
    config = FinetuneConfig(
        data=DataConfig(source=job["lines"], level="line", height=job["height"], test=0, validation=0.1),
        train=TrainConfig(
            steps=steps,
            batch_size=job["batch_size"],
            lr=2e-3,
            check_every=steps,
            threads=job["threads"],
            precision=job["precision"],
            optimiser=job.get("optimiser", "muon"),
        ),
    )
    timer = Timer()
    with tempfile.TemporaryDirectory() as folder:
        path = finetune.run(config, Path(folder), progress=False, callbacks=[timer])
        Path(job["model"]).write_bytes(path.read_bytes())
        chosen = json.loads((path.parent / "summary.json").read_text())["choices"]["precision"]
    reader = Reader.load(Path(job["model"]))
    size = sum(parameter.numel() for parameter in reader.recognizer.parameters())
    return {**timer.watch.result(job["warmup"]), "parameters": size, "precision": chosen.partition(":")[0]}


def read(job: Job) -> dict[str, Any]:
    """Times decoding of the files and `Reader.read`; 64 files are handed over at once."""
    reader = Reader.load(Path(job["model"]), threads=job["threads"])

    def texts(paths: list[str]) -> list[str]:
        return [text for text, _ in reader.read([decode(Path(path), path) for path in paths])]

    speed, found = paced(chunks(lines_of(job["lines"]), 64), texts)
    return {**speed, "texts": found}


if __name__ == "__main__":
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    run({"train": train, "read": read})
