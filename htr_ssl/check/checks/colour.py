"""Colour: whether the images have any, and whether that differs between splits."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from htr_ssl.check.finding import Finding
from htr_ssl.check.survey import Picture, Survey
from htr_ssl.data.splits.subsets import SPLITS

CHROMA = 1.0
"""Mean distance between the strongest and the weakest channel from which an image is coloured [levels]; gray: 0."""
APART = 0.5
"""Difference of the coloured shares of two splits that is reported."""


def measure(picture: Picture) -> float:
    """Mean distance between the strongest and the weakest channel [levels]; 0 for gray images."""
    pixels = picture.pixels
    if pixels.ndim == 2:
        return 0.0
    red, green, blue = cv2.split(pixels)
    strongest, weakest = cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue)
    return float(cv2.subtract(strongest, weakest).mean())


def find(survey: Survey) -> Iterator[Finding]:
    """The share of coloured images, a warning if one split is gray and another coloured."""
    if not len(survey.readable):
        return
    coloured = survey.measured["colour"] > CHROMA
    share = float(coloured.mean())
    names = np.array([survey.splits[row] or "" for row in survey.readable.tolist()])
    shares = {split: float(coloured[names == split].mean()) for split in SPLITS if (names == split).any()}
    if shares and max(shares.values()) - min(shares.values()) > APART:
        listed = ", ".join(f"{split} {value:.0%}" for split, value in shares.items())
        advice = f"Coloured are: {listed}. What is learnt on one will read the other worse; data.channels=1 helps."
        yield Finding("colour_differs", "warning", "some splits are in colour, others gray", advice)
    elif share:
        advice = "data.channels=3 shows colour to the recognizer; the default is gray."
        yield Finding("colour", "note", f"{100 * share:.3g} % of the images have colour", advice)
