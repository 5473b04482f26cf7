"""Reading order: block by block, in a block from top to bottom, side by side from left to right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from htr_ssl.layout.document import Line

Item = TypeVar("Item")
Box = tuple[float, float, float, float]

_OVERLAP = 0.5
"""Share of the lower one's height that two neighbours must share to stand side by side."""


def in_order(lines: Sequence[Line]) -> list[Line]:
    """Lines in reading order: regions first (lines without one form a block), then the lines of each."""
    blocks: dict[str | None, list[Line]] = {}
    for line in lines:
        blocks.setdefault(line.region, []).append(line)
    ordered = _sorted(list(blocks.values()), _box_of_block)
    return [line for block in ordered for line in _sorted(block, _box)]


def _sorted(items: list[Item], box: Callable[[Item], Box]) -> list[Item]:
    """Items from top to bottom; those that share most of their height count as one row, read from left to right."""
    rows: list[list[Item]] = []
    for item in sorted(items, key=lambda item: (box(item)[1] + box(item)[3], *box(item))):
        row = rows[-1] if rows else []
        if row and all(_beside(box(item), box(other)) for other in row):
            row.append(item)
        else:
            rows.append([item])
    return [item for row in rows for item in sorted(row, key=lambda item: box(item)[0])]


def _beside(a: Box, b: Box) -> bool:
    """Whether two boxes share most of their height and little of their width."""
    shared = min(a[3], b[3]) - max(a[1], b[1])
    across = min(a[2], b[2]) - max(a[0], b[0])
    lower, narrower = min(a[3] - a[1], b[3] - b[1]), min(a[2] - a[0], b[2] - b[0])
    return shared >= _OVERLAP * lower and across < 0.3 * narrower


def _box(line: Line) -> Box:
    """Left, top, right, bottom of the body of a line, or of its polygon if there is no baseline [px]."""
    (left, top), (right, bottom) = line.polygon.min(0), line.polygon.max(0)
    if line.baseline is not None and len(line.baseline):
        low = float(np.median(line.baseline[:, 1]))
        half = 0.2 * (bottom - top)
        top, bottom = low - half, low + half
    return float(left), float(top), float(right), float(bottom)


def _box_of_block(block: Sequence[Line]) -> Any:
    boxes = np.array([_box(line) for line in block])
    return (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())
