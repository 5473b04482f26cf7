"""Images at their own pixels in rows of the same columns, with labels: for words and for lines of any width."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from htr_ssl.look.sheet import fitted, font

WIDE = 1500
"""Width up to which the columns of a row stand side by side [px]; wider ones are put below each other."""
WIDEST = 2400
"""Images wider than this are made smaller [px]."""
_GAP, _TEXT = 10, 18  # between images, height of a line of text [px]
_LEAST = 90  # width of a column, so that its caption has room [px]
_BACKGROUND, _FRAME = "#e9ecef", "#0072b2"


@dataclass(frozen=True, slots=True)
class Cell:
    """An image and what stands below it.

    Attributes:
        image: uint8, (H, W) or (H, W, 3).
        caption: one line, cut where it does not fit; none leaves no room.
        colour: of the caption.
        framed: whether a frame sets it apart.
    """

    image: np.ndarray
    caption: str = ""
    colour: str = "black"
    framed: bool = False


def mosaic(rows: Sequence[Sequence[Cell]], names: Sequence[str], title: str = "") -> bytes:
    """PNG with a row of cells for each thing shown.

    If the widest row fits, columns stand side by side under their names, small images at up to twice their size; else
    the cells of a row stand below each other, each right of its column's name.

    Args:
        rows: may be of different length.
        names: of the columns.
        title: on top, in as many lines as it has.
    """
    columns = [[row[i].image.shape[1] for row in rows if i < len(row)] for i in range(len(names))]
    for scale in (2.0, 1.5, 1.0):
        widths = [max(_LEAST, round(scale * max(column, default=0))) for column in columns]
        if sum(widths) + _GAP * (len(widths) + 1) <= WIDE:
            return _Canvas(rows, title, scale).beside(names, widths)
    widest = max(map(max, filter(None, columns)))
    return _Canvas(rows, title, 2.0 if 2 * widest <= WIDE else min(1.0, WIDEST / widest)).below(names)


class _Canvas:
    """Places of everything are found first, then drawn at once."""

    def __init__(self, rows: Sequence[Sequence[Cell]], title: str, scale: float) -> None:
        self.rows, self.title, self.scale = rows, title, scale
        self.texts: list[tuple[int, int, str, str]] = []  # x, y, text, colour
        self.images: list[tuple[int, int, Cell]] = []
        self.right = 0
        self.bottom = _GAP
        for line in title.splitlines():
            self._write(_GAP, self.bottom, line)
            self.bottom += _TEXT
        self.bottom += _GAP if title else 0

    def beside(self, names: Sequence[str], widths: Sequence[int]) -> bytes:
        """Columns side by side."""
        places = [_GAP + sum(widths[:i]) + _GAP * i for i in range(len(widths))]
        for x, name, width in zip(places, names, widths, strict=True):
            self._write(x, self.bottom, fitted(name, width))
        self.bottom += _TEXT
        for row in self.rows:
            lowest = self.bottom
            for x, width, cell in zip(places, widths, row, strict=False):
                lowest = max(lowest, self._place(x, self.bottom, cell, width))
            self.bottom = lowest + _GAP
        return self._png()

    def below(self, names: Sequence[str]) -> bytes:
        """Cells of a row below each other; names are repeated."""
        left = _GAP + max(round(font().getlength(name)) for name in names) + _GAP
        for row in self.rows:
            for name, cell in zip(names, row, strict=False):
                middle = (round(self.scale * cell.image.shape[0]) - _TEXT) // 2
                self._write(_GAP, self.bottom + max(0, middle), name)
                self.bottom = self._place(left, self.bottom, cell, WIDE - left) + _GAP // 2
            self.bottom += 2 * _GAP
        return self._png()

    def _place(self, x: int, y: int, cell: Cell, room: int) -> int:
        """Notes a cell and its caption; returns where it ends."""
        height, width = (int(self.scale * side + 0.5) for side in cell.image.shape[:2])
        self.images.append((x, y, cell))
        self.right = max(self.right, x + width)
        if not cell.caption:
            return y + height
        self._write(x, y + height + 1, fitted(cell.caption, room), cell.colour)
        return y + height + _TEXT

    def _write(self, x: int, y: int, text: str, colour: str = "black") -> None:
        self.texts.append((x, y, text, colour))
        self.right = max(self.right, x + round(font().getlength(text)))

    def _png(self) -> bytes:
        picture = Image.new("RGB", (self.right + _GAP, self.bottom), _BACKGROUND)
        pen = ImageDraw.Draw(picture)
        for x, y, cell in self.images:
            strip = Image.fromarray(np.ascontiguousarray(cell.image))
            width, height = (max(1, round(self.scale * side)) for side in strip.size)
            picture.paste(strip.resize((width, height), Image.Resampling.BICUBIC), (x, y))
            if cell.framed:
                pen.rectangle((x - 2, y - 2, x + width + 1, y + height + 1), outline=_FRAME, width=2)
        for x, y, text, colour in self.texts:
            pen.text((x, y), text, colour, font())
        buffer = io.BytesIO()
        picture.save(buffer, "PNG", optimize=True)
        return buffer.getvalue()
