"""What a base recognizer gives on a hand it has never seen, with few lines of it transcribed.

``python benchmarks/base/few_lines.py SHARED MODEL --document WRITER… --labels 20 100 --out runs/few``

The lines of one document of the base corpus' validation or test split are mixed with a fixed seed. The first N are the
labels, the lines after the 100th are the test. The weights after the last step are scored, and their mean with the
base's; nothing is chosen. The language model is of the labels and of the base's train lines without the document.
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
from htr_ssl.config import DataConfig, TrainConfig
from htr_ssl.models import shelf
from htr_ssl.recognizers import averaging
from htr_ssl.seeds import rng

LABELS = 100  # the first lines that may be labels; all others are the test
STEPS = {20: 150, 100: 400}


def write(folder: Path, document: str, count: int, out: Path) -> Path:
    """One document as Parquet: `count` train lines, five validation lines that nothing is chosen by, and the test."""
    lines = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("base_lines-*.parquet"))])
    lines = lines.filter(pc.equal(lines["writer"], document))
    order = rng(0, "few", document).permutation(len(lines))
    chosen = [*order[:count], *order[LABELS:]]
    splits = ["train"] * count + ["validation"] * 5 + ["test"] * (len(chosen) - count - 5)
    table = lines.take(pa.array(chosen)).select(["image", "text", "writer", "page"])
    path = out / f"{document}_{count}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.append_column("split", pa.array(splits)), path)
    return path


def others(folder: Path, document: str, out: Path) -> Path:
    """Text file of the base's train lines without one document."""
    tables = [
        pq.read_table(path, columns=["text", "writer"], filters=[("split", "==", "train"), ("writer", "!=", document)])
        for path in sorted(folder.glob("base_lines-*.parquet"))
    ]
    path = out / f"{document}_others.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(pa.concat_tables(tables)["text"].to_pylist()), encoding="utf-8")
    return path


def said(score: dict[str, Any]) -> dict[str, Any]:
    """CER and WAcc with their intervals."""
    return {name: score[name] for name in ("cer", "cer_ci", "wacc", "wacc_ci")}


def main() -> None:
    """Fine-tunes and scores; prints one line of JSON a model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", help="a file, or a name such as base")
    parser.add_argument("--document", nargs="+", required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--steps", type=int, default=0, help="of every training; 0 = by the number of labels")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--head-warmup", type=float, default=0.0, help="share of the steps with a frozen encoder")
    parser.add_argument("--out", type=Path, default=Path("runs/few"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = htr_ssl.load(options.model).header["encoder"]
    for document in options.document:
        text = others(options.folder, document, options.out)
        for count in options.labels:
            data = write(options.folder, document, count, options.out)
            steps = options.steps or STEPS.get(count, 4 * count)
            start = time.perf_counter()
            run = htr_ssl.finetune(
                data=DataConfig(source=str(data)),
                encoder=encoder,
                init=options.model,
                charset="union",
                select="last",
                head_warmup=options.head_warmup,
                lm={"order": 7, "text": [str(text)]},
                train=TrainConfig(steps=steps, batch_size=16, lr=options.lr, check_every=steps, threads=1),
                out=options.out / f"{data.stem}_run",
            )
            spent = time.perf_counter() - start
            half = options.out / f"{data.stem}_half.safetensors"
            averaging.save(shelf.find(options.model), run.path, half)
            models = {"as it is": options.model, f"{count} lines": run, f"{count} lines, averaged with the base": half}
            for title, model in models.items():
                result = htr_ssl.evaluate(model, str(data), threads=1).result
                row = {"document": document, "model": title, "lines": result["n"]}
                if result.get("greedy"):
                    row |= {"greedy": said(result["greedy"]), "with LM": said(result)}
                else:
                    row |= {"greedy": said(result)}
                if model is run:
                    updates = run.summary["seconds"]
                    row |= {"seconds": round(spent), "share of the updates": round(updates / spent, 2)}
                print(json.dumps(row, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
