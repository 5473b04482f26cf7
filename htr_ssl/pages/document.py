"""A transcribed page: what segmenters make, recognizers fill and writers write."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(slots=True)
class Line:
    """One text line on a page.

    Attributes:
        id: unique on the page.
        polygon: outline [px], (K, 2) float, x then y, origin top left of the page image.
        baseline: polyline [px] from left to right, (K, 2), or None.
        region: id of the block the line belongs to, or None.
        text: transcription, as read or as the XML states it, None before recognition.
        confidence: in [0, 1], or None.
    """

    id: str
    polygon: np.ndarray
    baseline: np.ndarray | None = None
    region: str | None = None
    text: str | None = None
    confidence: float | None = None


@dataclass(slots=True)
class Page:
    """A page image's size and its lines in reading order."""

    image: Path
    width: int
    height: int
    lines: list[Line] = field(default_factory=list)
