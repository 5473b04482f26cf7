"""Outlines of lines that have only a baseline: from the distance of the baselines, then fitted to the ink."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from htr_ssl.layout.document import Line

ABOVE, BELOW = 0.95, 0.5
"""What is looked at above and below a baseline, in distances of baselines."""
_SINGLE = 1 / 12  # height of a line that stands alone, in heights of the page
_CHARACTER = 3.5  # height of a line in widths of a character


def estimate(lines: Sequence[Line], height: int) -> None:
    """Gives lines without an outline one around their baseline, and says so in `Line.estimated`.

    Args:
        lines: of a page.
        height: of the page, 0 if unknown [px].
    """
    bare = [line for line in lines if not len(line.polygon)]
    if not bare:
        return
    placed = [line for line in lines if line.baseline is not None]
    middles = np.array([np.asarray(line.baseline).mean(0) for line in placed])
    lengths = np.array([np.linalg.norm(np.ptp(np.asarray(line.baseline), axis=0)) for line in placed])
    spaces: dict[int, float] = {}
    for line in bare:
        along, up = _directions(line)
        own = np.asarray(line.baseline).mean(0)
        length = float(np.linalg.norm(np.ptp(np.asarray(line.baseline), axis=0)))
        beside = np.abs((middles - own) @ along) < 0.5 * (lengths + length)
        far = np.abs((middles - own) @ up)
        near = far[beside & (far > max(0.02 * length, 2.0))]
        if len(near):
            spaces[id(line)] = float(near.min())
    usual = float(np.median(list(spaces.values()))) if spaces else 0.0
    heights = [float(np.ptp(line.polygon[:, 1])) for line in lines if len(line.polygon)]
    for line in bare:
        _, up = _directions(line)
        space = min(spaces.get(id(line), usual), 1.5 * usual) or _alone(line, heights, height)
        baseline = np.asarray(line.baseline)
        line.polygon = np.concatenate([baseline + ABOVE * space * up, baseline[::-1] - BELOW * space * up])
        line.estimated = True


def inked(piece: np.ndarray, mask: np.ndarray, tone: np.ndarray) -> slice:
    """Rows of a levelled piece of an estimated line that its ink takes, with some paper; all rows if there is none.

    Args:
        piece: (h, w) or (h, w, 3), the text level.
        mask: 1 within the outline, (h, w).
        tone: of the paper.
    """
    gray = cv2.cvtColor(piece, cv2.COLOR_RGB2GRAY) if piece.ndim == 3 else piece
    paper = float(np.mean(tone))
    inside = gray[mask > 0]
    whole = slice(0, len(piece))
    if not len(inside) or paper - float(inside.min()) < 40:
        return whole
    ink = ((gray < (paper + float(inside.min())) / 2) & (mask > 0)).astype(np.uint8)
    rows = np.flatnonzero(mask.any(1))
    first, last = int(rows[0]), int(rows[-1])
    base = first + (last - first) * ABOVE / (ABOVE + BELOW)
    space = (last - first) / (ABOVE + BELOW)
    _, _, boxes, centres = cv2.connectedComponentsWithStats(ink)
    top, tall = boxes[1:, 1], boxes[1:, 3]
    bottom, middle = top + tall, centres[1:, 1]
    own = (middle > base - 0.75 * space) & (middle < base + 0.3 * space) & (boxes[1:, 4] > 3)
    own &= ~((top <= first + 1) & (bottom < base - 0.4 * space))  # hangs down from the line above
    own &= ~((bottom >= last - 1) & (top > base + 0.15 * space))  # sticks up from the line below
    if not own.any():
        return whole
    margin = max(2, round(0.08 * float(bottom[own].max() - top[own].min())))
    return slice(max(int(top[own].min()) - margin, 0), int(bottom[own].max()) + margin)


def _directions(line: Line) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along a baseline and upwards from it."""
    step = np.asarray(line.baseline)[-1] - np.asarray(line.baseline)[0]
    size = float(np.linalg.norm(step))
    x, y = step / size if size else np.array([1.0, 0.0])
    if x < 0 and abs(x) >= abs(y):
        x, y = -x, -y
    return np.array([x, y]), np.array([y, -x])


def _alone(line: Line, heights: list[float], height: int) -> float:
    """Height of a line with no other beside it [px]."""
    if heights:
        return float(np.median(heights))
    length = float(np.linalg.norm(np.ptp(np.asarray(line.baseline), axis=0)))
    likely = _CHARACTER * length / len(line.text) if line.text and len(line.text) > 3 else _SINGLE * height
    return max(min(likely, 0.5 * height) if height else likely, 8.0)
