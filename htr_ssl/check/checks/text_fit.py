"""Texts suspiciously short or long for the width of their image: a wrong text, or an image cut wrongly."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from htr_ssl.check.finding import Example, Finding
from htr_ssl.check.robust import deviations
from htr_ssl.check.survey import Survey

FAR = 4.5
"""Robust standard deviations from which a text does not fit."""
LEAST = 50
"""Labelled images below which nothing can be said."""
_LIKE = 25  # texts of similar length that say what is usual
_ROUNDS = 20
_HAND = 5  # images at which half of a hand's own width is believed


def find(survey: Survey) -> Iterator[Finding]:
    """Compared with what texts of that length take in the same hand."""
    legible = survey.legible
    if len(legible) < LEAST:
        return
    places = [place for place, _, _ in legible]
    lengths = np.array([len(text) for _, _, text in legible], float)
    hands = [survey.writers[row] or survey.pages[row] or "" for _, row, _ in legible]
    expected = _expected(survey.widths[places].astype(float), lengths, hands)
    far = _deviations(np.log(survey.widths[places] / expected), lengths)
    for kind, title, sign in (("too_wide", "short", 1), ("too_narrow", "long", -1)):
        chosen = [int(i) for i in np.argsort(-sign * far, kind="stable") if sign * far[i] > FAR]
        if chosen:
            yield Finding(
                f"text_{kind}",
                "warning",
                f"text suspiciously {title} for its image",
                "Compared with texts as long in the same hand. Words missing in the text or cut off in the image? "
                "Or only a wide gap, or large letters: look at them.",
                [
                    Example((legible[i][1],), f"{survey.widths[places[i]]} px wide, {expected[i]:.0f} expected")
                    for i in chosen
                ],
            )


def _expected(widths: np.ndarray, lengths: np.ndarray, hands: list[str]) -> np.ndarray:
    """Width [px] for each length: a straight line fitted to relative deviations (L1), times the hand's own factor."""
    terms = np.stack([np.ones_like(lengths), lengths], axis=1)
    weights = 1 / widths
    for _ in range(_ROUNDS):
        solution = np.linalg.lstsq(terms * weights[:, None], widths * weights, rcond=None)[0]
        expected = np.maximum(terms @ solution, 1.0)
        weights = 1 / expected / np.sqrt(np.maximum(np.abs(np.log(widths / expected)), 0.05))
    names, hand = np.unique(hands, return_inverse=True)
    residuals = np.log(widths / expected)
    order = np.argsort(hand, kind="stable")
    ends = np.cumsum(np.bincount(hand, minlength=len(names)))
    factors = np.array(
        [np.median(own) * len(own) / (len(own) + _HAND) for own in np.split(residuals[order], ends[:-1])]
    )
    result: np.ndarray = expected * np.exp(factors[hand])
    return result


def _deviations(residuals: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Robust deviations among texts of similar length, because short ones vary more.

    A length that few texts have is judged with the next shorter one. Where that is the shortest, with the next longer;
    then the straight line expects too much, and only images that are too wide even so count.
    """
    bins = np.floor(np.log2(lengths)).astype(int)
    values, counts = np.unique(bins, return_counts=True)
    usual = values[counts >= _LIKE]
    unsure = bins < (usual.min() if len(usual) else 0)
    while len(values) > 1 and counts.min() < _LIKE:
        rare = int(np.argmin(counts))
        bins[bins == values[rare]] = values[rare - 1] if rare else values[1]
        values, counts = np.unique(bins, return_counts=True)
    result = np.zeros_like(residuals)
    for value in values:
        result[bins == value] = deviations(residuals[bins == value])
    result[unsure] = result[unsure].clip(min=0)
    return result
