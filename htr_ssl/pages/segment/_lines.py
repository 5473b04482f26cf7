"""From the ink of a row to lines: ends trimmed, margins parted, rulings and whatever is no writing dropped."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from htr_ssl.pages.segment._rows import Row

Array = np.ndarray[Any, np.dtype[Any]]

Column = tuple[float, float]

_WEAK = 0.15  # share of a row's usual ink below which a cell counts as empty
_SPACE = 0.3  # narrowest gap between a margin and the main column [pitches]
_SPACED = 0.4  # share of the usual ink that may be left in that gap
_FAINT, _DENSE = 0.45, 2.5  # least and most ink of a line relative to the long lines
_CELL = 0.5  # width of the cells in which ink is counted [pitches]


@dataclass(slots=True)
class Strokes:
    """Ink of one line: places x (N,) and heights below the middle of its row (N,) [px]."""

    row: Row
    x: Array
    off: Array

    def between(self, left: float, right: float) -> Strokes:
        """The ink with left <= x < right."""
        inside = (self.x >= left) & (self.x < right)
        return Strokes(self.row, self.x[inside], self.off[inside])


def strokes_of(owner: Array, rows: list[Row]) -> list[Strokes]:
    """Ink of every row that has any; `owner` holds 0 for none and i + 1 for row i."""
    y, x = np.nonzero(owner)
    number = owner[y, x]
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(1, len(rows) + 2))
    found = []
    for row, low, high in zip(rows, bounds[:-1], bounds[1:], strict=True):
        if high > low:
            places = x[order[low:high]]
            found.append(Strokes(row, places, y[order[low:high]] - row.at(places)))
    return found


def trimmed(strokes: Strokes, pitch: float) -> Strokes:
    """The line without specks and strokes that lie apart at its ends."""
    cell = _CELL * pitch
    left = float(strokes.x.min())
    counts = np.bincount(((strokes.x - left) / cell).astype(int))
    strong = np.flatnonzero(counts >= _WEAK * np.percentile(counts[counts > 0], 75))
    pieces = np.split(strong, np.flatnonzero(np.diff(strong) > 2) + 1)
    total = counts.sum()

    def stray(piece: Array) -> bool:
        ink = counts[piece[0] : piece[-1] + 1].sum()
        return bool(len(pieces) > 1 and (ink < 0.04 * total or (len(piece) < 2 and ink < 0.15 * total)))

    while stray(pieces[0]):
        pieces.pop(0)
    while stray(pieces[-1]):
        pieces.pop()
    # Half a cell more on both sides: faint ends of letters.
    return strokes.between(left + (pieces[0][0] - 0.5) * cell, left + (pieces[-1][-1] + 1.5) * cell)


def column_of(lines: list[Strokes], pitch: float) -> Column | None:
    """Left and right edge of the main column [px] if most long lines begin at the same place, else None."""
    if len(lines) < 5:
        return None
    starts = np.array([line.x.min() for line in lines], float)
    ends = np.array([line.x.max() for line in lines], float)
    long = ends - starts > 0.5 * np.percentile(ends - starts, 90)
    starts, ends = starts[long], ends[long]
    near = np.abs(starts[:, None] - starts) < pitch
    best = near[int(near.sum(1).argmax())]
    if best.sum() < max(4, 0.35 * len(starts)):
        return None
    return float(np.median(starts[best])), float(np.percentile(ends[best], 75))


def parted(line: Strokes, column: Column, pitch: float) -> list[Strokes]:
    """The line cut where it leaves the main column, at the emptiest place nearby; whole if there is no gap."""
    cuts = []
    for edge, side in zip(column, (-1, 1), strict=True):
        outer = line.x.min() if side < 0 else line.x.max()
        inner = line.x.max() if side < 0 else line.x.min()
        if side * (outer - edge) > 1.5 * pitch and side * (edge - inner) > 2 * pitch:
            cut = _gap(line, edge, side, pitch)
            cuts += [] if cut is None else [cut]
    bounds = [-np.inf, *cuts, np.inf]
    parts = [line.between(low, high) for low, high in pairwise(bounds)]
    return [part for part in parts if len(part.x)]


def _gap(line: Strokes, edge: float, side: int, pitch: float) -> float | None:
    """Emptiest place near an edge of the column, a little outside rather than inside; None if it is written over."""
    low, high = sorted((int(edge - 0.3 * side * pitch), int(edge + 1.2 * side * pitch)))
    low = max(low, 0)
    counts = np.bincount(line.x.astype(int), minlength=high + 1)[low:high].astype(float)
    width = max(3, round(_SPACE * pitch))
    smooth = np.convolve(counts, np.ones(width) / width, "same")
    usual = len(line.x) / (np.ptp(line.x) + 1)
    place = int((smooth + 0.1 * usual * np.abs(np.arange(low, high) - edge) / pitch).argmin())
    return float(low + place) if smooth[place] < _SPACED * usual else None


def side_of(line: Strokes, column: Column, pitch: float) -> str:
    """Whether the line lies in the main column or wholly left or right of it: main, left or right."""
    if line.x.max() < column[0] + 0.5 * pitch:
        return "left"
    return "right" if line.x.min() > column[1] - 0.5 * pitch else "main"


def is_scrap(line: Strokes, side: str, pitch: float, width: int) -> bool:
    """Whether the line lies beside the main column and is cut off by the image's edge, or very short.

    The one belongs to another page, the other mostly to upright writing, stamps or ornaments.
    """
    edge = 0.3 * pitch
    if side != "main" and np.ptp(line.x) < 2 * pitch:
        return True
    return bool((side == "left" and line.x.min() < edge) or (side == "right" and line.x.max() > width - edge))


def written(lines: list[Strokes], pitch: float) -> list[Strokes]:
    """The lines that look like writing: no rulings, edges, ornaments or pieces of upright columns.

    Each bound lies well beyond what lines of handwriting show, since a line lost is worse than one too many.
    """
    lines = [line for line in lines if len(line.x) >= 0.06 * pitch * pitch and np.ptp(line.x) >= 0.8 * pitch]
    lengths = np.array([np.ptp(line.x) for line in lines])
    inks = np.array([len(line.x) for line in lines]) / np.maximum(lengths, 1)
    if not len(lines):
        return []
    usual = float(np.median(inks[lengths >= 0.5 * lengths.max()]))
    plenty = (inks > _FAINT * usual) & (inks < _DENSE * usual)
    return [line for line, enough in zip(lines, plenty, strict=True) if enough and _is_written(line, pitch)]


def _is_written(line: Strokes, pitch: float) -> bool:
    """Whether the ink lies across the row as that of letters does."""
    low, high = np.percentile(line.off, [10, 90])
    short = np.ptp(line.x) < 5 * pitch
    if not 0.12 * pitch < high - low < (1.1 if short else 1.35) * pitch:
        return False
    width = max(1.0, pitch / 24)
    half = int(1.2 * pitch / width)
    profile = np.histogram(line.off, (np.arange(2 * half + 2) - half - 0.5) * width)[0]
    near, far = round(0.1 * pitch / width), round(0.45 * pitch / width)
    peak = int(profile.argmax())
    if profile[max(0, peak - near) : peak + near + 1].sum() > 0.85 * profile.sum():
        return False  # a ruling
    core = profile[half - near : half + near + 1].mean()
    sides = [profile[half + k - near : half + k + near + 1].mean() / max(core, 1e-9) for k in (-far, far)]
    return bool(
        max(sides) < (0.6 if short else 0.8) and min(sides) < (0.4 if short else 0.6)
    )  # else ink everywhere: no row


def outline(line: Strokes, pitch: float) -> tuple[Array, Array]:
    """Polygon and baseline of a line [px]."""
    row = line.row
    bins = np.arange(-1.5 * pitch, 1.5 * pitch + 1)
    profile = np.convolve(np.histogram(line.off, bins)[0], np.ones(3) / 3, "same")
    peak = int(profile.argmax())
    below = np.flatnonzero(profile[peak:] < 0.45 * profile[peak])
    base = bins[peak + (int(below[0]) if len(below) else 0)]
    left, right = float(line.x.min()), float(line.x.max())
    knots = np.linspace(left, right, max(3, round((right - left) / pitch) + 1))
    baseline = np.stack((knots, row.at(knots) + base), 1)
    cells = max(2, round((right - left) / max(4.0, pitch / 2)))
    cell = np.minimum(((line.x - left) / max(right - left, 1) * cells).astype(int), cells - 1)
    top = np.full(cells, base - 0.45 * pitch)
    bottom = np.full(cells, base + 0.15 * pitch)
    np.minimum.at(top, cell, line.off)
    np.maximum.at(bottom, cell, line.off)
    pad = 0.06 * pitch
    edges = np.linspace(left - pad, right + pad, cells + 1)
    upper = np.minimum(np.r_[top[0], top], np.r_[top, top[-1]]) - pad
    lower = np.maximum(np.r_[bottom[0], bottom], np.r_[bottom, bottom[-1]]) + pad
    middle = row.at(edges)
    sides = np.stack((edges, middle + upper), 1), np.stack((edges, middle + lower), 1)[::-1]
    return np.concatenate(sides), baseline
