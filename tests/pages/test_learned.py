"""The shipped line finder on pages drawn here, whose lines are known, and on what is no page."""

from __future__ import annotations

import json
import re
from functools import lru_cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from random_models import random_model
from typer.testing import CliRunner

import htr_ssl
from htr_ssl import model_file, seeds
from htr_ssl.cli import app
from htr_ssl.handwriting.drawing import stamp
from htr_ssl.handwriting.hand import Hand, extent
from htr_ssl.handwriting.page import page as synthetic_page
from htr_ssl.layout.document import Found, Line, turned
from htr_ssl.pages.finder.measure import Score, score
from htr_ssl.pages.segment.learned import segment
from htr_ssl.pages.segmenters import segmenter

WIDTH = 700


@lru_cache(8)
def page(seed: int, lines: int = 10) -> tuple[np.ndarray, list[Line]]:
    return synthetic_page(seed, lines=lines, width=WIDTH, colour=False)


def test_lines_of_a_facing_page_are_left_out_and_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (own, lines), (other, _) = (synthetic_page(seed, lines=12, width=1000, colour=False) for seed in (1, 2))
    height = min(len(own), len(other))
    (tmp_path / "scans").mkdir()
    Image.fromarray(np.concatenate([own[:height], other[:height, 120:300]], 1)).save("scans/a.png")
    random_model(tmp_path / "model.safetensors")
    command = ["transcribe", "model.safetensors", "scans", "--out", "text", "--device", "cpu", "--keep-junk"]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 0, answer.output
    for told in (answer.output, *((tmp_path / f"text/summary.{end}").read_text("utf-8") for end in ("txt", "html"))):
        assert re.search(r"(?:[89]|1\d) lines of a facing page, cut off by the edge of the image, were left out", told)
    assert len((tmp_path / "text/a.txt").read_text("utf-8").splitlines()) == len(lines)


def moved(lines: list[Line], x: float, y: float) -> list[Line]:
    shift = np.array([x, y])
    return [Line(line.id, line.polygon + shift, np.asarray(line.baseline) + shift) for line in lines]


def beside(seeds_of: tuple[int, int], gutter: int) -> tuple[np.ndarray, list[Line]]:
    """Two pages with a dark gutter between them; lines of the left one first."""
    (left, first), (right, second) = (page(seed) for seed in seeds_of)
    height = max(left.shape[0], right.shape[0])
    image = np.full((height, 2 * WIDTH + gutter), 215, np.uint8)
    image[: left.shape[0], :WIDTH] = left
    image[:, WIDTH : WIDTH + gutter] = 90
    image[: right.shape[0], WIDTH + gutter :] = right
    return image, [*moved(first, 0, 0), *moved(second, WIDTH + gutter, 0)]


def total(pairs: list[tuple[np.ndarray, list[Line]]]) -> Score:
    found = Score()
    for image, lines in pairs:
        found = found + score(segment(image), lines)
    return found


def table(seed: int, rows: int = 14) -> tuple[np.ndarray, list[Line]]:
    """A ruled register with narrow columns of one to three digits; its cells row by row."""
    rng = seeds.rng(seed, "table")
    hand = Hand.draw(seed, 1)
    edges, pitch, scale = (20, 85, 135, 285, 640, 690, 760), 46, 8.0
    mask = np.zeros((90 + rows * pitch, 780), np.float32)
    words = ["vente", "bail", "dépôt", "procuration", "quittance", "notoriété", "décharge", "partage"]
    cells = []
    for row in range(rows):
        phrase = " ".join(rng.choice(words, 2))
        texts = [
            str(211 + row),
            str(rng.integers(1, 9)),
            str(rng.choice(words)),
            phrase,
            "25",
            str(rng.integers(2, 90)),
        ]
        for column, text in enumerate(texts):
            ink = hand.trace(text, rng)
            left, right, bottom, top = extent(ink)
            size = min(scale, (edges[column + 1] - edges[column] - 14) / (right - left))
            place, flip = (edges[column] + 8 - left * size, 80 + row * pitch), (size, -size)
            stamp(mask, (ink.points * flip + place).astype(np.float32), ink.starts, ink.widths * size)
            box = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
            cells.append(Line("", box * flip + place, np.array([[left, 0.0], [right, 0.0]]) * flip + place, text=text))
    image = (228 * (1 - 0.8 * mask)).astype(np.uint8)
    for x in edges:
        cv2.line(image, (x, 20), (x, mask.shape[0] - 20), 110, 1)
    return image, cells


def test_cells_of_tables_are_found_and_read_row_by_row() -> None:
    result = total([table(seed) for seed in range(4)])
    assert result.recall >= 0.97
    assert result.precision >= 0.95
    assert result.merges == 0
    assert result.ordered >= 0.97 * result.half


def test_plain_pages() -> None:
    result = total([page(seed) for seed in range(3)])
    assert result.recall >= 0.97
    assert result.precision >= 0.95  # one shines through strongly
    assert result.ordered == result.half


def test_framed_pages_with_dark_borders() -> None:
    pairs = []
    for seed in range(2):
        image, lines = page(seed)
        image = image.copy()
        height = image.shape[0]
        cv2.rectangle(image, (12, 12), (WIDTH - 12, height - 12), 70, 2)
        pairs.append((cv2.copyMakeBorder(image, 30, 30, 50, 50, cv2.BORDER_CONSTANT, value=20), moved(lines, 50, 30)))
    result = total(pairs)
    assert result.recall >= 0.97
    assert result.precision >= 0.85


def test_spreads_are_read_page_by_page() -> None:
    result = total([beside((0, 1), 30)])
    assert result.recall >= 0.97
    assert result.merges == 0
    assert result.ordered >= 0.98 * result.half


@pytest.mark.parametrize("degrees", [-5.0, 3.0])
def test_slanted_pages(degrees: float) -> None:
    image, lines = page(1)
    height = image.shape[0]
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, height / 2), degrees, 0.9)
    image = cv2.warpAffine(image, matrix, (WIDTH, height), borderMode=cv2.BORDER_CONSTANT, borderValue=200)
    true = [
        Line("", line.polygon @ matrix[:, :2].T + matrix[:, 2], line.baseline @ matrix[:, :2].T + matrix[:, 2])
        for line in lines
        if line.baseline is not None
    ]
    assert score(segment(image), true).recall >= 0.97


@pytest.mark.parametrize("orientation", [90, 180, 270])
def test_turned_pages_are_found_out_and_said(orientation: int) -> None:
    image, lines = page(2)
    lying = np.ascontiguousarray(np.rot90(image, orientation // 90))
    found = segment(lying)
    assert isinstance(found, Found)
    assert found.orientation == orientation
    assert any("lies turned" in note for note in found.notes)
    upright = [
        Line("", *(turned(np.asarray(p), orientation, lying.shape[1], lying.shape[0]) for p in (x.polygon, x.baseline)))
        for x in found
    ]
    assert score(upright, lines).recall >= 0.97


@pytest.mark.parametrize("quarter", [1, 3])
def test_notes_up_the_margin_are_found_and_come_last(quarter: int) -> None:
    image, lines = page(1)
    note, inside = synthetic_page(7, lines=4, width=image.shape[0] - 80, colour=False)
    upright = np.ascontiguousarray(np.rot90(note, quarter))
    room = upright.shape[1] + 30
    whole = cv2.copyMakeBorder(image, 0, 0, room, 0, cv2.BORDER_REPLICATE)
    whole[:, :room] = 225
    whole[40 : 40 + upright.shape[0], : upright.shape[1]] = upright
    found = segment(whole)
    steep = [line for line in found if line.kind == "vertical"]
    assert list(found)[-len(steep) :] == steep
    assert {line.orientation for line in steep} == {90.0 if quarter == 1 else -90.0}
    height, width = upright.shape
    back = [  # as if the note alone were the page
        Line("", *(turned(np.asarray(p) - (0, 40), 90 * quarter, width, height) for p in (x.polygon, x.baseline)))
        for x in steep
    ]
    result = score(back, inside)
    assert result.recall == 1
    assert result.ordered == result.half
    assert score([line for line in found if line.kind != "vertical"], moved(lines, room, 0)).recall >= 0.97


def test_large_and_coloured_pages_keep_their_coordinates() -> None:
    image, lines = page(1)
    large = cv2.cvtColor(cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)
    true = [Line("", 3 * line.polygon, 3 * np.asarray(line.baseline)) for line in lines]
    assert score(segment(large), true).recall >= 0.97


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (23, 700), (30, 3000), (30_000, 40), (30_000, 1500), (900, 700)])
@pytest.mark.parametrize("value", [0, 128, 255])
def test_empty_images_hold_no_line_and_say_so(shape: tuple[int, int], value: int) -> None:
    found = segment(np.full(shape, value, np.uint8))
    assert list(found) == []
    assert len(found.notes) == 1


def test_stains_and_noise_hold_no_line() -> None:
    image = seeds.rng(1, "noise").normal(200, 6, (900, 700)).clip(0, 255).astype(np.uint8)
    assert list(segment(image)) == []
    for x, y, size in ((150, 200, 60), (500, 600, 90), (350, 380, 30)):
        cv2.circle(image, (x, y), size, 150, -1)
    stained = cv2.GaussianBlur(image, (0, 0), 5)
    assert list(segment(stained)) == []


@pytest.mark.parametrize("picture", ["clouds", "landscape", "fence"])
def test_pictures_without_text_hold_no_line_and_say_so(picture: str) -> None:
    rng = seeds.rng(0, picture)
    image = np.full((900, 1100), 200, np.uint8)
    if picture == "clouds":
        layers = [rng.normal(0, size, (900 // size, 1100 // size)).astype(np.float32) for size in (150, 60, 20, 6)]
        total = sum(cv2.resize(layer, (1100, 900), interpolation=cv2.INTER_CUBIC) for layer in layers)
        image = np.clip(120 + 60 * total / np.std(total), 0, 255).astype(np.uint8)
    elif picture == "landscape":
        image = np.tile(np.linspace(220, 90, 900)[:, None], (1, 1100)).astype(np.uint8)
        cv2.circle(image, (550, 800), 300, 40, -1)
    else:
        for x in range(60, 1000, 70):
            cv2.rectangle(image, (x, 100), (x + 35, 800), int(rng.integers(40, 150)), -1)
    found = segment(image)
    assert list(found) == []
    assert found.notes == ["no line of text was found"]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.booleans(), st.integers(0, 10))
def test_tiny_images_never_fail(height: int, width: int, colour: bool, seed: int) -> None:
    shape = (height, width, 3) if colour else (height, width)
    image = seeds.rng(seed, "tiny").integers(0, 256, shape, dtype=np.uint8)
    for line in segment(image):
        assert (line.polygon >= 0).all()
        assert (line.polygon <= [width - 1, height - 1]).all()


def test_lines_carry_what_the_page_needs() -> None:
    found = segment(page(0)[0])
    assert len({line.id for line in found}) == len(found) > 0
    assert all(line.found is not None and 0 < line.found <= 1 and line.kind and line.region for line in found)
    assert segmenter("learned").func is segment


def test_a_recognizer_of_right_to_left_script_reads_the_right_page_first(tmp_path) -> None:
    image, _ = beside((0, 1), 60)
    Image.fromarray(image).save(tmp_path / "spread.png")
    path = random_model(tmp_path / "model.safetensors")
    header, state = model_file.read(path)
    model_file.save(tmp_path / "rtl.safetensors", state, {**header, "direction": "rtl"})
    halves = {}
    for name in ("model", "rtl"):
        arguments = ["transcribe", f"{tmp_path / name}.safetensors", str(tmp_path / "spread.png"), "--keep-junk"]
        answer = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / name), "--format", "json"])
        assert answer.exit_code == 0, answer.output
        lines = json.loads((tmp_path / name / "spread.json").read_text(encoding="utf-8"))["lines"]
        halves[name] = [np.mean([x for x, _ in line["polygon"]]) > WIDTH for line in lines]
    assert halves["model"] == sorted(halves["model"])
    assert halves["rtl"] == sorted(halves["rtl"], reverse=True)
    assert len(set(halves["rtl"])) == 2
    assert htr_ssl.load(tmp_path / "rtl.safetensors").transcribe(image).lines[0].baseline[0, 0] > WIDTH
