"""Reading leaves busy cores alone, and reads as much at once as was measured to be fastest; the texts are the same."""

import numpy as np
import pytest
import torch
from random_models import random_model

from htr_ssl import environment
from htr_ssl.measured import threads, timing
from htr_ssl.recognizers.reader import Reader

WIDE = [np.random.default_rng(i).integers(0, 255, (32, 1400, 1), np.uint8) for i in range(50)]


@pytest.fixture(autouse=True)
def measuring(monkeypatch, tmp_path):
    monkeypatch.setenv("HTR_SSL_MEASURE", "1")
    monkeypatch.setenv("HTR_SSL_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def path(tmp_path):
    return random_model(tmp_path / "model.safetensors")


@pytest.fixture
def timer(monkeypatch):
    """A clock by which each area has a speed [px/s], and how often it was asked."""
    speeds, asked = {4096: 50.0, 8192: 100.0, 16384: 105.0}, []

    def best(works, rounds, limit, clock=None):
        asked.append(list(works))
        return {area: area // timing.WIDTH * timing.WIDTH / speeds[area] for area in works}

    monkeypatch.setattr(timing, "best", best)
    return speeds, asked


def read(path):
    """Texts and confidences, images of each batch, and what was chosen."""
    reader, sizes = Reader.load(path, "cpu", threads=1), []
    network = reader.recognizer
    reader.recognizer = lambda pixels, widths: sizes.append(len(pixels)) or network(pixels, widths)
    return reader.read_strips(WIDE), sizes, reader.choices


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_as_much_is_read_at_once_as_is_clearly_fastest(path, timer, tmp_path):
    speeds, asked = timer
    usual, sizes, choices = read(path)
    assert max(sizes) == 5  # of 1,400 px in 8,192
    assert choices["area"].startswith("8192 px of width a batch: measured")
    speeds[16384] = 200.0
    assert read(path)[1] == sizes[1:]  # remembered: without the image that is read before it is timed
    assert len(asked) == 1
    for file in (tmp_path / "cache").iterdir():
        file.unlink()
    for area, most in ((16384, 10), (4096, 2)):
        speeds[area] = 300.0
        found, sizes, choices = read(path)
        assert max(sizes) == most
        assert choices["area"].startswith(str(area))
        assert [text for text, _ in found] == [text for text, _ in usual]
        assert [sure for _, sure in found] == pytest.approx([sure for _, sure in usual], abs=1e-5)
        (tmp_path / "cache" / "area.json").unlink()


def test_a_page_of_lines_is_not_worth_a_measurement(path, timer):
    reader = Reader.load(path, "cpu", threads=1)
    reader.read_strips(WIDE[:20])
    assert not timer[1]
    assert "area" not in reader.choices


def test_the_area_is_timed_on_the_network_itself(path, monkeypatch, tmp_path):
    monkeypatch.setattr("htr_ssl.measured.area._ROUNDS", 1)
    _, sizes, choices = read(path)
    assert sizes[:4] == [1, 21, 10, 42]  # a first one, then 8,192, 4,096 and 16,384 px
    assert "1,000 px a second and thread" in choices["area"]


@pytest.mark.parametrize("free", [1, 3])
def test_busy_cores_are_left_alone(path, monkeypatch, free):
    monkeypatch.setattr(environment, "cores", lambda: 4)
    monkeypatch.setattr(threads, "free", lambda most: min(most, free))
    torch.set_num_threads(4)
    reader, seen = Reader.load(path, "cpu"), []
    network = reader.recognizer
    reader.recognizer = lambda pixels, widths: seen.append(torch.get_num_threads()) or network(pixels, widths)
    texts = reader.read_strips(WIDE[:6])
    assert set(seen) == {1}
    assert len(seen) == {1: 2, 3: 3}[free]  # as many batches as work at once
    assert reader.choices["threads"] == f"{free}: so many of 4 cores are free now"
    assert torch.get_num_threads() == 4
    assert [text for text, _ in texts] == [text for text, _ in Reader.load(path, "cpu", 1).read_strips(WIDE[:6])]


def test_threads_that_were_asked_for_are_not_measured(path, monkeypatch):
    monkeypatch.setattr(threads, "free", lambda most: pytest.fail("asked"))
    assert not Reader.load(path, "cpu", threads=2).choices
    monkeypatch.setenv("HTR_SSL_MEASURE", "0")
    assert not Reader.load(path, "cpu").choices
