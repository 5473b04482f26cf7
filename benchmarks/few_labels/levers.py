"""Levers of CTC with few labels: changes of the loss or of the batches, each alone, beside the usual training.

``python benchmarks/few_labels/levers.py DATA BASE --starts base nothing --seeds 0 1 2 --out runs/levers``

All rows of a start have the same labels, rate and updates; each is scored on the validation split with the weights
after its last step. A row that is done is not run again; `levers.json` in the folder has all of them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from question import said
from torch import Generator, Tensor, nn
from torch.nn import functional

import htr_ssl
from htr_ssl.config import DataConfig, FinetuneConfig, LanguageConfig, PluginConfig, TrainConfig
from htr_ssl.courses import schedule
from htr_ssl.data import synthetic
from htr_ssl.data.batch import Batch, Images, padded
from htr_ssl.data.loading import Strips, collate, read_samples, rows_of
from htr_ssl.files import write_json
from htr_ssl.layers.frames import valid
from htr_ssl.recognizers.reader import Reader
from htr_ssl.recognizers.recognizer import SHORTCUT, Recognizer, padded_targets
from htr_ssl.recognizers.stackmix import stackmix, to_mix
from htr_ssl.text import ctc
from htr_ssl.training import finetune
from htr_ssl.training.module import Labelled

CONSISTENCY = 0.2
"""Weight of the views' agreement beside CTC, as in arXiv 2410.05101."""
DISTILLATION = 0.1
"""Weight of the framewise loss beside CTC."""
BIGRAMS = 2
"""A pair of characters that stands in the labels so often has a class of its own."""
MIXED = 2000
"""Lines that are mixed with the labelled ones."""
AVERAGE = 0.98
"""Decay of the moving average of the weights: about the last fifty updates."""


class Changed(Labelled):
    """The usual task, with a term of its own (`extra`) and, if need be, other images (`seen`)."""

    def __init__(self, usual: Labelled, train: Strips) -> None:
        assert isinstance(usual.model, Recognizer)
        super().__init__(usual.model, usual.augment, 0.0)

    def seen(self, batch: Batch, generator: Generator) -> tuple[Images, Batch]:
        """Changed copies of the images, and the batch with their labels."""
        return self.augment(batch.images(), generator), batch

    def extra(self, logits: Tensor, features: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """Further loss, [nats per character]; logits (T, N, K), the encoder's features (N, T, D)."""
        raise NotImplementedError

    def forward(self, batch: Batch, generator: Generator, progress: float) -> dict[str, Tensor | float]:
        """As `Recognizer.loss`, plus the term."""
        images, batch = self.seen(batch, generator)
        encoder = self.model.encoder
        short = encoder.backbone(images.pixels, images.widths)
        frames = encoder.context(short)
        logits = self.model.head(frames.features).transpose(0, 1)
        n = len(batch.target_lengths)  # images behind these have no label
        targets = padded_targets(batch.targets, batch.target_lengths)
        loss, _ = ctc.loss(logits[:, :n], frames.lengths[:n], targets, batch.target_lengths)
        side = self.model.shortcut(short.features[:n]).transpose(0, 1)
        side, _ = ctc.loss(side, short.lengths[:n], targets, batch.target_lengths)
        extra = self.extra(logits, frames.features, frames.lengths, batch)
        return {"weight": batch.target_lengths.sum(), "loss": loss + SHORTCUT * side + extra, "extra": extra.detach()}


def disagreement(logits: Tensor, lengths: Tensor) -> Tensor:
    """Mean over frames of the symmetric KL divergence of two views, [nats]; each learns from the other as it is.

    Args:
        logits: (T, 2N, K), the second views behind the first ones.
        lengths: (2N,) frames.
    """
    one, other = logits.float().log_softmax(2).chunk(2, 1)
    both = functional.kl_div(one, other.detach(), reduction="none", log_target=True)
    both = both + functional.kl_div(other, one.detach(), reduction="none", log_target=True)
    inside = valid(lengths[: one.shape[1]], len(one)).T.to(logits.device)
    return both.sum(2)[inside].mean() / 2


class Consistency(Changed):
    """CR-CTC, arXiv 2410.05101: CTC on two views of each line, which should have the same posteriors in each frame.

    Differs: the views are those of the usual training, with the same stretch, and none is masked more than there.

    Args:
        usual: the usual task.
        train: labelled lines.
        beside: lines without labels whose two views should agree too, as many as there are labelled ones in a batch.
    """

    def __init__(self, usual: Labelled, train: Strips, beside: Strips | None = None) -> None:
        super().__init__(usual, train)
        self.beside = beside

    def seen(self, batch: Batch, generator: Generator) -> tuple[Images, Batch]:
        """Two views of the labelled lines, then two of the others."""
        groups = [self._views(batch.images(), generator)]
        if self.beside is not None:
            chosen = torch.randint(len(self.beside), (len(batch.widths),), generator=generator).tolist()
            other = self.beside[chosen].to(batch.raw.device)
            groups.append(self._views(other.images(), generator))
        twice = Batch(batch.raw, batch.widths, batch.indices, batch.targets.repeat(2), batch.target_lengths.repeat(2))
        return beside_each_other(groups), twice

    def _views(self, images: Images, generator: Generator) -> Images:
        stretch = self.augment.draw_stretch(len(images.widths), generator)
        return beside_each_other([self.augment(images, generator, stretch) for _ in range(2)])

    def extra(self, logits: Tensor, features: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """Disagreement per character of the labelled lines; that of the others counts as much per frame."""
        n = len(batch.target_lengths)
        loss = disagreement(logits[:, :n], lengths[:n])
        if self.beside is not None:
            loss = loss + disagreement(logits[:, n:], lengths[n:])
        return CONSISTENCY * loss * (lengths[:n].sum() / batch.target_lengths.sum())


def beside_each_other(groups: list[Images]) -> Images:
    """All images in one batch; widths that differ are padded with paper."""
    width = padded(max(group.pixels.shape[3] for group in groups))
    pixels = [functional.pad(group.pixels, (0, width - group.pixels.shape[3]), value=1.0) for group in groups]
    return Images(torch.cat(pixels), torch.cat([group.widths for group in groups]))


class Mixed(Labelled):
    """The usual task on batches of which half are other lines with labels, in the characters of the usual ones."""

    def __init__(self, usual: Labelled, train: Strips, other: Strips) -> None:
        super().__init__(usual.model, usual.augment, 0.0)
        index: dict[str, int] = {}
        for text, label in zip(train.texts(), train.labels, strict=True):
            index |= zip(text, label, strict=True)  # left-to-right: a label has the order of its text
        self.train_lines, self.other = train, other
        other.labels = [[index[character] for character in text] for text in other.texts()]

    def forward(self, batch: Batch, generator: Generator, progress: float) -> dict[str, Tensor | float]:
        """The usual loss of the first half of the batch and of other lines, drawn anew."""
        order = torch.randperm(len(batch.indices), generator=generator)
        kept = batch.indices.cpu()[order[: len(order) // 2]].tolist()
        drawn = torch.randint(len(self.other), (len(order) - len(kept),), generator=generator).tolist()
        lines = [(self.train_lines, i) for i in kept] + [(self.other, i) for i in drawn]
        strips, labels = [strips.strip(i) for strips, i in lines], [strips.labels[i] for strips, i in lines]
        mixed = collate(strips, range(len(lines)), labels).to(batch.raw.device)
        return super().forward(mixed, generator, progress)


def written(usual: Labelled, train: Strips, data: DataConfig, fonts: str, scans: str) -> Mixed:
    """Half of each batch is synthetic handwriting that writes like the labels: pen strokes, on made-up paper or that of
    `scans`, or `fonts`."""
    config = synthetic.Config(samples=MIXED, fonts=fonts, scans=scans, height=data.height)
    lines = synthetic.samples(config, data.level, 0, train.texts())
    return Mixed(usual, train, Strips(lines, range(MIXED), data))


class Distillation(Changed):
    """DCTC, arXiv 2308.08806: each frame also learns the character that is likeliest there, given the label.

    Differs: the weight is ours, and the term is divided like CTC by the number of characters.
    """

    def extra(self, logits: Tensor, features: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of the frames with `likeliest`, per character."""
        goal = likeliest(logits, lengths, batch)  # (T, N)
        inside = valid(lengths, len(logits)).T.to(logits.device)
        loss = functional.cross_entropy(logits.float()[inside], goal[inside], reduction="sum")
        return DISTILLATION * loss / batch.target_lengths.sum()


def likeliest(logits: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
    """The class of each frame that most of CTC's paths through the label take, (T, N): softmax less CTC's gradient."""
    logits = logits.detach().float().requires_grad_()
    targets = padded_targets(batch.targets, batch.target_lengths)
    with torch.enable_grad():
        scores = logits.log_softmax(2)
        loss = functional.ctc_loss(
            scores, targets, lengths, batch.target_lengths, blank=0, reduction="sum", zero_infinity=True
        )
        (gradient,) = torch.autograd.grad(loss, logits)
    return (scores.detach().exp() - gradient).argmax(2)


class Bigrams(Changed):
    """A head for pairs of neighbouring characters on the encoder's frames, with a CTC loss of its own.

    Source: Tassopoulou et al. 2020, arXiv 2012.14459. Differs: pairs that are rare in the labels are left out.
    """

    def __init__(self, usual: Labelled, train: Strips) -> None:
        super().__init__(usual, train)
        found = Counter(pair for label in train.labels for pair in pairwise(label))
        self.classes = {pair: k for k, pair in enumerate(sorted(p for p in found if found[p] >= BIGRAMS), start=1)}
        self.pairs = nn.Linear(self.model.encoder.out_dim, len(self.classes) + 1)

    def extra(self, logits: Tensor, features: Tensor, lengths: Tensor, batch: Batch) -> Tensor:
        """CTC of the pairs, per pair."""
        labels = [label.tolist() for label in torch.split(batch.targets, batch.target_lengths.tolist())]
        known = [[self.classes[pair] for pair in pairwise(label) if pair in self.classes] for label in labels]
        counts = torch.tensor([len(label) for label in known])
        targets = torch.tensor([k for label in known for k in label], dtype=torch.int64)
        loss, _ = ctc.loss(
            self.pairs(features).transpose(0, 1), lengths, padded_targets(targets, counts).to(logits.device), counts
        )
        return loss


ROWS: dict[str, finetune.Lever | None] = {
    "none": None,
    "cr_ctc": Consistency,
    "cr_ctc_unlabelled": Consistency,
    "dctc": Distillation,
    "ngram_heads": Bigrams,
    "ema": None,
    "stackmix": Mixed,
    "strokes": Mixed,
    "own_paper": Mixed,
    "fonts": Mixed,
}


def lever_of(row: str, data: DataConfig, usual: Path, fonts: str = "") -> finetune.Lever | None:
    """The lever of a row, with the data it needs beside the labels; `usual` is the model of the row `none`."""
    if ROWS[row] is Mixed and row != "stackmix":
        paper = data.source if row == "own_paper" else ""
        return partial(written, data=data, fonts=fonts if row == "fonts" else "", scans=paper)
    if row == "cr_ctc_unlabelled":
        samples = read_samples(data)
        return partial(Consistency, beside=Strips(samples, rows_of(samples, "train", labelled=False), data))
    if row == "stackmix":
        if not usual.exists():
            raise SystemExit(f"stackmix cuts words with {usual}; run the row none first")
        lines = to_mix(data, usual.with_name("subset.txt"))
        mixed = stackmix(lines, Reader.load(usual, "cpu"), MIXED, data)
        print(f"stackmix: {mixed.words} words, {mixed.left_out} left out", flush=True)
        return partial(Mixed, other=Strips(mixed, range(MIXED), data))
    return ROWS[row]


def main() -> None:
    """Trains and scores; prints one line of JSON a row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("base", help="recognizer that has not seen the data")
    parser.add_argument("--labels", type=int, default=282)
    parser.add_argument("--steps", type=int, default=0, help="updates of every row; 0 = what `learn` takes")
    parser.add_argument("--starts", nargs="+", default=["base", "nothing"], choices=["base", "nothing"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", default=[row for row in ROWS if row != "fonts"], choices=list(ROWS))
    parser.add_argument("--fonts", default="", help="folder of fonts, for the row fonts")
    parser.add_argument("--out", type=Path, default=Path("runs/levers"))
    options = parser.parse_args()
    if "fonts" in options.rows and not options.fonts:
        parser.error("the row fonts needs --fonts FOLDER")
    torch.set_num_threads(1)
    data = DataConfig(source=options.data)
    known = len(rows_of(read_samples(data), "train", labelled=True))
    encoder = PluginConfig(**htr_ssl.load(options.base).header["encoder"])
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "levers.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    todo = [(start, seed, row) for start in options.starts for seed in options.seeds for row in options.rows]
    for start, seed, row in todo:
        key = f"{start} {row} {seed}"
        steps = options.steps or schedule.first_steps(options.labels, known=start == "base")
        if found.get(key, {}).get("updates") == steps:
            continue
        config = FinetuneConfig(
            data=data,
            encoder=encoder,
            init=options.base if start == "base" else None,
            fraction=options.labels / known,
            seed=seed,
            select="last",
            lm=LanguageConfig(),
            train=TrainConfig(
                steps=steps,
                batch_size=schedule.BATCH,
                lr=1e-3,
                check_every=steps,
                threads=1,
                ema=AVERAGE if row == "ema" else 0,
            ),
        )
        begin = time.perf_counter()
        model = finetune.run(
            config,
            options.out / key.replace(" ", "_"),
            lever=lever_of(row, data, options.out / f"{start}_none_{seed}" / finetune.FILE, options.fonts),
        )
        spent = time.perf_counter() - begin
        score = htr_ssl.evaluate(model, split="validation", threads=1).result
        found[key] = {"updates": steps, "minutes": round(spent / 60, 1), **said(score)}
        write_json(path, found)
        print(json.dumps({key: found[key]}), flush=True)


if __name__ == "__main__":
    main()
