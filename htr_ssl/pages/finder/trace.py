"""From the net's maps to lines: the baseline's band is thinned to a polyline, the heights make the outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from htr_ssl.pages.finder.maps import Maps

Array = np.ndarray[Any, np.dtype[Any]]

_BAND, _END = 0.4, 0.5  # chances above which a cell counts as baseline, as end of a line
_SURE = 0.75  # of a baseline where bands of two lines touch
_SHORT = 0.45  # shortest line [heights]
_TINY, _FAINT = 0.45, 0.5  # shortest cell of a table [heights] and its least mean chance
_GAP, _STEP = 1.6, 0.22  # widest gap and greatest step within a line [heights]
_MEAN = 0.55  # least mean chance of a line's band
_BODY = 0.5  # farthest a loop lies from the baseline of its line [heights]


@dataclass(slots=True)
class Trace:
    """One line [cells].

    Attributes:
        x: places from left to right (K,).
        y: of the baseline (K,).
        above: height of the outline above it (K,).
        below: and below it (K,).
        chance: mean chance of its band.
        height: usual height of the outline [cells].
    """

    x: Array
    y: Array
    above: Array
    below: Array
    chance: float
    height: float = field(init=False)

    def __post_init__(self) -> None:
        self.height = float(np.median(self.above + self.below))


def trace(maps: Maps) -> list[Trace]:
    """Lines of the maps, in no order."""
    height = maps.height
    if not height:
        return []
    band = _parted(maps, ((maps.baseline > _BAND) & (maps.ends < _END)).astype(np.uint8), height)
    pieces = _pieces(maps, band)
    lines = _joined(maps, pieces, height)
    lines = [line for line in lines if np.ptp(line.x) >= _SHORT * line.height and line.chance >= _MEAN]
    return _without_scraps(lines)


def small(maps: Maps, lines: Sequence[Trace], apart: Array) -> list[Trace]:
    """Words of a letter or two that `trace` leaves out: the ends the net sees on both sides cover them.

    Args:
        maps: of the page.
        lines: what was found; pieces of them are none.
        apart: (h, w), cells above 0 part words.
    """
    height = maps.height
    band: Array = ((maps.baseline > _BAND) & (apart == 0)).astype(np.uint8)
    labels = np.asarray(cv2.connectedComponents(band, connectivity=8)[1])
    places = [labels[np.round(line.y).astype(int), np.round(line.x).astype(int)] for line in lines]
    taken = np.zeros(int(labels.max()) + 1, bool)
    taken[np.concatenate(places) if places else []] = True
    labels[taken[labels]] = 0
    return [
        line
        for line in _pieces(maps, labels)
        if _TINY * height <= np.ptp(line.x) <= 4 * height and np.ptp(line.y) < _BODY * height and line.chance >= _FAINT
    ]


def _without_scraps(lines: list[Trace]) -> list[Trace]:
    """Lines without loops of letters: short pieces in the body of a longer line."""
    start, stop = (np.array([line.x[k] for line in lines]) for k in (0, -1))
    kept = []
    for k, line in enumerate(lines):
        length = stop[k] - start[k]
        over = (start < start[k] + 0.1 * length) & (stop > stop[k] - 0.1 * length) & (stop - start > 2 * length)
        middle = (start[k] + stop[k]) / 2
        inside = length < 1.2 * line.height and any(
            abs(np.interp(middle, lines[j].x, lines[j].y) - line.y.mean()) < _BODY * lines[j].height
            for j in np.flatnonzero(over).tolist()
        )
        if not inside:
            kept.append(line)
    return kept


def _parted(maps: Maps, band: Array, height: float) -> Array:
    """Labels (h, w) of the band's pieces; pieces two lines share are cut down to their sure cells."""
    count, labels = cv2.connectedComponents(band, connectivity=8)
    y, x = np.nonzero(band)
    columns = _by_column(labels[y, x], x, band.shape[1])
    key, place = np.unique(columns, return_inverse=True)
    top, bottom = np.full(len(key), np.inf), np.full(len(key), -np.inf)
    np.minimum.at(top, place, y)
    np.maximum.at(bottom, place, y)
    wide = bottom - top > max(4.0, 0.42 * height)
    thick = np.bincount(key // band.shape[1], wide, minlength=count)
    shared = thick > 0.3 * height
    if not shared.any():
        return np.asarray(labels)
    kept = band.copy()
    kept[shared[labels] & (maps.baseline < _SURE)] = 0
    return np.asarray(cv2.connectedComponents(kept, connectivity=8)[1])


def _by_column(label: Array, x: Array, width: int) -> Array:
    return label.astype(np.int64) * width + x


def _pieces(maps: Maps, labels: Array) -> list[Trace]:
    """One trace a piece: in every column the middle of its band, weighted with the chance."""
    width = labels.shape[1]
    y, x = np.nonzero(labels)
    if not len(y):
        return []
    key, place = np.unique(_by_column(labels[y, x], x, width), return_inverse=True)
    chance = maps.baseline[y, x]
    weight = np.bincount(place, chance)
    count = np.bincount(place)
    middle = np.bincount(place, chance * y) / weight
    above = np.bincount(place, maps.above[y, x]) / count
    below = np.bincount(place, maps.below[y, x]) / count
    owner, column = key // width, key % width
    bounds = np.flatnonzero(np.diff(owner)) + 1
    parts = zip(*(np.split(v, bounds) for v in (column, middle, above, below, weight, count)), strict=True)
    return [Trace(c.astype(float), m, a, b, float(w.sum() / n.sum())) for c, m, a, b, w, n in parts if len(c) > 1]


def _joined(maps: Maps, pieces: list[Trace], height: float) -> list[Trace]:
    """Pieces that go on in one another, put together."""
    if len(pieces) < 2:
        return pieces
    reach = 6

    def end(piece: Trace, side: int) -> tuple[float, float, float]:
        part = slice(-reach, None) if side > 0 else slice(None, reach)
        return float(piece.x[-1 if side > 0 else 0]), float(np.mean(piece.y[part])), float(np.mean(piece.x[part]))

    right, left = np.array([end(p, 1) for p in pieces]), np.array([end(p, -1) for p in pieces])
    size = np.array([p.height for p in pieces])
    slope = np.array([np.polyfit(p.x, p.y, 1)[0] if np.ptp(p.x) > 2 * height else 0.0 for p in pieces])
    gap = left[None, :, 0] - right[:, None, 0]
    both = np.minimum(size[:, None], size[None])
    run = left[None, :, 2] - right[:, None, 2]
    step = np.abs(left[None, :, 1] - right[:, None, 1] - run * (slope[:, None] + slope[None]) / 2)
    fits = (gap > -0.5 * both) & (gap < _GAP * both) & (step < _STEP * both + 0.08 * np.abs(gap))
    np.fill_diagonal(fits, False)
    after, before = np.full(len(pieces), -1), np.full(len(pieces), -1)
    cost = np.where(fits, gap + 3 * step, np.inf)
    for flat in np.argsort(cost, axis=None):
        i, j = divmod(int(flat), len(pieces))
        if not np.isfinite(cost[i, j]):
            break
        if after[i] < 0 and before[j] < 0 and not _ends_between(maps, right[i], left[j], both[i, j]):
            after[i], before[j] = j, i
    lines = []
    for first in np.flatnonzero(before < 0).tolist():
        chain = [int(first)]
        while after[chain[-1]] >= 0 and after[chain[-1]] not in chain:
            chain.append(int(after[chain[-1]]))
        lines.append(_chained([pieces[k] for k in chain]))
    return lines


def _ends_between(maps: Maps, a: Array, b: Array, height: float) -> bool:
    """Whether the net sees a line's end between two places."""
    count = max(2, int(abs(b[0] - a[0])) + 1)
    x = np.linspace(a[0], b[0], count).astype(int)
    y = np.linspace(a[1], b[1], count).astype(int)
    deep = max(1, int(0.15 * height))
    rows = np.clip(y[:, None] + np.arange(-2 * deep, deep + 1), 0, maps.ends.shape[0] - 1)
    column = maps.ends[rows, np.clip(x, 0, maps.ends.shape[1] - 1)[:, None]].mean(1)
    return bool(column.max() > 0.4)


def _chained(parts: list[Trace]) -> Trace:
    if len(parts) == 1:
        return parts[0]
    x, y, above, below = (np.concatenate([getattr(p, name) for p in parts]) for name in ("x", "y", "above", "below"))
    order = np.argsort(x, kind="stable")
    sizes = np.array([len(p.x) for p in parts])
    chance = float((sizes * [p.chance for p in parts]).sum() / sizes.sum())
    return Trace(x[order], y[order], above[order], below[order], chance)
