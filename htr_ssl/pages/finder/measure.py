"""How well found lines fit the true ones: one-to-one, by baselines and by outlines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import cv2
import numpy as np

from htr_ssl.layout.document import Line

Array = np.ndarray[Any, np.dtype[Any]]

NEAR = 0.35
"""Farthest a point of a baseline lies from the other one that covers it [line distances]."""
_STEP = 2.0  # between points on a baseline [px of a page whose lines are 40 px apart]


@dataclass(slots=True)
class Score:
    """Counts over pages.

    Attributes:
        pages: of documents.
        true: lines marked.
        found: lines found.
        half: pairs whose baselines cover each other by half or more.
        most: pairs whose baselines cover each other by three quarters or more.
        outlines: pairs of `half` whose outlines share half of their union or more.
        splits: true lines that two or more found ones cover by a fifth each, without a pair at three quarters.
        merges: found lines that cover two or more true ones by half each.
        missed: true lines without a pair.
        spurious: found lines without a pair that lie on no other true line.
        ordered: pairs that need not be moved to come in the true order.
        seconds: of finding.
    """

    pages: int = 0
    true: int = 0
    found: int = 0
    half: int = 0
    most: int = 0
    outlines: int = 0
    splits: int = 0
    merges: int = 0
    missed: int = 0
    spurious: int = 0
    ordered: int = 0
    seconds: float = 0.0

    def __add__(self, other: Score) -> Score:
        return Score(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Score)))

    @property
    def recall(self) -> float:
        """Share of the true lines that have a pair."""
        return self.half / self.true if self.true else 1.0

    @property
    def precision(self) -> float:
        """Share of the found lines that have a pair."""
        return self.half / self.found if self.found else 1.0


def score(found: Sequence[Line], true: Sequence[Line], seconds: float = 0.0) -> Score:
    """Compares the found lines of a page with the true ones; true lines without a baseline are left out."""
    true = [line for line in true if line.baseline is not None and len(line.baseline) > 1]
    if not found or not true:
        return Score(1, len(true), len(found), missed=len(true), spurious=len(found), seconds=seconds)
    distance = line_distance(true)
    of_found, of_true = covers([base_of(line) for line in found], [base_of(line) for line in true], distance)
    both = np.minimum(of_found, of_true)
    pairs = _pairs(both, 0.5)
    most = sum(both[i, j] >= 0.75 for i, j in pairs)
    outlines = sum(overlap(found[i].polygon, true[j].polygon) >= 0.5 for i, j in pairs)
    whole = {j for i, j in pairs if both[i, j] >= 0.75}
    splits = sum(int(j not in whole and (of_true[:, j] >= 0.2).sum() > 1) for j in range(len(true)))
    merges = int(((of_true >= 0.5).sum(1) > 1).sum())
    paired = {i for i, _ in pairs}
    spurious = sum(int(i not in paired and of_found[i].max() < 0.5) for i in range(len(found)))
    places = [j for _, j in sorted(pairs)]
    return Score(
        1,
        len(true),
        len(found),
        len(pairs),
        int(most),
        int(outlines),
        splits,
        merges,
        len(true) - len(pairs),
        spurious,
        _longest_rise(places),
        seconds,
    )


def line_distance(lines: Sequence[Line]) -> float:
    """Usual distance of neighbouring baselines [px]: that to the next line below, else the lines' height."""
    bases = [base_of(line) for line in lines]
    middles = np.array([base.mean(0) for base in bases])
    heights = [float(np.ptp(line.polygon[:, 1])) for line in lines]
    spans = np.array([(base[:, 0].min(), base[:, 0].max()) for base in bases])
    gaps = []
    for k, middle in enumerate(middles):
        beside = (spans[:, 0] < spans[k, 1]) & (spans[:, 1] > spans[k, 0])
        below = middles[beside, 1] - middle[1]
        below = below[below > 0.25 * float(np.median(heights))]
        if len(below):
            gaps.append(float(below.min()))
    return max(4.0, min(float(np.median(gaps)) if len(gaps) > 2 else np.inf, 1.2 * float(np.median(heights))))


def base_of(line: Line) -> Array:
    """Baseline of a line, guessed from its outline if it has none."""
    if line.baseline is not None and len(line.baseline) > 1:
        return np.asarray(line.baseline, float)
    (left, top), (right, bottom) = line.polygon.min(0), line.polygon.max(0)
    low = bottom - 0.3 * (bottom - top)
    return np.array([[left, low], [right, low]], float)


def overlap(a: Array, b: Array) -> float:
    """Intersection over union of two polygons [px]."""
    corner = np.floor(np.minimum(a.min(0), b.min(0)))
    size = np.ceil(np.maximum(a.max(0), b.max(0)) - corner).astype(int) + 1
    scale = min(1.0, 1500 / float(size.max()))
    masks = np.zeros((2, *np.maximum(1, (size[::-1] * scale).astype(int) + 1)), np.uint8)
    for mask, polygon in zip(masks, (a, b), strict=True):
        cv2.fillPoly(mask, [np.round((polygon - corner) * scale).astype(np.int32)], 1)
    union = int((masks[0] | masks[1]).sum())
    return float((masks[0] & masks[1]).sum() / union) if union else 0.0


def _points(base: Array, distance: float) -> Array:
    """Points at even distances on a baseline (K, 2)."""
    steps = np.concatenate(([0.0], np.hypot(*np.diff(base, axis=0).T).cumsum()))
    count = int(np.clip(steps[-1] / (distance / 40 * _STEP * 4), 4, 200))
    even = np.linspace(0, steps[-1], count)
    return np.stack([np.interp(even, steps, base[:, k]) for k in (0, 1)], 1)


def covers(found: Sequence[Array], true: Sequence[Array], distance: float) -> tuple[Array, Array]:
    """Share of each found baseline near each true one (A, B), and of each true one near each found one (A, B)."""
    a, b = ([_points(base, distance) for base in bases] for bases in (found, true))
    shares = np.zeros((2, len(a), len(b)))
    reach = NEAR * distance
    boxes = [np.array([(*p.min(0), *p.max(0)) for p in points]) for points in (a, b)]
    for i, p in enumerate(a):
        box = boxes[0][i]
        close = (
            (boxes[1][:, 0] <= box[2] + reach)
            & (boxes[1][:, 2] >= box[0] - reach)
            & (boxes[1][:, 1] <= box[3] + reach)
            & (boxes[1][:, 3] >= box[1] - reach)
        )
        for j in np.flatnonzero(close):
            shares[0, i, j] = (_to_line(p, b[j]) <= reach).mean()
            shares[1, i, j] = (_to_line(b[j], p) <= reach).mean()
    return shares[0], shares[1]


def _to_line(points: Array, line: Array) -> Array:
    """Distance of points (K, 2) to a polyline (M, 2)."""
    start, along = line[:-1], np.diff(line, axis=0)
    size = np.maximum((along**2).sum(1), 1e-9)
    place = np.clip(((points[:, None] - start) * along).sum(2) / size, 0, 1)
    return np.asarray(np.sqrt((((points[:, None] - start) - place[..., None] * along) ** 2).sum(2).min(1)))


def _pairs(both: Array, least: float) -> list[tuple[int, int]]:
    """Pairs of found and true lines, the best first, each line at most once."""
    left = both.copy()
    pairs = []
    while left.size and left.max() >= least:
        i, j = (int(k) for k in np.unravel_index(int(left.argmax()), left.shape))
        pairs.append((i, j))
        left[i], left[:, j] = 0, 0
    return pairs


def _longest_rise(places: Sequence[int]) -> int:
    """Length of the longest ascending subsequence."""
    best: list[int] = []
    for i, place in enumerate(places):
        best.append(1 + max((best[k] for k in range(i) if places[k] < place), default=0))
    return max(best, default=0)
