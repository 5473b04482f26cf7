"""Readings that say where each character stands and how sure it is: the text aligned with the recognizer's frames.

Source of the alignment: Kürzinger et al. 2020, arXiv 2007.09127; here Viterbi over all lines at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from htr_ssl.errors import UserError
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text.charset import BLANK, frames_needed, normalise

TEMPERATURE = "temperature"
"""Entry of a model's header: what its logits are divided by, so that its confidence is the share that is right."""


class Reading(NamedTuple):
    """What was read in an image of a line.

    Attributes:
        text: in the order of reading.
        confidence: geometric mean of the characters' confidence, calibrated, in [0, 1].
        spans: left and right end of each character in shares of the image's width, (L, 2); None if they are unknown.
        confidences: of the characters, (L,); None if they are unknown.
    """

    text: str
    confidence: float
    spans: np.ndarray | None = None
    confidences: np.ndarray | None = None


def read_aligned(reader: Reader, images: Sequence[np.ndarray]) -> list[Reading]:
    """Texts of images of lines with the place and confidence of every character.

    Args:
        reader: a recognizer, with or without language model.
        images: uint8, (H, W) gray or (H, W, 3) RGB.
    """
    read, scores = reader.read_scored(images)
    texts = [(normalise(text), confidence) for text, confidence in read]
    labels = [_label(reader, text) for text, _ in texts]
    rows = [i for i, label in enumerate(labels) if label and frames_needed(label) <= len(scores[i])]
    found = dict(zip(rows, align_all([scores[i] for i in rows], [labels[i] for i in rows]), strict=True))
    readings = []
    for i, (text, confidence) in enumerate(texts):
        if i not in found:
            readings.append(Reading(text, confidence))
            continue
        spans, label = found[i], np.asarray(labels[i])
        calibrated = with_temperature(scores[i], reader.header.get(TEMPERATURE, 1.0))
        peaks = np.array(
            [calibrated[a : b + 1, index].max() for (a, b), index in zip(spans.tolist(), label, strict=True)]
        )
        places = np.argsort(reader.charset.visual_order(text))  # from the order of the image to that of reading
        edges = _edges(spans, len(scores[i]))[places]
        readings.append(Reading(text, float(np.exp(peaks.mean())), edges, np.exp(peaks)[places]))
    return readings


def _label(reader: Reader, text: str) -> list[int]:
    """Label of a text that was read; empty if no label looks like it, as may happen where directions are mixed."""
    try:
        return reader.charset.encode(text)
    except UserError:
        return []


def with_temperature(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Log-posteriors (T, K) of logits divided by `temperature`; above 1 they are less sure."""
    if temperature == 1.0:
        return scores
    scaled = scores / temperature
    top = scaled.max(1, keepdims=True)
    result: np.ndarray = scaled - top - np.log(np.exp(scaled - top).sum(1, keepdims=True))
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
