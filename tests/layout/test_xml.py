"""PAGE and ALTO files of every version in, and nothing in that does not belong to them."""

import numpy as np
import pytest
from PIL import Image

from htr_ssl.errors import UserError
from htr_ssl.layout.xml import MAX_BYTES, is_page_xml, read_xml

PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/{version}">
  <Metadata><Creator>x</Creator><Created>2020-01-01T00:00:00</Created><LastChange>2020-01-01T00:00:00</LastChange></Metadata>
  <Page imageFilename="{image}" imageWidth="400" imageHeight="300">
    <ReadingOrder>
      <OrderedGroup id="g"><RegionRefIndexed index="1" regionRef="r1"/><RegionRefIndexed index="0" regionRef="r2"/>
      </OrderedGroup>
    </ReadingOrder>
    <TextRegion id="r1"><Coords points="0,0 400,0 400,100 0,100"/>
      <TextLine id="l2" custom="readingOrder {{index:1;}}"><Coords points="10,60 200,60 200,90 10,90"/>
        <TextEquiv index="1"><Unicode>wrong</Unicode></TextEquiv>
        <TextEquiv index="0" conf="0.5"><Unicode>e\u0301t\u00e9  d\u2019or</Unicode></TextEquiv></TextLine>
      <TextLine id="l1" custom="readingOrder {{index:0;}}"><Coords points="10,10 200,10 200,40 10,40"/>
        <Baseline points="10,35 200,36"/>
        <Word id="w1"><Coords points="1,1 2,1 2,2"/><TextEquiv><Unicode>two</Unicode></TextEquiv></Word>
        <Word id="w2"><Coords points="1,1 2,1 2,2"/><TextEquiv><Unicode>words</Unicode></TextEquiv></Word></TextLine>
    </TextRegion>
    <TextRegion id="r2"><Coords points="0,200 400,200 400,300 0,300"/>
      <TextLine id="l1"><Coords points="10,210.5 200,210 200,240"/></TextLine>
    </TextRegion>
  </Page>
</PcGts>"""

ALTO = """<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v{version}#">
  <Description><MeasurementUnit>{unit}</MeasurementUnit>
    <sourceImageInformation><fileName>{image}</fileName></sourceImageInformation></Description>
  <Layout><Page ID="p" PHYSICAL_IMG_NR="1" WIDTH="400" HEIGHT="300">
    <BottomMargin><TextBlock ID="b9" HPOS="0" VPOS="280" WIDTH="9" HEIGHT="9">
      <TextLine ID="foot" HPOS="0" VPOS="280" WIDTH="90" HEIGHT="19"><String CONTENT="12"/></TextLine>
    </TextBlock></BottomMargin>
    <PrintSpace><TextBlock ID="b1" HPOS="0" VPOS="0" WIDTH="400" HEIGHT="100">
      <TextLine ID="l1" HPOS="10" VPOS="20" WIDTH="190" HEIGHT="30" {baseline}>{shape}
        <String CONTENT="d\u00e9but" WC="0.4"/><SP/>
        <String CONTENT="pre" SUBS_TYPE="HypPart1" WC="0.8"/><HYP CONTENT="-"/>
      </TextLine>
      <TextLine><String HPOS="10" VPOS="60" WIDTH="20" HEIGHT="30" CONTENT="no"/>
        <String HPOS="40" VPOS="55" WIDTH="20" HEIGHT="30" CONTENT="space"/></TextLine>
    </TextBlock></PrintSpace>
  </Page></Layout>
</alto>"""


@pytest.fixture
def folder(tmp_path):
    Image.new("L", (400, 300), 255).save(tmp_path / "scan.png")
    return tmp_path


def store(folder, text, name="scan.xml"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode())
    return path


def alto(version="4", unit="pixel", image="scan.png", baseline="", shape=""):
    return ALTO.format(version=version, unit=unit, image=image, baseline=baseline, shape=shape)


@pytest.mark.parametrize("version", ["2013-07-15", "2019-07-15"])
def test_page(folder, version):
    page = read_xml(store(folder, PAGE.format(version=version, image="scan.png")))
    assert (page.image, page.width, page.height) == (folder / "scan.png", 400, 300)
    stated = [None, "two words", "e\u0301t\u00e9 d\u2019or"]  # the accent as the file has it; readers compose it
    assert [line.text for line in page.lines] == stated
    assert [line.region for line in page.lines] == ["r2", "r1", "r1"]
    assert len({line.id for line in page.lines}) == 3
    assert page.lines[0].polygon.tolist() == [[10, 210.5], [200, 210], [200, 240]]
    assert page.lines[1].baseline.tolist() == [[10, 35], [200, 36]]
    assert page.lines[2].baseline is None
    assert page.lines[2].confidence == 0.5


@pytest.mark.parametrize(
    ("version", "baseline", "shape"),
    [
        ("2", 'BASELINE="45"', ""),
        ("3", 'BASELINE="45.0"', '<Shape><Polygon POINTS="10,20 200,20 200,50 10,50"/></Shape>'),
        ("4", 'BASELINE="10 45 200 45"', '<Shape><Polygon POINTS="10 20 200 20 200 50 10 50"/></Shape>'),
    ],
)
def test_alto(folder, version, baseline, shape):
    page = read_xml(store(folder, alto(version, baseline=baseline, shape=shape)))
    assert (page.image, page.width, page.height) == (folder / "scan.png", 400, 300)
    assert [line.text for line in page.lines] == ["d\u00e9but pre-", "no space", "12"]
    first, second, _ = page.lines
    assert first.polygon.tolist() == [[10, 20], [200, 20], [200, 50], [10, 50]]
    assert first.baseline.tolist() == [[10, 45], [200, 45]]
    assert first.confidence == pytest.approx(0.6)
    assert (second.polygon.min(0).tolist(), second.polygon.max(0).tolist()) == ([10, 55], [60, 90])
    assert [line.region for line in page.lines] == ["b1", "b1", "b9"]


def test_line_with_a_baseline_only_gets_a_band_around_it(folder):
    text = PAGE.format(version="2019-07-15", image="scan.png")
    page = read_xml(store(folder, text.replace('<Coords points="10,10 200,10 200,40 10,40"/>', "")))
    line = next(line for line in page.lines if line.baseline is not None)
    assert line.polygon[:, 1].min() < 35 < 36 < line.polygon[:, 1].max()
    assert np.ptp(line.polygon[:, 0]) == pytest.approx(190, abs=1)
    assert line.estimated


def test_line_without_any_position_is_an_error_that_names_the_file(folder):
    text = PAGE.format(version="2019-07-15", image="scan.png").replace(
        '<Coords points="10,60 200,60 200,90 10,90"/>', ""
    )
    with pytest.raises(UserError, match=r"scan\.xml: .*line l2 has no position"):
        read_xml(store(folder, text))


@pytest.mark.parametrize("unit", ["mm100", "em"])
def test_unknown_units_are_refused(folder, unit):
    with pytest.raises(UserError, match=rf"scan\.xml: .*{unit}"):
        read_xml(store(folder, alto(unit=unit)))


@pytest.mark.parametrize(
    "points", ["1,2 3", "a,b c,d e,f", "nan,0 1,1 2,2", "inf,0 1,1 2,2", "1e9,0 1,1 2,2", "1,2,3 4,5 6"]
)
def test_damaged_coordinates_are_refused(folder, points):
    text = PAGE.format(version="2019-07-15", image="scan.png").replace("10,60 200,60 200,90 10,90", points)
    if points == "1,2,3 4,5 6":  # separators do not matter, only pairs do
        assert len(read_xml(store(folder, text)).lines) == 3
        return
    with pytest.raises(UserError, match=r"scan\.xml"):
        read_xml(store(folder, text))


@pytest.mark.parametrize("cut", [0, 10, 300, 900])
def test_truncated_file_is_refused(folder, cut):
    with pytest.raises(UserError, match=r"scan\.xml"):
        read_xml(store(folder, alto()[:cut]))


def test_other_xml_and_several_pages_are_refused(folder):
    with pytest.raises(UserError, match="mets"):
        read_xml(store(folder, '<mets xmlns="http://www.loc.gov/METS/"/>'))
    with pytest.raises(UserError, match="2 pages"):
        read_xml(store(folder, alto().replace("</Layout>", '<Page ID="q" PHYSICAL_IMG_NR="2"/></Layout>')))
    with pytest.raises(UserError, match="cannot be read"):
        read_xml(folder / "none.xml")


def test_huge_file_is_refused_unread(folder):
    path = folder / "scan.xml"
    with open(path, "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match="larger than"):
        read_xml(path)


def test_entity_bomb_is_refused(folder):
    levels = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    for place in ('CONTENT="12"', "<fileName>scan.png"):
        bomb = place.replace("12", "&e9;").replace("scan.png", "&e9;")
        text = alto().replace(place, bomb).replace("<alto", f'<!DOCTYPE alto [<!ENTITY e0 "lol">{levels}]><alto', 1)
        with pytest.raises(UserError, match=r"scan\.xml"):
            read_xml(store(folder, text))


@pytest.mark.parametrize("kind", ["entity", "parameter", "dtd"])
def test_external_entity_is_refused_and_nothing_leaks(folder, kind):
    secret = folder / "secret.txt"
    secret.write_text("TOP-SECRET")
    uri = secret.as_uri()
    doctype = {
        "entity": f'<!DOCTYPE alto [<!ENTITY x SYSTEM "{uri}">]>',
        "parameter": f'<!DOCTYPE alto [<!ENTITY % x SYSTEM "{uri}"> %x;]>',
        "dtd": f'<!DOCTYPE alto SYSTEM "{uri}">',
    }[kind]
    text = alto().replace("<alto", doctype + "<alto", 1)
    if kind == "entity":
        text = text.replace("scan.png", "&x;")
    with pytest.raises(UserError) as caught:
        read_xml(store(folder, text))
    assert "TOP-SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["../secret.png", "/etc/secret.png", "a/../../secret.png", "..\\secret.png", "C:\\secret.png", "file:///x/../../y"],
)
def test_image_outside_the_folder_is_refused(folder, name):
    Image.new("L", (9, 9)).save(folder / "secret.png")
    text = alto(image=name)
    with pytest.raises(UserError, match="put the image beside"):
        read_xml(store(folder / "inner", text, "other.xml"))


@pytest.mark.parametrize(
    "name", ["../elsewhere/scan.png", "x" * 5000 + ".png", "D:\\scans\\scan.png", "scan.tif", "", "/home/x/scan.png"]
)
def test_image_of_the_same_name_or_stem_is_found_beside(folder, name):
    assert read_xml(store(folder, alto(image=name))).image == folder / "scan.png"


def test_image_in_a_folder_below_and_above_page(folder):
    (folder / "images").mkdir()
    (folder / "scan.png").rename(folder / "images" / "scan.png")
    assert read_xml(store(folder, alto(image="images/scan.png"))).image == folder / "images" / "scan.png"
    assert read_xml(store(folder / "images" / "page", alto(), "scan.xml")).image == folder / "images" / "scan.png"


def test_missing_image_is_named_where_it_was_expected(folder):
    assert read_xml(store(folder, alto(image="gone.png"), "other.xml")).image == folder / "gone.png"


def test_alto_reading_order(folder):
    references = '<ElementRef ID="x" REF="b9"/><ElementRef ID="y" REF="b1"/>'
    order = f'<ReadingOrder><OrderedGroup ID="g">{references}</OrderedGroup></ReadingOrder>'
    text = alto().replace("BottomMargin", "TopMargin").replace("<Layout>", f"{order}<Layout>")
    assert read_xml(store(folder, text)).lines[0].text == "12"
    text = text.replace('REF="b9"', 'REF="b0"').replace('REF="b1"', 'REF="b9"').replace('REF="b0"', 'REF="b1"')
    assert read_xml(store(folder, text)).lines[-1].text == "12"


@pytest.mark.parametrize(
    ("listed", "first", "expected"),
    [
        ("", 0, ["a1", "a2", "b1", "b2", "c1", "c2"]),
        ("", 9, ["b1", "b2", "c1", "c2", "a1", "a2"]),
        ("b", 0, ["b1", "b2", "a1", "a2", "c1", "c2"]),
    ],
)
def test_ranks_of_lines_count_within_their_region_only(folder, listed, first, expected):
    corners = '<Coords points="0,0 9,0 9,9"/>'
    regions = ""
    for name in "abc":
        ranks = [f'custom="readingOrder {{index:{rank};}}"' for rank in (first if name == "a" else 1, 1, 0)]
        lines = "".join(f'<TextLine id="{name}{2 - k}" {ranks[k + 1]}>{corners}</TextLine>' for k in (0, 1))
        regions += f'<TextRegion id="{name}" {ranks[0]}>{corners}{lines}</TextRegion>'
    head = PAGE.format(version="2013-07-15", image="scan.png").split("<ReadingOrder>")[0]
    reference = f'<ReadingOrder><OrderedGroup><RegionRefIndexed index="0" regionRef="{listed}"/></OrderedGroup>'
    order = f"{reference}</ReadingOrder>" if listed else ""
    page = read_xml(store(folder, f"{head}{order}{regions}</Page></PcGts>"))
    assert [line.id for line in page.lines] == expected


def test_is_page_xml(folder):
    page = PAGE.format(version="2019-07-15", image="scan.png")
    assert is_page_xml(store(folder, page))
    assert is_page_xml(store(folder, alto("2")))
    assert is_page_xml(store(folder, alto()[:900]))  # damaged later on
    assert is_page_xml(store(folder, f"<?xml version='1.0'?><!-- {'x' * 5000} -->{alto().split('?>')[1]}"))
    assert is_page_xml(store(folder, "<PcGts/>"))  # whatever its namespace, as exports have it
    for other in ('<mets xmlns="http://www.loc.gov/METS/"><alto/></mets>', "", "no xml", "<Pcgts/>"):
        assert not is_page_xml(store(folder, other))
    assert not is_page_xml(folder / "none.xml")
    assert not is_page_xml(folder / "scan.png")


def test_lines_of_a_margin_are_notes_in_every_format(folder):
    """The region says it, in the words of PAGE or of SegmOnto; what a line says of itself counts more."""
    page = PAGE.format(version="2019-07-15", image="scan.png")
    for stated in ('type="marginalia"', 'custom="structure {type:MarginTextZone;}"'):
        lines = read_xml(store(folder, page.replace('id="r2"', f'id="r2" {stated}', 1))).lines
        assert [line.kind for line in lines] == ["margin", None, None]
    alto = ALTO.format(version="4", unit="pixel", image="scan.png", baseline="", shape="")
    alto = alto.replace("<Layout>", '<Tags><OtherTag ID="t" LABEL="MarginTextZone:note"/></Tags><Layout>')
    lines = read_xml(store(folder, alto.replace('ID="b1"', 'ID="b1" TAGREFS="t"'))).lines
    assert [line.kind for line in lines] == ["margin", "margin", None]
    own = page.replace('id="r2"', 'id="r2" type="marginalia"', 1)
    own = own.replace(
        'id="l1"><Coords points="10,210.5', 'id="l1" custom="structure {type:vertical;}"><Coords points="10,210.5'
    )
    assert read_xml(store(folder, own)).lines[0].kind == "vertical"
