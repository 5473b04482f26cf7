"""Searchable PDF: another library finds the text where it stands, in any script, and the picture as it was."""

from unicodedata import normalize

import numpy as np
import pikepdf
import pypdfium2
import pytest
from PIL import Image, ImageDraw

from htr_ssl.data.page_images import page_image
from htr_ssl.layout.document import Line, Page
from htr_ssl.pages.formats import pdf


def box(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def scan(path, size=(600, 400), **options):
    image = Image.new("RGB", size, (250, 245, 230))
    ImageDraw.Draw(image).rectangle([50, 60, 300, 90], fill=(20, 20, 90))
    image.save(path, **options)
    return path


def read(path, number=0):
    document = pypdfium2.PdfDocument(path)
    text = document[number].get_textpage().get_text_range()
    document.close()
    return text.replace("\r\n", "\n").strip("\n")


TEXTS = ["Été à l’œuvre, 12 fr.", "ſtraße Ꝑ ꝓ 𝔄 e\u0301", "Ελληνικά и русский"]


def test_text_equals_the_transcription(tmp_path):
    lines = [Line(str(i), box(50, 60 + 80 * i, 500, 100 + 80 * i), None, None, text) for i, text in enumerate(TEXTS)]
    page = Page(scan(tmp_path / "a.png"), 600, 400, lines)
    pdf.write(page, tmp_path / "a.pdf")
    assert read(tmp_path / "a.pdf").split("\n") == TEXTS


@pytest.mark.parametrize("text", ["שלום עולם", "مرحبا بالعالم 12", "ע\u05d5\u05b9ל\u05b8ם (12)", "ب\u064e\u0651ت"])
def test_right_to_left_text_can_be_searched(tmp_path, text):
    line = Line("l", box(50, 60, 500, 100), None, None, text)
    pdf.write(Page(scan(tmp_path / "a.png"), 600, 400, [line]), tmp_path / "a.pdf")
    # The order of two marks on one letter means nothing, and programs differ in it.
    assert normalize("NFC", read(tmp_path / "a.pdf")) == normalize("NFC", text)


def test_words_lie_over_their_places(tmp_path):
    line = Line("l", box(60, 80, 540, 120), np.array([[60.0, 110], [540, 110]]), None, "abc defgh")
    pdf.write(Page(scan(tmp_path / "a.png", dpi=(300, 300)), 600, 400, [line]), tmp_path / "a.pdf")
    page = pypdfium2.PdfDocument(tmp_path / "a.pdf")[0]
    text = page.get_textpage()
    factor = 300 / 72
    left, bottom, _, top = text.get_charbox(0, loose=True)
    assert left * factor == pytest.approx(60, abs=2)
    assert (page.get_height() - bottom) * factor == pytest.approx(120, abs=12)
    assert (page.get_height() - top) * factor == pytest.approx(80, abs=12)
    right = text.get_charbox(8, loose=True)[2]
    assert right * factor == pytest.approx(540, abs=2)


def test_a_jpeg_is_taken_over_byte_for_byte(tmp_path):
    path = scan(tmp_path / "a.jpg", quality=70)
    pdf.write(Page(path, 600, 400), tmp_path / "a.pdf")
    with pikepdf.open(tmp_path / "a.pdf") as document:
        (image,) = document.pages[0].images.values()
        assert image.read_raw_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", ["a.png", "gray.png", "turn3.jpg", "turn6.jpg", "turn8.jpg", "turn5.jpg", "a.tif"])
def test_the_picture_looks_as_the_page(tmp_path, name):
    path = tmp_path / name
    options = {}
    if name.startswith("turn"):
        exif = Image.Exif()
        exif[0x0112] = int(name[4])
        options = {"exif": exif, "quality": 95}
    scan(path, **options)
    if name == "gray.png":
        Image.open(path).convert("L").save(path)
    pixels = page_image(path)
    height, width = pixels.shape[:2]
    pdf.write(Page(path, width, height), tmp_path / "x.pdf")
    drawn = page_image(tmp_path / "x.pdf")
    assert abs(drawn.shape[0] - height) <= 2
    assert abs(drawn.shape[1] - width) <= 2
    small = [
        np.asarray(Image.fromarray(one).convert("L").resize((60, 60), Image.Resampling.BOX), float)
        for one in (drawn, pixels)
    ]
    assert np.abs(small[0] - small[1]).mean() < 3


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_page_of_a_pdf_keeps_what_is_on_it_and_gets_text_in_place(tmp_path, turn):
    pdf.write(Page(scan(tmp_path / "a.png"), 600, 400), tmp_path / "scan.pdf")
    with pikepdf.open(tmp_path / "scan.pdf", allow_overwriting_input=True) as document:
        document.pages[0].Rotate = turn
        document.save(tmp_path / "scan.pdf")
    pixels = page_image(tmp_path / "scan.pdf")
    height, width = pixels.shape[:2]
    ink = np.argwhere(pixels.min(2) < 100)
    (top, left), (bottom, right) = ink.min(0), ink.max(0)
    line = Line("l", box(left, top, right, bottom), None, None, "abc")
    pdf.write(Page(tmp_path / "scan.pdf", width, height, [line]), tmp_path / "out.pdf")
    assert np.abs(page_image(tmp_path / "out.pdf").astype(int) - pixels).mean() < 1
    page = pypdfium2.PdfDocument(tmp_path / "out.pdf")[0]
    text = page.get_textpage()
    assert text.get_text_range() == "abc"


def test_a_volume_holds_all_pages(tmp_path):
    parts = []
    for number in range(3):
        line = Line("l", box(50, 60, 500, 100), None, None, f"page {number}")
        pdf.write(Page(scan(tmp_path / "a.png"), 600, 400, [line]), tmp_path / f"{number}.pdf")
        parts.append((f"book#{number}", tmp_path / f"{number}.pdf"))
    (tmp_path / "book.pdf").write_bytes(pdf.volume(parts))
    assert [read(tmp_path / "book.pdf", number) for number in range(3)] == ["page 0", "page 1", "page 2"]
    assert pdf.volume(parts) == (tmp_path / "book.pdf").read_bytes()


def test_lines_whose_outlines_overlap_stay_lines(tmp_path):
    texts = [f"line {number} of a page" for number in range(5)]
    lines = [Line(str(i), box(50, 40 + 40 * i, 550, 100 + 40 * i), None, None, text) for i, text in enumerate(texts)]
    pdf.write(Page(scan(tmp_path / "a.png"), 600, 400, lines), tmp_path / "a.pdf")
    assert read(tmp_path / "a.pdf").split("\n") == texts
