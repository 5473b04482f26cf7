"""Starts of a base recognizer, compared for the same compute before a long training.

``python benchmarks/base/starts.py data/base_unseen.parquet --out runs/starts``

Every row ends with a training on the labelled lines of many hands. `nothing` has UPDATES of them and no start; the rows
of objectives and of synthetic handwriting have UPDATES after a start of as many encoder passes as EXTRA updates;
`nothing, matched` has UPDATES + EXTRA. In `synthetic mixed` a third of the lines of UPDATES + EXTRA are synthetic. The
score is that of the weights after the last step on the validation lines, which are of documents that no row has seen.
A row that is done is not run again; `starts.json` in the folder has all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch

import htr_ssl
from htr_ssl.config import AugmentConfig, DataConfig, PluginConfig, TrainConfig
from htr_ssl.data import synthetic
from htr_ssl.files import write_json

UPDATES, EXTRA, BATCH = 1400, 700, 16
ENCODER = PluginConfig.model_validate({"name": "crnn", "preset": "medium"})
AUGMENT = AugmentConfig(  # that of configs/base.yaml
    slant=0.35,
    stretch=0.25,
    scale=0.15,
    shift=0.08,
    elastic=0.035,
    perspective=0.03,
    contrast=0.3,
    fading=0.2,
    blur=0.4,
    bleed=0.1,
    texture=0.1,
    noise=0.03,
)
OBJECTIVES: dict[str, tuple[str, int]] = {  # part of the encoder that it trains, passes per image
    "simclr": ("backbone", 2),
    "vicreg": ("backbone", 2),
    "masked_image": ("encoder", 1),
}
ROWS = ["nothing", "nothing, matched", "synthetic before", "synthetic mixed", *OBJECTIVES]


def recipe(steps: int, lr: float = 1.5e-3) -> TrainConfig:
    """Training of one stage; the weights after its last step count."""
    return TrainConfig(steps=steps, batch_size=BATCH, lr=lr, check_every=steps, warmup=0.05, threads=1)


def written(data: Path, out: Path) -> tuple[Path, Path]:
    """Synthetic lines that write like the train texts, alone, and with two real lines for each of them."""
    alone, mixed = out / "synthetic.parquet", out / "mixed.parquet"
    if mixed.exists():
        return alone, mixed
    real = pq.read_table(data, columns=["image", "text", "writer", "page", "split"])
    train = real.filter(pc.equal(real["split"], "train"))
    plan = synthetic.Config(samples=train.num_rows // 2, hands=700, characters=(15, 60))
    lines = synthetic.samples(plan, "line", 0, texts=train["text"].drop_null().to_pylist())
    synthetic.write_parquet(lines, alone)
    extra = pq.read_table(alone).select(real.column_names)
    extra = extra.set_column(4, "split", pa.array(["train"] * extra.num_rows))
    pq.write_table(pa.concat_tables([real, extra], promote_options="permissive"), mixed, row_group_size=500)
    return alone, mixed


def train(row: str, data: Path, out: Path) -> htr_ssl.Finetuned:
    """Both stages of a row."""
    stages = out / row.replace(", ", "_").replace(" ", "_")
    lines, steps = DataConfig(source=str(data), max_width=2000), UPDATES
    start: htr_ssl.Finetuned | htr_ssl.Pretrained | None = None
    if row == "nothing, matched":
        steps += EXTRA
    elif row == "synthetic mixed":
        lines = lines.model_copy(update={"source": str(written(data, out)[1])})
        steps += EXTRA
    elif row == "synthetic before":
        before = DataConfig(source=str(written(data, out)[0]))
        start = htr_ssl.finetune(
            data=before, encoder=ENCODER, augment=AUGMENT, select="last", train=recipe(EXTRA), out=stages / "start"
        )
    elif row in OBJECTIVES:
        scope, passes = OBJECTIVES[row]
        start = htr_ssl.pretrain(
            data=lines,
            encoder=ENCODER,
            method=PluginConfig(name=row),
            scope=scope,
            train=recipe(EXTRA // passes, 1e-3),
            out=stages / "start",
        )
    return htr_ssl.finetune(
        data=lines,
        encoder=ENCODER,
        init=None if start is None else str(start.path),
        augment=AUGMENT,
        select="last",
        train=recipe(steps),
        out=stages / "training",
    )


def main() -> None:
    """Trains and scores; prints one line of JSON a row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="lines of many hands (scripts/base_data.py)")
    parser.add_argument("--out", type=Path, default=Path("runs/starts"))
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "starts.json"
    for row in options.rows:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if row in found:
            continue
        spent = time.process_time()
        run = train(row, options.data, options.out)
        spent = time.process_time() - spent
        score = htr_ssl.evaluate(run, data=DataConfig(source=str(options.data)), split="validation", threads=1).result
        found[row] = {"minutes_of_a_core": round(spent / 60, 1), **{k: score[k] for k in ("cer", "cer_ci", "wacc")}}
        write_json(path, found)
        print(json.dumps({row: found[row]}), flush=True)


if __name__ == "__main__":
    main()
