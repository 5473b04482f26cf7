"""Rounds of self-training that go on from the weights that have read, beside a round that starts from the base.

``python benchmarks/few_labels/going_on.py DATA MODEL --labels 282 --updates 900 --out runs/going_on``

All have the same labels; the first two rounds have the same readings too. Each is scored on the validation split after
its last step. What is done is not done again; `going_on.json` in the folder has all of it.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from question import said

import htr_ssl
from htr_ssl.config import DataConfig, FinetuneConfig, LanguageConfig, Pseudo, TrainConfig
from htr_ssl.courses import schedule
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.files import write_json
from htr_ssl.training import finetune, pseudo

READ = Pseudo(keep=schedule.KEEP, width_groups=schedule.WIDTH_GROUPS, parts=schedule.PARTS)


class Trainings:
    """Trainings in one folder, each scored once."""

    def __init__(self, config: FinetuneConfig, out: Path) -> None:
        self.config, self.out, self.path = config, out, out / "going_on.json"
        self.found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8")) if self.path.exists() else {}

    def run(self, name: str, steps: int, **changes: Path) -> Path:
        """A fine-tuning with some files in the configuration; the recognizer's file."""
        begin = time.perf_counter()
        train = self.config.train.model_copy(update={"steps": steps, "check_every": steps})
        files = {key: str(path) for key, path in changes.items()}
        model = finetune.run(self.config.model_copy(update={"train": train, **files}), self.out / name)
        spent = time.perf_counter() - begin
        if name not in self.found:
            score = htr_ssl.evaluate(model, split="validation", threads=1).result
            self.found[name] = {"updates": steps, "minutes": round(spent / 60, 1), **said(score)}
            write_json(self.path, self.found)
            print(json.dumps({name: self.found[name]}), flush=True)
        return model

    def read(self, name: str, model: Path) -> Path:
        """What a model reads in the lines without a text."""
        return pseudo.make(model, self.config, READ, self.out / name)


def main() -> None:
    """Trains and scores; prints one line of JSON a training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("model", help="recognizer that has not seen the data")
    parser.add_argument("--labels", type=int, default=282)
    parser.add_argument("--updates", type=int, default=900, help="of each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/going_on"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = DataConfig(source=options.data)
    known = len(rows_of(read_samples(data), "train", labelled=True))
    train = TrainConfig(batch_size=schedule.BATCH, lr=1e-3, threads=1)
    config = FinetuneConfig(
        data=data, init=options.model, fraction=options.labels / known, select="last", lm=LanguageConfig(), train=train
    )
    options.out.mkdir(parents=True, exist_ok=True)
    trainings = Trainings(config, options.out)
    reader = trainings.run("first", schedule.first_steps(options.labels, known=True))
    readings = trainings.read("read1", reader)
    trainings.run("from_the_base", options.updates, pseudo=readings)
    for number in range(1, options.rounds + 1):
        readings = trainings.read(f"read{number}", reader)
        reader = trainings.run(f"round{number}", options.updates, pseudo=readings, continue_from=reader)


if __name__ == "__main__":
    main()
