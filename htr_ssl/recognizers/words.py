"""Line images with their transcription become word images: a recognizer says where each word stands (CTC alignment).

Source of the alignment: Kürzinger et al., "CTC-Segmentation of Large Corpora for German End-to-End Speech Recognition",
2020 (arXiv 2007.09127); here the whole text is known to be in the line, so that plain Viterbi suffices.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import ctc
from htr_ssl.text.charset import listing, normalise

MARGIN = 0.08
"""Paper left and right of a word, in heights of the line, as far as its neighbours allow."""
FREE = 0.01
"""Share of ink up to which a column counts as paper."""
PULL = 0.1
"""Where words touch: share of ink that a cut may cross to come from the end of the range to the space's frame."""
EDGE = 0.5
"""Paper as wide as this, in heights of the line, before a line's first or behind its last word ends the word."""
INK = 0.35
"""A pixel counts as ink if it is this share of the way from the paper's tone to the ink's, or darker."""


@dataclass(slots=True)
class Word:
    """A word of a line.

    Attributes:
        text: the word.
        left: first column [px of the line image].
        right: column behind the last.
        confidence: geometric mean of the highest posterior of each of its characters and of the spaces beside it, in
            [0, 1]; so it is low too where the recognizer sees no space to cut at.
    """

    text: str
    left: int
    right: int
    confidence: float


class WordSamples(Samples):
    """Words cut out of the images of other samples."""

    def __init__(self, source: Samples, rows: list[tuple[int, Word]], columns: dict[str, list[str | None]]) -> None:
        super().__init__(columns, "word")
        self._source, self.root = source, source.root
        self.rows = rows

    def image(self, index: int) -> np.ndarray:
        """Columns of the line, uint8, (H, w) or (H, w, 3)."""
        row, word = self.rows[index]
        return self._source[row].load()[:, word.left : word.right].copy()

    def paths(self) -> list[Path]:
        """Those of the source."""
        return self._source.paths()

    def pieces(self) -> np.ndarray | None:
        """Those of the words' lines."""
        pieces = self._source.pieces()
        return None if pieces is None else pieces[[row for row, _ in self.rows]]


def cut(image: np.ndarray, text: str, reader: Reader) -> list[Word]:
    """Words of a line image whose text is known, in reading order.

    Neighbours are parted in the widest gap of ink between the middle of the last frame of the one's last character and
    that of the first frame of the other's first; where they touch, at the least ink near the space's frames.

    Raises:
        ValueError: the text is empty, has characters the recognizer does not know, or does not fit into the image.
    """
    text = normalise(text)
    unknown = reader.charset.unseen([text])
    if unknown:
        raise ValueError(f"the recognizer does not know {listing(unknown)}")
    label = reader.charset.encode(text)
    scores = reader.posteriors(image)
    spans, _ = ctc.align(scores, label)  # (L, 2)
    peaks = [scores[first : last + 1, index].max() for (first, last), index in zip(spans, label, strict=True)]
    centres = (spans + 0.5) * (image.shape[1] / len(scores))  # of the first and last frame [px]
    places = reader.charset.visual_order(text)  # in the text, of what stands from left to right
    spaces = [-1, *(i for i, place in enumerate(places) if text[place] == " "), len(text)]
    ink = _ink(image)
    paper = round(EDGE * image.shape[0])
    cuts = [_before(ink, int(centres[0, 0]), paper)]
    for space in spaces[1:-1]:
        low, high = int(centres[space - 1, 1]) + 1, int(centres[space + 1, 0])  # the centre is the word's own
        cuts.append(_gap(ink, low, max(high, low + 1), centres[space].mean()))
    cuts.append(len(ink) - _before(ink[::-1], len(ink) - 1 - int(centres[-1, 1]), paper))
    words: list[tuple[int, Word]] = []
    for (before, after), (left, right) in zip(pairwise(spaces), pairwise(cuts), strict=True):
        left, right = _trimmed(ink, left, right, round(MARGIN * image.shape[0]))
        confidence = float(np.exp(np.mean(peaks[max(before, 0) : after + 1])))
        own = sorted(places[before + 1 : after])
        words.append((own[0], Word("".join(text[place] for place in own), left, right, confidence)))
    return [word for _, word in sorted(words, key=lambda entry: entry[0])]


def words_of(
    lines: Samples, reader: Reader, confidence: float = 0.0, progress: Callable[[int, int], None] | None = None
) -> WordSamples:
    """Words of all lines that have a text; lines that cannot be cut become problems.

    Ids are those of the lines with the word's number. Writer, page and split are those of the lines.

    Args:
        lines: line images.
        reader: a recognizer that knows their characters.
        confidence: words below are left out.
        progress: called with the lines done and of all.

    Raises:
        UserError: no line could be cut.
    """
    texts = lines.column("text")
    rows = [row for row, text in enumerate(texts) if text]
    found: list[tuple[int, Word]] = []
    columns: dict[str, list[str | None]] = {name: [] for name in ("id", "text", "writer", "page", "split")}
    problems = list(lines.problems)
    below = 0

    def one(row: int) -> list[Word] | str:
        try:
            return cut(lines[row].load(), texts[row] or "", reader)
        except (UserError, ValueError) as error:
            return f"{lines.cell('id', row)}: {error}; the line is left out"

    with ThreadPoolExecutor() as pool:
        for done, (row, words) in enumerate(zip(rows, pool.map(one, rows), strict=True), start=1):
            if progress is not None:
                progress(done, len(rows))
            if isinstance(words, str):
                problems.append(words)
                continue
            for number, word in enumerate(words, start=1):
                if word.confidence < confidence:
                    below += 1
                    continue
                found.append((row, word))
                columns["id"].append(f"{lines.cell('id', row)}/{number}")
                columns["text"].append(word.text)
                for name in ("writer", "page", "split"):
                    columns[name].append(lines.cell(name, row))
    if not found:
        reason = problems[0] if problems else f"{below} word(s) are below confidence {confidence:g}"
        raise UserError(f"no word could be cut out of {len(rows)} line(s) with text ({reason})")
    samples = WordSamples(lines, found, columns)
    samples.problems += problems
    samples.facts = {**lines.facts, "words": f"cut by CTC alignment, {below} below confidence {confidence:g} left out"}
    samples.facts.pop("rows", None)
    return samples


def _ink(image: np.ndarray) -> np.ndarray:
    """Share of ink in each column, (W,); the top and bottom fifth, where neighbouring lines reach in, count half."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    paper, dark = np.percentile(gray, 80), np.percentile(gray, 1)
    level = paper - INK * max(paper - dark, 40)
    weights = np.ones(len(gray))
    edge = len(gray) // 5
    weights[:edge] = weights[len(gray) - edge :] = 0.5
    share: np.ndarray = weights @ (gray < level) / weights.sum()
    return share


def _gap(ink: np.ndarray, low: int, high: int, space: float) -> int:
    """Middle of the widest stretch of columns with the least ink in [low, high); without paper, near `space` [px]."""
    low, high = max(0, min(low, len(ink) - 1)), max(1, min(high, len(ink)))
    part = ink[low:high]
    if part.min() > FREE:
        part = part + PULL * np.abs(np.arange(low, high) + 0.5 - space) / len(part)
    starts, ends = _stretches(part <= part.min() + FREE)
    widest = int((ends - starts).argmax())
    return low + int(starts[widest] + ends[widest]) // 2


def _before(ink: np.ndarray, first: int, paper: int) -> int:
    """A column of the paper before the ink around column `first`, if there are `paper` columns of it, else 0."""
    starts, ends = _stretches(ink[: max(first, 0)] <= FREE)
    wide = ends[ends - starts >= paper]
    return int(wide[-1]) - paper // 2 if len(wide) else 0


def _stretches(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First column of each run of true ones, and the column behind its last."""
    ends = np.flatnonzero(np.diff(np.r_[False, columns, False]))
    return ends[::2], ends[1::2]


def _trimmed(ink: np.ndarray, left: int, right: int, margin: int) -> tuple[int, int]:
    """Bounds without the paper at both ends, but for a margin."""
    left = min(left, len(ink) - 1)
    right = max(right, left + 1)
    columns = np.flatnonzero(ink[left:right] > FREE)
    if not len(columns):
        return left, right
    return max(left, left + int(columns[0]) - margin), min(right, left + int(columns[-1]) + 1 + margin)
