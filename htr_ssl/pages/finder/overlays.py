"""What lies on pages but is no text: rules, frames, stamps, ribbons, folds, shadows, writing seen through the sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from htr_ssl.pages.finder.truth import TruePage

Array = np.ndarray[Any, np.dtype[Any]]
Rng = np.random.Generator


def over(image: Array, inside: Array, pages: Sequence[TruePage], rng: Rng) -> Array:
    """The crop, uint8 (S, S), with marks drawn at random, as another camera or light would show it."""
    gray: Array = image.astype(np.float32)
    paper = float(np.percentile(gray[inside > 0], 80)) if inside.any() else 200.0
    if rng.random() < 0.15:
        gray = _through(gray, pages[int(rng.integers(len(pages)))], rng)
    marks = np.zeros_like(gray)
    for share, mark in ((0.2, _rules), (0.15, _frame), (0.15, _stamp), (0.1, _stroke), (0.1, _ribbon), (0.1, _fold)):
        if rng.random() < share:
            mark(marks, rng)
    gray = gray - paper * marks
    if rng.random() < 0.3:
        corners = rng.uniform(0.6, 1.1, (3, 3)).astype(np.float32)
        gray *= cv2.resize(corners, gray.shape[::-1], interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.25:
        gray = cv2.GaussianBlur(gray, (0, 0), rng.uniform(0.4, 1.2))
    level = float(np.mean(gray))
    gray = (gray - level) * float(np.exp(rng.normal(0, 0.25))) + level + rng.normal(0, 18)
    gray += rng.normal(0, rng.uniform(0, 6), gray.shape).astype(np.float32)
    if rng.random() < 0.05:
        gray = 255 - gray
    gray[inside == 0] = 0
    return np.asarray(np.clip(gray, 0, 255), np.uint8)


def _through(gray: Array, page: TruePage, rng: Rng) -> Array:
    """The mirrored writing of another page shines through."""
    side = gray.shape[0]
    scale = 24 / page.height * np.exp(rng.normal(0, 0.3))
    corner = rng.uniform(0, 0.6, 2) * page.gray.shape[::-1]
    matrix = np.array([[-scale, 0, side + scale * corner[0]], [0, scale, -scale * corner[1]]])
    back: Array = cv2.warpAffine(page.gray, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    back = cv2.GaussianBlur(back, (0, 0), rng.uniform(0.7, 1.8))
    return np.asarray(gray - rng.uniform(0.1, 0.4) * np.maximum(np.percentile(back, 75) - back, 0))


def _rules(marks: Array, rng: Rng) -> None:
    """Printed or pencilled lines at even distances, across or down."""
    side = marks.shape[0]
    step, start, slope = rng.uniform(12, 60), rng.uniform(0, 40), rng.normal(0, 0.02)
    dark = float(rng.uniform(0.1, 0.5))
    down = rng.random() < 0.3
    for place in np.arange(start, side, step):
        a, b = (0, int(place)), (side, int(place + slope * side))
        if down:
            a, b = a[::-1], b[::-1]
        cv2.line(marks, a, b, dark, int(rng.integers(1, 3)), cv2.LINE_AA)


def _frame(marks: Array, rng: Rng) -> None:
    """A drawn frame or a part of one."""
    side = marks.shape[0]
    (left, top), (right, bottom) = rng.uniform(-0.3, 0.6, 2) * side, rng.uniform(0.4, 1.3, 2) * side
    dark, thick = float(rng.uniform(0.15, 0.7)), int(rng.integers(1, 4))
    points = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) + rng.normal(0, 3, (4, 2))
    cv2.polylines(marks, [np.round(points).astype(np.int32)], True, dark, thick, cv2.LINE_AA)


def _stamp(marks: Array, rng: Rng) -> None:
    """A round or oval stamp with letters in it."""
    side = marks.shape[0]
    size = int(rng.uniform(24, 70))
    tile = np.zeros((2 * size, 2 * size), np.uint8)
    axes = (size - 3, int((size - 3) * rng.uniform(0.55, 1)))
    cv2.ellipse(tile, (size, size), axes, 0, 0, 360, 255, int(rng.integers(1, 4)), cv2.LINE_AA)
    if rng.random() < 0.6:
        inner = tuple(int(0.65 * a) for a in axes)
        cv2.ellipse(tile, (size, size), inner, 0, 0, 360, 255, 1, cv2.LINE_AA)
    letters = "".join(rng.choice(list("ABCDEILNORSTU"), int(rng.integers(2, 9))))
    face = cv2.FONT_HERSHEY_SIMPLEX
    width = cv2.getTextSize(letters, face, 0.5, 1)[0][0]
    cv2.putText(tile, letters, (size - width // 2, size + 5), face, 0.5, 255, int(rng.integers(1, 3)), cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((size, size), float(rng.normal(0, 40)), 1)
    drawn = cv2.warpAffine(tile, turn, tile.shape[::-1]).astype(np.float32) * float(rng.uniform(0.2, 0.6) / 255)
    x, y = (int(v) for v in rng.uniform(0, side - 2 * size, 2))
    place = marks[y : y + 2 * size, x : x + 2 * size]
    np.maximum(place, drawn, out=place)


def _stroke(marks: Array, rng: Rng) -> None:
    """A long flourish of the pen."""
    side = marks.shape[0]
    knots = rng.uniform(-0.1, 1.1, (4, 2)) * side
    t = np.linspace(0, 1, 60)[:, None]
    a, b, c, d = knots
    curve = (1 - t) ** 3 * a + 3 * t * (1 - t) ** 2 * b + 3 * t**2 * (1 - t) * c + t**3 * d
    dark = float(rng.uniform(0.3, 0.7))
    cv2.polylines(marks, [np.round(curve).astype(np.int32)], False, dark, int(rng.integers(1, 4)), cv2.LINE_AA)


def _ribbon(marks: Array, rng: Rng) -> None:
    """A band, as ribbons, tapes and rulers are."""
    side = marks.shape[0]
    place, width = rng.uniform(0, side), rng.uniform(4, 24)
    slope = rng.normal(0, 0.3)
    a, b = (int(place), 0), (int(place + slope * side), side)
    if rng.random() < 0.3:
        a, b = a[::-1], b[::-1]
    cv2.line(marks, a, b, float(rng.uniform(-0.1, 0.5)), int(width), cv2.LINE_AA)


def _fold(marks: Array, rng: Rng) -> None:
    """The shadow of a fold or of the gutter."""
    side = marks.shape[0]
    x = np.abs(np.arange(side) - rng.uniform(0, side)) / rng.uniform(2, 20)
    shade = (rng.uniform(0.1, 0.6) * np.exp(-x)).astype(np.float32)
    marks += shade if rng.random() < 0.7 else shade[:, None]
