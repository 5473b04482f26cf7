"""Calibration: how sure a recognizer says it is, against how often it is right, and two numbers that mend it.

Source: Platt 1999, "Probabilistic outputs for support vector machines", fitted on validation images; the expected
calibration error over ten bins as in Guo et al. 2017, "On calibration of modern neural networks", arXiv 1706.04599.

Differs from the papers: what is judged are the characters of the text that was read. One is right if a minimal
alignment with the transcription pairs it with the same character. A temperature alone does not fit a reader with a
language model: where the network is unsure, the reader is right more often than the network says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from htr_ssl import model_file
from htr_ssl.recognizers.aligned import aligned, calibrated, log_odds
from htr_ssl.recognizers.language import CALIBRATION
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text.charset import normalise

BINS = 10
_STEPS = 30  # of Newton's method
_SMALL = 1e-9  # steps below are not halved any more
_PRIOR = 1.0  # weight of a slope of one and no offset [characters]
_CHUNK = 256  # images held at once


class Judged(NamedTuple):
    """Characters that were read.

    Attributes:
        confidence: the network's, uncalibrated (L,).
        right: whether they are right (L,).
    """

    confidence: NDArray[Any]
    right: NDArray[np.bool_]


class Reliability(NamedTuple):
    """Confidence against truth.

    Attributes:
        error: expected calibration error, in [0, 1]: mean distance of confidence and share of right characters.
        confidence: mean confidence of each bin (BINS,), 0 where it is empty.
        right: share of right characters of each bin (BINS,).
        size: characters of each bin (BINS,).
    """

    error: float
    confidence: NDArray[Any]
    right: NDArray[Any]
    size: NDArray[Any]


def judge(reader: Reader, strips: Sequence[NDArray[Any]], texts: Sequence[str]) -> Judged:
    """Reads lines, as `transcribe` does, and compares each character with the transcription.

    Args:
        reader: the recognizer.
        strips: images that `prepare` has brought to the model's height.
        texts: what is written in them.
    """
    confidences, hits = [np.zeros(0)], [np.zeros(0, bool)]
    for start in range(0, len(strips), _CHUNK):
        part = slice(start, start + _CHUNK)
        for one, written in zip(aligned(reader, *reader.read_scored(strips[part])), texts[part], strict=True):
            if one.spans is None:
                continue
            right = np.zeros(len(one.text), bool)
            for block in Levenshtein.opcodes(one.text, normalise(written)):
                if block.tag == "equal":
                    right[block.src_start : block.src_end] = True
            confidences.append(one.peaks())
            hits.append(right)
    return Judged(np.concatenate(confidences), np.concatenate(hits))


def reliability(judged: Judged, numbers: Sequence[float] | None = None) -> Reliability:
    """How well the confidences, calibrated with slope and offset, fit what is right."""
    sure = calibrated(judged.confidence, numbers)
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    size = np.bincount(place, minlength=BINS)
    filled = np.maximum(size, 1)
    confidence, right = (np.bincount(place, values, BINS) / filled for values in (sure, judged.right))
    error = float((np.abs(confidence - right) * size).sum() / max(1, size.sum()))
    return Reliability(error, confidence, right, size)


def fit(judged: Judged) -> tuple[float, float]:
    """Slope and offset that make what is right likeliest (logistic regression by Newton's method, slightly held).

    A step that goes too far, as where nearly all confidences are near one, is halved until it helps.
    """
    odds = log_odds(judged.confidence)
    features = np.stack((odds, np.ones_like(odds)), 1)
    known = np.array([1.0, 0.0])

    def loss(numbers: NDArray[Any]) -> float:
        score = features @ numbers
        held = _PRIOR * float(((numbers - known) ** 2).sum()) / 2
        return float((np.logaddexp(0, score) - judged.right * score).sum()) + held

    numbers = known.copy()
    for _ in range(_STEPS):
        chance = 0.5 * (1 + np.tanh(features @ numbers / 2))
        slope = features.T @ (chance - judged.right) + _PRIOR * (numbers - known)
        curve = (features * (chance * (1 - chance))[:, None]).T @ features + _PRIOR * np.eye(2)
        step, now = np.linalg.solve(curve, slope), loss(numbers)
        while np.abs(step).max() > _SMALL and loss(numbers - step) > now:
            step = step / 2
        numbers = numbers - step
    return round(float(numbers[0]), 4), round(float(numbers[1]), 4)


def store(path: Path, numbers: tuple[float, float], out: Path | None = None) -> None:
    """Writes a recognizer's file with slope and offset, instead of its own; `out` is another file for it."""
    header, state = model_file.read(path)
    header = {key: value for key, value in header.items() if key != "format"}
    model_file.save(path if out is None else out, state, header | {CALIBRATION: list(numbers)})
