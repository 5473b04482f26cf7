"""What a language model gains: ``python benchmarks/language_model.py MODEL DATA.parquet… [--lines N]``.

The n-grams are those of the data's train labels; weights are chosen on validation lines, then the test lines are read
once, with and without. One thread; times are processor times.
"""

from __future__ import annotations

import argparse
import io
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from htr_ssl.recognizers import language
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import beam, ctc, kneser_ney, metrics


def lines(paths: list[Path], split: str, most: int) -> tuple[list[np.ndarray], list[str]]:
    """Gray images and texts of a split, `most` of each file."""
    images, texts = [], []
    for path in paths:
        table = pq.read_table(path, columns=["image", "text", "split"], filters=[("split", "==", split)])
        rows = np.unique(np.linspace(0, len(table) - 1, min(most, len(table))).astype(int))
        for row in table.take(rows).to_pylist():
            images.append(np.array(Image.open(io.BytesIO(row["image"]["bytes"])).convert("L")))
            texts.append(row["text"])
    return images, texts


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, nargs="+")
    parser.add_argument("--lines", type=int, default=10_000, help="most lines of each file and split")
    parser.add_argument("--order", type=int, default=7)
    parser.add_argument("--size", type=int, default=500_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    tables = [pq.read_table(path, columns=["text", "split"]).to_pydict() for path in given.data]
    labels = [text for t in tables for text, split in zip(t["text"], t["split"], strict=True) if split == "train"]
    model = kneser_ney.train(labels, given.order, given.size)
    reader = Reader.load(given.model, "cpu", lm="none")
    made = language.of(model, beam.Options(), {})
    for split in ("validation", "test"):
        images, texts = lines(given.data, split, given.lines)
        start = time.process_time()
        scores = reader.scores(reader.prepared(images))
        network = time.process_time() - start
        if split == "validation":
            made = language.tuned(made, scores, texts, reader.charset)
            print(f"{len(model.symbol) - 1} n-grams, alpha {made.options.alpha}, beta {made.options.beta}")
        paths = [ctc.greedy(torch.from_numpy(one)[:, None], torch.tensor([len(one)]))[0][0] for one in scores]
        decoder = beam.Decoder(reader.charset, model, made.options)
        start = time.process_time()
        found = [readings[0].indices for readings in decoder(scores)]
        search = time.process_time() - start
        print(f"{split}: {len(texts)} lines; lines per second: network {len(texts) / network:.0f}", end=", ")
        print(f"search {len(texts) / search:.0f}, both {len(texts) / (network + search):.0f}")
        for name, read in (("greedy", paths), ("with LM", found)):
            t = metrics.count(texts, [reader.charset.decode(one) for one in read], "line").sum(0)
            rates = (t[0] / t[1], t[2] / t[3], t[4] / t[5])
            print(
                f"  {name}: "
                + ", ".join(f"{n} {100 * r:.2f}" for n, r in zip(("CER", "WER", "WAcc"), rates, strict=True))
            )


if __name__ == "__main__":
    main()
