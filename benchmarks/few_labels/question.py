"""What self-supervision adds on top of a base recognizer: objectives on the unlabelled lines beside CTC.

``python benchmarks/few_labels/question.py DATA MODEL --labels 20 282 --seeds 0 --out runs/question``

Every row starts from MODEL with its head, has the same labels, rate and updates, and is scored on the validation split
after its last step. `matched` is supervised for as many passes through the encoder as `simclr` needs. A row that is
done is not run again; `question.json` in the folder has all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

import htr_ssl
from htr_ssl.config import DataConfig, Joint, LanguageConfig, PluginConfig, TrainConfig
from htr_ssl.courses import schedule
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.files import write_json

ROWS: dict[str, tuple[str, str, int]] = {
    # objective, part of the encoder that it trains, passes per labelled image
    "none": ("", "", 1),
    "matched": ("", "", 3),
    "simclr": ("simclr", "backbone", 3),
    "vicreg": ("vicreg", "backbone", 3),
    "barlow_twins": ("barlow_twins", "backbone", 3),
    "rotation": ("rotation", "encoder", 2),
    "masked_image": ("masked_image", "encoder", 2),
}


def said(score: dict[str, Any]) -> dict[str, Any]:
    """CER and WAcc, with and without the language model."""
    kept = {name: score[name] for name in ("cer", "cer_ci", "wacc", "wacc_ci")}
    return {"greedy": {name: score["greedy"][name] for name in ("cer", "wacc")}, "with_lm": kept}


def main() -> None:
    """Trains and scores; prints one line of JSON a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("model", help="recognizer that has not seen the data")
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 282])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--level", default="line", choices=["line", "word"])
    parser.add_argument("--rows", nargs="+", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--out", type=Path, default=Path("runs/question"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = DataConfig(source=options.data, level=options.level)
    known = len(rows_of(read_samples(data), "train", labelled=True))
    encoder = htr_ssl.load(options.model).header["encoder"]
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "question.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for seed in options.seeds:
        for count in options.labels:
            for name in options.rows:
                key = f"{count} {name} {seed}"
                if key in found:
                    continue
                objective, scope, passes = ROWS[name]
                steps = schedule.first_steps(count, known=True) * (passes if not objective else 1)
                joint = None
                if objective:
                    joint = Joint(method=PluginConfig(name=objective), scope=scope, batch_size=schedule.BATCH)
                start = time.perf_counter()
                run = htr_ssl.finetune(
                    data=data,
                    encoder=encoder,
                    init=options.model,
                    fraction=count / known,
                    seed=seed,
                    select="last",
                    joint=joint,
                    lm=LanguageConfig(),
                    train=TrainConfig(steps=steps, batch_size=schedule.BATCH, lr=1e-3, check_every=steps, threads=1),
                    out=options.out / key.replace(" ", "_"),
                )
                spent = time.perf_counter() - start
                score = htr_ssl.evaluate(run, split="validation", threads=1).result
                found[key] = {"updates": steps, "minutes": round(spent / 60, 1), **said(score)}
                write_json(path, found)
                print(json.dumps({key: found[key]}), flush=True)


if __name__ == "__main__":
    main()
