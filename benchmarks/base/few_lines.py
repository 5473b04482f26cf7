"""What a base recognizer gives on a hand it has never seen, with few lines of it transcribed.

``python benchmarks/base/few_lines.py SHARED MODEL --document WRITER --labels 20 100 --out runs/few``

The lines of one document of the base corpus' validation or test split are mixed with a fixed seed. The first N are the
labels, the lines after the 100th are the test. The weights after the last step are scored; nothing is chosen.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

import htr_ssl
from htr_ssl.config import DataConfig, TrainConfig
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


def main() -> None:
    """Fine-tunes and scores; prints one line a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model")
    parser.add_argument("--document", required=True)
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--out", type=Path, default=Path("runs/few"))
    options = parser.parse_args()
    for count in options.labels:
        data = write(options.folder, options.document, count, options.out)
        steps = STEPS.get(count, 4 * count)
        train = TrainConfig(steps=steps, batch_size=16, lr=1e-3, check_every=steps, threads=1)
        run = htr_ssl.finetune(
            data=DataConfig(source=str(data)),
            encoder={"name": "crnn", "preset": "medium"},
            init=options.model,
            charset="union",
            train=train,
            out=options.out / f"{data.stem}_run",
        )
        for title, model in (("as it is", options.model), (f"{count} lines", run)):
            score = htr_ssl.evaluate(model, str(data))
            print(json.dumps({"document": options.document, "model": title, "cer": score.cer, "wacc": score.wacc}))


if __name__ == "__main__":
    main()
