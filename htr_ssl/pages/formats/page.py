"""PAGE XML 2019-07-15 of PRImA: regions in reading order, lines with baseline, words and letters in place.

Boxes and confidences of words and letters come from the recognizer's frames. The kind of a line stands in `custom`.
Lines that come from a PAGE file are filled into that file: ids, regions, tags and unknown elements stay as they are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lxml import etree

from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Line, Page
from htr_ssl.pages.formats import _fill
from htr_ssl.pages.formats._marks import (
    SOFTWARE,
    Ids,
    blocks,
    box_of,
    clean,
    corners,
    day,
    model_of,
    one_line,
    serialise,
    share,
    words_of,
)

EXTENSION = ".page.xml"
NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"
NAMES_IMAGE = True

_SCHEMA = f"{NAMESPACE}/pagecontent.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_TYPES = {"main": "paragraph", "margin": "marginalia"}
_AFTER_WORDS = ("TextEquiv", "TextStyle", "UserDefined", "Labels")
_UNKNOWN_DAY = "1970-01-01T00:00:00"


def write(page: Page, path: Path) -> None:
    """Writes the page; coordinates are rounded to pixels and characters that XML forbids are left out."""
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content; `folder` is where it will lie, for the path of the image."""
    filled = _fill.open_tree(page, "page")
    return serialise(_new(page, folder) if filled is None else _filled(page, folder, filled))


def texts(path: Path) -> dict[str, str]:
    """Line ids and texts of a file that somebody may have corrected."""
    return _fill.texts(path)


def _new(page: Page, folder: Path) -> etree._Element:
    spaces: dict[str | None, str] = {None: NAMESPACE, "xsi": _INSTANCE}
    root = etree.Element(f"{{{NAMESPACE}}}PcGts", nsmap=spaces)  # type: ignore[arg-type]
    root.set(f"{{{_INSTANCE}}}schemaLocation", f"{NAMESPACE} {_SCHEMA}")
    head = _add(root, "Metadata")
    _add(head, "Creator").text = SOFTWARE
    for name in ("Created", "LastChange"):
        _add(head, name).text = day(page.made) or _UNKNOWN_DAY
    _step(head, page)
    attributes = {"imageFilename": clean(page.reference(folder))}
    attributes |= {"imageWidth": str(page.width), "imageHeight": str(page.height)}
    if page.orientation:
        attributes["orientation"] = str(page.orientation if page.orientation <= 180 else page.orientation - 360)
    if page.confidence is not None:
        attributes["conf"] = share(page.confidence) or "0"
    sheet = _add(root, "Page", NAMESPACE, **attributes)
    ids = Ids("order")
    names = {id(line): ids.new(line.id, "line") for line in page.lines}
    parts = [(ids.new(region or "lines", "region"), lines) for region, lines in blocks(page)]
    if parts:
        group = _add(_add(sheet, "ReadingOrder"), "OrderedGroup", id="order")
        for index, (name, _) in enumerate(parts):
            _add(group, "RegionRefIndexed", index=str(index), regionRef=name)
    for index, (name, lines) in enumerate(parts):
        kinds = {line.kind for line in lines}
        kind = _TYPES.get(kinds.pop() or "main", "paragraph") if len(kinds) == 1 else "paragraph"
        region = _add(sheet, "TextRegion", id=name, type=kind, custom=f"readingOrder {{index:{index};}}")
        box = box_of(np.concatenate([line.polygon for line in lines]))
        _add(region, "Coords", points=_points(corners(box)))
        for place, line in enumerate(lines):
            own = f" structure {{type:{line.kind};}}" if line.kind else ""
            element = _add(region, "TextLine", id=names[id(line)], custom=f"readingOrder {{index:{place};}}{own}")
            _add(element, "Coords", points=_points(line.polygon))
            if line.baseline is not None:
                _add(element, "Baseline", points=_points(line.baseline))
            for child in _content(line, ids, names[id(line)], NAMESPACE):
                element.append(child)
    return root


def _step(head: etree._Element, page: Page) -> None:
    """What read the page, as OCR-D writes it."""
    item = _add(head, "MetadataItem", type="processingStep", name="recognition/text-recognition", value=SOFTWARE)
    if day(page.made):
        item.set("date", day(page.made) or "")
    if page.made is not None and model_of(page.made):
        labels = _add(item, "Labels")
        pairs = {"model": page.made.model, "sha256": page.made.digest, "settings": page.made.settings}
        for kind, value in pairs.items():
            if value:
                _add(labels, "Label", value=clean(value), type=kind)


def _filled(page: Page, folder: Path, filled: _fill.Filled) -> etree._Element:
    """The file the lines come from, with the text and the image's path from `folder`."""
    space = etree.QName(filled.root).namespace
    ids = Ids(*filled.ids())
    for line, element in filled.lines(page):
        for child in list(element):
            if isinstance(child.tag, str) and etree.QName(child).localname in ("Word", "TextEquiv"):
                element.remove(child)
        later = [i for i, child in enumerate(element) if isinstance(child.tag, str)]
        after = [i for i in later if etree.QName(element[i]).localname in _AFTER_WORDS]
        place = after[0] if after else len(element)
        for offset, child in enumerate(_content(line, ids, line.id, space, filled)):
            element.insert(place + offset, child)
    sheet = next(filled.root.iter("{*}Page"))
    sheet.set("imageFilename", clean(page.reference(folder)))
    head = filled.root.find("{*}Metadata")
    if head is not None:
        changed = head.find("{*}LastChange")
        if changed is not None and day(page.made):
            changed.text = day(page.made)
        if space == NAMESPACE:
            _step(head, page)
    return filled.root


def _content(
    line: Line, ids: Ids, name: str, space: str | None, filled: _fill.Filled | None = None
) -> list[etree._Element]:
    """Words and text of a line."""
    elements = []

    def put(points: np.ndarray) -> str:
        return _points(points if filled is None else filled.points(points))

    measured = bool(line.words)
    for number, word in enumerate(words_of(line), 1):
        element = etree.Element(f"{{{space}}}Word" if space else "Word", id=ids.new(f"{name}_w{number}", "word"))
        _add(element, "Coords", space, points=put(word.polygon))
        for position, glyph in enumerate(word.glyphs, 1):
            part = _add(element, "Glyph", space, id=ids.new(f"{name}_w{number}_{position}", "glyph"))
            _add(part, "Coords", space, points=put(glyph.polygon))
            _text(part, glyph.text, glyph.confidence, space)
        _text(element, word.text, word.confidence if measured else None, space)
        elements.append(element)
    holder = etree.Element("holder")
    _text(holder, one_line(line.text), line.confidence, space)
    return [*elements, *holder]


def _text(parent: etree._Element, text: str, confidence: float | None, space: str | None) -> None:
    element = _add(parent, "TextEquiv", space)
    if confidence is not None:
        element.set("conf", share(confidence) or "0")
    _add(element, "Unicode", space).text = clean(text)


def _add(parent: etree._Element, name: str, namespace: str | None = NAMESPACE, /, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{namespace}}}{name}" if namespace else name, attributes)


def _points(points: np.ndarray) -> str:
    """Points as PAGE wants them: two at least, whole and not negative."""
    rounded = np.asarray(points).round().astype(int).clip(0).tolist()
    return " ".join(f"{x},{y}" for x, y in (rounded if len(rounded) > 1 else rounded * 2))
