"""kraken as a line finder: what is sent to its process and comes back; the real one where HTR_SSL_KRAKEN names it."""

import os
import sys
import threading

import cv2
import numpy as np
import pytest
from test_page_robustness import loops
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.errors import UserError
from htr_ssl.layout.document import Line, Page
from htr_ssl.pages.segment import kraken
from htr_ssl.pages.segmenters import segmenter

REAL = os.environ.get(kraken.VARIABLE)

TASKS = """
import os
from types import SimpleNamespace

import numpy as np

class SegmentationTaskModel:
    @classmethod
    def load_model(cls):
        print("a word on the way")
        return cls()

    def predict(self, im, config):
        pixels = np.asarray(im.convert("L"))
        if pixels[0, 0] == 1:
            raise ValueError("odd page")
        if pixels[0, 0] == 2:
            raise SystemExit("out of memory")
        rows = np.flatnonzero((pixels < 128).any(1))
        runs = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(rows) else []
        lines = []
        for run in runs:
            top, bottom = int(run[0]), int(run[-1])
            columns = np.flatnonzero((pixels[run] < 128).any(0))
            left, right = int(columns[0]), int(columns[-1])
            boundary = [(left, top), (right, top), (right, bottom), (left, bottom)]
            region = [f"_{os.urandom(4).hex()}" if top < 100 else "_low"]
            lines.append(SimpleNamespace(baseline=[(left, bottom), (right, bottom)], boundary=boundary, regions=region))
        return SimpleNamespace(lines=lines if config.text_direction == "horizontal-lr" else lines[::-1])
"""
CONFIGS = """
class SegmentationInferenceConfig:
    def __init__(self, accelerator, device, num_threads):
        assert num_threads >= 1
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """A Python in whose environment a tiny kraken is: every run of dark rows is a line."""
    package = tmp_path / "site" / "kraken"
    package.mkdir(parents=True)
    for name, text in {"__init__": "", "tasks": TASKS, "configs": CONFIGS}.items():
        (package / f"{name}.py").write_text(text)
    run = "sys.argv = sys.argv[-2:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    code = f"import runpy, sys; sys.path.insert(0, {str(package.parent)!r}); {run}"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{code}" "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv(kraken.VARIABLE, str(python))
    yield python
    kraken._started.cache_clear()


def page():
    """Two lines and their boxes as left, top, right, bottom."""
    image = np.full((200, 300), 255, np.uint8)
    boxes = [(20, 40, 250, 60), (30, 120, 200, 150)]
    for left, top, right, bottom in boxes:
        image[top : bottom + 1, left : right + 1] = 0
    return image, boxes


def test_lines_come_back_from_its_process(fake):
    image, boxes = page()
    for given in (image, np.dstack([image] * 3)):  # one process for both
        found = segmenter("kraken")(given)
        assert [(*line.polygon.min(0), *line.polygon.max(0)) for line in found] == boxes
        assert [line.baseline.tolist() for line in found] == [[[a, d], [c, d]] for a, _, c, d in boxes]
        assert [line.region for line in found] == ["region1", "region2"]
        assert [line.id for line in found] == ["line1", "line2"]
    backward = segmenter("kraken", "rtl")(image)
    assert [line.baseline.tolist() for line in backward] == [line.baseline.tolist() for line in found[::-1]]


def test_pages_of_several_threads_do_not_mix(fake):
    image, _ = page()
    counts = []

    def ask(rows):
        part = image.copy()
        part[rows:] = 255
        counts.append((rows, len(kraken.segment(part))))

    threads = [threading.Thread(target=ask, args=(rows,)) for rows in (30, 100, 200) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [(30, 0)] * 3 + [(100, 1)] * 3 + [(200, 2)] * 3


def test_a_page_that_it_refuses_does_not_end_it_and_an_end_is_said(fake):
    image, boxes = page()
    image[0, 0] = 1
    with pytest.raises(UserError, match="ValueError: odd page"):
        kraken.segment(image)
    image[0, 0] = 2
    with pytest.raises(UserError, match=r"kraken has ended .out of memory"):
        kraken.segment(image)
    image[0, 0] = 255
    assert len(kraken.segment(image)) == len(boxes)  # started anew


def test_small_and_empty_pages(fake):
    assert "too small" in kraken.segment(np.full((1, 1), 255, np.uint8)).notes[0]
    assert "a strip" in kraken.segment(np.full((30_000, 30), 255, np.uint8)).notes[0]
    assert kraken.segment(np.full((90, 90), 255, np.uint8)).notes == ["no line of text was found"]


def test_a_missing_environment_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv(kraken.VARIABLE, raising=False)
    image, _ = page()
    with pytest.raises(UserError, match=r"pip install 'kraken>=7,<8', then set HTR_SSL_KRAKEN=ENV/bin/python"):
        kraken.segment(image)
    with pytest.raises(UserError, match="needs an environment of its own"):
        segmenter("kraken")  # before any page is read
    with pytest.raises(UserError, match="there is no such Python"):
        segmenter(f"kraken={tmp_path / 'none'}")
    with pytest.raises(UserError, match="takes nothing after '='"):
        segmenter("projection=x")
    with pytest.raises(UserError, match=r"kraken has ended .*No module named 'kraken.*to install it"):
        segmenter(f"kraken={sys.executable}")(image)


def test_the_command_prints_one_table_for_all_finders(fake, tmp_path):
    image, boxes = page()
    cv2.imwrite(str(tmp_path / "one.png"), image)
    true = [
        Line(f"t{k}", np.array([[a, b], [c, b], [c, d], [a, d]], float), np.array([[a, d], [c, d]], float))
        for k, (a, b, c, d) in enumerate(boxes)
    ]
    Page(tmp_path / "one.png", 300, 200, true).save(tmp_path / "one.page.xml")
    finders = ["learned", "projection", "kraken", f"kraken={fake}"]
    given = [part for name in finders for part in ("--finder", name)]
    result = CliRunner().invoke(app, ["segment", "evaluate", str(tmp_path), *given])
    assert result.exit_code == 0, result.output
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in result.output.splitlines() if "|" in row]
    assert {row[1] for row in rows[2:]} == set(finders)
    for name in finders[2:]:
        assert next(row for row in rows[2:] if row[1] == name)[2:6] == ["2", "2", "100.0", "100.0"]


@pytest.mark.slow
@pytest.mark.skipif(not REAL, reason=f"{kraken.VARIABLE} names no environment with kraken")
def test_the_real_kraken_finds_drawn_lines():
    image, heights = loops(lines=5)
    found = kraken.segment(image)
    kraken._started.cache_clear()
    middles = sorted(float(line.baseline[:, 1].mean()) for line in found)
    assert len(middles) == len(heights)
