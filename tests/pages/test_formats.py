"""Every output format: golden files, what ALTO's schema asks for, and whatever a recognizer may say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree
from PIL import Image

from htr_ssl import __version__, plugins
from htr_ssl.errors import UserError
from htr_ssl.layout.document import Line, Page
from htr_ssl.layout.xml import is_page_xml, read_xml
from htr_ssl.pages.formats import alto, overlay

GOLDEN = Path(__file__).parent / "golden"
FORMATS = plugins.names("htr_ssl.pages.formats")
A = f"{{{alto.NAMESPACE}}}"


def line(number, top, **known):
    polygon = np.array([[40.0, top], [360, top - 2], [362, top + 30], [40, top + 32]])
    return Line(f"line_{number}", polygon, np.array([[40.0, top + 24], [360, top + 23]]), **known)


def page(folder=Path()):
    lines = [
        line(1, 20, region="r1", text="Été à l’œuvre", confidence=0.9),
        line(2, 60, region="r1", text='a < b & "c"', confidence=0.25),
        line(3, 100, region="r2", text="", confidence=0.0),
        line(4, 140),
    ]
    lines[3].baseline = None
    return Page(folder / "façade 1.png", 400, 200, lines)


@pytest.mark.parametrize("name", ["txt", "json", "alto", "page", "hocr", "tei", "csv"])
def test_golden(tmp_path, name):
    writer = plugins.load("htr_ssl.pages.formats", name)
    writer.write(page(tmp_path), tmp_path / "out")
    written = (tmp_path / "out").read_text("utf-8").replace(__version__, "VERSION")
    assert written == (GOLDEN / f"page{writer.EXTENSION}").read_text("utf-8")


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_an_empty_page_and_leaves_no_other_file(tmp_path, name):
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    writer = plugins.load("htr_ssl.pages.formats", name)
    assert writer.EXTENSION.startswith(".")
    assert writer.__doc__
    path = tmp_path / "deep" / f"a{writer.EXTENSION}"
    writer.write(Page(tmp_path / "a.png", 40, 30), path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_extensions_are_unique():
    assert len({plugins.load("htr_ssl.pages.formats", name).EXTENSION for name in FORMATS}) == len(FORMATS) > 3


def test_alto_comes_back_as_it_went(tmp_path):
    given_page = page(tmp_path)
    path = tmp_path / "page.alto.xml"
    alto.write(given_page, path)
    back = read_xml(path)
    assert is_page_xml(path)
    assert (back.image, back.width, back.height) == (given_page.image, 400, 200)
    for sent, got in zip(given_page.lines, back.lines, strict=True):
        assert (got.id, got.region, got.text or "") == (sent.id, sent.region, sent.text or "")
        assert got.confidence == pytest.approx(sent.confidence) if sent.confidence is not None else not got.confidence
        assert np.array_equal(got.polygon, sent.polygon)
        assert (got.baseline is None) == (sent.baseline is None)
        assert sent.baseline is None or np.array_equal(got.baseline, sent.baseline)


def check_alto(root):
    """The parts of the ALTO 4.2 schema that concern what is written: order, required attributes, types, ids."""
    order = {
        "alto": "Description (Tags )?Layout",
        "Description": "MeasurementUnit sourceImageInformation Processing",
        "sourceImageInformation": "fileName",
        "Processing": "processingCategory processingStepDescription processingSoftware",
        "processingSoftware": "softwareName softwareVersion",
        "Layout": "Page",
        "Page": "PrintSpace",
        "PrintSpace": "(TextBlock ?)*",
        "TextBlock": "(TextLine ?)+",  # a block without a line is not valid
        "TextLine": "Shape (String ?(SP ?)?)+",  # neither is a line without a String
        "Shape": "Polygon",
    }
    required = {
        "Processing": {"ID"},
        "Page": {"ID", "PHYSICAL_IMG_NR"},
        "TextBlock": {"ID"},
        "String": {"CONTENT"},
        "Polygon": {"POINTS"},
    }
    numbers = {"HPOS", "VPOS", "WIDTH", "HEIGHT", "WC", "PHYSICAL_IMG_NR"}
    others = {"ID", "CONTENT", "POINTS", "BASELINE", "PROCESSINGREFS", "SCHEMAVERSION"}
    for element in root.iter():
        assert element.tag.startswith(A)
        name = element.tag.removeprefix(A)
        children = " ".join(child.tag.removeprefix(A) for child in element)
        assert re.fullmatch(order.get(name, ""), children), (name, children)
        attributes = {key for key in element.attrib if not key.startswith("{")}
        assert required.get(name, set()) <= attributes <= numbers | others
        for key in attributes & numbers:
            assert float(element.get(key)) >= 0 or key in ("HPOS", "VPOS")
        assert float(element.get("WC", "0")) <= 1
        for key in ("POINTS", "BASELINE"):
            assert re.fullmatch(r"-?\d+( -?\d+ -?\d+)* -?\d+", element.get(key, "0 0"))
    ids = [element.get("ID") for element in root.iter() if element.get("ID") is not None]
    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", name) for name in ids)
    assert all(element.get("PROCESSINGREFS") in ids for element in root.iter(f"{A}Page"))


def test_alto_follows_the_schema_and_words_fill_their_line(tmp_path):
    alto.write(page(), tmp_path / "page.alto.xml")
    root = etree.parse(str(tmp_path / "page.alto.xml")).getroot()
    check_alto(root)
    for element in root.iter(f"{A}TextLine"):
        edge = int(element.get("HPOS"))
        for part in element.iter(f"{A}String", f"{A}SP"):
            assert int(part.get("HPOS")) == edge
            edge += int(part.get("WIDTH"))
        assert edge == int(element.get("HPOS")) + int(element.get("WIDTH"))


@pytest.mark.parametrize(("start", "end", "down"), [(10, 110, True), (110, 10, False)])
def test_alto_words_of_a_vertical_line_follow_its_direction(tmp_path, start, end, down):
    box = np.array([[0.0, 10], [20, 10], [20, 110], [0, 110]])
    steep = Line("l", box, np.array([[10.0, start], [10, end]]), text="abcd efghi")
    alto.write(Page(tmp_path / "a.png", 30, 120, [steep]), tmp_path / "a")
    words = list(etree.parse(str(tmp_path / "a")).iter(f"{A}String"))
    boxes = [[int(word.get(key)) for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")] for word in words]
    assert boxes == ([[0, 10, 20, 40], [0, 60, 20, 50]] if down else [[0, 70, 20, 40], [0, 10, 20, 50]])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=5), st.none() | st.text(max_size=3), st.none() | st.text(max_size=30)), max_size=6
    )
)
@example([("l", None, "\uf900 e\u0301")])  # NFC would change both
def test_whatever_is_read_can_be_written(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    lines = [Line(name, np.array([[1, 2], [90, 2], [90, 9.0]]), None, region, text) for name, region, text in rows]
    whole = Page(folder / "a.png", 100, 50, lines)
    for name in ("txt", "json", "alto"):
        plugins.load("htr_ssl.pages.formats", name).write(whole, folder / name)
    check_alto(etree.parse(str(folder / "alto")).getroot())
    assert (folder / "txt").read_bytes().decode().count("\n") == len(rows)
    stored = json.loads((folder / "json").read_bytes())["lines"]
    assert [item["text"] for item in stored] == [text for _, _, text in rows]
    legal = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
    back = [item.text or "" for item in read_xml(folder / "alto").lines]
    texts = [" ".join((text or "").split()) for _, _, text in rows]  # composed or not, as it was
    expected = [" ".join(legal.sub("", text).split()) for text in texts]  # separators divide words, as in txt
    assert back == expected


def test_lone_surrogates_do_not_stop_any_writer(tmp_path):
    odd = Page(tmp_path / "a\udcff.png", 10, 10, [Line("l", np.array([[1, 2], [9, 2], [9, 9.0]]), text="x\ud800y")])
    for name in ("txt", "json", "alto"):
        plugins.load("htr_ssl.pages.formats", name).write(odd, tmp_path / name)
        (tmp_path / name).read_bytes().decode()


@pytest.mark.parametrize("size", [(500, 400), (300, 800), (5000, 300)])
def test_overlay_shows_page_and_text_within_the_size_limit(tmp_path, size):
    width, height = size
    Image.new("L", size, 255).save(tmp_path / "a.png")
    box = np.array([[0.1, 0.4], [0.8, 0.4], [0.8, 0.6], [0.1, 0.6]]) * size
    first = Line("a", box, box[[3, 2]], text="Été œuvre " * 9, confidence=0.1)
    steep = Line("b", box, np.array([[0.2 * width, 0.1 * height], [0.2 * width, 0.9 * height]]), text="down")
    whole = Page(tmp_path / "a.png", width, height, [first, steep])
    overlay.write(whole, tmp_path / "marked.png")
    blank = Page(tmp_path / "a.png", width, height, [])
    overlay.write(blank, tmp_path / "blank.png")
    with Image.open(tmp_path / "marked.png") as marked, Image.open(tmp_path / "blank.png") as empty:
        assert marked.size == empty.size
        assert max(marked.size) <= overlay.MAX_SIDE
        differs = (np.asarray(marked) != np.asarray(empty)).any(2)
    rows, columns = differs.shape
    parts = (
        (differs[: rows // 2], differs[rows // 2 :])
        if width > height
        else (
            differs[:, : columns // 2],
            differs[:, columns // 2 :],
        )
    )
    assert all(part.any() for part in parts)
    assert 0.3 < np.argwhere(parts[0])[:, 0].mean() / parts[0].shape[0] < 0.7


def test_overlay_without_its_image_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"gone\.png"):
        overlay.write(Page(tmp_path / "gone.png", 9, 9), tmp_path / "x.png")
