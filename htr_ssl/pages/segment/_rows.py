"""Rows of text in a mask of upright ink: ridges of the ink's density, traced from strip to strip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Peak = tuple[float, float]  # height [px], density
Knot = tuple[int, float, float]  # strip, height [px], density

_STRIPS = 12  # strips whose projections are compared
_WIDE, _HIGH = 1.2, 0.16  # smoothing of the density along and across the rows [pitches]
_FAINT = 0.22  # share of the usual density that still counts as writing
_GAP = 2.5  # widest gap within a row [pitches]


@dataclass(slots=True)
class Row:
    """Middle of a text row: ascending x (N,), y (N,) and ink density (N,) [px]."""

    x: Array
    y: Array
    density: Array

    def at(self, x: Array) -> Array:
        """Height of the row at x; level beyond its ends."""
        return np.asarray(np.interp(x, self.x, self.y))


def pitch_of(ink: Array) -> float:
    """Usual distance of neighbouring rows [px], from the autocorrelation of the strips' projections.

    Where nothing repeats, as with a single line, it is taken from the height of the pieces of ink.
    """
    height = ink.shape[0]
    letter = _letter_height(ink)
    if height < 4 * letter:
        return 1.5 * letter
    low = max(6, round(0.8 * min(letter, height / 40)))
    high = max(low + 3, min(round(4 * max(letter, height / 60)), height // 2))
    profiles = cv2.resize(ink.astype(np.float32), (_STRIPS, height), interpolation=cv2.INTER_AREA)
    sigma = max(1.0, low / 6)
    profiles = cv2.GaussianBlur(profiles, (1, 2 * round(3 * sigma) + 1), sigmaX=1, sigmaY=sigma)
    profiles = profiles - cv2.blur(profiles, (1, 2 * high + 1))
    spectrum = np.abs(np.fft.rfft(profiles, 2 * height, axis=0)) ** 2
    correlation = np.fft.irfft(spectrum.sum(1))[: high + 1]
    inner = correlation[1:-1]
    peaks = 1 + np.flatnonzero((inner > correlation[:-2]) & (inner >= correlation[2:]))
    peaks = peaks[peaks >= low]
    best = correlation[peaks].max(initial=0.0)
    if best <= 0.1 * correlation[0]:
        return 1.5 * letter
    return float(peaks[correlation[peaks] > 0.6 * best][0])


def _letter_height(ink: Array) -> float:
    """Height [px] that half of the ink reaches in connected pieces no higher."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    heights, areas = stats[1:, cv2.CC_STAT_HEIGHT], stats[1:, cv2.CC_STAT_AREA]
    order = np.argsort(heights)
    middle = int(np.searchsorted(areas[order].cumsum(), areas.sum() / 2))
    return float(heights[order][min(middle, len(order) - 1)])


def rows_of(ink: Array, pitch: float) -> list[Row]:
    """Rows of text, from top to bottom."""
    step = max(1, round(pitch / 3))
    columns = max(1, ink.shape[1] // step)
    density = cv2.resize(ink.astype(np.float32), (columns, ink.shape[0]), interpolation=cv2.INTER_AREA)
    density = cv2.GaussianBlur(density, (0, 0), sigmaX=_WIDE * pitch / step, sigmaY=_HIGH * pitch)
    peaks = _peaks(density)
    chains = _link(peaks, pitch, step)
    rows = [
        Row(np.array([(c + 0.5) * step for c, _, _ in chain]), *np.array([(y, d) for _, y, d in chain]).T)
        for chain in chains
        if len(chain) >= 2
    ]
    rows = _joined(_without_shadows(rows, pitch), pitch)
    for row in rows:
        row.y = np.convolve(np.pad(row.y, 2, mode="edge"), np.full(5, 0.2), "valid")
    return sorted(rows, key=lambda row: float(row.y.mean()))


def _peaks(density: Array) -> list[list[Peak]]:
    """Rows of every strip; peaks without a clear valley between them count as one."""
    inner = density[1:-1]
    y, column = np.nonzero((inner > density[:-2]) & (inner >= density[2:]))
    if not len(y):
        return [[] for _ in range(density.shape[1])]
    value = inner[y, column]
    usual = float(np.percentile(value, 80))
    strips: list[list[Peak]] = [[] for _ in range(density.shape[1])]
    for i in np.flatnonzero(value > _FAINT * usual):
        strip = strips[column[i]]
        place, strength = int(y[i]) + 1, float(value[i])
        if strip:
            before, other = strip[-1]
            valley = float(density[int(before) : place + 1, column[i]].min())
            if valley > 0.88 * min(strength, other):
                if strength > other:
                    strip[-1] = (place, strength)
                continue
        strip.append((place, strength))
    return strips


def _link(strips: list[list[Peak]], pitch: float, step: int) -> list[list[Knot]]:
    """Chains of (strip, height, density), each going on with the nearest peak of the next strip."""
    chains: list[list[Knot]] = []
    for column, strip in enumerate(strips):
        pairs = []
        for number, chain in enumerate(chains):
            if column - chain[-1][0] <= 2:
                expected = _expected(chain, column, step)
                away = [(abs(y - expected), number, i) for i, (y, _) in enumerate(strip)]
                pairs += [pair for pair in away if pair[0] < 0.25 * pitch]
        used: set[int] = set()
        grown: set[int] = set()
        for _, number, i in sorted(pairs):
            if number not in grown and i not in used:
                grown.add(number)
                used.add(i)
                chains[number].append((column, *strip[i]))
        chains += [[(column, *peak)] for i, peak in enumerate(strip) if i not in used]
    return chains


def _expected(chain: list[Knot], column: int, step: int) -> float:
    """Height at which a chain should reach a strip."""
    tail = chain[-8:]
    slope = (tail[-1][1] - tail[0][1]) / max(tail[-1][0] - tail[0][0], 1) if len(tail) > 3 else 0.0
    return tail[-1][1] + float(np.clip(slope, -0.15 * step, 0.15 * step)) * (column - tail[-1][0])


def _without_shadows(rows: list[Row], pitch: float) -> list[Row]:
    """Rows without those that lie, fainter, close to another: ascenders and descenders."""
    rows = sorted(rows, key=lambda row: -float(row.density.sum()))
    boxes = np.array([(row.x[0], row.x[-1], row.y.min(), row.y.max()) for row in rows]).reshape(-1, 4)
    kept = np.zeros(len(rows), bool)
    for i, row in enumerate(rows):
        left, right, top, bottom = boxes[i]
        near = kept & (boxes[:, 0] <= right) & (boxes[:, 1] >= left)
        near &= (boxes[:, 2] < bottom + pitch) & (boxes[:, 3] > top - pitch)
        kept[i] = not any(_is_shadow(row, rows[k], pitch) for k in np.flatnonzero(near))
    return [row for row, keep in zip(rows, kept, strict=True) if keep]


def _is_shadow(row: Row, other: Row, pitch: float) -> bool:
    """Whether most of a row lies close to another."""
    shared = (row.x >= other.x[0]) & (row.x <= other.x[-1])
    return bool(shared.mean() > 0.5 and np.abs(row.y - other.at(row.x))[shared].mean() < 0.55 * pitch)


def _joined(rows: list[Row], pitch: float) -> list[Row]:
    """Rows with those joined that go on in one another, the best fits first, each end at most once."""
    starts, ends = np.array([row.x[0] for row in rows]), np.array([row.x[-1] for row in rows])
    pairs = []
    for i, left in enumerate(rows):
        gaps = starts - left.x[-1]
        for j in np.flatnonzero((gaps > -pitch) & (gaps < _GAP * pitch) & (starts > left.x[0]) & (ends > left.x[-1])):
            right = rows[j]
            jump = abs(_extended(left, float(right.x[0])) - right.y[0])
            back = abs(_extended(right, float(left.x[-1])) - left.y[-1])
            if jump < 0.4 * pitch:
                cost = min((jump + back) / 2, abs(right.y[0] - left.y[-1])) + 0.05 * max(gaps[j], 0)
                pairs.append((float(cost), i, int(j)))
    following: dict[int, int] = {}
    taken: set[int] = set()
    for _, before, after in sorted(pairs):
        if before not in following and after not in taken:
            following[before] = after
            taken.add(after)
    joined = []
    for first in set(range(len(rows))) - taken:
        row, k = rows[first], first
        while k in following:
            k = following[k]
            later = rows[k].x > row.x[-1]
            row = Row(*(np.concatenate((getattr(row, n), getattr(rows[k], n)[later])) for n in ("x", "y", "density")))
        joined.append(row)
    return joined


def _extended(row: Row, x: float) -> float:
    """Height at x beyond an end, along the straight line through the points near that end."""
    near = slice(0, 10) if x < row.x[0] else slice(-10, None) if x > row.x[-1] else None
    if near is None or len(row.x) < 4:
        return float(row.at(np.array([x]))[0])
    slope = np.polyfit(row.x[near], row.y[near], 1)[0]
    return float(np.clip(slope, -0.1, 0.1) * (x - row.x[near].mean()) + row.y[near].mean())
