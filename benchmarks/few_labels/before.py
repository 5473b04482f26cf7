"""SimCLR on the backbone of a base recognizer *before* it is fine-tuned, for more and more updates.

``python benchmarks/few_labels/before.py DATA MODEL --updates 1000 10000 --labels 20 282 --out runs/before``

The objective learns from all train images without their texts, from MODEL's backbone; context model and head stay. The
fine-tuning is that of `question.py`, whose row `none` has no updates before. A row that is done is not run again;
`before.json` in the folder has all of them.
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
from htr_ssl import model_file
from htr_ssl.config import DataConfig, LanguageConfig, PluginConfig, TrainConfig
from htr_ssl.courses import schedule
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.files import write_json


def with_backbone(model: Path, encoder: Path, path: Path) -> Path:
    """The recognizer with the backbone of another encoder, which has no other weights."""
    header, state = model_file.read(model)
    _, backbone = model_file.read(encoder)
    missing = [name for name in backbone if name not in state]
    assert not missing, f"{encoder}: {missing} are not weights of {model}"
    model_file.save(path, state | backbone, {key: value for key, value in header.items() if key != "format"})
    return path


def main() -> None:
    """Trains and scores; prints one line of JSON a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("model", type=Path, help="recognizer that has not seen the data")
    parser.add_argument("--updates", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--lr", type=float, default=1e-3, help="of the objective")
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 282])
    parser.add_argument("--out", type=Path, default=Path("runs/before"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = DataConfig(source=options.data)
    known = len(rows_of(read_samples(data), "train", labelled=True))
    encoder = htr_ssl.load(options.model).header["encoder"]
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "before.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for updates in options.updates:
        folder = options.out / f"simclr_{updates}_{options.lr:g}"
        start = time.perf_counter()
        pretrained = htr_ssl.pretrain(
            data=data,
            encoder=encoder,
            init=str(options.model),
            method=PluginConfig(name="simclr"),
            scope="backbone",
            train=TrainConfig(steps=updates, batch_size=schedule.BATCH, lr=options.lr, check_every=1000, threads=1),
            out=folder,
        )
        spent = time.perf_counter() - start
        begun = with_backbone(options.model, pretrained.path, folder / "begun.safetensors")
        for count in options.labels:
            key = f"{count} simclr {updates} lr {options.lr:g}"
            if key in found:
                continue
            steps = schedule.first_steps(count, known=True)
            run = htr_ssl.finetune(
                data=data,
                encoder=encoder,
                init=str(begun),
                fraction=count / known,
                select="last",
                lm=LanguageConfig(),
                train=TrainConfig(steps=steps, batch_size=schedule.BATCH, lr=1e-3, check_every=steps, threads=1),
                out=folder / str(count),
            )
            score = htr_ssl.evaluate(run, split="validation", threads=1).result
            found[key] = {"updates": steps, "minutes_before": round(spent / 60, 1), **said(score)}
            write_json(path, found)
            print(json.dumps({key: found[key]}), flush=True)


if __name__ == "__main__":
    main()
