"""Vertical and turned lines are levelled as their file says, on import and in transcriptions."""

import numpy as np
import pytest
from PIL import Image

from htr_ssl.data.reading import read
from htr_ssl.layout.crop import crop
from htr_ssl.layout.xml import read_xml
from htr_ssl.pages.transcribe import transcribe

PAPER = 220
# Clockwise turns that level the text on the page, as np.rot90 (counterclockwise quarters) undoes them.
QUARTERS = {0: 0, 90: 1, 180: 2, -90: -1}


def strip():
    """A line of text in small: a long stroke at the left end, points to the right, ink below the middle."""
    image = np.full((40, 300), PAPER, np.uint8)
    image[8:32, 20:26] = 30
    image[24:32, 50:280:10] = 30
    return image


def placed(turn):
    """A page with the strip on it, standing so that a turn to the right by `turn` degrees levels it, and its box."""
    piece = np.rot90(strip(), QUARTERS[turn])
    page = np.full((500, 500), PAPER, np.uint8)
    height, width = piece.shape
    page[60 : 60 + height, 80 : 80 + width] = piece
    return page, (80, 60, 80 + width - 1, 60 + height - 1)


def corners(box):
    left, top, right, bottom = box
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def page_xml(box, page="", region="", line="", baseline=""):
    points = " ".join(f"{x},{y}" for x, y in corners(box))
    return (
        '<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">'
        f'<Page imageFilename="p.png" imageWidth="500" imageHeight="500" {page}><TextRegion id="r" {region}>'
        f'<Coords points="{points}"/><TextLine id="l" {line}><Coords points="{points}"/>{baseline}'
        "<TextEquiv><Unicode>note</Unicode></TextEquiv></TextLine></TextRegion></Page></PcGts>"
    )


def alto_xml(box, block="", line=""):
    left, top, right, bottom = box
    place = f'HPOS="{left}" VPOS="{top}" WIDTH="{right - left}" HEIGHT="{bottom - top}"'
    return (
        '<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Description><MeasurementUnit>pixel</MeasurementUnit>'
        "<sourceImageInformation><fileName>p.png</fileName></sourceImageInformation></Description>"
        f'<Layout><Page WIDTH="500" HEIGHT="500"><PrintSpace><TextBlock ID="b" {place} {block}>'
        f'<TextLine ID="l" {place} {line}><String CONTENT="note" {place}/></TextLine></TextBlock></PrintSpace></Page>'
        "</Layout></alto>"
    )


def upright(image):
    """Whether an image shows the strip as it is, whatever the margin."""
    ink = np.argwhere(np.asarray(image) < 120)
    (top, left), (bottom, right) = ink.min(0), ink.max(0)
    seen = np.asarray(image)[top : bottom + 1, left : right + 1]
    inked = np.argwhere(strip() < 120)
    (top, left), (bottom, right) = inked.min(0), inked.max(0)
    wanted = strip()[top : bottom + 1, left : right + 1]
    return seen.shape == wanted.shape and np.abs(seen.astype(int) - wanted).max() < 60


CASES = [
    (90, {"region": 'orientation="90.0"'}),
    (90, {"region": 'orientation="90.0" readingDirection="bottom-to-top"'}),
    (90, {"region": 'readingDirection="bottom-to-top"'}),
    (90, {"line": 'readingDirection="bottom-to-top"'}),
    (90, {"page": 'orientation="90"'}),
    (90, {"region": 'readingOrientation="90"'}),
    (-90, {"region": 'orientation="-90"'}),
    (-90, {"region": 'orientation="-90" readingDirection="top-to-bottom"'}),
    (-90, {"line": 'readingDirection="top-to-bottom"'}),
    (-90, {"region": 'orientation="90" readingOrientation="180"'}),
    (180, {"region": 'orientation="180"'}),
    (180, {"page": 'orientation="-180"'}),
    (180, {"region": 'orientation="180"', "baseline": '<Baseline points="379,91 80,91"/>'}),
    (180, {"region": 'orientation="180"', "baseline": '<Baseline points="80,68 379,68"/>'}),
    (0, {"region": 'orientation="0" readingDirection="right-to-left"'}),
    (0, {"region": 'orientation="NaN"'}),
    (0, {"region": 'orientation="about 5"'}),
    (0, {"region": 'readingDirection="bottom-to-top"'}),  # it is wider than high
    (90, {"baseline": '<Baseline points="111,359 111,60"/>'}),
    (-90, {"baseline": '<Baseline points="88,60 88,359"/>'}),
    (90, {"region": 'orientation="0"', "line": 'readingDirection="bottom-to-top"'}),
    (90, {"page": 'orientation="180"', "region": 'orientation="90"'}),  # the nearest counts
]


@pytest.mark.parametrize(("turn", "attributes"), CASES)
def test_page(turn, attributes, tmp_path):
    page, box = placed(turn)
    Image.fromarray(page).save(tmp_path / "p.png")
    (tmp_path / "p.xml").write_text(page_xml(box, **attributes))
    (line,) = read_xml(tmp_path / "p.xml").lines
    assert upright(crop(page, line))
    assert upright(read(str(tmp_path), "page_xml", "line").image(0))
    seen = []

    def reader(images):
        seen.extend(images)
        return [("note", 1.0)] * len(images)

    transcribe(reader, [tmp_path / "p.png"], tmp_path / "out", ["txt"])
    assert len(seen) == 1
    assert upright(seen[0])


@pytest.mark.parametrize(
    ("turn", "attributes"),
    [
        (90, {"block": 'ROTATION="90"'}),
        (-90, {"block": 'ROTATION="270"'}),
        (180, {"block": 'ROTATION="180"'}),
        (90, {"line": 'BASEDIRECTION="btt"'}),
        (-90, {"block": 'BASEDIRECTION="ttb"'}),
        (0, {"block": 'ROTATION="0" BASEDIRECTION="rtl"'}),
    ],
)
def test_alto(turn, attributes, tmp_path):
    page, box = placed(turn)
    Image.fromarray(page).save(tmp_path / "p.png")
    (tmp_path / "p.xml").write_text(alto_xml(box, **attributes))
    assert upright(read(str(tmp_path), "alto", "line").image(0))
    assert upright(read(str(tmp_path), "alto", "word").image(0))


def test_a_copy_of_another_size_is_turned_too(tmp_path):
    page, box = placed(90)
    Image.fromarray(np.kron(page, np.ones((2, 2), np.uint8))).save(tmp_path / "p.png")
    (tmp_path / "p.xml").write_text(page_xml(box, region='orientation="90"'))
    image = read(str(tmp_path), "page_xml", "line").image(0)
    assert image.shape[1] > 3 * image.shape[0]
    assert any(upright(image[i::2, j::2]) for i in (0, 1) for j in (0, 1))
