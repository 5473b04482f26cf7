"""Lines whose writing the crop's upper or lower edge cuts: the outline is too narrow, or guessed from a baseline."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from htr_ssl.check.finding import MANY, Example, Finding
from htr_ssl.check.survey import Picture, Survey

CUT = 0.15
"""Least share of the columns with ink that have ink at one edge; of 265 lines outlined by people 1 in 60 has more."""
_CONTRAST = 40  # least difference of paper and ink [gray levels]
_DEPTH = 2  # pixels that count as the edge


def measure(picture: Picture) -> float:
    """Share of the columns with ink whose ink reaches the upper edge of the outline, or the lower one if it is more."""
    within = picture.within
    if not within.any():
        return 0.0
    ink, paper = np.percentile(picture.gray[within], [1, 80])
    if paper - ink < _CONTRAST:
        return 0.0
    dark = (picture.gray < (ink + paper) / 2) & within
    columns = np.arange(within.shape[1])
    shares = []
    for inside, inked in ((within, dark), (within[::-1], dark[::-1])):
        first = inside.argmax(0)
        rows = [np.minimum(first + depth, len(inside) - 1) for depth in range(_DEPTH)]
        shares.append(sum(inked[row, columns] for row in rows).astype(bool).sum())
    return float(max(shares) / max(int(dark.any(0).sum()), 1))


def find(survey: Survey) -> Iterator[Finding]:
    """Images in which much of the writing ends at an edge; a few are usual, where lines stand close or are ruled."""
    if not len(survey.readable) or survey.samples.level == "word":  # words are cut out close to their ink
        return
    shares = survey.measured["cut"]
    places = [place for place in np.argsort(-shares, kind="stable").tolist() if shares[place] > CUT]
    if places:
        yield Finding(
            "cut",
            "warning" if len(places) > MANY * len(survey.ids) else "note",
            "cut by the edge of the crop",
            "Letters may lack their upper or lower parts, or a ruled line runs along the edge. Look at some (data "
            "show); where letters are cut, give the lines wider outlines.",
            [
                Example((int(survey.readable[place]),), f"{shares[place]:.0%} of the ink's width at one edge")
                for place in places
            ],
        )
