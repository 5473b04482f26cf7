"""Training crops of the line finder: pieces of pages, turned, scaled and put side by side, with their maps.

A crop is `SIDE` x `SIDE` px. The maps have half its side (`net.GRID`), the orientation a sixteenth (`net.COARSE`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from htr_ssl.pages.finder import overlays
from htr_ssl.pages.finder.net import COARSE, GRID, HEIGHT, UNIT
from htr_ssl.pages.finder.truth import TruePage

Array = np.ndarray[Any, np.dtype[Any]]
Rng = np.random.Generator

SIDE = 384
"""Height and width of a crop [px]."""
_HEIGHTS = 13.0, 46.0  # least and greatest usual height in a crop [px]
_DOUBT = 0.25  # weight of what may be unmarked writing
_BESIDE, _UPRIGHT = 0.2, 0.3  # shares of crops with a second page, and of these with notes up the margin


@dataclass(slots=True)
class Crop:
    """One training example.

    Attributes:
        image: uint8 (SIDE, SIDE).
        inside: uint8 (SIDE, SIDE), 1 = within a page.
        classes: uint8 (3, SIDE / 2, SIDE / 2), 1 = baseline, line end, text.
        heights: float32 (2, SIDE / 2, SIDE / 2), logarithms of the heights above and below in units of `UNIT`.
        weight: float32 (SIDE / 2, SIDE / 2), of the loss of the baseline.
        turn: int8 (SIDE / 16, SIDE / 16), class of orientation, -1 = no text.
    """

    image: Array
    inside: Array
    classes: Array
    heights: Array
    weight: Array
    turn: Array

    @classmethod
    def empty(cls) -> Crop:
        """A crop without page."""
        half, coarse = SIDE // GRID, SIDE // COARSE
        return cls(
            np.zeros((SIDE, SIDE), np.uint8),
            np.zeros((SIDE, SIDE), np.uint8),
            np.zeros((3, half, half), np.uint8),
            np.zeros((2, half, half), np.float32),
            np.ones((half, half), np.float32),
            np.full((coarse, coarse), -1, np.int8),
        )


def draw(pages: Sequence[TruePage], first: int, rng: Rng, turned: float = 0.2) -> Crop:
    """A crop of page `first`, at times with another page beside it; a share of `turned` lies turned by quarters."""
    page = pages[first]
    crop = Crop.empty()
    quarter = int(rng.integers(1, 4)) if rng.random() < turned else 0
    goal = HEIGHT * float(np.exp(rng.normal(0, 0.33)))
    matrix = _placed(page, float(np.clip(goal, *_HEIGHTS)), quarter, rng)
    add(crop, page, matrix)
    if rng.random() < _BESIDE:
        _beside(crop, page, matrix, pages[int(rng.integers(len(pages)))], rng)
    crop.image = overlays.over(crop.image, crop.inside, pages, rng)
    return crop


def add(crop: Crop, page: TruePage, matrix: Array) -> None:
    """Draws a page into what the crop leaves free; `matrix` (2, 3) maps its pixels to the crop's."""
    free = crop.inside == 0
    size = (SIDE, SIDE)
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    gray = page.gray
    while scale < 0.55:  # an average of four pixels, lest thin strokes are lost
        gray = cv2.resize(gray, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        matrix = np.column_stack((matrix[:, :2] * 2, matrix[:, 2]))
        scale *= 2
    height, width = gray.shape
    here = cv2.warpAffine(np.ones((height, width), np.uint8), matrix, size, flags=cv2.INTER_NEAREST)
    new = free & (here > 0)
    if not new.any():
        return
    crop.image[new] = cv2.warpAffine(gray, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[new]
    crop.inside[new] = 1
    shrink = page.gray.shape[0] / height
    _lines(crop, page, np.column_stack((matrix[:, :2] / shrink, matrix[:, 2])), new)


def _lines(crop: Crop, page: TruePage, matrix: Array, new: Array) -> None:
    """Maps of the lines of a page within `new` (SIDE, SIDE)."""
    half = np.diag([1 / GRID] * 2) @ matrix
    maps = Crop.empty()
    doubt = cv2.warpAffine(
        page.doubt, np.column_stack((half[:, :2] * 2, half[:, 2])), maps.weight.T.shape, flags=cv2.INTER_NEAREST
    )
    maps.weight[doubt > 0] = _DOUBT
    reach = SIDE / GRID
    for base, upper, lower in zip(page.base, page.upper, page.lower, strict=True):
        b, u, v = (points @ half[:, :2].T + half[:, 2] for points in (base, upper, lower))
        if (u.min(0) > reach).any() or (v.min(0) > reach).any() or (np.maximum(u, v).max(0) < 0).any():
            continue
        _line(maps, b, u, v)
    place = new[::GRID, ::GRID]
    crop.classes[:, place] = maps.classes[:, place]
    crop.heights[:, place] = maps.heights[:, place]
    crop.weight[place] = maps.weight[place]
    coarse = new[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE]
    crop.turn[coarse] = maps.turn[coarse]


def _line(maps: Crop, base: Array, upper: Array, lower: Array) -> None:
    """Draws one line into the maps; points in cells of the maps."""
    outline = np.concatenate((upper, lower[::-1]))
    text = _integers(outline)
    cv2.fillPoly(maps.classes[2], [text], 1)
    x, y = (lower - upper).mean(0)
    turn = (0 if y > 0 else 2) if abs(y) >= abs(x) else (3 if x > 0 else 1)
    cv2.fillPoly(maps.turn, [_integers(outline * GRID / COARSE - 0.5)], turn)
    if turn:
        if turn == 2:
            cv2.fillPoly(maps.weight, [text], 0)
        return
    reach = np.hypot(*(base - upper).T), np.hypot(*(lower - base).T)
    thick = max(2, round(0.16 * float((reach[0] + reach[1]).mean())))
    points = _integers(base)
    cv2.polylines(maps.classes[0], [points], False, 1, thick)
    for k in (0, 1):
        for a, b, height in zip(points[:-1], points[1:], reach[k], strict=False):
            value = float(np.log(np.clip(height * GRID / UNIT, 0.05, 20)))
            cv2.line(maps.heights[k], a.tolist(), b.tolist(), value, thick + 1)
    for end in (0, -1):
        ends = base[end] + 0.6 * (upper[end] - base[end]), base[end] + 0.6 * (lower[end] - base[end])
        cv2.line(maps.classes[1], _integers(ends[0]).tolist(), _integers(ends[1]).tolist(), 1, max(2, thick))


def _integers(points: Array) -> Array:
    return np.asarray(np.round(np.clip(points, -4000, 4000)).astype(np.int32))


def _placed(page: TruePage, goal: float, quarter: int, rng: Rng) -> Array:
    """Matrix (2, 3) that brings a part of the page, mostly around a line, into the crop."""
    scale = goal / page.height
    angle = np.radians(rng.normal(0, 2.0) if rng.random() < 0.8 else rng.uniform(-11, 11))
    cos, sin = np.cos(angle), np.sin(angle)
    shape = np.array([[1, rng.normal(0, 0.06)], [rng.normal(0, 0.01), 1]])
    stretch = np.diag(np.exp(rng.normal(0, 0.07, 2)))
    linear = scale * np.array([[cos, -sin], [sin, cos]]) @ shape @ stretch
    if rng.random() < 0.25:
        linear = linear @ np.diag([-1, 1])
    for _ in range(quarter):
        linear = np.array([[0, -1], [1, 0]]) @ linear
    height, width = page.gray.shape
    if rng.random() < 0.75 and page.base:
        line = page.base[int(rng.integers(len(page.base)))]
        point = line[int(rng.integers(len(line)))]
    else:
        point = rng.uniform(0, 1, 2) * (width, height)
    target = rng.uniform(0.15, 0.85, 2) * SIDE
    return np.column_stack((linear, target - linear @ point))


def _beside(crop: Crop, page: TruePage, matrix: Array, other: TruePage, rng: Rng) -> None:
    """Puts another page left or right of the first, at times one written up the margin."""
    height, width = page.gray.shape
    right = rng.random() < 0.5
    quarter = int(rng.choice([1, 3])) if rng.random() < _UPRIGHT else 0
    linear = matrix[:, :2] / page.height * other.height
    linear = matrix[:, :2] * (page.height / other.height) if other.height else linear
    turn = np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), quarter)
    linear = linear @ turn
    rows, columns = other.gray.shape
    corners = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]]) @ linear.T
    edge = np.array([[width if right else 0, y] for y in (0, height)]) @ matrix[:, :2].T + matrix[:, 2]
    along = edge[0] + rng.uniform(0, 1) * (edge[1] - edge[0])
    middle = corners.mean(0)
    out = matrix[:, :2] @ np.array([1.0 if right else -1.0, 0.0])
    out /= np.hypot(*out)
    reach = (corners - middle) @ out
    shift = along + out * reach.max() - middle
    add(crop, other, np.column_stack((linear, shift)))
