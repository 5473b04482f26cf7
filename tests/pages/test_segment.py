"""The line finder on pages drawn here: every line found once, in order, in the image's own coordinates."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from htr_ssl import plugins, seeds
from htr_ssl.cli import app
from htr_ssl.errors import UserError
from htr_ssl.handwriting.page import page as synthetic_page
from htr_ssl.layout.document import Line, Page
from htr_ssl.layout.order import in_order
from htr_ssl.pages.formats import alto
from htr_ssl.pages.segment.projection import segment

PITCH, LINES = 70, 8


def draw(wave: float = 0.0, paper: int = 235, first: int = 100) -> tuple[np.ndarray, list[np.ndarray]]:
    """Page of lines of joined zigzag words, and the baselines they stand on."""
    rng = seeds.rng(3, "drawn")
    image = np.full((first + LINES * PITCH + 60, 1000), paper, np.uint8)
    baselines = []
    for number in range(LINES):
        x = 100.0
        y = first + number * PITCH
        points = []
        while x < 880:
            width = rng.uniform(60, 160)
            steps = np.arange(x, x + width, 8)
            heights = np.where(np.arange(len(steps)) % 2, 0, rng.choice([20, 20, 20, 38, -14], len(steps)))
            word = np.stack((steps, y + wave * np.sin(steps / 200) - heights), 1)
            cv2.polylines(image, [np.round(word).astype(np.int32)], False, 40, 3, cv2.LINE_AA)
            x += width + 26
            points.append(steps)
        ends = np.linspace(points[0][0], points[-1][-1], 20)
        baselines.append(np.stack((ends, y + wave * np.sin(ends / 200)), 1))
    return image, baselines


def turned(image: np.ndarray, baselines: list[np.ndarray], degrees: float) -> tuple[np.ndarray, list[np.ndarray]]:
    height, width = image.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1)
    image = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return image, [line @ matrix[:, :2].T + matrix[:, 2] for line in baselines]


def check(lines: list[Line], baselines: list[np.ndarray], pitch: float = PITCH) -> None:
    """Exactly the true lines, from top to bottom."""
    assert len(lines) == len(baselines)
    for line, truth in zip(lines, baselines, strict=True):
        assert line.baseline is not None
        inside = [cv2.pointPolygonTest(line.polygon.astype(np.float32), (x, y - 3), False) >= 0 for x, y in truth]
        assert np.mean(inside) > 0.9
        found = np.interp(truth[:, 0], line.baseline[:, 0], line.baseline[:, 1])
        assert np.abs(found - truth[:, 1]).mean() < 0.2 * pitch
        assert abs(line.baseline[0, 0] - truth[0, 0]) < 0.7 * pitch
        assert abs(line.baseline[-1, 0] - truth[-1, 0]) < 0.7 * pitch


@pytest.mark.parametrize("degrees", [-4.0, -1.0, 0.0, 2.0, 5.0])
def test_skewed_pages(degrees: float) -> None:
    image, baselines = turned(*draw(), degrees)
    check(segment(image), baselines)


def test_wavy_lines() -> None:
    image, baselines = draw(wave=14)
    check(segment(image), baselines)


def test_uneven_light() -> None:
    image, baselines = draw()
    light = np.linspace(0.5, 1, image.shape[1]) * np.linspace(1, 0.7, image.shape[0])[:, None]
    check(segment((image * light).astype(np.uint8)), baselines)


def test_black_border_of_a_scan() -> None:
    image, baselines = draw()
    image = cv2.copyMakeBorder(image, 70, 40, 90, 30, cv2.BORDER_CONSTANT, value=5)
    check(segment(image), [line + np.array([90, 70]) for line in baselines])


def test_rulings_are_not_lines() -> None:
    image, baselines = draw()
    below = np.full((5 * PITCH, image.shape[1]), 235, np.uint8)
    image = np.concatenate((image, below))
    image[100::PITCH, 20:-20] = np.minimum(image[100::PITCH, 20:-20], 150)
    cv2.line(image, (80, 0), (84, image.shape[0]), 120, 2)
    check(segment(image), baselines)


def test_margin_notes_stay_apart() -> None:
    image, baselines = draw()
    wide = cv2.copyMakeBorder(image, 0, 0, 250, 0, cv2.BORDER_CONSTANT, value=235)
    note = np.array([[60 + 8 * k, 320 - 18 * (k % 2)] for k in range(18)], np.int32)
    cv2.polylines(wide, [note, note + np.array([0, 45], np.int32)], False, 60, 2, cv2.LINE_AA)
    lines = segment(wide)
    check([line for line in lines if line.region == "main"], [line + np.array([250, 0]) for line in baselines])
    assert {line.region for line in lines} <= {"main", "left"}


def test_large_page_in_colour_keeps_its_coordinates() -> None:
    image, baselines = draw()
    large = cv2.cvtColor(cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
    check(segment(large), [3 * line for line in baselines], 3 * PITCH)


@pytest.mark.parametrize("seed", range(5))
def test_synthetic_pages(seed: int) -> None:
    image, truth = synthetic_page(seed, lines=9)
    lines = segment(image)
    assert len(lines) == len(truth)
    for line, true in zip(lines, truth, strict=True):
        assert true.baseline is not None
        middle = true.baseline[len(true.baseline) // 2] - (0, 3)
        assert cv2.pointPolygonTest(line.polygon.astype(np.float32), tuple(map(float, middle)), False) >= 0


def test_single_line() -> None:
    image, baselines = draw()
    check(segment(image[50:140]), [baselines[0] - (0, 50)])


@pytest.mark.parametrize("value", [0, 128, 255])
def test_blank_page(value: int) -> None:
    assert segment(np.full((900, 700), value, np.uint8)) == []


def test_noise_only() -> None:
    image = seeds.rng(1, "noise").normal(200, 6, (900, 700)).clip(0, 255).astype(np.uint8)
    assert segment(image) == []


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 80), st.integers(1, 80), st.booleans(), st.integers(0, 10))
def test_tiny_images_never_fail(height: int, width: int, colour: bool, seed: int) -> None:
    shape = (height, width, 3) if colour else (height, width)
    image = seeds.rng(seed, "tiny").integers(0, 256, shape, dtype=np.uint8)
    for line in segment(image):
        assert (line.polygon >= 0).all()
        assert (line.polygon <= [width - 1, height - 1]).all()


@pytest.mark.parametrize("shape", [(30, 40_000), (40_000, 30), (30, 3000), (3000, 30), (24, 24)])
def test_odd_proportions_never_fail(shape: tuple[int, int]) -> None:
    image = np.where(seeds.rng(2, "odd").random(shape) < 0.1, 20, 230).astype(np.uint8)
    for line in segment(image):
        assert (line.polygon <= [shape[1] - 1, shape[0] - 1]).all()


def test_ids_are_unique_and_the_folder_lists_the_segmenter() -> None:
    lines = segment(draw()[0])
    assert len({line.id for line in lines}) == len(lines) == LINES
    assert "projection" in plugins.names("htr_ssl.pages.segment")


def at(name: str, left: float, top: float, region: str | None = None, width: float = 100) -> Line:
    box = np.array([[left, top], [left + width, top], [left + width, top + 20], [left, top + 20]])
    return Line(name, box, np.array([[left, top + 15], [left + width, top + 15]]), region)


def test_order_is_top_to_bottom_and_left_to_right() -> None:
    lines = [at("d", 0, 60), at("c", 220, 28), at("b", 100, 31), at("a", 0, 0)]
    assert [line.id for line in in_order(lines)] == ["a", "b", "c", "d"]


def test_order_keeps_regions_together() -> None:
    left = [at("a", 0, 10, "left"), at("b", 0, 50, "left")]
    right = [at("c", 200, 0, "right"), at("d", 200, 40, "right")]
    foot = [at("e", 0, 100, "foot", 300)]
    mixed = [foot[0], right[1], left[1], right[0], left[0]]
    assert [line.id for line in in_order(mixed)] == ["a", "b", "c", "d", "e"]
    assert in_order([]) == []


def test_the_command_measures_finders_on_known_pages(tmp_path: Path) -> None:
    image, baselines = draw()
    cv2.imwrite(str(tmp_path / "one.png"), image)
    height, width = image.shape
    above, below = np.array([0, 40]), np.array([0, 15])
    true = [Line(f"t{i}", np.concatenate((b - above, b[::-1] + below)), b) for i, b in enumerate(baselines)]
    true[-1].polygon, true[-1].baseline = true[-1].polygon * 0.1, true[-1].polygon[:2] * 0.1  # nothing is there
    alto.write(Page(tmp_path / "one.png", width, height, true), tmp_path / "one.xml")
    result = CliRunner().invoke(app, ["segment", "evaluate", str(tmp_path), "--finder", "projection", "--each"])
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in result.output.splitlines() if "|" in row]
    titles = rows[0]
    page = dict(zip(titles, next(row for row in rows if "one" in row[0]), strict=True))
    assert (page["lines"], page["found"], page["missed"], page["spurious"]) == (str(LINES), str(LINES), "1", "1")
    assert page["in order"] == f"{LINES - 1} of {LINES - 1}"


def test_pages_without_lines_cannot_be_measured(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "one.png"), draw()[0])
    result = CliRunner().invoke(app, ["segment", "evaluate", str(tmp_path), "--finder", "projection"])
    assert isinstance(result.exception, UserError)
    assert "no PAGE or ALTO file" in str(result.exception)
