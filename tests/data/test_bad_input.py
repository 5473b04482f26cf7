"""Input that archives really have: one line in the report for what cannot be used, the rest imported."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from miniatures import drawn, page, save
from PIL import Image

from htr_ssl.data import importing
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError

HEAD = '<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">'
FULL = "35,35 335,35 335,75 35,75"


def sheet(root, lines, name="0001", head=HEAD, image="0001.jpg", start=""):
    """A PAGE file with lines given by the points of their outline."""
    body = "".join(
        f'<TextLine id="l{number}"><Coords points="{points}"/><TextEquiv><Unicode>t</Unicode></TextEquiv></TextLine>'
        for number, points in enumerate(lines)
    )
    text = f'{start}{head}<Page imageFilename="{image}" imageWidth="400" imageHeight="200"><TextRegion id="r">{body}'
    (root / f"{name}.xml").write_text(f"{text}</TextRegion></Page></PcGts>", encoding="utf-8")


def imported(root, tmp_path, format="auto", level="line"):
    outcome = importing.write(read(root, format, level), tmp_path / "out.parquet", threads=2)
    return outcome, read(tmp_path / "out.parquet", level=level)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    return root


@pytest.mark.parametrize(
    "points",
    [
        "-50,35 335,35 335,75 -50,75",
        "300,150 900,150 900,500 300,500",
        "35,75 335,75 335,35 35,35",
        "35,35 335,75 335,35 35,75",
        "335,35 35,35 35,75 335,75",
        "900,900 950,900 950,950 900,950",
        "35,35 335,35",
        "40,40 40,40 40,40",
    ],
    ids=[
        "left of the page",
        "right of it",
        "upside down",
        "crossing",
        "reversed",
        "off the page",
        "two points",
        "none",
    ],
)
def test_odd_outlines_are_cut_where_they_can_be(root, tmp_path, points):
    page(root / "0001.jpg")
    sheet(root, [points, FULL])
    outcome, samples = imported(root, tmp_path)
    assert len(samples) + len(outcome.problems) == 2
    nothing = points in ("900,900 950,900 950,950 900,950", "35,35 335,35", "40,40 40,40 40,40")
    assert len(outcome.problems) == nothing
    assert all("l0" in problem for problem in outcome.problems)
    assert samples[len(samples) - 1].load().shape[1] > 290


@pytest.mark.parametrize(
    "points", ["35,35 NaN,35 335,75", "1e999,0 1,1 2,2", "a,b c,d e,f", "1,2 3", "35,35 1e9,35 1,1"]
)
def test_impossible_outlines_are_named_and_the_other_lines_stay(root, tmp_path, points):
    page(root / "0001.jpg")
    sheet(root, [FULL, points, FULL])
    outcome, samples = imported(root, tmp_path)
    assert samples.column("id") == ["0001/l0", "0001/l2"]
    (problem,) = outcome.problems
    assert "0001.xml: line l1 is left out" in problem
    assert outcome.report.read_text() == problem + "\n"


@pytest.mark.parametrize(
    ("start", "head", "image", "says"),
    [
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>', HEAD, "0002.jpg", "declares a document type"),
        ("", HEAD, "../0002.jpg", None),
        ("", HEAD, "/etc/passwd", None),
        ("", HEAD, "C:\\scans\\0002.jpg", None),
        ("", HEAD, "renamed.jpg", None),
        ("", "<PcGts>", "0002.jpg", None),
        ("", '<PcGts xmlns="urn:other">', "0002.jpg", None),
        ("", HEAD.replace("2019-07-15", "2099-01-01"), "0002.jpg", None),
        ("<a", HEAD, "0002.jpg", "not whole XML"),
    ],
)
def test_odd_files_beside_a_good_one(root, tmp_path, start, head, image, says):
    """An image of the file's own name is found whatever path the file gives, and no other file is ever opened."""
    for name in ("0001", "0002"):
        page(root / f"{name}.jpg")
    sheet(root, [FULL])
    sheet(root, [FULL], "0002", head, image, start)
    outcome, samples = imported(root, tmp_path, "page_xml")
    assert len(samples) == (2 if says is None else 1)
    assert len(outcome.problems) == (says is not None)
    assert all("0002.xml" in problem and str(says) in problem for problem in outcome.problems)


def test_missing_page_image(root, tmp_path):
    page(root / "0001.jpg")
    sheet(root, [FULL])
    sheet(root, [FULL], "0003", image="0003.jpg")
    outcome, samples = imported(root, tmp_path)
    assert len(samples) == 1
    assert "0003.xml: its image 0003.jpg is missing" in outcome.problems[0]


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def huge_png() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a hundred bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def exotic() -> dict[str, bytes]:
    gray = drawn("mot", 120, 40)
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    turned = Image.Exif()
    turned[0x0112] = 6
    return {
        "16 bit.png": encoded(deep, "PNG"),
        "cmyk.jpg": encoded(gray.convert("CMYK"), "JPEG"),
        "palette.gif": encoded(gray.convert("P"), "GIF"),
        "alpha.png": encoded(gray.convert("RGBA"), "PNG"),
        "turned é.jpg": encoded(gray.rotate(90, expand=True), "JPEG", exif=turned),
        "pages.tif": encoded(gray, "TIFF", save_all=True, append_images=[gray]),
        "animated.webp": encoded(
            gray.convert("RGB"), "WEBP", save_all=True, append_images=[Image.new("RGB", (120, 40))]
        ),
    }


def test_exotic_images_are_upright_and_bad_ones_named(root, tmp_path):
    whole = encoded(drawn("mot"), "PNG")
    bad = {
        "empty.png": b"",
        "cut.jpg": encoded(drawn("mot"), "JPEG")[:400],
        "cut png.png": whole[: len(whole) // 2],
        "huge.png": huge_png(),
    }
    for name, data in {**exotic(), **bad, "text.png": b"no image"}.items():
        (root / name).write_bytes(data)
        (root / name).with_suffix(".gt.txt").write_text(name)
    os.symlink(root, root / "loop")
    outcome, samples = imported(root, tmp_path)
    assert set(samples.column("id")) == set(exotic())
    assert len(outcome.problems) == len(bad) + 2  # and the second page of a TIFF file
    for name in [*bad, "text.png"]:
        assert sum(name in problem for problem in outcome.problems) == 1
    for sample in samples:
        assert sample.text == sample.id
        image = sample.load()
        assert image.shape[:2] == (40, 120), sample.id
        assert image.min() < 90 < 200 < image.max()


def test_tables_from_other_systems(root, tmp_path):
    """Windows paths, a byte order mark, CRLF and Latin-1; rows without an image or out of the folder are named."""
    save(root / "img" / "a 1.png")
    save(root / "b.png")
    save(tmp_path / "secret.png")
    rows = ["file;text", "img\\a 1.png;Été", "b.png;deux", "missing.png;x", "..\\secret.png;x", "b.png;again", ";x"]
    (root / "list.csv").write_bytes("\r\n".join(rows).encode("latin-1"))
    outcome, samples = imported(root, tmp_path)
    assert dict(zip(samples.column("id"), samples.column("text"), strict=True)) == {
        "img/a 1.png": "Été",
        "b.png": "deux",
    }
    assert len(outcome.problems) == 5
    assert "Windows-1252" in " ".join(outcome.problems)


def test_lmdb_shorter_than_it_says(root):
    """A mapped file that is too short would kill the process when it is read."""
    import lmdb

    from htr_ssl.errors import UserError

    with lmdb.open(str(root), map_size=1 << 20) as environment, environment.begin(write=True) as rows:
        for number in range(1, 40):
            rows.put(f"image-{number:09d}".encode(), bytes(3000))
        rows.put(b"num-samples", b"39")
    data = (root / "data.mdb").read_bytes()
    for size in (0, 100, 8192, len(data) // 2):
        (root / "data.mdb").write_bytes(data[:size])
        with pytest.raises(UserError, match="not a whole LMDB file"):
            read(root, "lmdb", "word")


def test_further_pages_of_a_line_image_are_named(tmp_path):
    frames = [Image.fromarray(np.full((40, 200), 200 + number, np.uint8)) for number in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "b.tif")
    for name in ("a", "b"):
        (tmp_path / f"{name}.gt.txt").write_text("mot")
    for reader in ("auto", "gt_txt", "images"):
        samples = read(tmp_path, reader)
        assert len(samples) == 2
        assert [problem for problem in samples.problems if "a.tif: it has 3 pages" in problem]
        assert not any("b.tif" in problem for problem in samples.problems)


def test_whole_pages_without_xml_are_no_lines(tmp_path):
    """Most of them: one is asked what they are. A few: it is said. Lines and words, also vertical ones, are not."""
    for number in range(4):
        Image.fromarray(np.full((900, 700), 250, np.uint8)).save(tmp_path / f"page{number}.png")
    with pytest.raises(UserError, match=r"4 images are as large and high as pages.*format scans"):
        read(tmp_path)
    assert len(read(tmp_path, "images")) == 4
    for number in range(5):
        size = (250, 3000) if number % 2 else (3000, 250)
        Image.fromarray(np.full(size, 250, np.uint8)).save(tmp_path / f"line{number}.png")
    samples = read(tmp_path)
    assert len(samples) == 9
    assert any("4 images are as large and high as pages" in note for note in samples.notes)
    for path in tmp_path.glob("page*"):
        path.unlink()
    assert not read(tmp_path).notes
