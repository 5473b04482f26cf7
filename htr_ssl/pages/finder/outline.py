"""Outlines of lines: the predicted reach above and below the baseline, kept out of the neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from htr_ssl.pages.finder.maps import Maps
from htr_ssl.pages.finder.trace import Trace

Array = np.ndarray[Any, np.dtype[Any]]

_MARGIN = 0.06  # added above, below and at the ends [heights]
_SMOOTH = 0.5  # reach of the maximum along the line [heights]


def outlines(traces: Sequence[Trace], maps: Maps, gray: Array) -> list[Array]:
    """Outline of every line (K, 2) [px of the page], inside of it."""
    height, width = gray.shape
    found = []
    for line in traces:
        size = line.height
        count = max(3, min(60, round(2 * np.ptp(line.x) / size) + 1))
        edges = np.linspace(line.x[0] - _MARGIN * size, line.x[-1] + 1 + _MARGIN * size, count)
        y = np.interp(edges, line.x, line.y)
        above = np.interp(edges, line.x, _largest(line.above, size)) + _MARGIN * size
        below = np.interp(edges, line.x, _largest(line.below, size)) + _MARGIN * size
        upper, lower = np.stack((edges, y - above), 1), np.stack((edges, y + below), 1)[::-1]
        points = (np.concatenate((upper, lower)) + 0.5) / maps.scale
        found.append(np.clip(points, 0, (width - 1, height - 1)))
    return found


def _largest(values: Array, size: float) -> Array:
    """Maximum of the values nearby, smoothed."""
    reach = max(1, int(_SMOOTH * size))
    row = values.astype(np.float32)[None]
    grown = cv2.dilate(row, np.ones((1, 2 * (reach // 2) + 1), np.uint8))
    return np.asarray(cv2.blur(grown, (2 * reach + 1, 1), borderType=cv2.BORDER_REPLICATE)[0])
