"""A transcribed page: what segmenters make, recognizers fill and writers write."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from htr_ssl import plugins
from htr_ssl.errors import UserError

WRITERS = "htr_ssl.pages.formats"
"""Folder of the formats that `Page.save` knows."""


@dataclass(slots=True)
class Glyph:
    """One character of a word.

    Attributes:
        text: the character.
        polygon: box along the line [px], (4, 2).
        confidence: in [0, 1], or None.
    """

    text: str
    polygon: np.ndarray
    confidence: float | None = None


@dataclass(slots=True)
class Word:
    """One word of a line.

    Attributes:
        text: without spaces.
        polygon: box along the line [px], (4, 2) or an outline from an XML.
        confidence: in [0, 1], or None.
        glyphs: its characters in the order of reading, empty if their places are unknown.
    """

    text: str
    polygon: np.ndarray
    confidence: float | None = None
    glyphs: list[Glyph] = field(default_factory=list)


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
        estimated: whether the outline is a guess from baselines alone, which `crop` fits to the ink.
        found: the finder's confidence that this is one line of text, in [0, 1], or None if nothing was guessed.
        orientation: turn to the right that levels the line, as its file states it [degrees], or None. A baseline says
            more exactly how steep a line is; then this only tells whether the line stands on its head.
        words: in the order of reading; together they are `text`, or there are none because their places are unknown.
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
    words: list[Word] = field(default_factory=list)
    estimated: bool = False


@dataclass(frozen=True, slots=True)
class Made:
    """How a page was read.

    Attributes:
        model: name of the model's file, empty if unknown.
        digest: its SHA-256, empty if unknown.
        date: day on which the job began, ISO 8601.
        settings: what was asked for, as ``key=value``.
    """

    model: str = ""
    digest: str = ""
    date: str = ""
    settings: str = ""


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
        number: which page of the file, from 0.
        picture: an image of this page alone, where `image` holds several pages or is of a kind that few programs read.
        xml: PAGE or ALTO file that its lines come from, or None.
        made: how it was read, or None.
        left_out: lines that were found and left out: nothing could be read there, or only with too little confidence.
        sure: whether the image is the one that the file names, or that is called like the file.
    """

    image: Path
    width: int
    height: int
    lines: list[Line] = field(default_factory=list)
    orientation: int = 0
    notes: list[str] = field(default_factory=list)
    number: int = 0
    picture: Path | None = None
    xml: Path | None = None
    made: Made | None = None
    left_out: int = 0
    sure: bool = True

    @property
    def text(self) -> str:
        """Text of the lines, one a line."""
        return "\n".join(line.text or "" for line in self.lines)

    @property
    def confidence(self) -> float | None:
        """Mean of the lines' confidence, weighted by their characters; None if nothing was read."""
        known = [(len(line.text or ""), line.confidence) for line in self.lines if line.confidence is not None]
        total = sum(size for size, _ in known)
        return sum(size * value for size, value in known) / total if total else None

    def reference(self, folder: Path) -> str:
        """Path of its image from a folder, with slashes."""
        image = (self.picture or self.image).absolute()
        try:
            return Path(os.path.relpath(image, folder.absolute())).as_posix()
        except ValueError:  # another drive
            return image.as_posix()

    def save(self, path: str | Path) -> Path:
        """Writes the page in the format that the file's name ends with, e.g. ``.pdf``, ``.alto.xml``, ``.page.xml``.

        Raises:
            UserError: no format has this ending, or the file cannot be written.
        """
        path = Path(path)
        writers = [plugins.load(WRITERS, name) for name in plugins.names(WRITERS)]
        fitting = [writer for writer in writers if path.name.lower().endswith(writer.EXTENSION)]
        if not fitting:
            known = ", ".join(writer.EXTENSION for writer in writers)
            raise UserError(f"{path}: its name must say the format; end it with one of {known}")
        max(fitting, key=lambda writer: len(writer.EXTENSION)).write(self, path)
        return path


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
