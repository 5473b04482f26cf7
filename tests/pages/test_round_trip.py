"""PAGE and ALTO that are written come back through our own reader with all that they have room for."""

import string
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htr_ssl import plugins
from htr_ssl.layout.document import Glyph, Line, Page, Word
from htr_ssl.layout.xml import read_xml
from htr_ssl.layout.xml_words import KINDS
from htr_ssl.pages.formats._marks import clean, one_line
from htr_ssl.pages.one_page import read_image

LETTERS = string.ascii_letters + "éßœſ'<&\"אבשמ"
SHARES = st.integers(0, 10_000).map(lambda value: value / 10_000)
WORDS = st.lists(st.tuples(st.text(LETTERS, min_size=1, max_size=8), SHARES), min_size=1, max_size=5)
LINES = st.lists(st.tuples(WORDS, SHARES, st.sampled_from(KINDS), st.integers(0, 3), st.booleans()), max_size=6)


def box(left, top, width, height=20):
    return np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]], float)


def made(folder, rows):
    lines = []
    for number, (written, sure, kind, region, slanted) in enumerate(sorted(rows, key=lambda row: row[3])):
        top, left, words = 40 * number + 5, 10, []
        for text, share in written:
            glyphs = [Glyph(c, box(left + 8 * i, top, 8), share) for i, c in enumerate(text)]
            words.append(Word(text, box(left, top, 8 * len(text)), share, glyphs))
            left += 8 * len(text) + 8
        outline = box(10, top, left, 24) + ([[0, 3], [0, 0], [0, 0], [0, 2]] if slanted else 0)
        base = np.array([[10.0, top + 18], [left / 2, top + 17], [left, top + 18]]).round()
        text = " ".join(word.text for word in words)
        lines.append(Line(f"l{number}", outline, base, f"r{region}", text, sure, kind, words=words))
    return Page(folder / "a.png", 600, 400, lines)


def same(sent, got):
    assert (sent.text, sent.confidence) == (got.text, got.confidence)
    assert np.array_equal(sent.polygon, got.polygon)


@pytest.mark.parametrize("name", ["page", "alto"])
@settings(max_examples=40, deadline=None)
@given(LINES)
def test_lines_words_and_letters_come_back(tmp_path_factory, name, rows):
    folder = tmp_path_factory.mktemp("trip")
    (folder / "a.png").write_bytes(b"")
    sent = made(folder, rows)
    path = sent.save(folder / f"a.{name}.xml")
    got = read_xml(Path(path))
    assert (got.image, got.width, got.height) == (sent.image, sent.width, sent.height)
    assert len(got.lines) == len(sent.lines)
    for before, after in zip(sent.lines, got.lines, strict=True):
        assert (after.id, after.region, after.kind, after.text) == (before.id, before.region, before.kind, before.text)
        assert np.array_equal(after.polygon, before.polygon)
        assert np.array_equal(after.baseline, before.baseline)
        if name == "page":  # ALTO has no place for the confidence of a line: it is the mean of its words
            assert after.confidence == before.confidence
        assert len(after.words) == len(before.words)
        for word, back in zip(before.words, after.words, strict=True):
            same(word, back)
            assert len(word.glyphs) == len(back.glyphs)
            for glyph, letter in zip(word.glyphs, back.glyphs, strict=True):
                same(glyph, letter)
    got.made = sent.made
    again = got.save(folder / f"b.{name}.xml")
    if name == "page":
        assert Path(again).read_bytes() == Path(path).read_bytes()


ODD = st.text(
    st.one_of(
        st.sampled_from(
            "aé1-=;,\"'<&]> \t\n\r\x0b\x1c\x85\xa0\xad"
            "\u0301\u0323\u200b\u200d\u200f\u202b\u2028\u2029\ufeff\ufffe\x00\x01א\u05b8سꝑ😀𝔄\U000e0041"
        ),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=12,
)
NAMES = st.sampled_from(["l", "line 1", "1", "é", "a/b", "x:y", "L<&>", "l,1", "א"])
ODD_LINES = st.lists(
    st.tuples(ODD, st.sampled_from([None, "r", "r 2", "2", "é"]), st.one_of(st.none(), SHARES), st.booleans()),
    max_size=7,
)
WITH_TEXTS = ("alto", "csv", "docx", "hocr", "json", "page", "tei", "txt")


def odd_page(folder, rows, name):
    lines = []
    for number, (text, region, sure, based) in enumerate(rows):
        outline = box(10 + number, 40 * number, 200) + np.array([[0, 0], [5, 1], [0, 3], [-2, 0]])
        base = np.array([[10.0, 40 * number + 15], [180, 40 * number + 14]]) if based else None
        lines.append(Line(f"{name}{number}", outline, base, region, text, sure))
    return Page(folder / "a é #1.png", 600, 400, lines)


@pytest.mark.parametrize("name", WITH_TEXTS)
@settings(max_examples=40, deadline=None)
@given(ODD_LINES, NAMES)
def test_odd_texts_come_back_from_every_format_that_is_read_again(tmp_path_factory, name, rows, ids):
    """With combining marks, both directions, astral planes, control characters, spaces around and empty lines."""
    folder = tmp_path_factory.mktemp("odd")
    page = odd_page(folder, rows, ids)
    module = plugins.load("htr_ssl.pages.formats", name)
    path = page.save(folder / f"a{module.EXTENSION}")
    got = module.texts(path)
    tidy = clean if name in ("alto", "docx", "hocr", "page", "tei") else str  # XML has no place for some of them
    assert [*(got.values() if isinstance(got, dict) else got)] == [
        one_line(tidy(one_line(line.text))) for line in page.lines
    ]


@pytest.mark.parametrize("name", ["page", "alto"])
@settings(max_examples=40, deadline=None)
@given(ODD_LINES, NAMES)
def test_lines_with_odd_texts_names_and_regions_come_back(tmp_path_factory, name, rows, ids):
    folder = tmp_path_factory.mktemp("odd")
    page = odd_page(folder, rows, ids)
    page.image.write_bytes(b"")
    got = read_xml(page.save(folder / f"a.{name}.xml"))
    assert got.image == page.image
    for before, after in zip(page.lines, got.lines, strict=True):
        assert (after.text or "") == one_line(clean(one_line(before.text)))
        assert np.array_equal(after.polygon, before.polygon)
        assert (after.baseline is None) == (before.baseline is None)
        assert before.baseline is None or np.array_equal(after.baseline, before.baseline)
    # Names that XML does not take are others, but tell the same lines and regions apart.
    assert len({line.id for line in got.lines}) == len(got.lines)
    assert [a.region == b.region for a, b in pairwise(got.lines)] == [
        a.region == b.region for a, b in pairwise(page.lines)
    ]
    again = read_xml(got.save(folder / f"b.{name}.xml"))
    assert [(line.id, line.region, line.text) for line in again.lines] == [
        (line.id, line.region, line.text) for line in got.lines
    ]


def test_places_that_were_only_guessed_and_kinds_of_others_are_not_taken_for_measured(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    page = Page(tmp_path / "a.png", 600, 400, [Line("l", box(0, 0, 90), None, None, "two words", None, "heading")])
    for name in ("page", "alto"):
        (line,) = read_xml(Path(page.save(tmp_path / f"a.{name}.xml"))).lines
        assert (line.text, line.words, line.kind) == ("two words", [], None)


def test_a_line_that_is_read_anew_has_no_words_of_before(tmp_path):
    line = Line("l", box(0, 0, 90), None, None, "old", 1.0, words=[Word("old", box(0, 0, 90), 1.0)])
    page = read_image(np.full((100, 200), 255, np.uint8), list, lambda images: [("new", 0.5)], None, [line])
    assert (page.lines[0].text, page.lines[0].words) == ("new", [])
