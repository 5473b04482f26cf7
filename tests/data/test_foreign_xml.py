"""PAGE and ALTO of every make: the same lines, on their own image, in the stated order."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from htr_ssl.data.reading import read
from htr_ssl.errors import UserError
from htr_ssl.pages.inputs import find_pages

PAGE = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<PcGts xmlns="x"><Page imageFilename="{name}" {size}>{body}</Page></PcGts>'
)
ALTO = (
    "<alto><Description><MeasurementUnit>{unit}</MeasurementUnit><sourceImageInformation><fileName>p.png</fileName>"
    "</sourceImageInformation></Description><Layout><Page {size}>{body}</Page></Layout></alto>"
)
SIZE = 'imageWidth="400" imageHeight="200"'


def line(name, top, inner=None, **more):
    inner = f"<TextEquiv><Unicode>{name}</Unicode></TextEquiv>" if inner is None else inner
    attributes = "".join(f' {key}="{value}"' for key, value in more.items())
    return (
        f'<TextLine id="{name}"{attributes}><Coords points="20,{top} 300,{top} 300,{top + 20} 20,{top + 20}"/>'
        f"{inner}</TextLine>"
    )


def page(path, body, name="p.png", size=SIZE, image="p.png", **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PAGE.format(name=name, size=size, body=body), encoding="utf-8")
    if image:
        picture(path.parent / image, **save)


def picture(path, size=(400, 200), **save):
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn = Image.new("L", size, 230)
    for top in range(20, size[1] - 20, 40):
        ImageDraw.Draw(drawn).rectangle((30, top, size[0] - 60, top + 12), fill=30)
    drawn.save(path, **save)


def texts(root, level="line"):
    return read(root, level=level).column("text")


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ('<TextEquiv conf="NaN"><Unicode>a</Unicode></TextEquiv>', "a"),
        ('<TextEquiv conf="0,93"><Unicode>a</Unicode></TextEquiv>', "a"),
        ('<TextEquiv conf="high"><Unicode>a</Unicode></TextEquiv>', "a"),
        ('<TextEquiv conf="-1"><Unicode>a</Unicode></TextEquiv>', "a"),
        ('<TextEquiv index="one"><Unicode>a</Unicode></TextEquiv>', "a"),
        ('<TextEquiv index="0"><Unicode/></TextEquiv><TextEquiv index="1"><Unicode>a</Unicode></TextEquiv>', "a"),
        ('<TextEquiv index="1"><Unicode>b</Unicode></TextEquiv><TextEquiv><Unicode>a</Unicode></TextEquiv>', "a"),
        ("<TextEquiv><PlainText>a</PlainText></TextEquiv>", "a"),
        ("<TextEquiv><PlainText>b</PlainText><Unicode>a</Unicode></TextEquiv>", "a"),
        (
            "<Word><TextEquiv><Unicode>a</Unicode></TextEquiv></Word><Word><TextEquiv><Unicode>b</Unicode></TextEquiv>"
            "</Word><TextEquiv><Unicode></Unicode></TextEquiv>",
            "a b",
        ),
    ],
)
def test_the_best_text_there_is(tmp_path, inner, expected):
    page(tmp_path / "p.xml", line("l", 10, inner))
    samples = read(tmp_path)
    assert samples.column("text") == [expected]
    assert not samples.problems


@pytest.mark.parametrize("value", ["NaN", "0,93", "95", "", "inf"])
def test_confidence_of_alto_never_decides(tmp_path, value):
    body = f'<TextLine ID="l" HPOS="20" VPOS="10" WIDTH="280" HEIGHT="20"><String CONTENT="a" WC="{value}"/></TextLine>'
    (tmp_path / "p.xml").write_text(ALTO.format(unit="pixel", size='WIDTH="400" HEIGHT="200"', body=body))
    picture(tmp_path / "p.png")
    assert texts(tmp_path) == ["a"]


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("tag", ["TextRegion", "TableRegion", "TableCell"])
def test_lines_stand_where_their_nearest_named_ancestor_does(tmp_path, depth, tag):
    cells = line("b", 50) + line("c", 90)
    for number in range(depth):
        cells = f'<{tag} id="in{number}">{cells}</{tag}>'
    body = (
        '<ReadingOrder><OrderedGroup id="o"><RegionRefIndexed index="0" regionRef="head"/>'
        '<RegionRefIndexed index="1" regionRef="table"/><RegionRefIndexed index="2" regionRef="foot"/></OrderedGroup>'
        f'</ReadingOrder><TextRegion id="foot">{line("d", 130)}</TextRegion>'
        f'<TableRegion id="table">{cells}</TableRegion>'
        f'<TextRegion id="head">{line("a", 10)}</TextRegion>'
    )
    page(tmp_path / "p.xml", body)
    assert texts(tmp_path) == ["a", "b", "c", "d"]


def test_reading_order_of_blocks_in_blocks_of_alto(tmp_path):
    def block(name, top):
        box = f'HPOS="20" VPOS="{top}" WIDTH="280" HEIGHT="20"'
        text = f'<TextLine ID="l{name}" {box}><String CONTENT="{name}"/></TextLine>'
        return f'<TextBlock ID="t{name}" {box}>{text}</TextBlock>'

    body = (
        '<ReadingOrder><OrderedGroup ID="o"><ElementRef ID="1" REF="c2"/><ElementRef ID="2" REF="c1"/></OrderedGroup>'
        f'</ReadingOrder><PrintSpace><ComposedBlock ID="c1">{block("b", 10)}{block("c", 50)}</ComposedBlock>'
        f'<ComposedBlock ID="c2"><ComposedBlock ID="c3">{block("a", 90)}</ComposedBlock></ComposedBlock></PrintSpace>'
    )
    (tmp_path / "p.xml").write_text(ALTO.format(unit="pixel", size='WIDTH="400" HEIGHT="200"', body=body))
    picture(tmp_path / "p.png")
    assert texts(tmp_path) == ["a", "b", "c"]


@pytest.mark.parametrize(("unit", "per_inch"), [("mm10", 254), ("inch1200", 1200), ("pixel", 300)])
@pytest.mark.parametrize("stated", [True, False])
def test_units_of_alto(tmp_path, unit, per_inch, stated):
    scale = per_inch / 300
    box = f'HPOS="{20 * scale}" VPOS="{10 * scale}" WIDTH="{280 * scale}" HEIGHT="{50 * scale}"'
    size = f'WIDTH="{round(400 * scale)}" HEIGHT="{round(200 * scale)}"' if stated else ""
    body = f'<TextLine ID="l" {box}><String CONTENT="a"/></TextLine>'
    (tmp_path / "p.xml").write_text(ALTO.format(unit=unit, size=size, body=body))
    picture(tmp_path / "p.png", dpi=(300, 300))
    assert np.allclose(read(tmp_path)[0].load().shape, (55, 285), atol=3)
    if unit != "pixel" and not stated:
        picture(tmp_path / "p.png")
        with pytest.raises(UserError, match="resolution"):
            read(tmp_path)


def test_points_of_page_2010(tmp_path):
    coords = "".join(f'<Point x="{x}" y="{y}"/>' for x, y in ((20, 10), (300, 10), (300, 40), (20, 40)))
    page(
        tmp_path / "p.xml",
        f'<TextLine id="l"><Coords>{coords}</Coords><TextEquiv><Unicode>a</Unicode></TextEquiv></TextLine>',
    )
    assert texts(tmp_path) == ["a"]


@pytest.mark.parametrize("before", ["\n", " \r\n\t", "\ufeff", "\ufeff\n", ""])
def test_blank_lines_before_the_declaration(tmp_path, before):
    page(tmp_path / "p.xml", line("a", 10))
    (tmp_path / "p.xml").write_bytes((before + (tmp_path / "p.xml").read_text()).encode())
    assert texts(tmp_path) == ["a"]


@pytest.mark.parametrize("data", [b"", b"<PcGts", b"\0\0\0", b"<html><body>"])
def test_pages_with_damaged_xml_are_no_lines(tmp_path, data):
    picture(tmp_path / "p.png")
    (tmp_path / "p.xml").write_bytes(data)
    if data == b"<html><body>":  # whole enough to be of another kind
        return
    with pytest.raises(UserError, match=r"p\.xml"):
        read(tmp_path)
    page(tmp_path / "q.xml", line("a", 10), name="q.png", image="q.png")
    samples = read(tmp_path)
    assert samples.column("text") == ["a"]
    assert any("p.xml" in problem for problem in samples.problems)


@pytest.mark.parametrize(
    ("name", "image"),
    [
        ("SCAN_1.jpg", "scan_1.JPG"),
        ("scan_17.tif", "scan_17.png"),
        ("my%20page.png", "my page.png"),
        ("../images/a.png", "../images/a.png"),
        ("images/a.png", "../images/a.png"),
        ("sub\\b.png", "sub/b.png"),
        ("C:\\scans\\sub\\b.png", "sub/b.png"),
        ("https://example.org/iiif/b.png", "b.png"),
        ("file:///home/x/Zoe%CC%88.png", "Zo\u00eb.png"),
    ],
)
def test_images_are_found_by_the_names_of_other_machines(tmp_path, name, image):
    page(tmp_path / "xml" / "other.xml", line("a", 10), name=name, image=image)
    picture(tmp_path / "xml" / "unrelated.png")
    samples = read(tmp_path)
    assert samples.column("text") == ["a"]
    assert samples.paths()[0].resolve() == (tmp_path / "xml" / image).resolve()


def test_images_outside_or_of_several_are_named(tmp_path):
    picture(tmp_path / "secret" / "a.png")
    page(tmp_path / "data" / "p.xml", line("a", 10), name="../../secret/a.png", image=None)
    with pytest.raises(UserError, match=r"p\.xml"):
        read(tmp_path / "data")
    for folder in ("one", "two"):
        picture(tmp_path / "data" / folder / "a.png")
    with pytest.raises(UserError, match="could be"):
        read(tmp_path / "data")


def test_an_image_of_another_file_is_not_taken(tmp_path):
    page(tmp_path / "1858.xml", line("a", 10), name="1858.png", image="1858.png")
    page(tmp_path / "1858.bin.xml", line("b", 10), name="gone.png", image=None)
    samples = read(tmp_path)
    assert samples.column("text") == ["a"]
    assert any("1858.bin.xml" in problem for problem in samples.problems)


def test_a_page_without_lines_is_named(tmp_path):
    page(tmp_path / "p.xml", "")
    page(tmp_path / "q.xml", line("a", 10), name="q.png", image="q.png")
    assert any("p.xml: there is no line" in problem for problem in read(tmp_path).problems)


@pytest.mark.parametrize("alone", [True, False])
def test_outlines_are_estimated_from_baselines_and_ink(tmp_path, alone):
    drawn = Image.new("L", (600, 400), 235)
    draw = ImageDraw.Draw(drawn)
    bases = [200] if alone else [100, 200, 300]
    for base in bases:
        for x in range(50, 500, 40):
            draw.rectangle((x, base - 40, x + 8, base), fill=20)  # tall
            draw.rectangle((x + 16, base - 20, x + 24, base + 18), fill=20)  # with a descender
    drawn.save(tmp_path / "p.png")
    body = "".join(
        f'<TextLine id="l{base}"><Baseline points="40,{base} 540,{base}"/><TextEquiv><Unicode>{"word " * 5}</Unicode>'
        "</TextEquiv></TextLine>"
        for base in bases
    )
    page(tmp_path / "p.xml", body, size='imageWidth="600" imageHeight="400"', image=None)
    samples = read(tmp_path)
    assert any("estimated" in note for note in samples.notes)
    for sample in samples:
        ink = np.flatnonzero((sample.load() < 100).any(1))
        assert ink[-1] - ink[0] == 58  # from the tops to the ends of the descenders
        assert ink[0] > 0
        assert ink[-1] < sample.load().shape[0] - 1
        assert sample.load().shape[0] < 80


def test_an_image_turned_by_half_is_warned_of(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3
    page(tmp_path / "p.xml", line("a", 10), image="p.jpg", name="p.jpg", exif=exif)
    assert any("EXIF" in note for note in read(tmp_path).notes)


def test_transcribe_finds_the_xml_of_one_image(tmp_path):
    for name in ("a.png.xml", "b.alto.xml", "c.xml", "1858.xml"):
        page(tmp_path / name, line("a", 10), name="gone", image=None)
    for name in ("a.png", "b.png", "c.png", "1858.03.14.png", "1858.png"):
        picture(tmp_path / name)
    expected = {"a.png": "a.png.xml", "b.png": "b.alto.xml", "c.png": "c.xml", "1858.png": "1858.xml"}
    for given in ([tmp_path / name for name in (*expected, "1858.03.14.png")], [tmp_path]):
        jobs = find_pages(given, tmp_path / "out").jobs
        assert {job.source.name: job.xml.name for job in jobs if job.xml} == expected
