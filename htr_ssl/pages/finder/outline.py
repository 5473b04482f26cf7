"""Outlines of lines: the predicted reach above and below the baseline, drawn in to the ink that is there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from htr_ssl.layout.ink import ink_of, without_rulings
from htr_ssl.pages.finder.maps import Maps
from htr_ssl.pages.finder.rules import Rule
from htr_ssl.pages.finder.trace import Trace

Array = np.ndarray[Any, np.dtype[Any]]

_MARGIN = 0.06  # added above, below and at the ends [heights]
_START = 0.25  # added before the line, where large letters reach out [heights]
_RULE = 1.0  # kept between outline and rule [cells]
_ON = 0.15  # how far a rule is taken to run through the end of a line [heights]
_SMOOTH = 0.3  # reach of the maximum along the line [heights]
_FINE = 2  # pixels of ink to a cell
_AROUND = 2.0  # how far along the line ink counts for the outline [heights]
_ROOM = 0.1  # paper kept above and below the ink [heights]
_LEAST = 0.3  # least share of the predicted reach that stays


def outlines(traces: Sequence[Trace], maps: Maps, gray: Array, rules: Sequence[Rule] = ()) -> list[Array]:
    """Outline of every line (K, 2) [px of the page], inside of it and between the rules of a table."""
    height, width = gray.shape
    ink = _ink(gray, maps) if traces else gray
    found = []
    for line in traces:
        size = line.height
        count = max(3, min(60, round(2 * np.ptp(line.x) / size) + 1))
        edges = np.linspace(*_ends(line, rules), count)
        y = np.interp(edges, line.x, line.y)
        above, below = _drawn_in(line, ink)
        above = np.interp(edges, line.x, _largest(above, size)) + _MARGIN * size
        below = np.interp(edges, line.x, _largest(below, size)) + _MARGIN * size
        upper, lower = np.stack((edges, y - above), 1), np.stack((edges, y + below), 1)[::-1]
        points = (np.concatenate((upper, lower)) + 0.5) / maps.scale
        found.append(np.clip(points, 0, (width - 1, height - 1)))
    return found


def _ends(line: Trace, rules: Sequence[Rule]) -> tuple[float, float]:
    """Where the outline begins and ends [cells]."""
    size = line.height
    start, stop = line.x[0] - _START * size, line.x[-1] + 1 + _MARGIN * size
    for rule in rules:
        if not rule.top <= line.y[0] <= rule.bottom:
            continue
        left, right = (rule.place + rule.slope * line.y[k] for k in (0, -1))
        if start - _RULE < left < line.x[0] + _ON * size:
            start = left + _RULE
        if line.x[-1] - _ON * size < right < stop + _RULE:
            stop = right - _RULE
    return float(min(start, line.x[0] + _ON * size)), float(stop)


def _ink(gray: Array, maps: Maps) -> Array:
    """Ink of the page without rulings, `_FINE` pixels a cell."""
    height, width = maps.baseline.shape
    fine = cv2.resize(gray, (_FINE * width, _FINE * height), interpolation=cv2.INTER_AREA)
    return without_rulings(ink_of(fine))


def _drawn_in(line: Trace, ink: Array) -> tuple[Array, Array]:
    """Reach above and below the baseline (K,) [cells], no farther than the ink around and a little room."""
    size = line.height
    reach = int(_FINE * max(float(line.above.max()), float(line.below.max()))) + 1
    offsets = np.arange(-reach, reach + 1)
    rows = np.clip((_FINE * (line.y + 0.5)).astype(int)[:, None] + offsets, 0, ink.shape[0] - 1)
    columns = np.clip((_FINE * (line.x + 0.5)).astype(int), 0, ink.shape[1] - 1)
    marks = ink[rows, columns[:, None]] > 0  # (K, 2 * reach + 1)
    up, down = -offsets / _FINE, offsets / _FINE
    kept = []
    for predicted, away in ((line.above, up), (line.below, down)):
        there = marks & (away >= 0) & (away <= predicted[:, None])
        far = np.where(there, away, 0).max(1).astype(np.float32)
        side = 2 * max(1, int(_AROUND * size)) + 1
        far = cv2.dilate(far[None], np.ones((1, side), np.uint8))[0]
        kept.append(np.minimum(predicted, np.maximum(far + _ROOM * size, _LEAST * predicted)))
    return kept[0], kept[1]


def _largest(values: Array, size: float) -> Array:
    """Maximum of the values nearby, smoothed."""
    reach = max(1, int(_SMOOTH * size))
    row = values.astype(np.float32)[None]
    grown = cv2.dilate(row, np.ones((1, 2 * (reach // 2) + 1), np.uint8))
    return np.asarray(cv2.blur(grown, (2 * reach + 1, 1), borderType=cv2.BORDER_REPLICATE)[0])
