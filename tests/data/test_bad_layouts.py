"""What goes wrong with any layout: images that are gone, lists from Windows, names as other systems write them."""

from __future__ import annotations

import os
import unicodedata

import pytest
from miniatures import LAYOUTS, page, save
from PIL import Image

from htr_ssl.data import importing
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError
from htr_ssl.folders import is_image

LISTS = (".txt", ".tsv", ".csv", ".json", ".jsonl", ".xml")
OWN = ("hub", "lmdb", "images", "scans")
"""Layouts whose images are not named by another file."""


def texts_of(samples):
    return dict(zip(samples.column("id"), samples.column("text"), strict=True))


def lists_of(root):
    return [path for path in root.rglob("*") if path.suffix in LISTS]


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in OWN])
def test_a_missing_image_is_named_and_the_rest_stays(layout, tmp_path):
    """Renamed to something no list knows: for gt_txt and CVL, whose lists are the images, a text without image."""
    reader, level, build = LAYOUTS[layout]
    expected = build(tmp_path)
    images = sorted(path for path in tmp_path.rglob("*") if is_image(path))
    lost = images[0]
    lost.rename(lost.with_name("renamed.png"))
    if len(images) == 1:
        with pytest.raises(UserError, match=r"no image|is missing"):
            read(tmp_path, reader, level)
        return
    samples = read(tmp_path, reader, level)
    kept = {name: text for name, text in texts_of(samples).items() if "renamed" not in name}
    assert kept.items() <= {name: row[0] for name, row in expected.items()}.items()
    assert kept
    assert any(lost.stem in problem or "renamed" in problem for problem in samples.problems)
    for sample in samples:
        assert sample.load().size


@pytest.mark.parametrize("layout", LAYOUTS)
def test_lists_with_byte_order_mark_and_line_ends_of_windows(layout, tmp_path):
    reader, level, build = LAYOUTS[layout]
    expected = build(tmp_path)
    for path in lists_of(tmp_path):
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n")
        path.write_bytes(b"\xef\xbb\xbf" + data.replace(b'encoding="ISO-8859-1"', b"").replace(b"\n", b"\r\n"))
    for format in (reader, "auto"):
        samples = read(tmp_path, format, level)
        assert texts_of(samples) == {name: row[0] for name, row in expected.items()}
        assert samples.problems == []


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in (*OWN, "transcribed")])
def test_lists_in_latin_1_are_read_and_named(layout, tmp_path):
    """An accent put into every text file; XML says its encoding itself, and is refused if that is wrong."""
    reader, level, build = LAYOUTS[layout]
    expected = build(tmp_path)
    changed = []
    for path in lists_of(tmp_path):
        text = path.read_text(encoding="utf-8-sig")
        if path.suffix != ".xml" and not text.isascii():
            path.write_bytes(text.encode("cp1252"))
            changed.append(path)
    samples = read(tmp_path, reader, level)
    assert texts_of(samples) == {name: row[0] for name, row in expected.items()}
    for path in changed:
        assert [f"{path}: it is not UTF-8" in problem for problem in samples.problems].count(True) == 1


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_of_names_in_the_other_form(tmp_path, listed, stored):
    """macOS takes accents of file names apart, lists have them in one piece."""
    name = "été à 1.png"
    save(tmp_path / unicodedata.normalize(stored, name))
    (tmp_path / "lines.tsv").write_text(f"image\ttext\n{unicodedata.normalize(listed, name)}\tbon\n", encoding="utf-8")
    samples = read(tmp_path)
    assert samples.column("text") == ["bon"]
    assert samples.problems == []


def test_links_that_lead_nowhere_or_in_circles(tmp_path):
    root = tmp_path / "data"
    (root / "a/b").mkdir(parents=True)
    save(root / "a/1.png")
    os.symlink(root / "a", root / "a/b/up")
    os.symlink("self.png", root / "self.png")
    os.symlink("gone.png", root / "dangling.png")
    os.symlink(root / "a/1.png", root / "a/b/again.png")
    outcome = importing.write(read(root), tmp_path / "out.parquet", threads=1)
    assert read(tmp_path / "out.parquet").column("id") == ["a/1.png", "a/b/again.png"]
    assert [name for name in ("self.png", "dangling.png") for text in outcome.problems if name in text] == [
        "self.png",
        "dangling.png",
    ]


@pytest.mark.parametrize("size", [(60_000, 30), (30, 60_000)])
def test_sixty_thousand_pixels_in_one_direction(tmp_path, size):
    """An image like any other, but too long for WebP."""
    root = tmp_path / "data"
    root.mkdir()
    Image.new("L", size, 200).save(root / "1.png")
    importing.write(read(root), tmp_path / "whole.parquet", threads=1)
    assert read(tmp_path / "whole.parquet")[0].load().shape[::-1] == size
    importing.write(read(root), tmp_path / "out.parquet", height=20, threads=1)
    assert read(tmp_path / "out.parquet")[0].load().shape[0] == 20


def test_words_with_impossible_boxes(tmp_path):
    """One word in four has a box off the page, reversed, of no number or of no size."""
    page(tmp_path / "1.jpg")
    boxes = ['HPOS="40" WIDTH="120"', 'HPOS="900" WIDTH="120"', 'HPOS="160" WIDTH="-120"', 'HPOS="NaN" WIDTH="9"', ""]
    strings = "".join(f'<String CONTENT="w{i}" VPOS="40" HEIGHT="30" {box}/>' for i, box in enumerate(boxes))
    (tmp_path / "1.xml").write_text(
        '<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Layout><Page WIDTH="400" HEIGHT="200"><PrintSpace>'
        f'<TextBlock><TextLine ID="l" HPOS="40" VPOS="40" WIDTH="290" HEIGHT="30">{strings}</TextLine></TextBlock>'
        "</PrintSpace></Page></Layout></alto>"
    )
    outcome = importing.write(read(tmp_path, "alto", "word"), tmp_path / "out/words.parquet", threads=1)
    samples = read(tmp_path / "out/words.parquet", level="word")
    assert "w0" in samples.column("text")
    assert len(samples) + len(outcome.problems) <= 5
    assert any("NaN" in problem for problem in outcome.problems)
    assert samples[0].load().shape[1] > 100
