"""hOCR 1.2: an HTML page whose lines and words carry their boxes and confidences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lxml import etree

from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Line, Page
from htr_ssl.pages.formats._marks import SOFTWARE, Ids, blocks, box_of, clean, model_of, one_line, texts_by_id, words_of

EXTENSION = ".hocr"
NAMES_IMAGE = True

_HTML = "http://www.w3.org/1999/xhtml"
_DOCTYPE = '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">'


def write(page: Page, path: Path) -> None:
    """Writes the page; coordinates are rounded to pixels and characters that XML forbids are left out."""
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content; `folder` is where it will lie, for the path of the image."""
    root = etree.Element(f"{{{_HTML}}}html", nsmap={None: _HTML})  # type: ignore[dict-item]
    head = _add(root, "head")
    _add(head, "title").text = clean(page.image.name)
    _add(head, "meta", **{"http-equiv": "Content-Type", "content": "text/html; charset=utf-8"})
    _add(head, "meta", name="ocr-system", content=SOFTWARE)
    _add(head, "meta", name="ocr-capabilities", content="ocr_page ocr_carea ocr_par ocr_line ocrx_word ocrp_wconf")
    if page.made is not None:
        _add(head, "meta", name="model", content=clean(model_of(page.made)))
        _add(head, "meta", name="date", content=page.made.date)
    image = clean(page.reference(folder)).replace('"', "%22")
    title = f'image "{image}"; bbox 0 0 {page.width} {page.height}; ppageno {page.number}'
    sheet = _add(_add(root, "body"), "div", id="page", title=title, **{"class": "ocr_page"})
    ids = Ids("page")
    names = {id(line): ids.new(line.id, "line") for line in page.lines}
    for region, lines in blocks(page):
        box = _title(np.concatenate([line.polygon for line in lines]))
        area = _add(sheet, "div", id=ids.new(region or "lines", "block"), title=box, **{"class": "ocr_carea"})
        paragraph = _add(area, "p", id=ids.new("par", "par"), title=box, **{"class": "ocr_par"})
        for line in lines:
            _line(paragraph, line, names[id(line)], ids)
    data: bytes = etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True, doctype=_DOCTYPE)
    return data


def texts(path: Path) -> dict[str, str]:
    """Line ids and texts of a file that somebody may have corrected."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(path.read_bytes(), parser)
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: it is no longer whole XML ({error.msg}); mend it") from error
    lines = root.iterfind(".//{*}span[@class='ocr_line']")
    return texts_by_id([(line.get("id") or "", "".join(map(str, line.itertext()))) for line in lines])


def _line(paragraph: etree._Element, line: Line, name: str, ids: Ids) -> None:
    baseline = ""
    if line.baseline is not None and len(line.baseline) > 1:
        (x0, y0), (x1, y1) = line.baseline[0], line.baseline[-1]
        left, _, _, _ = box_of(line.polygon)
        if abs(x1 - x0) > abs(y1 - y0):  # the specification's: slope and height over the box's lower edge, at its left
            slope = (y1 - y0) / (x1 - x0)
            baseline = f"; baseline {slope:.4f} {round(y0 + slope * (left - x0) - line.polygon[:, 1].max())}"
    element = _add(paragraph, "span", id=name, title=_title(line.polygon) + baseline, **{"class": "ocr_line"})
    previous: etree._Element | None = None
    for number, word in enumerate(words_of(line), 1):
        if previous is not None:
            previous.tail = " "
        sure = "" if word.confidence is None else f"; x_wconf {round(100 * word.confidence)}"
        title = _title(word.polygon) + sure
        previous = _add(element, "span", id=ids.new(f"{name}_w{number}", "word"), title=title, **{"class": "ocrx_word"})
        previous.text = clean(one_line(word.text))


def _title(points: np.ndarray) -> str:
    left, top, width, height = box_of(points)
    return f"bbox {left} {top} {left + width} {top + height}"


def _add(parent: etree._Element, name: str, /, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{_HTML}}}{name}", attributes)
