"""Small copies of the layouts in which data comes, each drawn from its published description.

Every function fills a folder and returns what a reader must find in it: {id: (text, split, writer, page)}.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from htr_ssl import plugins
from htr_ssl.handwriting.page import page as handwritten
from htr_ssl.layout.document import Line, Page
from htr_ssl.layout.ledger import Entry
from htr_ssl.pages.formats import json as stored

Expected = dict[str, tuple[str | None, str | None, str | None, str | None]]


def drawn(text: str, width: int = 120, height: int = 40) -> Image.Image:
    """A gray image with a text on it."""
    picture = Image.new("L", (width, height), 220)
    ImageDraw.Draw(picture).text((4, height // 4), text, 30)
    return picture


def save(path: Path, text: str = "x", width: int = 120, height: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn(text, width, height).save(path)


def page(path: Path, width: int = 400, height: int = 200) -> None:
    """A page with two lines of two words in brown ink on yellow paper: y 40-70 and 100-130, x 40-160 and 200-330."""
    pixels = np.full((height, width, 3), (235, 225, 190), np.uint8)
    for top in (40, 100):
        for left, right in ((40, 160), (200, 330)):
            pixels[top + 10 : top + 25, left:right:4] = (90, 50, 20)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


def gt_txt(root: Path) -> Expected:
    """kraken and Calamari: https://github.com/mittagessen/kraken (ketos train -f path)."""
    for name, text in (("train/a", "une ligne"), ("val/b é", "deux")):
        save(root / f"{name}.png", text)
        (root / f"{name}.gt.txt").write_text(text + "\n", encoding="utf-8")
    save(root / "train/c.png")
    return {
        "train/a.png": ("une ligne", "train", None, None),
        "train/c.png": (None, "train", None, None),
        "val/b é.png": ("deux", "validation", None, None),
    }


def pylaia(root: Path) -> Expected:
    """https://github.com/jpuigcerver/PyLaia/wiki/train-ctc."""
    (root / "syms.txt").write_text("<ctc> 0\na 1\n<space> 2\n")
    rows = {
        "train": ("train/im01", "d e t <space> t i l"),
        "val": ("val/im02", "« F r u »"),
        "test": ("test/im03", "a"),
    }
    for split, (name, tokens) in rows.items():
        (root / f"{split}.txt").write_text(f"{name} {tokens}\n", encoding="utf-8")
        (root / f"{split}_ids.txt").write_text(name + "\n")
        (root / f"{split}_eval.txt").write_text(f"{name} other text\n")
        save(root / "images" / f"{name}.jpg")
    return {
        "images/train/im01.jpg": ("det til", "train", None, None),
        "images/val/im02.jpg": ("«Fru»", "validation", None, None),
        "images/test/im03.jpg": ("a", "test", None, None),
    }


def doctr(root: Path) -> Expected:
    """https://github.com/mindee/doctr/tree/main/references/recognition."""
    for split, names in {"train": {"img_1.jpg": "I", "img_2.jpg": "am"}, "val": {"img_1.jpg": "a Jedi"}}.items():
        for name, text in names.items():
            save(root / split / "images" / name, text)
        (root / split / "labels.json").write_text(json.dumps(names))
    return {
        "train/images/img_1.jpg": ("I", "train", None, None),
        "train/images/img_2.jpg": ("am", "train", None, None),
        "val/images/img_1.jpg": ("a Jedi", "validation", None, None),
    }


def tsv(root: Path) -> Expected:
    """A table from a spreadsheet: tab separated, with names of the columns."""
    save(root / "images/1 a.png")
    save(root / "2.png")
    rows = [
        "filename\ttranscription\tsplit\twriter\tpage",
        '1 a.png\tdit "bon"\tdev\tw1\tp1',
        "2.png\tdeux\ttest\tw2\tp1",
    ]
    (root / "lines.tsv").write_text("\r\n".join(rows), encoding="utf-8-sig")
    return {"images/1 a.png": ('dit "bon"', "validation", "w1", "p1"), "2.png": ("deux", "test", "w2", "p1")}


def metadata(root: Path) -> Expected:
    """https://huggingface.co/docs/datasets/image_dataset#imagefolder: metadata.jsonl beside the images."""
    for split, name in (("train", "0001.png"), ("test", "0002.png")):
        save(root / split / name)
        (root / split / "metadata.jsonl").write_text(json.dumps({"file_name": name, "text": f"text {name}"}) + "\n")
    return {
        "train/0001.png": ("text 0001.png", "train", None, None),
        "test/0002.png": ("text 0002.png", "test", None, None),
    }


def lmdb(root: Path) -> Expected:
    """https://github.com/clovaai/deep-text-recognition-benchmark, create_lmdb_dataset.py."""
    import lmdb as library

    for split, words in (("training", ("Bonjour", "à")), ("test", ("tous",))):
        (root / split).mkdir(parents=True)
        with library.open(str(root / split), map_size=1 << 20) as environment, environment.begin(write=True) as rows:
            for number, word in enumerate(words, start=1):
                buffer = io.BytesIO()
                drawn(word).save(buffer, "PNG")
                rows.put(f"image-{number:09d}".encode(), buffer.getvalue())
                rows.put(f"label-{number:09d}".encode(), word.encode())
            rows.put(b"num-samples", str(len(words)).encode())
    return {
        "training/000000001": ("Bonjour", "train", None, None),
        "training/000000002": ("à", "train", None, None),
        "test/000000001": ("tous", "test", None, None),
    }


def hub(root: Path) -> Expected:
    """https://huggingface.co/datasets/Teklia/IAM-line: data/train-00000-of-00001.parquet with image and text."""
    (root / "data").mkdir(parents=True)
    for split, text in (("train", "put down a resolution"), ("validation", "and he is"), ("test", "became")):
        buffer = io.BytesIO()
        drawn(text).save(buffer, "JPEG")
        table = pa.table({"image": [{"bytes": buffer.getvalue(), "path": None}], "text": [text]})
        pq.write_table(table, root / "data" / f"{split}-00000-of-00001.parquet")
    return {
        "train-00000-of-00001:0": ("put down a resolution", "train", None, None),
        "validation-00000-of-00001:0": ("and he is", "validation", None, None),
        "test-00000-of-00001:0": ("became", "test", None, None),
    }


PAGE_LINE = """
<TextLine id="{id}" custom="readingOrder {{index:{index};}}">
<Coords points="35,{top} 335,{top} 335,{bottom} 35,{bottom}"/>
<Baseline points="35,{base} 335,{base}"/>
<Word id="{id}w1"><Coords points="35,{top} 165,{top} 165,{bottom} 35,{bottom}"/>
<TextEquiv><Unicode>{one}</Unicode></TextEquiv></Word>
<Word id="{id}w2"><Coords points="195,{top} 335,{top} 335,{bottom} 195,{bottom}"/>
<TextEquiv><Unicode>{two}</Unicode></TextEquiv></Word>
<TextEquiv><Unicode>{one} {two}</Unicode></TextEquiv></TextLine>"""


def _page_xml(version: str) -> str:
    lines = (
        PAGE_LINE.format(id="l2", index=1, top=95, bottom=135, base=125, one="troisième", two="mot")
        + PAGE_LINE.format(id="l1", index=0, top=35, bottom=75, base=65, one="Premier", two="mot")
    )  # fmt: skip
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/{version}">'
        '<Page imageFilename="0001.jpg" imageWidth="400" imageHeight="200"><TextRegion id="r1">'
        f'<Coords points="0,0 399,0 399,199 0,199"/>{lines}</TextRegion></Page></PcGts>'
    )


def page_xml(root: Path) -> Expected:
    """Transkribus' export, as READ 2016 has it: https://zenodo.org/records/1164045; images and a folder `page`."""
    for folder, version in (("Training", "2013-07-15"), ("Test", "2019-07-15")):
        page(root / folder / "0001.jpg")
        (root / folder / "page").mkdir()
        (root / folder / "page/0001.xml").write_text(_page_xml(version), encoding="utf-8")
    return {
        f"{folder}/page/0001/{line}": (text, split, None, f"{folder}/page/0001")
        for folder, split in (("Test", "test"), ("Training", "train"))
        for line, text in (("l1", "Premier mot"), ("l2", "troisième mot"))
    }


def page_xml_words(root: Path) -> Expected:
    """The same at word level."""
    page_xml(root)
    words = (("l1_1", "Premier"), ("l1_2", "mot"), ("l2_1", "troisième"), ("l2_2", "mot"))
    return {
        f"{folder}/page/0001/{word}": (text, split, None, f"{folder}/page/0001")
        for folder, split in (("Test", "test"), ("Training", "train"))
        for word, text in words
    }


def alto(root: Path) -> Expected:
    """ALTO 4 as eScriptorium writes it and the words of ALTO 2: https://www.loc.gov/standards/alto/."""
    page(root / "a.jpg")
    page(root / "b.png")
    polygon = '<Shape><Polygon POINTS="35 35 335 35 335 75 35 75"/></Shape>'
    head = (
        '<alto xmlns="http://www.loc.gov/standards/alto/ns-v{v}#"><Description><MeasurementUnit>pixel</MeasurementUnit>'
    )
    head += "<sourceImageInformation><fileName>{name}</fileName></sourceImageInformation></Description>"
    head += '<Layout><Page ID="p" PHYSICAL_IMG_NR="1" WIDTH="400" HEIGHT="200"><PrintSpace><TextBlock ID="b">'
    tail = "</TextBlock></PrintSpace></Page></Layout></alto>"
    four = f'<TextLine ID="e1" BASELINE="35 65 335 65" HPOS="35" VPOS="35" WIDTH="300" HEIGHT="40">{polygon}'
    four += '<String CONTENT="Ceci est" HPOS="35" VPOS="35" WIDTH="300" HEIGHT="40"/></TextLine>'
    two = '<TextLine ID="t1" HPOS="35" VPOS="95" WIDTH="300" HEIGHT="40">'
    two += '<String CONTENT="bon" HPOS="35" VPOS="95" WIDTH="130" HEIGHT="40" WC="0.9"/><SP WIDTH="30"/>'
    two += '<String CONTENT="ma" HPOS="195" VPOS="95" WIDTH="140" HEIGHT="40"/><HYP CONTENT="-"/></TextLine>'
    (root / "a.xml").write_text(head.format(v=4, name="a.jpg") + four + tail, encoding="utf-8")
    (root / "b.xml").write_text(head.format(v=2, name="b.png") + two + tail, encoding="utf-8")
    return {"a/e1": ("Ceci est", None, None, "a"), "b/t1": ("bon ma-", None, None, "b")}


CATALOGUE = """schema: https://htr-united.github.io/schema/2021-10-15/schema.json
title: Essai d'un corpus
url: https://github.com/HTR-United/example
authors:
  - name: John
    surname: Doe
    roles:
      - transcriber
description: A short description of the content of the dataset.
language:
  - fra
  - lat
script:
  - iso: Latn
script-type: only-manuscript
time:
  notBefore: '1830'
  notAfter: '1875'
hands:
  count: '1'
  precision: exact
license:
  - name: CC-BY 4.0
    url: https://creativecommons.org/licenses/by/4.0/
format: Alto-XML
volume:
  - metric: pages
    count: 2
"""


def htr_united(root: Path) -> Expected:
    """A clone as https://github.com/HTR-United/htr-united describes it: `htr-united.yml` and ALTO below `data`."""
    (root / "data").mkdir()
    expected = alto(root / "data")
    (root / "htr-united.yml").write_text(CATALOGUE, encoding="utf-8")
    (root / "README.md").write_text("# Essai\n")
    (root / ".git").mkdir()
    return {f"data/{name}": (*values[:3], f"data/{values[3]}") for name, values in expected.items()}


def alto_words(root: Path) -> Expected:
    """Words of the same."""
    alto(root)
    for name in ("a.xml", "a.jpg"):
        (root / name).unlink()
    return {"b/t1_1": ("bon", None, None, "b"), "b/t1_2": ("ma", None, None, "b")}


def images(root: Path) -> Expected:
    """A folder of line images without any text."""
    save(root / "a.png")
    save(root / "sub/b.jpg")
    return {"a.png": (None, None, None, None), "sub/b.jpg": (None, None, None, None)}


def scans(root: Path) -> Expected:
    """A PDF of two pages; the lines are found by the built-in line finder."""
    first = Image.fromarray(handwritten(1, lines=2, width=700)[0])
    first.save(root / "book.pdf", save_all=True, append_images=[first], resolution=300)
    return {
        f"book.pdf/{number}/{line}": (None, None, None, f"book.pdf/{number}")
        for number in (1, 2)
        for line in ("line1", "line2")
    }


def transcribed(root: Path) -> Expected:
    """What `transcribe` leaves of two pages, of which somebody corrected the first; their scans lie below it here."""
    for name in ("a", "b"):
        page(root / f"scans/{name}.jpg")
        lines = [
            Line(
                f"line{place + 1}", np.array([[35, top], [335, top], [335, top + 40], [35, top + 40]], float), text=text
            )
            for place, (top, text) in enumerate(((35, "Premier mot"), (95, "troisieme mot")))
        ]
        read = Page(root / f"scans/{name}.jpg", 400, 200, lines)
        entry = Entry.load(root, Path(name))
        entry.source, entry.page = f"scans/{name}.jpg#0", stored.render(read, root).decode()
        entry.put({"txt": (root / f"{name}.txt", b"Premier mot\ntroisieme mot\n")})
    (root / "a.txt").write_text("Premier mot\ntroisième mot\n", encoding="utf-8")
    return {
        f"{name}/{line}": (text if name == "a" else None, None, None, name)
        for name in ("a", "b")
        for line, text in (("line1", "Premier mot"), ("line2", "troisième mot"))
    }


IAM_FORMS = """#--- forms.txt ---
# a01-000u 000 2 prt 7 5 52 36
a01-000u 000 2 prt 2 2 4 4
a01-003 002 2 prt 1 1 2 2
"""
IAM_WORDS = """#--- words.txt ---
#     a01-000u-00-00 ok 154 1 408 768 27 51 AT A
a01-000u-00-00 ok 154 35 35 130 40 AT A
a01-000u-00-01 err 154 195 35 140 40 NN MOVE to
a01-000u-01-00 ok 154 35 95 130 40 NN "
a01-003-00-00 ok 173 35 35 130 40 NP Exchange
"""
IAM_LINES = """#--- lines.txt ---
a01-000u-00 ok 154 19 35 35 300 40 A|MOVE|to
a01-000u-01 err 156 19 35 95 300 40 "|nominating
a01-003-00 ok 173 21 35 35 300 40 Exchange
"""
_IAM: dict[str, tuple[str, str]] = {"a01-000u": ("000", "a01-000u"), "a01-003": ("002", "a01-003")}


def _iam(rows: dict[str, str]) -> Expected:
    forms = {name: "-".join(name.split("-")[:2]) for name in rows}
    return {name: (text, None, *_IAM[forms[name]]) for name, text in rows.items()}


def _iam_lists(root: Path) -> None:
    (root / "ascii").mkdir()
    for name, text in (("forms", IAM_FORMS), ("words", IAM_WORDS), ("lines", IAM_LINES)):
        (root / f"ascii/{name}.txt").write_text(text)


def iam_words(root: Path) -> Expected:
    """https://fki.tic.heia-fr.ch/databases/iam-handwriting-database: words.tgz and ascii.tgz."""
    _iam_lists(root)
    rows = {"a01-000u-00-00": "A", "a01-000u-00-01": "MOVE to", "a01-000u-01-00": '"', "a01-003-00-00": "Exchange"}
    for name in rows:
        form = "-".join(name.split("-")[:2])
        save(root / "words" / name[:3] / form / f"{name}.png", rows[name])
    return _iam(rows)


def iam_lines(root: Path) -> Expected:
    """The same, lines.tgz."""
    _iam_lists(root)
    rows = {"a01-000u-00": "A MOVE to", "a01-000u-01": '" nominating', "a01-003-00": "Exchange"}
    for name in rows:
        form = "-".join(name.split("-")[:2])
        save(root / "lines" / name[:3] / form / f"{name}.png", rows[name])
    return _iam(rows)


def iam_forms(root: Path) -> Expected:
    """The same, formsA-D.tgz only: lines are cut out at the boxes of lines.txt."""
    _iam_lists(root)
    for form in ("a01-000u", "a01-003"):
        page(root / "formsA-D" / f"{form}.png")
    return _iam({"a01-000u-00": "A MOVE to", "a01-000u-01": '" nominating', "a01-003-00": "Exchange"})


def iam_xml(root: Path) -> Expected:
    """The same, xml.tgz and forms: words are cut out around their components."""
    page(root / "forms/a01-003.png")
    (root / "xml").mkdir()
    (root / "xml/a01-003.xml").write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?><form id="a01-003" writer-id="002" width="400" height="200">'
        '<handwritten-part><line id="a01-003-00" text="Exchange of" segmentation="ok">'
        '<word id="a01-003-00-00" tag="NP" text="Exchange"><cmp x="35" y="35" width="60" height="40"/>'
        '<cmp x="100" y="35" width="65" height="38"/></word>'
        '<word id="a01-003-00-01" tag="IN" text="of"><cmp x="195" y="35" width="140" height="40"/></word>'
        "</line></handwritten-part></form>"
    )
    return _iam({"a01-003-00-00": "Exchange", "a01-003-00-01": "of"})


def rimes_words(root: Path) -> Expected:
    """ICDAR 2011 word set, http://www.a2ialab.com (rimes_database:data:icdar2011): three lists, three folders."""
    rows = {
        ("groundtruth_training_icdar2011.txt", "trainingsnippets_icdar/training_WR"): (
            "lot_1/train_1.png",
            "Je",
            "train",
        ),
        ("ground_truth_validation_icdar2011.txt", "validationsnippets_icdar/testdataset_ICDAR"): (
            "lot_9/val_1.png",
            "été",
            "validation",
        ),
        ("grount_truth_test_icdar2011.txt", "data_test"): ("lot_13/test_1.png", "l'appel", "test"),
    }
    expected: Expected = {}
    for (listed, folder), (name, text, split) in rows.items():
        (root / listed).write_text(f"{name} {text}\r\n", encoding="utf-8-sig")
        save(root / folder / name, text)
        expected[f"{folder}/{name}"] = (text, split, None, None)
    return expected


def rimes_lines(root: Path) -> Expected:
    """ICDAR 2011 line set, http://www.a2ialab.com (rimes_database:data:icdar2011:line): two XML files, page images."""
    for name, stem in (("training_2011", "train2011-0"), ("eval_2011_annotated", "eval2011-0")):
        page(root / "images_gray" / f"{stem}.png")
        lines = "".join(
            f'<Line Bottom="{bottom}" Left="-35" Right="335" Top="{top}" Value="{text}"/>'
            for top, bottom, text in ((35, 75, "l&amp;apos;objet : r&amp;#233;siliation"), (95, 135, "Madame,"))
        )
        (root / f"{name}.xml").write_text(
            '<?xml version="1.0" encoding="UTF-8"?><GroundTruthDocuments>'
            f'<SinglePage FileName="images_gray/{stem}.png">'
            f'<Paragraph Bottom="1" Left="0" Right="1" Top="0" Value="x">{lines}</Paragraph></SinglePage>'
            "</GroundTruthDocuments>"
        )
    return {
        f"{stem}-{number}": (text, split, None, stem)
        for stem, split in (("train2011-0", "train"), ("eval2011-0", "test"))
        for number, text in enumerate(("l'objet : résiliation", "Madame,"))
    }


_CVL = {
    "trainset/words/0001/0001-1-0-0-Imagine": "Imagine",
    "trainset/words/0001/0001-1-0-1-a": "a",
    "testset/words/0052/0052-6-3-0-Mährchen": "Mährchen",
    "testset/words/0052/0052-6-3-1-half-way": "half-way",
}


def cvl_words(root: Path) -> Expected:
    """https://zenodo.org/records/1492267: cvl-database-1-1."""
    expected: Expected = {}
    for path, text in _CVL.items():
        save(root / "cvl-database-1-1" / f"{path}.tif", text)
        name = Path(path).name
        split = "train" if path.startswith("train") else "test"
        expected[name] = (text, split, name[:4], name[:6])
    return expected


def cvl_lines(root: Path) -> Expected:
    """The same, lines: their texts are those of the words."""
    cvl_words(root)
    save(root / "cvl-database-1-1/trainset/lines/0001/0001-1-0.tif")
    save(root / "cvl-database-1-1/testset/lines/0052/0052-6-3.tif")
    save(root / "cvl-database-1-1/testset/pages/0052-6.tif")
    return {
        "0001-1-0": ("Imagine a", "train", "0001", "0001-1"),
        "0052-6-3": ("Mährchen half-way", "test", "0052", "0052-6"),
    }


LAYOUTS: dict[str, tuple[str, str, Callable[[Path], Expected]]] = {
    "gt_txt": ("gt_txt", "line", gt_txt),
    "pylaia": ("pylaia", "line", pylaia),
    "doctr": ("doctr", "word", doctr),
    "tsv": ("table", "line", tsv),
    "metadata": ("table", "line", metadata),
    "lmdb": ("lmdb", "word", lmdb),
    "hub": ("parquet", "line", hub),
    "page_xml": ("page_xml", "line", page_xml),
    "page_xml_words": ("page_xml", "word", page_xml_words),
    "alto": ("alto", "line", alto),
    "htr_united": ("alto", "line", htr_united),
    "alto_words": ("alto", "word", alto_words),
    "iam_words": ("iam", "word", iam_words),
    "iam_lines": ("iam", "line", iam_lines),
    "iam_forms": ("iam", "line", iam_forms),
    "iam_xml": ("iam", "word", iam_xml),
    "rimes_words": ("rimes", "word", rimes_words),
    "rimes_lines": ("rimes", "line", rimes_lines),
    "cvl_words": ("cvl", "word", cvl_words),
    "cvl_lines": ("cvl", "line", cvl_lines),
    "images": ("images", "line", images),
    "scans": ("scans", "line", scans),
    "transcribed": ("transcribed", "line", transcribed),
}
"""Name -> reader, level, and what builds the miniature."""
for _name in plugins.names("htr_ssl.data.readers"):
    _example = getattr(plugins.load("htr_ssl.data.readers", _name), "example", None)
    if _example is not None:  # a new reader brings its miniature in its own file
        LAYOUTS[_name] = (_name, "line", _example)
