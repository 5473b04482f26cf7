"""The parts of the learned line finder: measure, reading order, maps to lines, files, training that goes on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htr_ssl import seeds
from htr_ssl.errors import UserError
from htr_ssl.layout.document import Found, Line
from htr_ssl.pages.finder import crops, weights
from htr_ssl.pages.finder.maps import Maps
from htr_ssl.pages.finder.measure import overlap, score
from htr_ssl.pages.finder.net import FinderNet
from htr_ssl.pages.finder.outline import Ink, outlines, written
from htr_ssl.pages.finder.page_layout import laid_out, within
from htr_ssl.pages.finder.page_scores import Known, evaluate
from htr_ssl.pages.finder.trace import trace
from htr_ssl.pages.finder.train import Plan, train
from htr_ssl.pages.finder.truth import TruePage, true_page


def line(x: float, y: float, width: float = 300, size: float = 30, name: str = "") -> Line:
    box = np.array([[x, y - 0.7 * size], [x + width, y - 0.7 * size], [x + width, y + 0.3 * size], [x, y + 0.3 * size]])
    return Line(name, box, np.array([[x, y], [x + width, y]]))


def column(x: float, top: float, count: int, width: float = 300, name: str = "") -> list[Line]:
    return [line(x, top + 40 * k, width, name=f"{name}{k}") for k in range(count)]


def order(lines: list[Line], direction: str = "ltr", seed: int = 0) -> list[str]:
    names = {id(item): item.id for item in lines}
    shuffled = [lines[i] for i in seeds.rng(seed, "order").permutation(len(lines))]
    found, _ = laid_out([(item, "main") for item in shuffled], direction)
    return [names[id(item)] for item in found]


def test_lines_found_as_they_are_score_full() -> None:
    true = column(100, 100, 8)
    result = score(true, true)
    assert (result.half, result.most, result.outlines, result.ordered) == (8, 8, 8, 8)
    assert (result.splits, result.merges, result.missed, result.spurious) == (0, 0, 0, 0)


def test_splits_merges_and_what_is_not_there_are_counted() -> None:
    true = column(100, 100, 5)
    halves = [line(100, 100, 110), line(290, 100, 110)]
    result = score([*halves, *true[1:], line(100, 600)], true)
    assert (result.splits, result.spurious, result.half) == (1, 1, 4)
    side = [line(100, 100, 200), line(340, 100, 200), *column(100, 140, 3)]
    merged = score([line(100, 100, 440), *side[2:]], side)
    assert (merged.merges, merged.half, merged.missed) == (1, 3, 2)


def test_a_baseline_one_line_too_low_is_no_pair() -> None:
    true = column(100, 100, 6)
    assert score([line(100, 120 + 40 * k) for k in range(6)], true).half == 0
    assert score([line(100, 112 + 40 * k) for k in range(6)], true).half == 6


@pytest.mark.parametrize("reach", [0.4, 0.6, 0.8])
def test_half_and_three_quarters(reach: float) -> None:
    true = column(100, 100, 6)
    result = score([line(100, 100 + 40 * k, 300 * reach) for k in range(6)], true)
    assert result.half == (6 if reach > 0.5 else 0)
    assert result.most == (6 if reach > 0.75 else 0)


def test_overlap_of_outlines() -> None:
    a = np.array([[0, 0], [100, 0], [100, 40], [0, 40]], float)
    assert overlap(a, a) == 1
    assert overlap(a, a + np.array([0, 20])) == pytest.approx(1 / 3, abs=0.05)
    assert overlap(a, a + np.array([500, 0])) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(3, 12), st.integers(3, 12), st.booleans(), st.sampled_from(["ltr", "rtl"]), st.integers(0, 50))
def test_two_columns_are_read_one_after_the_other(
    left: int, right: int, heading: bool, direction: str, seed: int
) -> None:
    lines = [line(150, 120, 600, name="t")] if heading and left + right > 9 else []
    lines += column(100, 200, left, name="a") + column(450, 210, right, name="b")
    a, b = [f"a{k}" for k in range(left)], [f"b{k}" for k in range(right)]
    top = [item.id for item in lines if item.id == "t"]
    expected = [*top, *a, *b] if direction == "ltr" else [*top, *b, *a]
    assert order(lines, direction, seed) == expected


@settings(max_examples=20, deadline=None)
@given(st.integers(5, 15), st.integers(1, 4), st.integers(0, 50))
def test_notes_in_the_margin_come_after_the_text(count: int, notes: int, seed: int) -> None:
    text = column(300, 100, count, 500, "a")
    margin = [line(60, 105 + 40 * k, 150, 24, f"n{k}") for k in range(min(notes, count - 1))]
    expected = [item.id for item in [*text, *margin]]
    assert order([*text, *margin], seed=seed) == expected


@pytest.mark.parametrize("orientation", [-90.0, 90.0])
@pytest.mark.parametrize("seed", range(4))
def test_notes_up_the_margin_are_read_with_the_head_on_its_side(orientation: float, seed: int) -> None:
    """Text that runs down begins with the line on the right, text that runs up with the one on the left."""
    text = column(300, 100, 10, 500, "a")
    notes = []
    for k in range(3):
        x = 60 + 40 * (2 - k if orientation < 0 else k)
        box = np.array([[x - 20, 100], [x + 10, 100], [x + 10, 400], [x - 20, 400]], float)
        ends = [[x, 100], [x, 400]] if orientation < 0 else [[x, 400], [x, 100]]
        notes.append(Line(f"n{k}", box, np.array(ends, float), orientation=orientation))
    names = {id(item): item.id for item in [*text, *notes]}
    shuffled = [notes[i] for i in seeds.rng(seed, "notes").permutation(3)]
    found, _ = laid_out([*((item, "vertical") for item in shuffled), *((item, "main") for item in text)])
    assert [names[id(item)] for item in found] == [f"a{k}" for k in range(10)] + ["n0", "n1", "n2"]


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 8), st.integers(5, 7), st.integers(0, 50))
def test_tables_are_read_row_by_row(rows: int, columns: int, seed: int) -> None:
    cells = [line(60 + 150 * c, 100 + 90 * r, 110, name=f"{r},{c}") for r in range(rows) for c in range(columns)]
    second = [line(60 + 150 * 3, 140 + 90 * r, 110, name=f"{r},3b") for r in range(rows)]
    expected = []
    for r in range(rows):
        for c in range(columns):
            expected += [f"{r},{c}"] + ([f"{r},3b"] if c == 3 else [])
    assert order([*cells, *second], seed=seed) == expected


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 8), st.floats(-0.06, 0.06), st.integers(1, 2), st.integers(0, 99))
def test_drawn_maps_become_their_lines(rows: int, slope: float, columns: int, seed: int) -> None:
    rng = seeds.rng(seed, "maps")
    base, ends = np.zeros((200, 360), np.float32), np.zeros((200, 360), np.float32)
    true = []
    for row in range(rows):
        for side in range(columns):
            left = 15 + side * 175 + int(rng.integers(0, 5))
            right = left + (165 if columns == 2 else 330) - int(rng.integers(6, 12))
            y = 30 + 20 * row
            a, b = (left, round(y + slope * left)), (right, round(y + slope * right))
            cv2.line(base, a, b, 0.9, 2)
            for x, height in (a, b):
                cv2.line(ends, (x, height - 5), (x, height + 3), 0.9, 2)
            true.append((a, b))
    heights = np.full_like(base, 8), np.full_like(base, 4)
    maps = Maps(base, ends, base, *heights, np.zeros((4, 25, 45), np.float32), np.ones(2))
    lines = sorted(trace(maps), key=lambda item: (round(item.y[0] / 6), item.x[0]))
    assert len(lines) == len(true)
    for (a, b), found in zip(sorted(true, key=lambda t: (round(t[0][1] / 6), t[0][0])), lines, strict=True):
        assert abs(found.x[0] - a[0]) < 5
        assert abs(found.x[-1] - b[0]) < 5
        assert np.abs(np.interp(found.x, (a[0], b[0]), (a[1], b[1])) - found.y).max() < 1.5


def test_writing_that_shines_through_is_no_line() -> None:
    """Two lines of dark ink and one of which the net is as little sure as of the second, but whose ink is faint."""
    gray = np.full((240, 600), 225, np.uint8)
    base = np.zeros((120, 300), np.float32)
    for y, tone, chance in ((60, 40, 0.9), (120, 50, 0.6), (180, 180, 0.6), (220, 180, 0.9)):
        for x in range(60, 540, 9):
            cv2.line(gray, (x, y), (x + 4, y - 16), tone, 2)
        base[y // 2 - 1 : y // 2 + 1, 30:270] = chance
    reach = np.full_like(base, 12), np.full_like(base, 4)
    maps = Maps(base, np.zeros_like(base), base, *reach, np.zeros((4, 15, 38), np.float32), np.full(2, 0.5))
    found = sorted(trace(maps), key=lambda line: line.y[0])
    assert written(found, Ink.of(gray, maps)) == [True, True, False, True]


@settings(max_examples=15, deadline=None)
@given(st.integers(8, 30), st.integers(0, 8), st.booleans())
def test_outlines_are_drawn_in_to_the_ink_and_cut_none(tall: int, deep: int, ruled: bool) -> None:
    """The net says 40 px above and 16 below the baseline; the ink reaches less far, a ruling above it is no ink."""
    gray = np.full((240, 600), 225, np.uint8)
    if ruled:
        gray[84:86] = 120
    for x in range(60, 540, 9):
        cv2.line(gray, (x, 120), (x + 4, 120 - tall), 30, 2)
        cv2.line(gray, (x, 120), (x + 4, 120 + deep), 30, 2)
    base = np.zeros((120, 300), np.float32)
    base[59:61, 30:270] = 0.9
    reach = np.full_like(base, 20), np.full_like(base, 8)
    maps = Maps(base, np.zeros_like(base), base, *reach, np.zeros((4, 15, 38), np.float32), np.full(2, 0.5))
    polygon = outlines(trace(maps), maps, gray.shape, Ink.of(gray, maps))[0]
    inside = np.zeros_like(gray)
    cv2.fillPoly(inside, [np.round(polygon).astype(np.int32)], 1)
    ink = gray[:, 70:530] < 60
    assert inside[:, 70:530][ink].mean() > 0.99
    top, bottom = polygon[:, 1].min(), polygon[:, 1].max()
    assert 120 - top < max(tall, 12) + 16
    assert bottom - 120 < max(deep, 5) + 14


def pages(count: int = 2) -> list[TruePage]:
    image = np.full((420, 500), 225, np.uint8)
    lines = []
    for row in range(8):
        y = 60 + 40 * row
        zigzag = [[x, y - (20 if (x // 8) % 2 else 0)] for x in range(60, 440, 8)]
        cv2.polylines(image, [np.array(zigzag, np.int32)], False, 40, 2, cv2.LINE_AA)
        lines.append(
            Line("", np.array([[58, y - 24], [442, y - 24], [442, y + 4], [58, y + 4]]), np.array([[60, y], [436, y]]))
        )
    return [true_page(f"p{k}", image, lines) for k in range(count)]


@pytest.mark.parametrize("seed", range(6))
def test_crops_carry_the_lines_they_show(seed: int) -> None:
    crop = crops.draw(pages(), 0, seeds.rng(seed, "crop"), turned=0.5)
    assert crop.image.shape == crop.inside.shape == (crops.SIDE, crops.SIDE)
    assert set(np.unique(crop.turn)) <= {-1, 0, 1, 2, 3}
    if (crop.classes[2] > 0).any() and set(np.unique(crop.turn)) <= {-1, 0}:
        inside = crop.classes[2][crop.classes[0] > 0]
        assert inside.mean() > 0.8  # baselines run through text


def test_training_that_was_killed_goes_on_to_the_same_net(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = train(pages(), tmp_path / "a", Plan(steps=3, batch=1, every=1, warm=1))
    plan = Plan(steps=3, batch=1, every=1, warm=1)

    class Stop(Exception):
        pass

    def stop(step: int, _terms: dict[str, float]) -> None:
        if step == 2:
            raise Stop

    with pytest.raises(Stop):
        train(pages(), tmp_path / "b", plan, progress=stop)
    again = train(pages(), tmp_path / "b", plan)
    for one, two in zip(whole.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    rows = (tmp_path / "b" / "curve.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["step", "1", "2", "3"]


def test_files_keep_net_and_card(tmp_path: Path) -> None:
    path = tmp_path / "finder.safetensors"
    net = FinderNet().eval()
    weights.write(net, path, {"licence": "CC BY 4.0"})
    assert weights.card(path) == {"licence": "CC BY 4.0"}
    assert path.stat().st_size < 3_000_000
    images = torch.rand(1, 2, 64, 96)
    with torch.inference_mode():
        assert torch.allclose(net(images)[0], weights.load(path)(images)[0], atol=0.2)


@pytest.mark.parametrize("data", [b"", b"no finder", b"\x08\0\0\0\0\0\0\0{}      "])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "odd.safetensors"
    path.write_bytes(data)
    with pytest.raises(UserError, match="not a line finder"):
        weights.load(path)
    with pytest.raises(UserError, match="no such file"):
        weights.load(tmp_path / "absent.safetensors")


def test_pages_without_baselines_are_refused() -> None:
    with pytest.raises(UserError, match="no line has both"):
        true_page("p", np.full((100, 100), 200, np.uint8), [Line("a", np.zeros((0, 2)))])


def test_a_strip_of_a_facing_page_is_left_out_and_said() -> None:
    text = column(100, 100, 10, 500)
    strip = [line(730, 105 + 40 * k, 70) for k in range(10)]
    kept, notes = within([*text, *strip], 800)
    assert kept == text
    assert notes == ["10 lines of a facing page, cut off by the edge of the image, were left out"]
    whole = [*text, *column(640, 100, 10, 500)]
    assert within(whole, 1300) == (whole, [])
    assert within([*text, line(730, 105, 70)], 800)[1] == []


def test_writing_that_nobody_marked_is_set_apart_from_what_finding_lines_costs():
    def marked(top: float, text: str = "") -> Line:
        outline = np.array([[10, top], [390, top], [390, top + 30], [10, top + 30]], float)
        base = np.array([[10, top + 22], [390, top + 22]], float)
        return Line("", outline, base, text=text)

    page = Known("a", "corpus", np.zeros((400, 400), np.uint8), [marked(20, "abcd"), marked(80, "efgh")])
    found = Found([marked(20), marked(80), marked(300)])
    texts = iter([[("abcd",), ("efgh",)], [("abcd",), ("efgx",), ("stamp",)]])
    result = evaluate(page, lambda image: found, lambda crops: next(texts))
    assert (result.given, result.marked, result.found) == ((0, 8), (1, 8), (6, 8))
    assert (result + result).marked == (2, 16)
