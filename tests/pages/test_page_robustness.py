"""Damage a scan does to a page of known lines, and properties of the reading order that hold for any lines."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from htr_ssl import plugins, seeds
from htr_ssl.layout.document import Line
from htr_ssl.layout.order import in_order
from htr_ssl.pages.segment.projection import segment


def loops(lines: int = 12, first: int = 200, space: int = 90) -> tuple[np.ndarray, list[int]]:
    """Gray page of rows of joined loops with ascenders, and the heights of their baselines."""
    rng = seeds.rng(0, "loops", lines, space)
    page = np.full((1400, 1000), 235, np.uint8)
    heights = [first + space * row for row in range(lines)]
    for y in heights:
        x = 100
        while x < 840:
            step = np.arange(rng.integers(60, 150))
            up = 11 - 11 * np.sin(step / 5.5)
            up[len(step) // 3 : len(step) // 3 + 6] += np.linspace(0, 28, 6) * (rng.random() < 0.6)
            word = np.stack([x + step, y - up], 1).round().astype(np.int32)
            cv2.polylines(page, [word], False, 60, 3, cv2.LINE_AA)
            x += len(step) + 25
    return page, heights


def check(lines: list[Line], heights: list[int], scale: float = 1.0) -> None:
    """As many lines as there are, in order, each along its height and over most of the page's width."""
    assert len(lines) == len(heights)
    for line, y in zip(lines, heights, strict=True):
        assert line.baseline is not None
        assert abs(np.median(line.baseline[:, 1]) / scale - y) < 14
        assert np.ptp(line.baseline[:, 0]) / scale > 700


@pytest.mark.parametrize("spread", [4, 12, 20])
def test_grain_of_the_sensor(spread: float) -> None:
    page, heights = loops()
    noise = seeds.rng(0, "grain").normal(0, spread, page.shape)
    check(segment((page + noise).clip(0, 255).astype(np.uint8)), heights)


def test_specks_between_the_lines() -> None:
    page, heights = loops()
    rng = seeds.rng(0, "specks")
    for x, y in rng.integers(0, page.shape[::-1], (300, 2)).tolist():
        cv2.circle(page, (x, y), int(rng.integers(1, 4)), 40, -1)
    check(segment(page), heights)


@pytest.mark.parametrize("scale", [0.4, 0.7])
def test_small_scan(scale: float) -> None:
    page, heights = loops()
    check(segment(cv2.resize(page, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)), heights, scale)


@pytest.mark.parametrize(("lines", "first", "space"), [(22, 200, 48), (1, 600, 90), (2, 600, 90)])
def test_many_narrow_and_few_lines(lines: int, first: int, space: int) -> None:
    page, heights = loops(lines, first, space)
    check(segment(page), heights)


@pytest.mark.parametrize("name", [name for name in plugins.names("htr_ssl.pages.segment") if name != "kraken"])
def test_every_segmenter_leaves_the_image_alone_and_answers_the_same_again(name: str) -> None:
    find = plugins.load("htr_ssl.pages.segment", name).segment
    page = np.dstack([loops(lines=4)[0]] * 3)
    before = page.copy()
    first, second = find(page), find(page)
    assert np.array_equal(page, before)
    assert len(first) == 4
    assert [line.polygon.tolist() for line in first] == [line.polygon.tolist() for line in second]


def box(name: str, x: float, y: float, width: float, height: float, region: str | None = None) -> Line:
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    return Line(name, corners, corners[[3, 2]] - np.array([0, height / 4]), region)


def test_outlines_that_overlap_do_not_upset_the_order() -> None:
    lines = [box(str(row), 10 * (row % 2), 40 * row, 600, 90) for row in range(9)]
    assert in_order(lines[::-1]) == lines


PLACES = st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=12, unique=True)


@settings(max_examples=60, deadline=None)
@given(PLACES, st.lists(st.sampled_from([None, "x", "y"]), min_size=12, max_size=12))
def test_order_keeps_every_line_once_and_regions_whole(places: list[tuple[int, int]], regions: list[str]) -> None:
    lines = [box(str(k), x, y, 100, 40, regions[k]) for k, (x, y) in enumerate(places)]
    ordered = in_order(lines)
    assert sorted(map(id, ordered)) == sorted(map(id, lines))
    met = [line.region for line in ordered]
    assert sum(a != b for a, b in pairwise(met)) == max(len(set(met)) - 1, 0)


@settings(max_examples=60, deadline=None)
@example([(71, 63), (71, 71), (0, 71)])
@given(PLACES)
def test_order_does_not_depend_on_the_given_one(places: list[tuple[int, int]]) -> None:
    lines = [box(str(k), x, y, 100, 40) for k, (x, y) in enumerate(places)]
    ordered = in_order(lines)
    assert in_order(lines[::-1]) == ordered
    assert in_order(ordered) == ordered
