"""Readings that say where each character stands and how sure it is: the text aligned with the recognizer's frames.

Source of the alignment: Kürzinger et al. 2020, arXiv 2007.09127; here Viterbi over all lines at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from htr_ssl.errors import UserError
from htr_ssl.recognizers.language import CALIBRATION
from htr_ssl.recognizers.reader import Reader, Readings
from htr_ssl.text.charset import BLANK, frames_needed, normalise

_LEAST = 1e-4  # chance that a confidence leaves to either outcome


class Reading(NamedTuple):
    """What was read in an image of a line.

    Attributes:
        text: in the order of reading.
        confidence: geometric mean of the characters' confidence, calibrated, in [0, 1].
        spans: left and right end of each character in shares of the image's width, (L, 2); None if they are unknown.
        confidences: of the characters, (L,); None if they are unknown.
        ink: how sure the network alone is of the text, in [0, 1], whatever calibration and language model make of it:
            it tells writing from stains; None if it is unknown.
    """

    text: str
    confidence: float
    spans: np.ndarray | None = None
    confidences: np.ndarray | None = None
    ink: float | None = None


class Aligned(NamedTuple):
    """A text and the frames it comes from.

    Attributes:
        text: in the order of reading.
        confidence: the reader's own, of the whole text.
        scores: log-posteriors (T, K).
        spans: first and last frame of each character in the order of the image, (L, 2); None if they are unknown.
        label: index of each character in the order of the image, (L,).
        places: where each character of the text stands in that order, (L,).
    """

    text: str
    confidence: float
    scores: np.ndarray
    spans: np.ndarray | None
    label: np.ndarray
    places: np.ndarray

    def peaks(self) -> np.ndarray:
        """Greatest posterior of each character within its frames, in the order of reading, (L,)."""
        assert self.spans is not None
        pairs = zip(self.spans.tolist(), self.label, strict=True)
        peaks = np.array([self.scores[first : last + 1, index].max() for (first, last), index in pairs])
        found: np.ndarray = np.exp(peaks)[self.places]
        return found


def read_aligned(reader: Reader, images: Sequence[np.ndarray], batch_size: int = 32) -> list[Reading]:
    """Texts of images of lines with the place and confidence of every character.

    Args:
        reader: a recognizer, with or without language model.
        images: uint8, (H, W) gray or (H, W, 3) RGB.
        batch_size: most images read at once.
    """
    return strips_aligned(reader, reader.prepared(images), batch_size)


def strips_aligned(reader: Reader, strips: Sequence[np.ndarray], batch_size: int = 32) -> list[Reading]:
    """The same of images that `prepare` has brought to the model's height."""
    return described(reader, *reader.read_scored(strips, batch_size))


def described(reader: Reader, read: Readings, scores: Sequence[np.ndarray]) -> list[Reading]:
    """The same of lines that are read already; see `Reader.read_scored`."""
    readings = []
    for one in aligned(reader, read, scores):
        if one.spans is None:
            readings.append(Reading(one.text, one.confidence))
            continue
        peaks = one.peaks()
        confidences = calibrated(peaks, reader.header.get(CALIBRATION))
        edges = _edges(one.spans, len(one.scores))[one.places]
        whole, ink = (float(np.exp(np.log(values).mean())) for values in (confidences, peaks))
        readings.append(Reading(one.text, whole, edges, confidences, ink))
    return readings


def aligned(reader: Reader, read: Readings, scores: Sequence[np.ndarray]) -> list[Aligned]:
    """Texts of lines with the frames of every character; see `described`."""
    texts = [normalise(text) for text, _ in read]
    labels = [_label(reader, text) for text in texts]
    rows = [i for i, label in enumerate(labels) if label and frames_needed(label) <= len(scores[i])]
    spans = dict(zip(rows, align_all([scores[i] for i in rows], [labels[i] for i in rows]), strict=True))
    return [
        Aligned(
            text,
            read[i][1],
            scores[i],
            spans.get(i),
            np.asarray(labels[i]),
            np.argsort(reader.charset.visual_order(text)),  # from the order of the image to that of reading
        )
        for i, text in enumerate(texts)
    ]


def _label(reader: Reader, text: str) -> list[int]:
    """Label of a text that was read; empty if no label looks like it, as may happen where directions are mixed."""
    try:
        return reader.charset.encode(text)
    except UserError:
        return []


def calibrated(confidences: np.ndarray, numbers: Sequence[float] | None) -> np.ndarray:
    """Confidences whose log-odds are stretched by the slope and shifted by the offset; None leaves them as they are."""
    if numbers is None:
        return confidences
    slope, offset = numbers
    odds = log_odds(confidences)
    result: np.ndarray = 1 / (1 + np.exp(-slope * odds - offset))
    return result


def log_odds(confidences: np.ndarray) -> np.ndarray:
    """ln c / (1 - c), bounded."""
    sure = np.clip(confidences, _LEAST, 1 - _LEAST)
    result: np.ndarray = np.log(sure / (1 - sure))
    return result


def align_all(scores: Sequence[np.ndarray], labels: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """First and last frame of each character, (L, 2), for many lines at once; the same as `ctc.align` for each.

    Args:
        scores: log-posteriors (T, K) of each line.
        labels: character indices of each line, at least one, that fit into its frames.
    """
    if not scores:
        return []
    count, frames = len(scores), max(map(len, scores))
    width = 2 * max(map(len, labels)) + 1
    states = np.full((count, width), BLANK)
    emit = np.full((frames, count, width), -np.inf, np.float32)
    for i, (own, label) in enumerate(zip(scores, labels, strict=True)):
        size = 2 * len(label) + 1
        states[i, 1:size:2] = label
        emit[: len(own), i, :size] = own[:, states[i, :size]]
    skip = np.zeros((count, width), bool)  # from the character before, without a blank between
    skip[:, 3::2] = states[:, 3::2] != states[:, 1:-2:2]
    score = np.full((count, width), -np.inf, np.float32)
    score[:, :2] = emit[0, :, :2]
    steps = np.zeros((frames, count, width), np.int8)
    kept = [score]
    for frame in range(1, frames):
        choices = np.full((3, count, width), -np.inf, np.float32)
        choices[0] = score
        choices[1, :, 1:] = score[:, :-1]
        choices[2, :, 2:] = np.where(skip[:, 2:], score[:, :-2], -np.inf)
        steps[frame] = choices.argmax(0)
        score = choices.max(0) + emit[frame]
        kept.append(score)
    return [
        _spans(steps[:, i], kept[len(own) - 1][i], len(own), len(label))
        for i, (own, label) in enumerate(zip(scores, labels, strict=True))
    ]


def _spans(steps: np.ndarray, last: np.ndarray, frames: int, length: int) -> np.ndarray:
    """Follows the best path of one line back from its last frame."""
    state = 2 * length if last[2 * length] >= last[2 * length - 1] else 2 * length - 1
    spans = np.empty((length, 2), int)
    before = -1
    for frame in range(frames - 1, -1, -1):
        if state % 2:
            spans[state // 2, 0] = frame
            if frame == frames - 1 or before != state:
                spans[state // 2, 1] = frame
        before = state
        state -= int(steps[frame, state])
    return spans


def _edges(spans: np.ndarray, frames: int) -> np.ndarray:
    """Left and right ends in shares of the width: halfway between a character's last frame and the next one's first."""
    middles = (spans[:-1, 1] + spans[1:, 0] + 1) / 2
    half = (spans[:, 1] - spans[:, 0] + 1) / 2 + 1.5  # frames are narrower than letters: the first and last reach on
    first = max(0.0, (spans[0].mean() + 0.5) - half[0])
    last = min(float(frames), (spans[-1].mean() + 0.5) + half[-1])
    ends = np.concatenate(([first], middles, [last]))
    edges: np.ndarray = np.stack((ends[:-1], ends[1:]), 1) / frames
    return edges
