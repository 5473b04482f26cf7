"""The search and the language model of a finished `learn`: more beginnings of a line held, longer n-grams.

``python benchmarks/few_labels/search.py runs/learn --stage round1 --out search.json``

A stage's network reads the validation lines once; each row searches its posteriors again, with a language model made as
in `learn` from the labels, the stage's readings and the start's model. No weight is chosen here. Prints one line a row.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from htr_ssl import environment, model_file
from htr_ssl.config import DataConfig, LanguageConfig
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.data.splits import subsets
from htr_ssl.files import write_json
from htr_ssl.models import shelf
from htr_ssl.recognizers import language
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import metrics
from htr_ssl.text.beam import Decoder, Options
from htr_ssl.training import equip, pseudo

ROWS = [(7, 12, 0.99), (7, 12, 0.97), (7, 20, 0.97), (7, 32, 0.97), (7, 50, 0.97), (7, 100, 0.97), (9, 32, 0.97)]
"""Order, width of the beam, and from which probability a frame counts as blank."""


def main() -> None:
    """Searches and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("course", type=Path)
    parser.add_argument("--stage", default="round1")
    parser.add_argument("--weights", type=float, nargs=2, default=None, help="alpha and beta; None = the file's own")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    plan = json.loads((options.course / "plan.json").read_text(encoding="utf-8"))
    data, stage = DataConfig(**plan["data"]), options.course / options.stage
    model = stage / "run" / "model.safetensors"
    samples = read_samples(data)
    ids, texts = samples.column("id"), samples.column("text")
    known = set(subsets.read(model.with_name("subset.txt")))
    labels = [str(texts[row]) for row in rows_of(samples, "train", labelled=True) if ids[row] in known]
    read = list(pseudo.read(stage / pseudo.FILE).values())
    header, state = model_file.read(shelf.find(plan["init"]))
    start = language.stored(plan["init"], header, state)
    reader = Reader.load(model, "cpu", 1, lm="none")
    own = Reader.load(model, "cpu", 1).language
    strips = pseudo.readable(samples, rows_of(samples, "validation", labelled=True), data)
    assert start is not None, f"{plan['init']}: it has no language model"
    assert own is not None, f"{model}: it has no language model"
    assert strips is not None, f"{data.source}: no validation line can be read"
    scores: list[np.ndarray] = []
    for begin in range(0, len(strips), 256):
        part = range(begin, min(begin + 256, len(strips)))
        scores += reader.scores([strips.strip(place) for place in part])
    alpha, beta = options.weights or (own.options.alpha, own.options.beta)
    found: dict[str, Any] = {"hardware": environment.hardware(), "lines": len(scores), "alpha": alpha, "beta": beta}
    for order in sorted({row[0] for row in ROWS}):
        config = LanguageConfig(order=order)
        made, _ = equip.build(config, labels, [], start.model, reader.charset.visual, read, data)
        for _, width, sure in (row for row in ROWS if row[0] == order):
            decoder = Decoder(reader.charset, made, Options(alpha, beta, width, sure=sure))
            began = time.process_time()
            texts_read = [reader.charset.decode(one[0].indices) for one in decoder(scores)]
            spent = time.process_time() - began
            table = metrics.count(strips.texts(), texts_read, "line").sum(0)
            row = {"cer": table[0] / table[1], "wacc": table[4] / table[5], "ms_a_line": 1000 * spent / len(scores)}
            key = f"order {order}, width {width}, blank from {100 * sure:.0f} %"
            found[key] = {name: round(float(value), 4) for name, value in row.items()}
            print(json.dumps({key: found[key]}), flush=True)
    if options.out:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
