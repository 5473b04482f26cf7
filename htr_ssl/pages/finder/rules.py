"""Rules that run down a table: cells end there, so lines are cut where they cross one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from htr_ssl.pages.finder.maps import Maps
from htr_ssl.pages.finder.trace import Trace, small

Array = np.ndarray[Any, np.dtype[Any]]

_LONG = 0.3  # shortest rule [heights of the page]
_PIECE = 2.2  # shortest unbroken piece of a rule [heights of a line]
_CONTRAST = 14.0  # gray levels that a rule is darker than what lies beside it
_LEAST = 3  # rules of a table
_LINE = 6.0  # lines that run over a rule are longer [heights]
_CELL = 0.55  # shortest piece of a line cut off at a rule [heights]


@dataclass(slots=True)
class Rule:
    """A straight line x = place + slope * y between two heights [cells]."""

    place: float
    slope: float
    top: float
    bottom: float


def table_of(gray: Array, maps: Maps, lines: Sequence[Trace]) -> list[Rule]:
    """Rules of a table on a gray page, which its lines mind; none where there are too few to make one.

    A rule at which few lines begin or end, and many cross it, parts no cells: the wires of laid paper, a fold.
    """
    rules = [rule for rule in _rules_of(gray, maps) if _parts(rule, lines)]
    return rules if len(rules) >= _LEAST else []


def inside(line: Trace, rules: Sequence[Rule]) -> bool:
    """Whether a line lies in the table the rules make."""
    if not rules:
        return False
    x, y = float(line.x.mean()), float(line.y.mean())
    places = [rule.place + rule.slope * y for rule in rules]
    top, bottom = min(rule.top for rule in rules), max(rule.bottom for rule in rules)
    return top <= y <= bottom and min(places) <= x <= max(places)


def _rules_of(gray: Array, maps: Maps) -> list[Rule]:
    """Rules down a gray page; none where there are too few to make a table."""
    height, width = maps.baseline.shape
    size = maps.height
    if not size:
        return []
    fine = cv2.resize(gray, (2 * width, 2 * height), interpolation=cv2.INTER_AREA)
    beside = cv2.morphologyEx(fine, cv2.MORPH_BLACKHAT, np.ones((1, 9), np.uint8))
    dark: Array = (beside > _CONTRAST).astype(np.uint8)
    dark = cv2.dilate(dark, np.ones((1, 3), np.uint8))
    piece = max(12, int(2 * _PIECE * size))
    long = cv2.morphologyEx(dark, cv2.MORPH_OPEN, np.ones((piece, 1), np.uint8))
    count, labels = cv2.connectedComponents(long, connectivity=8)
    if count < 2:
        return []
    y, x = np.nonzero(labels)
    label = labels[y, x]
    order = np.argsort(label, kind="stable")
    bounds = np.searchsorted(label[order], np.arange(1, count))
    parts = []
    for low, high in zip(bounds, [*bounds[1:], len(order)], strict=True):
        rows, columns = y[order[low:high]] / 2, x[order[low:high]] / 2
        if np.ptp(rows) < _PIECE * size or np.ptp(columns) > 0.12 * np.ptp(rows) + 6:
            continue
        slope, place = np.polyfit(rows, columns, 1)
        parts.append(Rule(float(place), float(slope), float(rows.min()), float(rows.max())))
    rules = _grouped(parts, height, size)
    return rules if len(rules) >= _LEAST else []


def _grouped(parts: Sequence[Rule], height: int, size: float) -> list[Rule]:
    """Pieces that lie on one line, put together; short ones dropped."""
    parts = sorted(parts, key=lambda part: part.place + part.slope * height / 2)
    groups: list[list[Rule]] = []
    for part in parts:
        middle = part.place + part.slope * height / 2
        last = groups[-1][-1] if groups else None
        if last is not None and middle - (last.place + last.slope * height / 2) < 0.3 * size:
            groups[-1].append(part)
        else:
            groups.append([part])
    rules = []
    for group in groups:
        if sum(part.bottom - part.top for part in group) < _LONG * height:
            continue
        y = np.array([[part.top, part.bottom] for part in group]).ravel()
        x = np.array([[p.place + p.slope * p.top, p.place + p.slope * p.bottom] for p in group]).ravel()
        slope, place = np.polyfit(y, x, 1)
        rules.append(Rule(float(place), float(slope), float(y.min()), float(y.max())))
    return rules


def cut(lines: Sequence[Trace], rules: Sequence[Rule]) -> list[Trace]:
    """Lines cut at the rules they cross; a stroke that only just crosses one stays whole."""
    parts = []
    for line in lines:
        places = []
        for rule in rules:
            side = line.x - (rule.place + rule.slope * line.y)
            place = int(np.searchsorted(side, 0.0))
            if 0 < place < len(line.x) and rule.top <= line.y[place] <= rule.bottom:
                places.append(place)
        bounds = [0, *sorted(places), len(line.x)]
        kept = [0]
        for bound in bounds[1:-1]:
            least = _CELL * line.height
            before, after = line.x[bound - 1] - line.x[kept[-1]], line.x[-1] - line.x[bound]
            if before >= least and after >= least:
                kept.append(bound)
        for low, high in zip(kept, [*kept[1:], len(line.x)], strict=True):
            part = slice(low, high)
            parts.append(Trace(line.x[part], line.y[part], line.above[part], line.below[part], line.chance))
    return parts


def cells(maps: Maps, lines: Sequence[Trace], rules: Sequence[Rule]) -> list[Trace]:
    """Short words between the rules of a table that are not among its lines."""
    apart = np.zeros(maps.baseline.shape, np.uint8)
    for rule in rules:
        first, last = ((round(rule.place + rule.slope * y), round(y)) for y in (rule.top, rule.bottom))
        cv2.line(apart, first, last, 1, 1)
    return [line for line in small(maps, lines, apart) if inside(line, rules)]


def _parts(rule: Rule, lines: Sequence[Trace]) -> bool:
    """Whether lines mind the rule; two cells joined across it are no line that runs over it."""
    crossing, ending = 0, 0
    for line in lines:
        start, stop = (line.x[k] - (rule.place + rule.slope * line.y[k]) for k in (0, -1))
        if not rule.top <= line.y[0] <= rule.bottom:
            continue
        near = 0.6 * line.height
        if start < -near and stop > near:
            long = np.ptp(line.x) > _LINE * line.height
            crossing, ending = crossing + int(long), ending + int(not long)
        elif (abs(start) < 2 * near) or (abs(stop) < 2 * near):
            ending += 1
    return ending >= max(3, 0.3 * crossing)
