"""The commands of docs/archive.md that read pages are run as they stand there, on scans and exports of an archive."""

import re
import shlex
import shutil
from pathlib import Path

import pypdfium2
import pytest
from lxml import etree
from PIL import Image, ImageDraw
from random_models import random_model
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.data.reading import read
from htr_ssl.layout.xml import read_xml
from htr_ssl.partners import Images

GUIDE = (Path(__file__).parents[2] / "docs" / "archive.md").read_text(encoding="utf-8")
MODEL = "runs/finetune/model.safetensors"
PAGE = """<?xml version='1.0' encoding='UTF-8'?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2013-07-15"><Metadata><Creator>prov</Creator>
<Created>2020-01-01T00:00:00</Created><LastChange>2020-01-01T00:00:00</LastChange></Metadata>
<Page imageFilename="t.jpg" imageWidth="400" imageHeight="300"><TextRegion id="r1" custom="structure {type:heading;}">
<Coords points="30,50 380,50 380,100 30,100"/><TextLine id="tl_7" custom="readingOrder {index:0;}">
<Coords points="30,50 380,50 380,100 30,100"/><Baseline points="30,84 380,84"/></TextLine></TextRegion></Page>
</PcGts>"""
ALTO = """<?xml version='1.0' encoding='UTF-8'?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Description><MeasurementUnit>pixel</MeasurementUnit>
<sourceImageInformation><fileName>e.jpg</fileName></sourceImageInformation></Description>
<Tags><OtherTag ID="BT1" LABEL="MainZone"/></Tags><Layout><Page ID="p" PHYSICAL_IMG_NR="1" WIDTH="400" HEIGHT="300">
<PrintSpace><TextBlock ID="eSc_b1" TAGREFS="BT1" HPOS="30" VPOS="50" WIDTH="350" HEIGHT="50"><TextLine ID="eSc_l1"
 BASELINE="30 84 380 84" HPOS="30" VPOS="50" WIDTH="350" HEIGHT="50"><Shape><Polygon
 POINTS="30 50 380 50 380 100 30 100"/></Shape><String CONTENT="" HPOS="30" VPOS="50" WIDTH="350" HEIGHT="50"/>
</TextLine></TextBlock></PrintSpace></Page></Layout></alto>"""


def commands(heading):
    """The commands below a heading of the guide."""
    part = re.search(rf"^#+ {re.escape(heading)}$(.*?)(?=^#+ |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^htr-ssl .+$", part[1], re.MULTILINE)
    assert found, heading
    return [shlex.split(command)[1:] for command in found]


@pytest.fixture
def archive(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    random_model(tmp_path / MODEL)
    picture = Image.new("L", (400, 300), 250)
    for x in range(40, 360, 14):
        ImageDraw.Draw(picture).line([x, 60, x + 8, 84], fill=20, width=4)
    for name in ("scans/a.jpg", "scans/box 2/b.jpg", "export/e.jpg", "export/t.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    picture.save(tmp_path / "scans" / "book.pdf", save_all=True, append_images=[picture])
    (tmp_path / "export" / "e.xml").write_text(ALTO, encoding="utf-8")
    (tmp_path / "export" / "page").mkdir()
    (tmp_path / "export" / "page" / "t.xml").write_text(PAGE, encoding="utf-8")
    return tmp_path


def text_of(path):
    """Text of a PDF's first page, as another library extracts it."""
    return pypdfium2.PdfDocument(path)[0].get_textpage().get_text_range()


def run(arguments):
    answer = CliRunner().invoke(app, [*arguments, "--device", "cpu"])
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scans_become_searchable_pdf(archive):
    for command in commands("From scans to searchable PDF"):
        run([*command, "--keep-junk"])
    made = {path.relative_to(archive / "pdf").as_posix() for path in (archive / "pdf").rglob("*.pdf")}
    assert {"a.pdf", "box 2/b.pdf", "book.pdf", "book#001.pdf", "book#002.pdf"} <= made
    assert len(pypdfium2.PdfDocument(archive / "pdf" / "book.pdf")) == 2
    run(["transcribe", MODEL, "scans", "--out", "pdf", "--format", "txt", "--keep-junk"])
    text = (archive / "pdf" / "a.txt").read_text(encoding="utf-8")
    read = text_of(archive / "pdf" / "a.pdf")
    assert read.split() == text.split()
    assert text.strip()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_escriptorium_and_transkribus_there_and_back(archive):
    for command in commands("eScriptorium and Transkribus, there and back"):
        run(command)
    alto, page = archive / "back" / "e.alto.xml", archive / "back" / "t.page.xml"
    given = {"alto": (archive / "export" / "e.xml", alto), "page": (archive / "export" / "page" / "t.xml", page)}
    for before, after in given.values():
        known, filled = read_xml(before), read_xml(after, images=Images(archive))
        (old,), (new,) = known.lines, filled.lines
        assert (new.id, new.region, new.baseline.tolist()) == (old.id, old.region, old.baseline.tolist())
        assert not old.text
        assert new.text
        assert filled.image.resolve() == known.image.resolve()
    assert etree.parse(str(page)).find(".//{*}TextRegion").get("custom") == "structure {type:heading;}"
    assert etree.parse(str(alto)).find(".//{*}TextBlock").get("TAGREFS") == "BT1"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["alto", "page"])
def test_corrected_pages_are_training_data(archive, kind):
    (archive / "scans" / "book.pdf").unlink()
    run(["transcribe", MODEL, "scans", "--out", "text", "--format", f"txt,{kind},overlay", "--keep-junk"])
    mine, kept = archive / "text" / f"a.{kind}.xml", archive / "corrected"
    tree = etree.parse(str(mine))
    line = next(tree.iter("{*}TextLine"))
    strings, units = line.findall("{*}String"), line.findall("{*}TextEquiv/{*}Unicode")
    for place, string in enumerate(strings):
        string.set("CONTENT", "corrected" if not place else "")
    for unit in units:
        unit.text = "corrected"
    tree.write(str(mine), encoding="utf-8")
    count = len(read_xml(mine, images=Images(archive)).lines)

    reader = "page_xml" if kind == "page" else "alto"
    message = str(CliRunner().invoke(app, ["data", "import", reader, "text", "none.parquet"]).exception)
    assert f"or give the folder that holds both: {archive}" in message
    shutil.copytree(archive / "text", kept, ignore=shutil.ignore_patterns(".htr-ssl*"))
    shutil.rmtree(kept / "box 2")  # was not corrected
    shutil.copy(archive / "scans" / "a.jpg", kept)
    command, learn = commands("Corrected pages as training data")
    assert learn[:2] == ["learn", command[4]]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "left out" not in done.output
    samples = read("corrected.parquet")
    assert len(samples) == count
    assert (samples.column("text")[0] or "").split() == ["corrected"]

    (archive / "export").rename(archive.parent / f"export-{kind}")
    whole = read(archive, reader)
    assert {name.split("/")[0] for name in whole.column("id")} == {"text", "corrected"}


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_corrections_are_safe(archive):
    run(["transcribe", MODEL, "scans", "--out", "text", "--keep-junk"])
    mine = archive / "text" / "a.txt"
    mine.write_text("corrected\n" * len(mine.read_text(encoding="utf-8").splitlines()), encoding="utf-8")
    for command in commands("Your corrections are safe"):
        run([*command, "--keep-junk"])
    assert set(mine.read_text(encoding="utf-8").split()) == {"corrected"}
    assert "corrected" in text_of(archive / "text" / "a.pdf")
