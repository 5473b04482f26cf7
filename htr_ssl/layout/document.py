"""A transcribed page: what segmenters make, recognizers fill and writers write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(slots=True)
class Line:
    """One text line on a page.

    Attributes:
        id: unique on the page.
        polygon: outline [px], (K, 2) float, x then y, origin top left of the page image.
        baseline: polyline [px] in the direction of reading of left-to-right text, (K, 2), or None.
        region: id of the block the line belongs to, or None.
        text: transcription, as read or as the XML states it, None before recognition.
        confidence: of the text, in [0, 1], or None.
        kind: what the line is (`main`, `margin`, `between` lines, `vertical`, `cell` of a table), or None.
        found: the finder's confidence that this is one line of text, in [0, 1], or None if nothing was guessed.
        orientation: turn to the right that levels the line, as its file states it [degrees], or None. A baseline says
            more exactly how steep a line is; then this only tells whether the line stands on its head.
    """

    id: str
    polygon: np.ndarray
    baseline: np.ndarray | None = None
    region: str | None = None
    text: str | None = None
    confidence: float | None = None
    kind: str | None = None
    found: float | None = None
    orientation: float | None = None


@dataclass(slots=True)
class Page:
    """A page image's size and its lines in reading order.

    Attributes:
        image: the file.
        width: of the image [px].
        height: of the image [px].
        lines: in reading order, in the image's pixels.
        orientation: turn to the right that sets the page upright [degrees]: 0, 90, 180 or 270.
        notes: sentences on what is doubtful about the page.
    """

    image: Path
    width: int
    height: int
    lines: list[Line] = field(default_factory=list)
    orientation: int = 0
    notes: list[str] = field(default_factory=list)


class Found(list[Line]):
    """What a segmenter found: the lines in reading order, in the pixels of the image as it was given.

    Attributes:
        orientation: turn to the right that sets the page upright [degrees]: 0, 90, 180 or 270. The lines' baselines
            run along the text, so those of a page on its head run from right to left.
        notes: sentences on what is doubtful about the page.
    """

    def __init__(self, lines: Iterable[Line] = (), orientation: int = 0, notes: Iterable[str] = ()) -> None:
        super().__init__(lines)
        self.orientation = orientation
        self.notes = list(notes)


def turned(points: np.ndarray, orientation: int, width: int, height: int) -> np.ndarray:
    """Points of an image of `width` x `height` px in the image that is turned right by `orientation` degrees.

    Args:
        points: (K, 2), x then y.
        orientation: 0, 90, 180 or 270. `np.rot90(image, -orientation // 90)` is the turned image.
        width: of the image before the turn [px].
        height: of the image before the turn [px].
    """
    x, y = points[:, 0], points[:, 1]
    places = {
        0: (x, y),
        90: (height - 1 - y, x),
        180: (width - 1 - x, height - 1 - y),
        270: (y, width - 1 - x),
    }
    return np.stack(places[orientation], 1)
