"""Characters in place: the alignment of many lines at once, and boxes on the page."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_models import IMAGES, random_model

from htr_ssl.layout.crop import boxes, crop
from htr_ssl.layout.document import Line
from htr_ssl.recognizers.aligned import align_all, calibrated, read_aligned
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import ctc
from htr_ssl.text.charset import frames_needed

LABELS = st.lists(st.integers(1, 4), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LABELS, st.integers(0, 12)), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_many_lines_are_aligned_as_one_by_one(rows, seed):
    rng = np.random.default_rng(seed)
    labels = [label for label, _ in rows]
    scores = []
    for label, more in rows:
        logits = rng.normal(0, 2, (frames_needed(label) + more, 5)).astype(np.float32)
        scores.append(logits - np.log(np.exp(logits).sum(1, keepdims=True)))
    for found, one, label in zip(align_all(scores, labels), scores, labels, strict=True):
        assert found.tolist() == ctc.align(one.astype(np.float64), label)[0].tolist()


def test_places_and_confidences_of_all_characters(tmp_path):
    reader = Reader.load(random_model(tmp_path / "model.safetensors"), "cpu")
    plain = reader.read(IMAGES)
    for reading, (text, confidence) in zip(read_aligned(reader, IMAGES), plain, strict=True):
        assert reading.text == " ".join(text.split())
        if reading.spans is None:
            assert reading.confidence == pytest.approx(confidence, abs=1e-5)
            continue
        assert len(reading.spans) == len(reading.text) == len(reading.confidences)
        assert (reading.spans[:, 0] < reading.spans[:, 1]).all()
        assert (np.diff(reading.spans[:, 0]) >= 0).all()
        assert reading.spans.min() >= 0
        assert reading.spans.max() <= 1
        assert reading.confidence == pytest.approx(float(np.exp(np.log(reading.confidences).mean())), abs=1e-5)


def test_a_slope_below_one_makes_less_sure_and_an_offset_surer():
    sure = np.array([0.02, 0.5, 0.9])
    assert calibrated(sure, None) is sure
    assert calibrated(sure, (1.0, 0.0)) == pytest.approx(sure)
    mild = calibrated(sure, (0.5, 0.0))
    assert mild[0] > 0.02
    assert mild[1] == pytest.approx(0.5)
    assert mild[2] < 0.9
    assert (calibrated(sure, (1.0, 0.7)) > sure).all()
    assert (np.diff(calibrated(np.linspace(0, 1, 50), (0.3, 1.0))) >= 0).all()


@pytest.mark.parametrize("angle", [0, 7, -20, 80])
def test_boxes_lie_where_the_pieces_of_the_image_come_from(angle):
    """A dot drawn on the page is found in the line's image, and its span's box encloses the dot."""
    page = np.full((600, 600), 255, np.uint8)
    turn = np.deg2rad(angle)
    along, down = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    start = np.array([150.0, 150.0])
    polygon = np.array([start, start + 300 * along, start + 300 * along + 40 * down, start + 40 * down])
    line = Line("l", polygon, np.array([start + 30 * down, start + 300 * along + 30 * down]))
    dot = start + 200 * along + 20 * down
    x, y = dot.round().astype(int)
    page[y - 2 : y + 3, x - 2 : x + 3] = 0
    image = crop(page, line)
    columns = np.flatnonzero((image < 128).any(0))
    span = np.array([[columns[0], columns[-1] + 1]]) / image.shape[1]
    (box,) = boxes(line, span, 600, 600)
    assert np.abs(box.mean(0) - dot).max() < 3
    width, height = np.linalg.norm(box[1] - box[0]), np.linalg.norm(box[3] - box[0])
    assert 3 <= width <= 12
    assert 35 <= height <= 45
