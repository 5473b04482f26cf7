"""Searchable PDF: the page as it is, with its text invisible over it, word by word. Volumes have one file more.

A JPEG file goes into the PDF unchanged, a page of a PDF is taken over with all that is on it; other images are stored
without loss. The font has no shapes: it maps a code to each character of the page, in any script.
"""

from __future__ import annotations

import io
import unicodedata
import zlib
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from htr_ssl import __version__
from htr_ssl.data.page_images import RESOLUTION, is_pdf, page_image
from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Page
from htr_ssl.pages.formats._marks import model_of, words_of
from htr_ssl.text import direction

EXTENSION = ".pdf"

_BODY = 0.5  # share of a word's box that its text takes, so that it does not reach into the next lines
_WIDTH = 500  # of every character of the font [thousandths of its size]


def write(page: Page, path: Path) -> None:
    """Writes the page.

    Raises:
        UserError: its image cannot be read.
    """
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content.

    Raises:
        UserError: the page's image cannot be read.
    """
    import pikepdf

    document = pikepdf.new()
    if is_pdf(page.image):
        sheet, matrix = _copied(document, page)
    else:
        sheet, matrix = _drawn(document, page)
    codes = {c: n for n, c in enumerate(sorted({c for line in page.lines for c in _characters(line.text or "")}), 1)}
    fonts = sheet.obj.get("/Resources", pikepdf.Dictionary()).get("/Font", pikepdf.Dictionary())
    name = next(name for number in range(len(fonts) + 1) if (name := f"/Htr{number}") not in fonts)
    sheet.add_resource(_font(document, codes), pikepdf.Name("/Font"), pikepdf.Name(name))
    sheet.contents_add(document.make_stream(_text(page, codes, name, matrix)))
    _describe(document, page)
    buffer = io.BytesIO()
    document.save(buffer, deterministic_id=True, compress_streams=True)
    return buffer.getvalue()


def _characters(text: str) -> str:
    """Characters of a text, and those they become where brackets are mirrored."""
    return f"{text} {direction.visual(text, 'rtl')}"


def volume(pages: Sequence[tuple[str, Path]]) -> bytes:
    """All pages of a volume in one file, with bookmarks.

    Args:
        pages: name of each page and its PDF.
    """
    import pikepdf

    document = pikepdf.new()
    for _, path in pages:
        with pikepdf.open(path) as one:
            document.pages.extend(one.pages)
    with document.open_outline() as outline:
        for number, (name, _) in enumerate(pages):
            outline.root.append(pikepdf.OutlineItem(name, number))
    buffer = io.BytesIO()
    document.save(buffer, deterministic_id=True)
    return buffer.getvalue()


def _drawn(document: Any, page: Page) -> tuple[Any, np.ndarray]:
    """A page with the image, and the matrix (2, 3) from its pixels to points, 72 to the inch."""
    import pikepdf

    resolution = _resolution(page.image)
    factor = 72 / resolution
    width, height = page.width * factor, page.height * factor
    document.add_blank_page(page_size=(width, height))
    sheet = document.pages[0]
    stream, turn = _image(document, page)
    sheet.add_resource(stream, pikepdf.Name("/XObject"), pikepdf.Name("/Scan"))
    placed = " ".join(f"{value:.4f}" for value in _turned(turn, width, height))
    sheet.contents_add(document.make_stream(f"q {placed} cm /Scan Do Q".encode()))
    return sheet, np.array([[factor, 0, 0], [0, -factor, height]])


def _turned(turn: int, width: float, height: float) -> tuple[float, ...]:
    """Matrix that lays the unit square with an image of EXIF orientation `turn` upright over the page."""
    w, h = width, height
    return {
        1: (w, 0, 0, h, 0, 0),
        2: (-w, 0, 0, h, w, 0),
        3: (-w, 0, 0, -h, w, h),
        4: (w, 0, 0, -h, 0, h),
        5: (0, -h, -w, 0, w, h),
        6: (0, -h, w, 0, 0, h),
        7: (0, h, w, 0, 0, 0),
        8: (0, h, -w, 0, w, 0),
    }[turn]


def _image(document: Any, page: Page) -> tuple[Any, int]:
    """The image as an object of the document, and the EXIF orientation of its pixels."""
    import pikepdf

    known = {"/Type": pikepdf.Name.XObject, "/Subtype": pikepdf.Name.Image, "/BitsPerComponent": 8}
    try:
        with Image.open(page.image) as picture:
            spaces = {"L": pikepdf.Name.DeviceGray, "RGB": pikepdf.Name.DeviceRGB}
            if picture.format == "JPEG" and picture.mode in spaces:
                turn = picture.getexif().get(0x0112, 1)
                turn = turn if turn in range(1, 9) else 1
                size = picture.size if turn < 5 else picture.size[::-1]
                if size == (page.width, page.height):
                    facts = {"/Width": picture.width, "/Height": picture.height, "/ColorSpace": spaces[picture.mode]}
                    facts |= {"/Filter": pikepdf.Name.DCTDecode}
                    return pikepdf.Stream(document, page.image.read_bytes(), {**known, **facts}), turn
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass  # said again, better, where it is decoded
    pixels = page_image(page.image, page.number)
    height, width = pixels.shape[:2]
    colour = pixels.ndim == 3
    space = pikepdf.Name.DeviceRGB if colour else pikepdf.Name.DeviceGray
    facts = {"/Width": width, "/Height": height, "/ColorSpace": space, "/Filter": pikepdf.Name.FlateDecode}
    predictor = {"/Predictor": 15, "/Colors": 3 if colour else 1, "/Columns": width, "/BitsPerComponent": 8}
    rows = pixels.reshape(height, -1)
    step = 3 if colour else 1
    sub = rows.copy()
    sub[:, step:] -= rows[:, :-step]  # PNG's filter "sub": differences compress well
    filtered = np.concatenate([np.ones((height, 1), np.uint8), sub], 1)
    data = zlib.compress(filtered.tobytes(), 6)
    return pikepdf.Stream(document, data, {**known, **facts, "/DecodeParms": pikepdf.Dictionary(predictor)}), 1


def _resolution(path: Path) -> float:
    """Dots per inch that the image states, if that may be true, else the resolution of usual scans."""
    try:
        with Image.open(path) as picture:
            value = float(picture.info.get("dpi", (0, 0))[0])
    except (OSError, ValueError, TypeError, SyntaxError, Image.DecompressionBombError):
        value = 0.0
    return value if 100 <= value <= 2400 else float(RESOLUTION)


def _copied(document: Any, page: Page) -> tuple[Any, np.ndarray]:
    """The page of a PDF, and the matrix (2, 3) from the pixels it was drawn with to its own units."""
    import pikepdf

    try:
        with pikepdf.open(page.image) as source:
            document.pages.append(source.pages[page.number])
    except (pikepdf.PdfError, OSError, IndexError) as error:
        raise UserError(
            f"{page.image}: the PDF cannot be read ({error}); export it again, without a password"
        ) from error
    sheet = document.pages[0]
    if "/Annots" in sheet.obj:
        del sheet.obj["/Annots"]  # links to pages that are not here
    box = [float(value) for value in sheet.cropbox]
    media = [float(value) for value in sheet.mediabox]
    left, bottom = max(box[0], media[0]), max(box[1], media[1])
    right, top = min(box[2], media[2]), min(box[3], media[3])
    width, height = right - left, top - bottom
    turn = int(sheet.obj.get("/Rotate", 0)) % 360
    across, down = (width, height) if turn % 180 == 0 else (height, width)
    a, b = across / page.width, down / page.height
    matrix = {
        0: [[a, 0, left], [0, -b, top]],
        90: [[0, b, left], [a, 0, bottom]],
        180: [[-a, 0, right], [0, b, bottom]],
        270: [[0, -b, right], [-a, 0, top]],
    }[turn]
    sheet.contents_add(document.make_stream(b"q"), prepend=True)
    sheet.contents_add(document.make_stream(b"Q"))
    return sheet, np.array(matrix, float)


def _text(page: Page, codes: dict[str, int], font: str, matrix: np.ndarray) -> bytes:
    """Invisible text over the words; each fills its box, and the space behind it reaches to the next word."""
    parts = ["q BT 3 Tr"]
    for line in page.lines:
        words = words_of(line)
        base = direction.of_text([line.text or ""]) or "ltr"
        if base == "rtl":  # programs that read PDF expect text as it looks, and turn it round themselves
            words = [replace(word, text=_marks_first(direction.visual(word.text, base))) for word in words[::-1]]
        for number, word in enumerate(words):
            corner = word.polygon if len(word.polygon) == 4 else _around(word.polygon)
            start, end, top = (matrix[:, :2] @ corner[i] + matrix[:, 2] for i in (3, 2, 0))
            along, up = end - start, _BODY * (top - start)
            start = start + (1 - _BODY) / 2 * (top - start)
            length, size = float(np.hypot(*along)), float(np.hypot(*up))
            if length < 1e-3 or size < 1e-3:
                continue
            x, y = along / length
            stretch = 100 * length / (len(word.text) * size * _WIDTH / 1000)
            text = word.text + (" " if number < len(words) - 1 else "")
            shown = "".join(f"{codes[c]:04X}" for c in text if c in codes)
            place = f"{x:.5f} {y:.5f} {-y:.5f} {x:.5f} {start[0]:.3f} {start[1]:.3f}"
            parts.append(f"{font} {size:.3f} Tf {stretch:.3f} Tz {place} Tm <{shown}> Tj")
    return "\n".join([*parts, "ET Q"]).encode("ascii")


def _marks_first(text: str) -> str:
    """Marks of right-to-left letters before their letter: those programs turn round one character after the other."""
    clusters: list[str] = []
    for character in text:
        if clusters and unicodedata.bidirectional(character) == "NSM":
            clusters[-1] += character
        else:
            clusters.append(character)
    turned = ("R", "AL")
    return "".join(part[::-1] if unicodedata.bidirectional(part[0]) in turned else part for part in clusters)


def _around(points: np.ndarray) -> np.ndarray:
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _font(document: Any, codes: dict[str, int]) -> Any:
    """A font without shapes whose codes stand for the page's characters."""
    import pikepdf
    from pikepdf import Dictionary, Name

    flags = {"/Flags": 4, "/FontBBox": [0, -250, _WIDTH, 1000], "/ItalicAngle": 0, "/Ascent": 1000, "/Descent": -250}
    file = document.make_indirect(pikepdf.Stream(document, _glyphless(), {"/Length1": len(_glyphless())}))
    described = Dictionary(
        Type=Name.FontDescriptor, FontName=Name.HtrInvisible, CapHeight=1000, StemV=80, FontFile2=file
    )
    for key, value in flags.items():
        described[key] = value
    inner = Dictionary(
        Type=Name.Font,
        Subtype=Name.CIDFontType2,
        BaseFont=Name.HtrInvisible,
        CIDSystemInfo=Dictionary(Registry=pikepdf.String("Adobe"), Ordering=pikepdf.String("Identity"), Supplement=0),
        FontDescriptor=document.make_indirect(described),
        DW=_WIDTH,
        CIDToGIDMap=document.make_indirect(pikepdf.Stream(document, b"\0\1" * (len(codes) + 1))),
    )
    rows = "\n".join(f"<{code:04X}> <{c.encode('utf-16-be', 'replace').hex().upper()}>" for c, code in codes.items())
    chunks = [
        rows.split("\n")[i : i + 100] for i in range(0, len(codes), 100)
    ]  # a hundred is the most a block may have
    body = "\n".join(f"{len(chunk)} beginbfchar\n{chr(10).join(chunk)}\nendbfchar" for chunk in chunks)
    unicode = (
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap\n"
        "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n"
        "/CMapName /Adobe-Identity-UCS def /CMapType 2 def\n"
        f"1 begincodespacerange <0000> <FFFF> endcodespacerange\n{body}\n"
        "endcmap CMapName currentdict /CMap defineresource pop end end"
    )
    return document.make_indirect(
        Dictionary(
            Type=Name.Font,
            Subtype=Name.Type0,
            BaseFont=Name.HtrInvisible,
            Encoding=Name("/Identity-H"),
            DescendantFonts=pikepdf.Array([document.make_indirect(inner)]),
            ToUnicode=document.make_indirect(pikepdf.Stream(document, unicode.encode("ascii"))),
        )
    )


@lru_cache(maxsize=1)
def _glyphless() -> bytes:
    """A TrueType font of one box, which is never drawn; readers of PDF leave out characters that have no extent."""
    from fontTools.fontBuilder import FontBuilder
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    builder = FontBuilder(1000, isTTF=True)
    builder.updateHead(created=0, modified=0)
    builder.setupGlyphOrder([".notdef", "blank"])
    builder.setupCharacterMap({32: "blank"})
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 1000), (_WIDTH, 1000), (_WIDTH, 0)):
        pen.lineTo(corner)
    pen.closePath()
    box = pen.glyph()
    builder.setupGlyf({".notdef": box, "blank": box})
    builder.setupHorizontalMetrics(dict.fromkeys((".notdef", "blank"), (_WIDTH, 0)))
    builder.setupHorizontalHeader(ascent=1000, descent=-250)
    builder.setupNameTable({"familyName": "HtrInvisible", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=1000, sTypoDescender=-250, usWinAscent=1000, usWinDescent=250)
    builder.setupPost()
    buffer = io.BytesIO()
    builder.font.recalcTimestamp = False
    builder.save(buffer)
    return buffer.getvalue()


def _describe(document: Any, page: Page) -> None:
    """Title and what made the page."""
    import pikepdf

    document.docinfo["/Title"] = pikepdf.String(page.image.name.encode("utf-8", "replace").decode())
    document.docinfo["/Producer"] = pikepdf.String(f"htr_ssl {__version__}")
    if page.made is not None:
        document.docinfo["/Subject"] = pikepdf.String(model_of(page.made))
        if page.made.date:
            document.docinfo["/CreationDate"] = pikepdf.String(f"D:{page.made.date.replace('-', '')}000000Z")
