"""Lines of plain pages: upright text in one main column, with margin notes at most.

The paper is evened out and the ink binarised; the page is sheared upright; rows are ridges of the ink's density in
overlapping vertical strips, linked from strip to strip, so that wavy and sloping lines stay whole; every connected
piece of ink goes to its row, and pieces that reach over several rows are cut halfway between them.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from htr_ssl.layout.document import Line
from htr_ssl.layout.ink import ink_of, shear, skew_of, without_curves, without_rulings
from htr_ssl.layout.order import in_order
from htr_ssl.pages.segment._lines import column_of, is_scrap, outline, parted, side_of, strokes_of, trimmed, written
from htr_ssl.pages.segment._rows import Row, pitch_of, rows_of

Array = np.ndarray[Any, np.dtype[Any]]

_AREA = 2_200_000  # pixels worked on
_MIN_SIDE, _MAX_SIDE = 24, 6000  # least and most height and width worked on; images below hold no line [px]
_REACH = 1.1  # farthest ink of a row from its middle [pitches]


def segment(image: np.ndarray) -> list[Line]:
    """Text lines of a page image in reading order, each with polygon and baseline in the image's pixels.

    Args:
        image: uint8, (H, W) gray or (H, W, 3) RGB.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    height, width = gray.shape
    scale = min(1.0, (_AREA / (height * width)) ** 0.5, _MAX_SIDE / max(height, width))
    if scale * min(height, width) < _MIN_SIDE:
        return []
    if scale < 1:
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    ink = ink_of(gray)
    slope = skew_of(without_rulings(ink))
    ink = without_rulings(shear(ink, slope))
    lines = _lines(ink) if ink.any() else []
    factor = np.array([width / gray.shape[1], height / gray.shape[0]])

    def back(points: Array) -> Array:
        across, down = points[:, 0], points[:, 1] + slope * (points[:, 0] - gray.shape[1] / 2)
        return np.asarray(np.clip(np.stack((across, down), 1) * factor, 0, [width - 1, height - 1]))

    found = in_order([Line("", back(polygon), back(baseline), side) for polygon, baseline, side in lines])
    for number, line in enumerate(found):
        line.id = f"line{number + 1}"
    return found


def _lines(ink: Array) -> list[tuple[Array, Array, str | None]]:
    """Polygon, baseline and side of every line in a mask of upright ink; the side is None without a main column."""
    pitch = pitch_of(ink)
    ink = without_curves(ink, pitch)
    rows = rows_of(ink, pitch)
    lines = [trimmed(line, pitch) for line in strokes_of(_owners(ink, rows, pitch), rows)]
    column = column_of(lines, pitch)
    if column is None:
        return [(*outline(line, pitch), None) for line in written(lines, pitch)]
    parts = [trimmed(part, pitch) for line in lines for part in parted(line, column, pitch)]
    sides = [(line, side_of(line, column, pitch)) for line in written(parts, pitch)]
    width = ink.shape[1]
    return [(*outline(line, pitch), side) for line, side in sides if not is_scrap(line, side, pitch, width)]


def _owners(ink: Array, rows: list[Row], pitch: float) -> Array:
    """Row of every ink pixel: (H, W) int32, 0 = none, i + 1 = row i."""
    nearest = _nearest(ink.shape, rows, pitch)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    y, x = np.nonzero(ink)
    piece = labels[y, x]
    votes = np.bincount(piece * (len(rows) + 1) + nearest[y, x], minlength=count * (len(rows) + 1))
    votes = votes.reshape(count, len(rows) + 1)
    whole = (votes.max(1) >= 0.8 * votes.sum(1)) | (stats[:, cv2.CC_STAT_HEIGHT] < 0.75 * pitch)
    owners = np.zeros_like(nearest)
    owners[y, x] = np.where(whole[piece], votes.argmax(1)[piece], nearest[y, x])
    return owners


def _nearest(shape: tuple[int, ...], rows: list[Row], pitch: float) -> Array:
    """Nearest row of every pixel that a row reaches: (H, W) int32 as for `_owners`."""
    height, width = shape
    nearest = np.zeros((height, width), np.int32)
    x = np.arange(width)
    middles = np.full((len(rows), width), np.inf)
    for middle, row in zip(middles, rows, strict=True):
        inside = (x >= row.x[0] - pitch / 3) & (x <= row.x[-1] + pitch / 3)
        middle[inside] = row.at(x[inside])
    for column in range(width):
        here = np.argsort(middles[:, column])[: np.isfinite(middles[:, column]).sum()]
        if not len(here):
            continue
        middle = middles[here, column]
        halfway = (middle[:-1] + middle[1:]) / 2
        top = np.maximum(middle - _REACH * pitch, np.concatenate(([0.0], halfway)))
        bottom = np.minimum(middle + _REACH * pitch, np.concatenate((halfway, [float(height)])))
        for row_number, low, high in zip(here, top.round().astype(int), bottom.round().astype(int), strict=True):
            nearest[max(low, 0) : max(high, 0), column] = row_number + 1
    return nearest
