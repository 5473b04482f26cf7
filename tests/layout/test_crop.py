"""Line images: level, with a margin, on paper, and never empty."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htr_ssl.layout.crop import crop
from htr_ssl.layout.document import Line, turned

PAPER, INK = 220, 30


def sheet(height: int = 300, width: int = 800) -> np.ndarray:
    return np.full((height, width), PAPER, np.uint8)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def test_box_is_copied_with_a_margin_of_paper() -> None:
    page = sheet()
    page[100:140, 200:400:3] = INK
    piece = crop(page, Line("a", box(190, 90, 410, 150), np.array([[190, 140], [410, 140]])))
    assert piece.dtype == np.uint8
    assert 60 < piece.shape[0] < 75
    assert 220 < piece.shape[1] < 235
    assert (piece == INK).sum() == (page == INK).sum()


def test_ink_outside_of_the_polygon_is_gone() -> None:
    page = np.repeat(sheet()[..., None], 3, axis=2) - np.array([0, 20, 60], np.uint8)
    page[100:140, 200:400:3] = INK
    page[60:85, 200:400] = INK
    triangle_cut = np.array([[190, 50], [410, 95], [410, 150], [190, 150]], float)
    piece = crop(page, Line("a", triangle_cut))
    assert piece.shape[2] == 3
    assert tuple(piece[1, -2]) == (220, 200, 160)
    assert (piece[: piece.shape[0] // 3, -40:] > INK).all()


@pytest.mark.parametrize("slope", [-0.2, -0.03, 0.03, 0.2, 1.0])
@pytest.mark.parametrize("backwards", [False, True])
def test_sloping_line_comes_out_level(slope: float, backwards: bool) -> None:
    page = sheet(1000, 1000)
    ends = np.array([[200.0, 500 - 300 * slope], [800.0, 500 + 300 * slope]])
    cv2.line(page, tuple(int(v) for v in ends[0].round()), tuple(int(v) for v in ends[1].round()), INK, 5)
    polygon = np.concatenate((ends - np.array([0, 30]), ends[::-1] + np.array([0, 12])))
    piece = crop(page, Line("a", polygon, ends[::-1] if backwards else ends))
    rows, columns = np.nonzero(piece < 120)
    assert np.ptp(columns) > 0.95 * 600 * np.hypot(1, slope)
    assert abs(np.polyfit(columns, rows, 1)[0]) < 0.004
    assert rows.mean() > 0.5 * piece.shape[0]  # more room above than below: not upside down


def test_upright_writing_is_laid_down() -> None:
    page = sheet(800, 300)
    page[100:700, 148:152] = INK
    upwards = Line("a", box(120, 90, 160, 710), np.array([[150.0, 700], [150, 100]]))
    piece = crop(page, upwards)
    assert piece.shape[1] > 600 > 60 > piece.shape[0]
    assert np.nonzero(piece < 120)[0].mean() > 0.6 * piece.shape[0]  # what was left of the writing is above it


def test_polygon_beyond_the_page_is_clipped() -> None:
    page = sheet()
    page[120:130, :] = INK
    piece = crop(page, Line("a", box(-500, 100, 5000, 150)))
    assert piece.shape[0] < 60
    assert 800 <= piece.shape[1] < 815


@pytest.mark.parametrize(
    "polygon",
    [box(900, 400, 1000, 450), np.empty((0, 2)), np.full((4, 2), np.nan), np.full((3, 2), 50.0), box(10, 20, 300, 20)],
    ids=["outside", "empty", "nan", "point", "flat"],
)
def test_degenerate_polygons_give_blank_paper(polygon: np.ndarray) -> None:
    piece = crop(sheet(), Line("a", polygon))
    assert piece.size
    assert (piece == PAPER).all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-300, 300), st.floats(-300, 300)), min_size=0, max_size=6),
    st.lists(st.tuples(st.floats(-300, 300), st.floats(-300, 300)), min_size=0, max_size=4),
    st.booleans(),
)
def test_any_line_gives_an_image_of_the_page_kind(polygon: list, baseline: list, colour: bool) -> None:  # type: ignore[type-arg]
    page = np.full((60, 80, 3) if colour else (60, 80), PAPER, np.uint8)
    line = Line("a", np.array(polygon).reshape(-1, 2), np.array(baseline).reshape(-1, 2))
    piece = crop(page, line)
    assert piece.dtype == np.uint8
    assert piece.ndim == page.ndim
    assert 0 < piece.shape[0] < 120
    assert 0 < piece.shape[1] < 120
    assert (piece == PAPER).all()


@pytest.mark.parametrize("orientation", [0, 90, 180, 270])
def test_lines_of_a_turned_page_are_cut_out_upright(orientation: int) -> None:
    page = np.full((200, 400), 255, np.uint8)
    page[80:100, 60:340] = 60
    page[60:80, 60:100] = 0  # an ascender at the beginning
    line = Line("a", np.array([[50, 50], [350, 50], [350, 110], [50, 110]]), np.array([[50, 100], [350, 100]]))
    straight = crop(page, line)
    image = np.ascontiguousarray(np.rot90(page, -orientation // 90))
    height, width = page.shape
    placed = Line(
        "a",
        turned(line.polygon, orientation, width, height),
        turned(np.asarray(line.baseline), orientation, width, height),
        orientation=-orientation if orientation < 180 else 360.0 - orientation,
    )
    found = crop(image, placed)
    assert abs(found.astype(int)[2:-2, 4:-4].mean() - straight.astype(int)[2:-2, 4:-4].mean()) < 4
    above = found[: found.shape[0] // 2]
    assert above[:, : found.shape[1] // 2].mean() < above[:, found.shape[1] // 2 :].mean()


def test_a_baseline_from_right_to_left_of_an_upright_line_changes_nothing() -> None:
    page = np.full((200, 400), 255, np.uint8)
    page[80:100, 60:140] = 60
    polygon = np.array([[50, 50], [350, 50], [350, 110], [50, 110]])
    base = np.array([[50, 100], [350, 100]])
    assert np.array_equal(crop(page, Line("a", polygon, base)), crop(page, Line("a", polygon, base[::-1])))
