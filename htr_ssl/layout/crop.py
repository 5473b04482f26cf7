"""Line images for the recognizer: cut out along the polygon, levelled, on the tone of the paper around."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from htr_ssl.layout.document import Line
from htr_ssl.layout.estimate import inked

Array = np.ndarray[Any, np.dtype[np.uint8]]

MARGIN = 0.04
"""Paper around the polygon's bounding box, in heights of the line."""
MIN_SIDE = 4
"""Smallest height and width of a crop [px]."""
_MIN_TURN = 0.005  # slopes below are left as they are, which saves a resampling [px down per px to the right]


def crop(image: np.ndarray, line: Line) -> Array:
    """Image of one line, uint8 (h, w) or (h, w, 3) as the page; the page turned so that the line's baseline is level.

    What lies outside of the polygon gets the paper's tone, the median of what surrounds the ink within it. A polygon
    partly outside of the page is clipped; one wholly outside, or without area, gives a small piece of blank paper.

    Args:
        image: page, uint8, (H, W) or (H, W, 3).
        line: its polygon and baseline in the page's pixels.
    """
    return cut(image, line)[0]


def cut(image: np.ndarray, line: Line) -> tuple[Array, Array]:
    """The image of one line as `crop` gives it, and where the outline is in it: uint8 (h, w), above 0 within."""
    height, width = image.shape[:2]
    frame = _frame(line, width, height)
    if frame is None:
        blank = _blank(image)
        return blank, np.zeros(blank.shape[:2], np.uint8)
    matrix, (columns, rows), placed = frame
    piece = _warped(image, matrix, (columns, rows))
    mask = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(mask, [np.round(placed).astype(np.int32)], 1)
    tone = _tone(piece, mask)
    if line.estimated:
        written = inked(piece, mask, tone)
        piece, mask = piece[written], mask[written]
    return cv2.copyTo(piece, mask, np.full_like(piece, tone)), mask  # type: ignore[return-value]


def boxes(line: Line, spans: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes on the page of parts of a line's image, each as high as the outline is there.

    Args:
        line: its polygon and baseline in the page's pixels.
        spans: left and right end of each part in shares of the image's width, (N, 2).
        width: of the page [px].
        height: of the page [px].

    Returns:
        Corners [px], (N, 4, 2): top left, top right, bottom right, bottom left, as seen along the line.
    """
    frame = _frame(line, width, height)
    if frame is None or not len(spans):
        nowhere = np.asarray(line.polygon, dtype=float).reshape(-1, 2)[:1]
        return np.asarray(np.zeros((len(spans), 4, 2)) + nowhere)
    matrix, (columns, rows), placed = frame
    mask = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(mask, [np.round(placed).astype(np.int32)], 1)
    inside = mask.any(0)
    tops = np.where(inside, mask.argmax(0), rows)
    bottoms = np.where(inside, rows - mask[::-1].argmax(0), 0)
    ends = spans * columns
    first = ends[:, 0].astype(int).clip(0, columns - 1)
    last = np.maximum(np.ceil(ends[:, 1]).astype(int), first + 1)
    corners = np.empty((len(spans), 4, 2))
    for corner, (start, end), left, right in zip(corners, ends, first, last, strict=True):
        top, bottom = tops[left:right].min(), bottoms[left:right].max()
        if top >= bottom:  # beside the outline
            top, bottom = 0, rows
        corner[:] = [[start, top], [end, top], [end, bottom], [start, bottom]]
    back = (corners - matrix[:, 2]) @ matrix[:, :2]  # the inverse of a rotation is its transpose
    return np.asarray(back.clip(0, [width - 1, height - 1]))


def _frame(line: Line, width: int, height: int) -> tuple[np.ndarray, tuple[int, int], np.ndarray] | None:
    """Where a line's image lies: page to image (2, 3), columns and rows [px], polygon in it (K, 2); None outside."""
    polygon = np.asarray(line.polygon, dtype=np.float64).reshape(-1, 2)
    turn = _turn(line)
    polygon = _clipped(polygon, width, height)
    if len(polygon) < 3:
        return None
    placed = polygon @ turn.T
    low, high = placed.min(0), placed.max(0)
    margin = MARGIN * (high[1] - low[1])
    corner = np.floor(low - margin)
    size = np.ceil(high + margin) - corner + 1
    columns, rows = (int(side) for side in np.maximum(size, MIN_SIDE))
    return np.column_stack((turn, -corner)), (columns, rows), placed - corner


def _turn(line: Line) -> np.ndarray:
    """Rotation (2, 2) that levels the baseline; without one, by the stated orientation."""
    angle = line.orientation or 0.0
    points = np.empty((0, 2)) if line.baseline is None else np.asarray(line.baseline, dtype=np.float64).reshape(-1, 2)
    steps = np.hypot(*np.diff(points, axis=0).T)
    if len(points) < 2 or not np.isfinite(points).all() or not steps.sum():
        return _rotation(angle) if angle else np.eye(2)
    place = np.concatenate(([0.0], steps.cumsum()))
    even = np.linspace(0, place[-1], 64)
    points = np.stack([np.interp(even, place, points[:, k]) for k in (0, 1)], 1)
    x, y = np.linalg.svd(points - points.mean(0), full_matrices=False)[2][0]  # the straight line of least squares
    on_its_head = abs(angle) > 135
    if abs(y) < _MIN_TURN * abs(x):
        return -np.eye(2) if on_its_head else np.eye(2)
    along = points[-1] - points[0]
    # A baseline given from right to left is that of upright text all the same; only steep ones tell up from down.
    if x < 0 if abs(x) > abs(y) else along @ (x, y) < 0:
        x, y = -x, -y
    if on_its_head and abs(x) > abs(y):
        x, y = -x, -y
    return np.array([[x, y], [-y, x]])


def _rotation(angle: float) -> np.ndarray:
    """Turn to the right by `angle` [degrees], y pointing down; exact for right angles."""
    x, y = (round(value, 12) for value in (np.cos(np.radians(angle)), np.sin(np.radians(angle))))
    return np.array([[x, -y], [y, x]])


def _clipped(polygon: np.ndarray, width: int, height: int) -> np.ndarray:
    """The part of a polygon inside the page (Sutherland and Hodgman, 1974); without points if there is none."""
    if not np.isfinite(polygon).all():
        return np.empty((0, 2))
    for axis, limit, sign in ((0, 0, 1), (0, width - 1, -1), (1, 0, 1), (1, height - 1, -1)):
        if not len(polygon):
            break
        depth = sign * (polygon[:, axis] - limit)
        if (depth >= 0).all():  # as almost always: the loop would keep every point
            continue
        kept = []
        for a, b, p, q in zip(depth, np.roll(depth, -1), polygon, np.roll(polygon, -1, axis=0), strict=True):
            if a >= 0:
                kept.append(p)
            if (a >= 0) != (b >= 0):
                kept.append(p + (q - p) * (a / (a - b)))
        polygon = np.array(kept).reshape(-1, 2)
    return polygon


def _warped(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Piece of the page, (columns, rows) px; a mere shift copies the pixels."""
    if np.array_equal(matrix[:, :2], np.eye(2)):
        x, y = (int(v) for v in -matrix[:, 2])
        height, width = image.shape[:2]
        columns = np.clip(np.arange(x, x + size[0]), 0, width - 1)
        rows = np.clip(np.arange(y, y + size[1]), 0, height - 1)
        return image[np.ix_(rows, columns)].copy()
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _tone(piece: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Tone of the paper within the mask: the median, per channel, as ink is rare; 255 if it is empty."""
    size = int(np.count_nonzero(mask))
    if not size:
        return np.full(piece.shape[2:], 255, np.uint8)
    channels = range(piece.shape[2] if piece.ndim == 3 else 1)
    counts = [cv2.calcHist([piece], [k], mask, [256], [0, 256]).ravel().astype(int).cumsum() for k in channels]
    tones = np.array([np.searchsorted(count, size // 2, side="right") for count in counts], np.uint8)
    return tones if piece.ndim == 3 else tones[0]


def _blank(image: np.ndarray) -> np.ndarray:
    tone = np.median(image.reshape(-1, *image.shape[2:])[::97], axis=0)
    return np.broadcast_to(tone, (MIN_SIDE, MIN_SIDE, *image.shape[2:])).astype(np.uint8)
