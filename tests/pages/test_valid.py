"""What is written follows the schemas, comes back as it went, and fills in files without losing what they say."""

import os
from pathlib import Path

import numpy as np
import pytest
from lxml import etree
from PIL import Image

from htr_ssl import plugins
from htr_ssl.layout.document import Glyph, Line, Made, Page, Word
from htr_ssl.layout.xml import read_xml

SHARED = Path(os.environ.get("HTR_SSL_SHARED", Path(__file__).parents[3] / "shared"))
SCHEMAS = {
    "page": Path(__file__).parents[1] / "schemas" / "page-2019-07-15.xsd",
    "alto": SHARED / "schemas" / "alto-4-4.xsd",
}


def schema(name):
    if not SCHEMAS[name].is_file():
        pytest.skip(f"the schema of {name} is not here: {SCHEMAS[name]}")
    return etree.XMLSchema(etree.parse(str(SCHEMAS[name])))


def box(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def word(text, left, right, top=10.0):
    width = (right - left) / len(text)
    glyphs = [Glyph(c, box(left + i * width, top, left + (i + 1) * width, top + 20), 0.5) for i, c in enumerate(text)]
    return Word(text, box(left, top, right, top + 20), 0.75, glyphs)


def pages(folder):
    Image.new("L", (200, 100), 255).save(folder / "a b.png")
    made = Made("model.safetensors", "ab" * 32, "2026-01-02", "segmenter=projection")
    first = Line("l 1", box(-3, 10, 120, 30), np.array([[0.0, 28], [120, 28]]), "r1", "Été ça", 0.9, "main", 0.5)
    first.words = [word("Été", 0, 50), word("ça", 60, 120)]
    second = Line("l 1", box(10, 40, 20, 90), np.array([[15.0, 90], [15, 40]]), "ré 2", "x\x00<y", None, "vertical")
    third = Line("3", box(30, 40, 90, 60), None, None, "שלום 12", 0.0, "margin")
    fourth = Line("", box(30, 60, 90, 80), None, None, None, None, "cell")
    point = Line("p", np.array([[5.0, 5]]), np.array([[5.0, 5]]), "r1", "", 1.5)
    full = Page(folder / "a b.png", 200, 100, [first, second, third, fourth, point], 180, ["odd"], made=made)
    return [Page(folder / "a b.png", 200, 100), full, Page(folder / "a b.png", 200, 100, [fourth], made=Made())]


@pytest.mark.parametrize("name", ["page", "alto"])
@pytest.mark.parametrize("number", range(3))
def test_schemas(tmp_path, name, number):
    rules = schema(name)
    page = pages(tmp_path)[number]
    (tmp_path / "out").mkdir()
    plugins.load("htr_ssl.pages.formats", name).write(page, tmp_path / "out" / "x.xml")
    rules.assertValid(etree.parse(str(tmp_path / "out" / "x.xml")))


@pytest.mark.parametrize("name", ["page", "alto"])
def test_image_is_found_from_where_the_file_lies(tmp_path, name):
    page = pages(tmp_path)[1]
    (tmp_path / "text" / "sub").mkdir(parents=True)
    path = tmp_path / "text" / "sub" / "x.xml"
    plugins.load("htr_ssl.pages.formats", name).write(page, path)
    root = etree.parse(str(path)).getroot()
    stated = root.findtext(".//{*}fileName") or next(root.iter("{*}Page")).get("imageFilename")
    assert stated == "../../a b.png"
    assert (path.parent / stated).resolve() == (tmp_path / "a b.png").resolve()


@pytest.mark.parametrize("name", ["page", "alto"])
def test_words_and_letters_have_places_and_confidences(tmp_path, name):
    page = pages(tmp_path)[1]
    path = page.save(tmp_path / f"a b.{name}.xml")
    root = etree.parse(str(path)).getroot()
    words = list(root.iter("{*}Word", "{*}String"))[:2]
    glyphs = list(words[0].iter("{*}Glyph"))
    if name == "alto":
        assert [element.get("CONTENT") for element in words] == ["Été", "ça"]
        assert [words[1].get(key) for key in ("HPOS", "WIDTH", "WC")] == ["60", "60", "0.7500"]
        assert [(glyph.get("CONTENT"), glyph.get("GC")) for glyph in glyphs] == [(c, "0.5000") for c in "Été"]
    else:
        assert [element.findtext("{*}TextEquiv/{*}Unicode") for element in words] == ["Été", "ça"]
        assert words[1].find("{*}Coords").get("points") == "60,10 120,10 120,30 60,30"
        assert [glyph.find("{*}TextEquiv").get("conf") for glyph in glyphs] == ["0.5000"] * 3


PAGE = """<?xml version='1.0' encoding='UTF-8'?>
<!-- by hand -->
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15" pcGtsId="doc 7">
 <Metadata><Creator>Ann</Creator><Created>2020-01-01T00:00:00</Created><LastChange>2020-01-01T00:00:00</LastChange>
 <Comments>keep me</Comments></Metadata>
 <Page imageFilename="a b.png" imageWidth="400" imageHeight="200" custom="x">
  <ReadingOrder><OrderedGroup id="o"><RegionRefIndexed index="0" regionRef="r9"/></OrderedGroup></ReadingOrder>
  <TextRegion id="r9" type="heading" custom="structure {type:title;}"><Coords points="0,0 400,0 400,60"/>
   <TextLine id="l1" custom="tag {a:b;}"><Coords points="0,20 240,20 240,60 0,60"/><Baseline points="0,56 240,56"/>
    <Word id="old"><Coords points="0,20 9,20 9,60"/><TextEquiv><Unicode>old</Unicode></TextEquiv></Word>
    <TextEquiv index="1"><Unicode>other</Unicode></TextEquiv><TextEquiv index="0"><Unicode>old</Unicode></TextEquiv>
    <UserDefined><UserAttribute name="n" value="v"/></UserDefined>
   </TextLine>
   <TextLine><Coords points="0,80 240,80 240,120 0,120"/></TextLine>
   <TextEquiv><Unicode>old</Unicode></TextEquiv>
  </TextRegion>
  <GraphicRegion id="g"><Coords points="300,0 400,0 400,60"/></GraphicRegion>
  <Future xmlns="urn:x" a="b">text</Future>
 </Page>
</PcGts>"""
ALTO = """<?xml version='1.0' encoding='UTF-8'?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#">
 <Description><MeasurementUnit>pixel</MeasurementUnit><sourceImageInformation><fileName>a b.png</fileName>
 <fileIdentifier>urn:1</fileIdentifier></sourceImageInformation></Description>
 <Tags><OtherTag ID="T1" LABEL="MainZone" TYPE="region"/></Tags>
 <Layout><Page ID="P" PHYSICAL_IMG_NR="7" WIDTH="400" HEIGHT="200">
 <PrintSpace HPOS="0" VPOS="0" WIDTH="400" HEIGHT="200">
  <TextBlock ID="b1" TAGREFS="T1" HPOS="0" VPOS="0" WIDTH="400" HEIGHT="60">
   <TextLine ID="l1" TAGREFS="T1" HPOS="0" VPOS="20" WIDTH="240" HEIGHT="40" BASELINE="0 56 240 56">
    <Shape><Polygon POINTS="0 20 240 20 240 60 0 60"/></Shape><String ID="s" CONTENT="old" STYLEREFS="S"/></TextLine>
  </TextBlock>
  <Illustration ID="i" HPOS="300" VPOS="0" WIDTH="100" HEIGHT="60"/>
 </PrintSpace></Page></Layout>
</alto>"""


@pytest.mark.parametrize(("name", "text"), [("page", PAGE), ("alto", ALTO)])
def test_files_are_filled_in_and_keep_all_else(tmp_path, name, text):
    Image.new("L", (200, 100), 255).save(tmp_path / "a b.png")
    source = tmp_path / "given.xml"
    source.write_text(text, encoding="utf-8")
    page = read_xml(source)
    for line in page.lines:  # the image is half as large as stated
        line.polygon = line.polygon / 2
        line.text = "Été ça"
        line.words = [word("Été", 0, 50), word("ça", 60, 120)]
    page.width, page.height, page.xml, page.made = 200, 100, source, Made("m", "", "2026-01-02", "")
    (tmp_path / "out").mkdir()
    out = page.save(tmp_path / "out" / f"x.{name}.xml")
    assert source.read_text(encoding="utf-8") == text
    before, after = (etree.parse(str(path)).getroot() for path in (source, out))
    own = ("Word", "String", "SP", "HYP", "TextEquiv", "Glyph", "Processing", "MetadataItem")

    def rest(root):
        kept = []
        for element in root.iter("*"):
            chain = [element, *element.iterancestors()]
            inner = any(etree.QName(item).localname in own for item in chain)
            if inner and etree.QName(chain[1]).localname != "TextRegion":
                continue
            facts = {key: value for key, value in element.attrib.items() if key != "imageFilename"}
            words = "" if etree.QName(element).localname in ("fileName", "LastChange") else (element.text or "").strip()
            kept.append((element.tag, facts, words))
        return kept

    assert rest(after) == rest(before)
    assert ("by hand" in out.read_text(encoding="utf-8")) == ("by hand" in text)
    lines = list(after.iter("{*}TextLine"))
    if name == "page":
        assert lines[0].find("{*}Word/{*}Coords").get("points") == "0,20 100,20 100,60 0,60"
        assert [line.findtext("{*}TextEquiv/{*}Unicode") for line in lines] == ["Été ça"] * 2
    else:
        assert [string.get("CONTENT") for string in lines[0].iter("{*}String")] == ["Été", "ça"]
        assert next(lines[0].iter("{*}String")).get("WIDTH") == "100"
        schema("alto").assertValid(after.getroottree())


def test_the_name_says_the_format(tmp_path):
    from htr_ssl.errors import UserError

    page = pages(tmp_path)[1]
    for ending in (".txt", ".alto.xml", ".page.xml", ".tei.xml", ".hocr", ".json", ".csv", ".docx", ".pdf"):
        assert page.save(tmp_path / f"x{ending}").stat().st_size
    with pytest.raises(UserError, match="must say the format"):
        page.save(tmp_path / "x.odt")


def test_json_comes_back_whole(tmp_path):
    from htr_ssl.pages.formats import json as own

    page = pages(tmp_path)[1]
    data = own.render(page, tmp_path)
    assert own.render(own.read(data, page.image), tmp_path) == data


@pytest.mark.parametrize("name", ["txt", "json", "alto", "page", "hocr", "tei", "csv", "docx"])
def test_texts_of_a_corrected_file_come_back(tmp_path, name):
    lines = [
        Line(f"l{i}", box(0, 30 * i, 90, 30 * i + 20), None, "r", text)
        for i, text in enumerate(("Été & <b>", "שלום 12", ""))
    ]
    writer = plugins.load("htr_ssl.pages.formats", name)
    writer.write(Page(tmp_path / "gone.png", 100, 100, lines), tmp_path / "x")
    found = writer.texts(tmp_path / "x")
    assert list(found.values() if isinstance(found, dict) else found) == ["Été & <b>", "שלום 12", ""]
