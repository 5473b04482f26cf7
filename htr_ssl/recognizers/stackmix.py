"""New lines of old words: words of labelled lines, cut out by CTC alignment, are set side by side in another order.

Source: Shonenkov et al. 2021, "Handwritten text generation and strikethrough characters augmentation", arXiv
2112.07395. Differs: the pieces are whole words, and a line's text is words drawn from the labels, in any order.

A word keeps half of the paper on its left and right, so that the spaces of a new line are those of old ones.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from htr_ssl import seeds
from htr_ssl.config import DataConfig
from htr_ssl.data.loading import prepare, read_samples, rows_of
from htr_ssl.data.samples import Samples, SampleView
from htr_ssl.data.splits import subsets
from htr_ssl.errors import UserError
from htr_ssl.recognizers.reader import Reader
from htr_ssl.recognizers.words import words_of
from htr_ssl.text.charset import Charset

SPACE = 0.6
"""Most paper that a word keeps on one side, in heights of the line."""
FEWEST = 100
"""Words of one hand that are enough for lines of that hand; those of other hands are mixed."""
_DIVIDING = ("splits", "validation", "test", "seed", "detokenise")
PAPER = 250
"""Tone that the paper of every word gets, so that no edge shows between two."""


class Piece(NamedTuple):
    """A word with its paper: its text, and its strip, (height, w, channels)."""

    text: str
    strip: np.ndarray


class StackedSamples(Samples):
    """Lines made of pieces, all in the split train.

    Attributes:
        words: that the lines are made of.
        left_out: words that were cut but are below the confidence.
    """

    def __init__(
        self, lines: list[list[Piece]], writers: list[str | None], charset: Charset, words: int, left_out: int
    ) -> None:
        texts = [" ".join(piece.text for piece in line) for line in lines]
        columns: dict[str, list[str | None]] = {
            "id": [f"stackmix_{number:06d}" for number in range(len(lines))],
            "text": list(texts),
            "writer": writers,
            "split": ["train"] * len(lines),
        }
        super().__init__(columns, "line")
        self._lines, self._charset = lines, charset
        self.words, self.left_out = words, left_out

    def image(self, index: int) -> np.ndarray:
        """The pieces from left to right, uint8, (H, W) or (H, W, 3)."""
        line = self._lines[index]
        places = self._charset.visual_order(" ".join(piece.text for piece in line))
        words = np.repeat(np.arange(len(line)), [len(piece.text) + 1 for piece in line])  # of each place in the text
        order = list(dict.fromkeys(words[places].tolist()))
        joined = np.concatenate([line[word].strip for word in order], axis=1)
        return joined[..., 0] if joined.shape[2] == 1 else joined


def as_trained(config: DataConfig, header: dict[str, Any]) -> DataConfig:
    """The same, divided as the training of a recognizer divided it, if that was of this source."""
    trained = header.get("data") or {}
    named = str(trained.get("source", ""))
    if not named or Path(named).expanduser().resolve() != Path(config.source).expanduser().resolve():
        return config
    return config.model_copy(update={name: trained[name] for name in _DIVIDING if name in trained})


def to_mix(config: DataConfig, subset: Path | None = None) -> SampleView:
    """Labelled train lines of a source; with a list of ids, as a training leaves it, those alone.

    Raises:
        UserError: there are none, or the list cannot be read.
    """
    samples = read_samples(config)
    rows = rows_of(samples, "train", labelled=True)
    if subset is not None:
        ids, chosen = samples.column("id"), set(subsets.read(subset))
        rows = [row for row in rows if ids[row] in chosen]
    if not rows:
        listed = f" in {subset}" if subset else ""
        raise UserError(f"{config.source}: no labelled line in split 'train'{listed}; give data with some")
    return SampleView(samples, ["train"] * len(rows), rows)


def stackmix(
    lines: Samples,
    reader: Reader,
    count: int,
    config: DataConfig,
    confidence: float = 0.1,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> StackedSamples:
    """New lines, as long as the old ones; the words of each are of one hand where the hands are known.

    Args:
        lines: labelled line images, all of which are used.
        reader: a recognizer that knows their characters.
        count: number of new lines.
        config: says what their strips are like.
        confidence: words below are left out.
        seed: of what stands in which line.
        progress: called with the lines cut and of all.

    Raises:
        UserError: no word could be cut.
    """
    pieces, problems, left_out = _pieces(lines, reader, config, confidence, progress)
    lengths = [len(text) for text in lines.column("text") if text]
    hands = sorted(pieces, key=str)
    share = np.array([len(pieces[hand]) for hand in hands]) / sum(map(len, pieces.values()))
    made: list[list[Piece]] = []
    writers: list[str | None] = []
    for number in range(count):
        rng = seeds.rng(seed, "stackmix", number)
        hand = hands[int(rng.choice(len(hands), p=share))]
        length, written = lengths[int(rng.integers(len(lengths)))], -1
        line: list[Piece] = []
        while written < length and (not line or written < length - 2):
            piece = pieces[hand][int(rng.integers(len(pieces[hand])))]
            line.append(piece)
            written += len(piece.text) + 1
        made.append(line)
        writers.append(hand)
    samples = StackedSamples(made, writers, reader.charset, sum(map(len, pieces.values())), left_out)
    samples.problems = problems
    samples.facts = {"words": f"of {len(lines)} lines, {left_out} below confidence {confidence:g} left out"}
    return samples


def _pieces(
    lines: Samples,
    reader: Reader,
    config: DataConfig,
    confidence: float,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str | None, list[Piece]], list[str], int]:
    """Words of each hand, what went wrong, and how many words were too doubtful."""
    found = words_of(lines, reader, 0.0, progress)
    rows = defaultdict(list)
    for row, word in found.rows:
        rows[row].append(word)
    pieces: dict[str | None, list[Piece]] = defaultdict(list)
    left_out = 0
    for row, words in rows.items():
        image = lines[row].load()
        strip = prepare(image, config)
        most = round(SPACE * image.shape[0])
        scale = strip.shape[1] / image.shape[1]
        seen = sorted(words, key=lambda word: word.left)
        ends = [0, *(word.right for word in seen)]
        starts = [*(word.left for word in seen), image.shape[1]]
        for i, word in enumerate(seen):
            if word.confidence < confidence:
                left_out += 1
                continue
            before, after = max(0, word.left - ends[i]), max(0, starts[i + 1] - word.right)
            left = word.left - min(most, before if i == 0 else before // 2)
            right = word.right + min(most, after if i == len(seen) - 1 else after // 2)
            part = strip[:, round(left * scale) : max(round(right * scale), round(left * scale) + 1)]
            pieces[lines.cell("writer", row)].append(Piece(word.text, _levelled(part)))
    if not pieces:
        raise UserError(
            f"all {left_out} word(s) are below confidence {confidence:g}; take a lower one or another model"
        )
    few = [piece for hand in list(pieces) if len(pieces[hand]) < FEWEST for piece in pieces.pop(hand)]
    if few:
        pieces[None] += few
    return pieces, found.problems, left_out


def _levelled(strip: np.ndarray) -> np.ndarray:
    """The strip with its paper at the common tone."""
    gain = PAPER / max(float(np.percentile(strip, 85)), 100.0)
    levelled: np.ndarray = np.clip(strip * gain, 0, 255).astype(np.uint8)
    return levelled
