"""What a pen writes becomes images of words and lines [px]: paths of strokes, or text set in a font."""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np

from htr_ssl.handwriting.hand import Hand, Ink, extent, f32
from htr_ssl.handwriting.paper import Paper, finish
from htr_ssl.handwriting.strokes import Array, Rng

_FINE = 4  # the pen is drawn at this many times the resolution
_BITS = 3  # binary places of coordinates when drawing


class Pen(Protocol):
    """What a hand writes with; only a pen knows what its ink is."""

    def trace(self, text: str, hand: Hand, rng: Rng) -> Any:
        """The ink of a text that begins at the origin, in x-heights."""

    def extent(self, ink: Any) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""

    def moved(self, ink: Any, x: float, y: float) -> Any:
        """The same ink elsewhere."""

    def strays(self, text: str, below: bool) -> list[str]:
        """Letters of neighbours that may reach into the image of a text, from the sides, or from above and below."""

    def draw(self, parts: list[Any], left: float, top: float, scale: float, shape: tuple[int, int]) -> Array:
        """Ink in [0, 1] of an image whose corner is at (left, top), `scale` pixels per x-height."""


class Strokes:
    """The pen whose ink is a path."""

    def trace(self, text: str, hand: Hand, rng: Rng) -> Ink:
        """As the hand writes it."""
        return hand.trace(text, rng)

    def extent(self, ink: Ink) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""
        return extent(ink)

    def moved(self, ink: Ink, x: float, y: float) -> Ink:
        """The same path elsewhere."""
        return ink._replace(points=ink.points + f32(x, y))

    def strays(self, text: str, below: bool) -> list[str]:
        """Letters with long strokes."""
        return list("bdfhltgpy" if below else "aegjpqyçf,)ls")

    def draw(self, parts: list[Ink], left: float, top: float, scale: float, shape: tuple[int, int]) -> Array:
        """All paths at once."""
        points, starts, widths = (np.concatenate([part[i] for part in parts]) for i in range(3))
        points = (points * f32(1, -1) + f32(-left, top)) * np.float32(scale)
        return _draw(points, starts, widths * np.float32(scale), shape)


def stamp(mask: Array, points: Array, starts: Array, widths: Array) -> None:
    """Draws a path into its place in the mask of a page."""
    reach = widths.max() + 2
    low = np.maximum(0, np.floor(points.min(axis=0) - reach).astype(int))
    high = np.minimum(mask.shape[::-1], np.ceil(points.max(axis=0) + reach)).astype(int)
    window = mask[low[1] : high[1], low[0] : high[0]]
    if window.size:
        drawn = _draw(points - low.astype(np.float32), starts, widths, (window.shape[0], window.shape[1]))
        np.maximum(window, drawn, out=window)


def render(
    text: str,
    hand: Hand,
    rng: Rng,
    height: int = 48,
    paper: Paper | None = None,
    colour: bool = False,
    pen: Pen | None = None,
) -> Array:
    """A word or line as it is cut from a page.

    Args:
        text: one line; characters that cannot be drawn are left out.
        hand: the writer.
        rng: everything that changes from image to image.
        height: of the image [px].
        paper: drawn from `rng` if None.
        colour: RGB instead of gray.
        pen: strokes if None.

    Returns:
        uint8 (H, W), or (H, W, 3) with `colour`.
    """
    paper = paper or Paper.draw(rng)
    pen = pen or Strokes()
    ink = pen.trace(text, hand, rng)
    left, right, bottom, top = pen.extent(ink)
    words = text.count(" ")
    # The higher the line's share, the more room above and below short letters.
    share = rng.random() ** 2
    top += share * max(0.0, 1.7 - top) + max(0.0, 0.6 - (top - bottom) / 2)
    bottom -= share * max(0.0, bottom + 0.6) + max(0.0, 0.6 - (top - bottom) / 2)
    loose = 0.16 if words > 1 else 0.04
    margins = np.clip(rng.normal(loose, 0.05, 2), -0.05 * min(1.0, paper.stray * 4), 0.3) * (top - bottom)
    top, bottom = top + margins[0], bottom - margins[1]
    scale = height / (top - bottom)
    sides = np.clip(rng.normal(0.5, 0.3, 2), -0.06, 1.5)
    left, right = left - sides[0], right + sides[1]
    width = max(8, round((right - left) * scale))
    parts = [ink, *_strays(text, hand, pen, paper, rng, (left, right, bottom, top))]
    mask = pen.draw(parts, left, top, scale, (height, width))
    return finish(mask, hand, paper, rng, scale, top * scale, colour)


def _strays(
    text: str, hand: Hand, pen: Pen, paper: Paper, rng: Rng, box: tuple[float, float, float, float]
) -> list[Any]:
    """Ink of neighbouring words and lines that reaches into the image."""
    left, right, bottom, top = box
    found = []
    for side in range(4):
        if rng.random() > paper.stray / (1 if side < 2 else 2):
            continue
        ink = pen.trace("".join(rng.choice(pen.strays(text, side >= 2), 1)), hand, rng)
        x0, x1, y0, y1 = pen.extent(ink)
        reach = rng.uniform(0.05, 0.3)
        x = rng.uniform(left, right)
        move = ((left + reach - x1, 0), (right - reach - x0, 0), (x, top - reach - y0), (x, bottom + reach - y1))[side]
        found.append(pen.moved(ink, *move))
    return found


def _draw(points: Array, starts: Array, widths: Array, shape: tuple[int, int]) -> Array:
    """Ink in [0, 1] of a path [px], y down."""
    canvas = np.zeros((shape[0] * _FINE, shape[1] * _FINE), np.uint8)
    if len(points) > 1:
        points, starts, widths = _between(points, starts, widths)
        fixed = np.round(points * (_FINE << _BITS)).astype(np.int32)
        # One polyline for as long as the width, in steps of half a pixel, stays the same: far faster than segments.
        thick = np.clip(2 * np.round((widths[:-1] + widths[1:]) * (_FINE / 4)), 2, 254).astype(np.int32)
        thick[starts[1:]] = 0
        first = np.append(0, np.flatnonzero(np.diff(thick)) + 1)
        runs: dict[int, list[Array]] = {}
        for a, b, width in zip(first.tolist(), [*first[1:].tolist(), len(thick)], thick[first].tolist(), strict=True):
            runs.setdefault(width, []).append(fixed[a : b + 1])
        runs.pop(0, None)
        for width, lines in runs.items():
            cv2.polylines(canvas, lines, False, 255, width, cv2.LINE_8, _BITS)
    small = cv2.resize(canvas, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) * np.float32(1 / 255)


def _between(points: Array, starts: Array, widths: Array) -> tuple[Array, Array, Array]:
    """Puts a point on the curve between any two if they are far apart [px]."""
    if np.abs(np.diff(points[:40], axis=0)).max() < 3.5 or len(points) < 4:
        return points, starts, widths
    n = len(points)
    after = np.minimum(np.arange(n) + 1, n - 1)
    outer = np.minimum(np.arange(n) + 2, n - 1)
    outer = np.where(starts[outer], after, outer)
    before = np.where(starts, np.arange(n), np.arange(n) - 1)
    middle = (9 * (points + points[after]) - points[before] - points[outer]) / 16
    wide = (widths + widths[after]) / 2
    cut = np.append(starts[1:], True)  # nothing lies between two strokes: repeat the last point
    middle[cut], wide[cut] = points[cut], widths[cut]
    both = np.stack((points, middle), axis=1).reshape(-1, 2)
    begins = np.stack((starts, np.zeros(n, bool)), axis=1).reshape(-1)
    return both, begins, np.stack((widths, wide), axis=1).reshape(-1)
