"""Every reader on a miniature of the real layout: the same questions to all of them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from miniatures import LAYOUTS

from htr_ssl import plugins
from htr_ssl.data import importing
from htr_ssl.data.reading import READERS, read


def test_every_reader_has_a_miniature():
    assert {reader for reader, _, _ in LAYOUTS.values()} == set(plugins.names(READERS))


@pytest.fixture(params=LAYOUTS)
def layout(request, tmp_path):
    reader, level, build = LAYOUTS[request.param]
    root = tmp_path / "data"
    root.mkdir()
    return root, reader, level, build(root)


def table(samples):
    columns = ("id", "text", "split", "writer", "page")
    return {row[0]: row[1:] for row in zip(*(samples.column(name) for name in columns), strict=True)}


def test_samples_are_those_of_the_layout(layout):
    root, _, level, expected = layout
    samples = read(root, "auto", level)
    assert table(samples) == expected
    assert len(samples) == len(expected)
    assert not samples.problems
    for number, sample in enumerate(pickle.loads(pickle.dumps(samples))):
        image = sample.load()
        assert image.dtype == np.uint8
        assert 20 < image.shape[0] < 130
        assert int(image.max()) - int(image.min()) > 60
        assert (sample.id, sample.text, sample.level) == (*list(table(samples).items())[number][:1], sample.text, level)


def test_it_is_found_and_imported(layout, tmp_path):
    """What is imported reads as the source does, and a second import gives the same file."""
    root, reader, level, expected = layout
    assert plugins.load(READERS, reader).detect(root)
    out = tmp_path / "out.parquet"
    outcome = importing.write(read(root, "auto", level), out, encoding="png")
    assert (outcome.rows, outcome.problems) == (len(expected), [])
    first = out.read_bytes()
    again = read(out, "auto", level)
    assert table(again) == expected
    for before, after in zip(read(root, "auto", level), again, strict=True):
        assert np.array_equal(before.load(), after.load())
    importing.write(read(root, "auto", level), out, encoding="png")
    assert out.read_bytes() == first


def test_colour_is_kept_and_the_outside_is_paper(tmp_path):
    LAYOUTS["page_xml"][2](tmp_path)
    image = read(tmp_path, "page_xml")[0].load().astype(int)
    assert image.shape[2] == 3
    paper = np.median(image.reshape(-1, 3), axis=0)
    assert paper[0] - paper[2] > 30
    assert np.abs(image[:3] - paper).max() < 20
