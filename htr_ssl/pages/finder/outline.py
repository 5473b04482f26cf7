"""Outlines of lines, drawn in to the ink that is there; lines whose ink shines through from the other side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from htr_ssl.layout.ink import ink_of, paper_of, without_rulings
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
_SURE, _FAINT = 0.7, 0.5  # chance below which a line is left out if its ink is fainter than this share of the usual
_SPECK = 0.57  # chance below which what is shorter than it is high is left out
_LEAST = 0.3  # least share of the predicted reach that stays


@dataclass(slots=True)
class Ink:
    """What is written on a page, `_FINE` pixels a cell of the maps.

    Attributes:
        mask: uint8, 1 = ink, without rulings.
        dark: uint8, how much darker than the paper.
    """

    mask: Array
    dark: Array

    @classmethod
    def of(cls, gray: Array, maps: Maps) -> Ink:
        """Ink of a gray page."""
        height, width = maps.baseline.shape
        fine = cv2.resize(gray, (_FINE * width, _FINE * height), interpolation=cv2.INTER_AREA)
        flat = np.minimum(cv2.divide(fine, paper_of(fine), scale=255), 255)
        return cls(without_rulings(ink_of(fine)), np.asarray(255 - flat))

    def around(self, line: Trace) -> tuple[Array, Array, Array]:
        """Mask and darkness (K, N) at the columns of a line, and how far below the baseline they lie (N,) [cells]."""
        reach = int(_FINE * max(float(line.above.max()), float(line.below.max()))) + 1
        offsets = np.arange(-reach, reach + 1)
        rows = np.clip((_FINE * (line.y + 0.5)).astype(int)[:, None] + offsets, 0, self.mask.shape[0] - 1)
        columns = np.clip((_FINE * (line.x + 0.5)).astype(int), 0, self.mask.shape[1] - 1)[:, None]
        return self.mask[rows, columns] > 0, self.dark[rows, columns], offsets / _FINE


def written(traces: Sequence[Trace], ink: Ink) -> list[bool]:
    """Whether each line is writing of this side: not much fainter than the others, no speck that is hardly sure."""
    tone = []
    for line in traces:
        mask, dark, down = ink.around(line)
        there = mask & (-down <= line.above[:, None]) & (down <= line.below[:, None])
        tone.append(float(np.percentile(dark[there], 75)) if there.any() else 0.0)
    usual = float(np.median(tone)) if tone else 0.0
    return [
        (line.chance >= _SURE or value >= _FAINT * usual) and (line.chance >= _SPECK or np.ptp(line.x) >= line.height)
        for line, value in zip(traces, tone, strict=True)
    ]


def outlines(
    traces: Sequence[Trace], maps: Maps, shape: tuple[int, ...], ink: Ink, rules: Sequence[Rule] = ()
) -> list[Array]:
    """Outline of every line (K, 2) [px of a page of that shape], inside of it and between the rules of a table."""
    height, width = shape
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


def _drawn_in(line: Trace, ink: Ink) -> tuple[Array, Array]:
    """Reach above and below the baseline (K,) [cells], no farther than the ink around and a little room."""
    size = line.height
    marks, _, down = ink.around(line)
    kept = []
    for predicted, away in ((line.above, -down), (line.below, down)):
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
