"""How much the labels that choose a checkpoint are worth: ``python benchmarks/wacc/selection.py SHARED/data``.

The same supervised training with 5 % of the labels, three times: the weights after the last step (`last`), those that
all validation labels choose (`validation`), and those that as small a share of the validation labels chooses as of the
train labels (`proportional`). The test split is read once for each. A cell that is done is not run again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_args

import torch

import htr_ssl
from htr_ssl.config import DataConfig, PluginConfig, TrainConfig
from htr_ssl.config.schema import Select
from htr_ssl.files import write_json

FRACTION = 0.05
# level, steps and batch size of a cell: those of the tables (run.py)
CORPORA: dict[str, tuple[Any, int, int]] = {
    "poilus_words": ("word", 1500, 16),
    "copiste_words": ("word", 1500, 16),
    "timeus_lines": ("line", 1200, 8),
}
CHECKS = 10


def main() -> None:
    """Trains and scores; prints one line of JSON a cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the corpora's Parquet files")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/selection"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "selection.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    for seed in options.seeds:
        for corpus, (level, steps, batch) in CORPORA.items():
            for select in get_args(Select):
                key = f"{corpus} {select} {seed}"
                if key in found:
                    continue
                run = htr_ssl.finetune(
                    data=DataConfig(source=str(options.data / f"{corpus}.parquet"), level=level, height=32),
                    encoder=PluginConfig.model_validate({"name": "crnn", "preset": "small"}),
                    fraction=FRACTION,
                    seed=seed,
                    select=select,
                    train=TrainConfig(steps=steps, batch_size=batch, lr=2e-3, check_every=steps // CHECKS, threads=1),
                    out=options.out / key.replace(" ", "_"),
                )
                score = htr_ssl.evaluate(run, threads=1).result
                found[key] = {name: score[name] for name in ("cer", "cer_ci", "wacc", "wacc_ci")}
                write_json(path, found)
                print(json.dumps({key: found[key]}), flush=True)


if __name__ == "__main__":
    main()
