"""TEI P5, minimal: the text with page and line beginnings, and a facsimile with a zone for each region and line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lxml import etree

from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Page
from htr_ssl.pages.formats._marks import (
    SOFTWARE,
    Ids,
    blocks,
    box_of,
    clean,
    model_of,
    one_line,
    serialise,
    share,
    texts_by_id,
)

EXTENSION = ".tei.xml"
NAMESPACE = "http://www.tei-c.org/ns/1.0"
NAMES_IMAGE = True

_ID = "{http://www.w3.org/XML/1998/namespace}id"


def write(page: Page, path: Path) -> None:
    """Writes the page; coordinates are rounded to pixels and characters that XML forbids are left out."""
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content; `folder` is where it will lie, for the path of the image."""
    root = etree.Element(f"{{{NAMESPACE}}}TEI", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    _header(root, page)
    ids = Ids("surface", "page")
    size = {"ulx": "0", "uly": "0", "lrx": str(page.width), "lry": str(page.height)}
    surface = _add(_add(root, "facsimile"), "surface", **{_ID: "surface"}, **size)
    width, height = f"{page.width}px", f"{page.height}px"
    _add(surface, "graphic", url=clean(page.reference(folder)).replace(" ", "%20"), width=width, height=height)
    body = _add(_add(root, "text"), "body")
    division = _add(body, "div")
    _add(division, "pb", n=str(page.number + 1), facs="#surface")
    names = {id(line): ids.new(line.id, "line") for line in page.lines}
    for region, lines in blocks(page):
        name = ids.new(region or "lines", "region")
        box = _corners(np.concatenate([line.polygon for line in lines]))
        zone = _add(surface, "zone", type="region", **{_ID: name}, **box)
        block = _add(division, "ab", facs=f"#{name}")
        for number, line in enumerate(lines, 1):
            own = names[id(line)]
            points = " ".join(f"{x},{y}" for x, y in line.polygon.round().astype(int).clip(0).tolist())
            kind = line.kind or "line"
            _add(zone, "zone", type="line", subtype=kind, **{_ID: own}, points=points, **_corners(line.polygon))
            start = _add(block, "lb", n=str(number), facs=f"#{own}")
            if line.confidence is not None:
                start.set("cert", share(line.confidence) or "0")
            start.tail = clean(one_line(line.text))
    return serialise(root)


def texts(path: Path) -> dict[str, str]:
    """Line ids and texts of a file that somebody may have corrected."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(path.read_bytes(), parser)
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: it is no longer whole XML ({error.msg}); mend it") from error
    starts = root.iterfind(".//{*}body//{*}lb")
    return texts_by_id([((start.get("facs") or "").removeprefix("#"), _until_next(start)) for start in starts])


def _until_next(start: etree._Element) -> str:
    """Text behind a line's beginning, that of elements within it too, up to the next line's beginning."""
    parts = [start.tail or ""]
    for sibling in start.itersiblings():
        if isinstance(sibling.tag, str) and etree.QName(sibling).localname == "lb":
            break
        parts += [*map(str, sibling.itertext()), sibling.tail or ""]
    return "".join(parts)


def _header(root: etree._Element, page: Page) -> None:
    description = _add(_add(root, "teiHeader"), "fileDesc")
    _add(_add(description, "titleStmt"), "title").text = clean(page.image.name)
    _add(_add(description, "publicationStmt"), "p").text = "Transcribed by a program; not published."
    _add(_add(description, "sourceDesc"), "p").text = clean(f"{page.image.name}, page {page.number + 1}")
    coding = _add(root[0], "encodingDesc")
    information = _add(coding, "appInfo")
    name, _, version = SOFTWARE.partition(" ")
    application = _add(information, "application", ident=name, version=version)
    if page.made is not None and page.made.date:
        application.set("when", page.made.date)
    _add(application, "label").text = name
    if model_of(page.made):
        _add(application, "p").text = clean(model_of(page.made))


def _corners(points: np.ndarray) -> dict[str, str]:
    left, top, width, height = box_of(points)
    return {"ulx": str(left), "uly": str(top), "lrx": str(left + width), "lry": str(top + height)}


def _add(parent: etree._Element, name: str, /, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)
