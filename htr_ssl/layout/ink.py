"""Ink of a page image: paper evened out, ink binarised, borders, rulings and specks removed, skew measured."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

MAX_SKEW = 0.12
"""Steepest page corrected [px down per px to the right]."""
_MIN_CONTRAST = 12.0  # gray levels below the surroundings that count as ink
_DARK = 0.4  # background darker than this share of the paper is no paper


def ink_of(gray: Array) -> Array:
    """Mask of the ink of a page, uint8 (H, W), 1 = ink, without what lies on dark ground around the paper."""
    paper = paper_of(gray)
    flat = np.minimum(cv2.divide(gray, paper, scale=255, dtype=cv2.CV_32F), 255)
    side = _odd(max(min(gray.shape) / 20, 41))
    mean = cv2.blur(flat, (side, side))
    deviation = np.sqrt(np.maximum(cv2.blur(flat * flat, (side, side)) - mean * mean, 0))
    noise = 1.5 * float(np.median(cv2.absdiff(flat, mean)))
    contrast = np.maximum(0.8 * deviation, max(_MIN_CONTRAST, 2.5 * noise))
    mask: Array = (flat < mean - contrast).astype(np.uint8)
    dark = (paper < _DARK * np.percentile(paper, 75)).astype(np.uint8)
    if dark.any():
        mask[cv2.dilate(dark, np.ones((side // 2, side // 2), np.uint8)) > 0] = 0
    return mask


def skew_of(ink: Array) -> float:
    """Slope of the text [px down per px to the right]: the one whose horizontal projection is the sharpest."""
    scale = min(1.0, 700 / max(ink.shape))
    size = max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale))
    small = cv2.resize(ink.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    y, x = np.nonzero(small > 0.1)
    if not len(y):
        return 0.0
    weight = small[y, x]
    x = x - small.shape[1] / 2

    def sharpness(slope: float) -> float:
        rows = np.bincount((y - slope * x + small.shape[1]).astype(int), weight)
        return float((np.diff(rows) ** 2).sum())

    best = 0.0
    for reach, step in ((MAX_SKEW, MAX_SKEW / 24), (MAX_SKEW / 24, MAX_SKEW / 120)):
        best = max(best + np.arange(-reach, reach + step / 2, step), key=sharpness)
    return float(best)


def shear(image: Array, slope: float) -> Array:
    """Image with every column moved up by `slope` times its distance from the middle; same size."""
    height, width = image.shape[:2]
    matrix = np.array([[1, 0, 0], [slope, 1, -slope * width / 2]], np.float32)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, matrix, (width, height), flags=flags)


def without_rulings(ink: Array) -> Array:
    """Ink without long straight lines along the rows and columns, and without specks."""
    height, width = ink.shape
    kept = ink.copy()
    for across in (True, False):
        length = max(24, (width if across else height) // 8)
        thick = np.ones((3, 1) if across else (1, 3), np.uint8)
        long = np.ones((1, length) if across else (length, 1), np.uint8)
        lines = cv2.morphologyEx(cv2.dilate(ink, thick), cv2.MORPH_OPEN, long)
        kept[cv2.dilate(lines, thick) > 0] = 0
    count, labels, stats, _ = cv2.connectedComponentsWithStats(kept, connectivity=8)
    keep = stats[:, cv2.CC_STAT_AREA] >= 5
    keep[0] = False
    return keep[labels].astype(np.uint8) if count > 1 else kept


def without_curves(ink: Array, pitch: float) -> Array:
    """Ink without long single strokes: pieces of rulings, frames and curves drawn around text."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    if count < 2:
        return ink
    width, height, area = (stats[:, k] for k in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    distance = cv2.distanceTransform(ink, cv2.DIST_L1, 3)
    inside = ink > 0
    mean = np.bincount(labels[inside], distance[inside], count) / np.maximum(area, 1)
    stroke = np.maximum(4 * mean - 2, 1)  # in a stroke w pixels wide, the mean distance to its edge is (w + 2) / 4
    span = np.hypot(width, height)
    keep = (span < 2 * pitch) | (area > 1.0 * stroke * span)
    keep[0] = False
    kept: Array = keep[labels].astype(np.uint8)
    return kept


def paper_of(gray: Array) -> Array:
    """Brightness of the paper at every pixel, at least 1: ink removed by a maximum, details by a median."""
    height, width = gray.shape
    scale = min(1.0, 250 / max(height, width))
    small = cv2.resize(
        gray, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    small = cv2.medianBlur(cv2.dilate(small, np.ones((5, 5), np.uint8)), 15)
    return np.maximum(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), 1)


def _odd(value: float) -> int:
    """Odd whole number near `value`, at least 3."""
    return max(3, 2 * int(value / 2) + 1)
