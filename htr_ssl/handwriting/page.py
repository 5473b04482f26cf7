"""Whole synthetic pages with the outline, baseline and text of their lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import cast

import cv2
import numpy as np

from htr_ssl import seeds
from htr_ssl.handwriting.drawing import stamp
from htr_ssl.handwriting.hand import Hand, Ink, extent
from htr_ssl.handwriting.paper import Paper, finish
from htr_ssl.handwriting.phrases import PHRASES, Ngrams
from htr_ssl.handwriting.strokes import Array, Rng
from htr_ssl.layout.document import Line


def page(
    seed: int,
    lines: int = 12,
    width: int = 1240,
    hand: Hand | None = None,
    paper: Paper | None = None,
    colour: bool = True,
    texts: Sequence[str] = PHRASES,
) -> tuple[Array, list[Line]]:
    """A whole page: a title, then paragraphs, a little askew and unevenly lit.

    Args:
        seed: of everything drawn.
        lines: number of lines, the title included.
        width: of the image [px]; the height follows from the lines.
        hand: the writer, drawn if None.
        paper: the sheet, drawn if None.
        colour: RGB instead of gray.
        texts: what the text is drawn from (see `Ngrams`).

    Returns:
        The image, uint8 (H, W, 3) or (H, W), and its lines from top to bottom, with the outline and the baseline of
        what is written.
    """
    rng = seeds.rng(seed, "page")
    hand = hand or Hand.draw(seed, int(rng.integers(1000)))
    source = Ngrams(texts, 5, repeat=0.6)
    scale = width / rng.uniform(62, 88)
    pitch = scale * rng.uniform(1.1, 1.5) * (1 + 0.85 * hand.ascender + 0.6 * hand.descender)
    first, turn = 1.6 * pitch, rng.normal(0, 0.006)
    height = round(first + (lines + 1.4) * pitch)
    mask = np.zeros((height, width), np.float32)
    found: list[Line] = []
    for number, (region, x, room) in enumerate(_places(lines, width, rng)):
        text, ink = _fitting(source, hand, rng, room / scale)
        left, right, _, _ = extent(ink)
        x += ((room - (right - left) * scale) / 2 if region == "title" else 0) - left * scale
        y = first + (number + (0.6 if number and found[0].region == "title" else 0)) * pitch

        def placed(points: Array, x: float = x, y: float = y) -> Array:
            moved = points * (scale, -scale) + (x, y)
            moved[:, 1] += turn * (moved[:, 0] - width / 2)
            return cast(Array, moved)

        points, widths = placed(ink.points), ink.widths * scale
        stamp(mask, points.astype(np.float32), ink.starts, widths)
        ends = np.linspace(left, right, 5)
        baseline = placed(np.stack((ends, ink.slope * ends), axis=1))
        found.append(Line(f"line{number + 1}", _outline(points, widths, mask.shape), baseline, region, text))
    sheet = paper or replace(Paper.draw(rng), rules=pitch / scale)
    pixels = finish(mask, hand, sheet, rng, scale, first, colour)
    if sheet.mottle:
        corners = rng.uniform(0.78, 1, (3, 3)).astype(np.float32)
        light = np.minimum(1, cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC))
        pixels = (pixels * (light[..., None] if colour else light)).astype(np.uint8)
    return pixels, found


def _places(lines: int, width: int, rng: Rng) -> list[tuple[str, float, float]]:
    """Region, left edge [px] and room [px] of every line of a page."""
    left, right = width * rng.uniform(0.06, 0.13, 2)
    block = width - left - right
    places: list[tuple[str, float, float]] = [("title", left + block / 4, block / 2)] if lines > 2 else []
    paragraph = 0
    while len(places) < lines:
        paragraph += 1
        indent = rng.uniform(0, 0.12) * block
        size = int(rng.integers(3, 8))
        places.append((f"paragraph{paragraph}", left + indent, block - indent))
        places += [(f"paragraph{paragraph}", left, block)] * (size - 2)
        places.append((f"paragraph{paragraph}", left, block * rng.uniform(0.3, 0.8)))
    return places[:lines]


def _fitting(source: Ngrams, hand: Hand, rng: Rng, room: float) -> tuple[str, Ink]:
    """As many words as fill a line [x-heights]."""
    draw = int(rng.integers(1 << 62))
    words: list[str] = []
    while len(" ".join(words)) < 1.5 * room:
        words += source.words(rng, 4)
    while True:
        text = " ".join(words)
        ink = hand.trace(text, np.random.default_rng(draw))
        left, right, _, _ = extent(ink)
        if right - left <= room or len(words) == 1:
            return text, ink
        words = words[: max(1, min(len(words) - 1, int(1.15 * len(words) * room / (right - left))))]


def _outline(points: Array, widths: Array, shape: tuple[int, ...]) -> Array:
    """Polygon [px] around all ink of a path, inside an image of that shape."""
    height, width = shape
    reach = float(widths.max()) / 2 + 2
    left, right = points[:, 0].min() - reach, points[:, 0].max() + reach
    cells = max(1, round((right - left) / 40))
    edges = np.linspace(left, right, cells + 1)
    # Strokes cross edges, so each cell counts a little beyond its own; an edge has room for both of its cells.
    over = [(points[:, 0] > a - 20 - reach) & (points[:, 0] < b + 20 + reach) for a, b in pairwise(edges)]
    middle = float(np.median(points[:, 1]))
    tops = np.array([points[inside, 1].min(initial=middle) for inside in over]) - reach
    bottoms = np.array([points[inside, 1].max(initial=middle) for inside in over]) + reach
    top = np.minimum(np.append(tops, tops[-1]), np.append(tops[0], tops))
    bottom = np.maximum(np.append(bottoms, bottoms[-1]), np.append(bottoms[0], bottoms))
    upper, lower = np.stack((edges, top), axis=1), np.stack((edges, bottom), axis=1)[::-1]
    return cast(Array, np.clip(np.concatenate((upper, lower)), 0, (width - 1, height - 1)))
