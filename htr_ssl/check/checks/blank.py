"""Blank images: paper without a trace of ink, whatever its tone and shading."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from htr_ssl.check.finding import Example, Finding, graver_if_many
from htr_ssl.check.survey import Picture, Survey

CONTRAST = 8
"""Least difference [gray levels] between a spot and its surroundings that counts as ink; pencil has 15 and more."""
_HEIGHT = 32
_WIDEST = 4096


def measure(picture: Picture) -> float:
    """Largest difference between a spot of 3 x 3 pixels and its surroundings, at a height of 32 px [gray levels]."""
    rows, columns = picture.gray.shape
    width = min(max(round(columns * _HEIGHT / rows), 4), _WIDEST)
    strip = cv2.resize(picture.gray, (width, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    return float(np.abs(cv2.blur(strip, (3, 3)) - cv2.blur(strip, (31, 31))).max())


def find(survey: Survey) -> Iterator[Finding]:
    """Blank images with and without a text."""
    rows = survey.readable[survey.measured["blank"] < CONTRAST].tolist() if len(survey.readable) else []
    if rows:
        yield Finding(
            "blank",
            graver_if_many(len(rows), len(survey.ids)),
            "blank",
            "There is nothing to read in them; with a text they teach to invent it. Take them away.",
            [Example((row,), f"text {text!r}" if (text := survey.texts[row]) else "") for row in rows],
        )
