"""ALTO 4.4 of the Library of Congress: one TextLine a line, with its words and letters in place.

Boxes and confidences of words (WC) and letters (GC) come from the recognizer's frames; where they are unknown, a word
gets a share of the line's box in proportion to its characters, and the line's confidence. Lines without a region stand
in a block without a position. Lines that come from an ALTO file are filled into that file; the rest of it stays.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lxml import etree

from htr_ssl import __version__
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Line, Page, Word
from htr_ssl.pages.formats import _fill
from htr_ssl.pages.formats._marks import (
    Box,
    Ids,
    blocks,
    box_of,
    clean,
    day,
    model_of,
    serialise,
    share,
    words_of,
)

EXTENSION = ".alto.xml"
NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"
NAMES_IMAGE = True

_SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-4.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"


def write(page: Page, path: Path) -> None:
    """Writes the page; coordinates are rounded to pixels and characters that XML forbids are left out."""
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content; `folder` is where it will lie, for the path of the image."""
    filled = _fill.open_tree(page, "alto")
    return serialise(_new(page, folder) if filled is None else _filled(page, folder, filled))


def texts(path: Path) -> dict[str, str]:
    """Line ids and texts of a file that somebody may have corrected."""
    return _fill.texts(path)


def _new(page: Page, folder: Path) -> etree._Element:
    spaces: dict[str | None, str] = {None: NAMESPACE, "xsi": _INSTANCE}
    root = etree.Element(f"{{{NAMESPACE}}}alto", {"SCHEMAVERSION": "4.4"}, nsmap=spaces)  # type: ignore[arg-type]
    root.set(f"{{{_INSTANCE}}}schemaLocation", f"{NAMESPACE} {_SCHEMA}")
    ids = Ids("page", "ocr")
    description = _add(root, "Description")
    _add(description, "MeasurementUnit").text = "pixel"
    _add(_add(description, "sourceImageInformation"), "fileName").text = clean(page.reference(folder))
    _processing(description, page, "ocr")
    tags = _tags(root, page, ids)
    size = {"WIDTH": str(page.width), "HEIGHT": str(page.height)}
    turn = {"ROTATION": str(-page.orientation % 360)} if page.orientation else {}
    layout = _add(root, "Layout")
    sheet = _add(layout, "Page", ID="page", PHYSICAL_IMG_NR=str(page.number + 1), PROCESSINGREFS="ocr", **size, **turn)
    space = _add(sheet, "PrintSpace", HPOS="0", VPOS="0", **size)
    names = {id(line): ids.new(line.id, "line") for line in page.lines}
    for region, lines in blocks(page):
        block = _add(space, "TextBlock", ID=ids.new(region or "lines", "block"))
        if region is not None:
            _place(block, box_of(np.concatenate([line.polygon for line in lines])))
        for line in lines:
            element = _add(block, "TextLine", ID=names[id(line)])
            if line.kind is not None:
                element.set("TAGREFS", tags[line.kind])
            _place(element, box_of(line.polygon))
            if line.baseline is not None:
                element.set("BASELINE", _points(line.baseline))
            _add(_add(element, "Shape"), "Polygon", POINTS=_points(line.polygon))
            _fill_line(element, line, ids, names[id(line)], NAMESPACE)
    return root


def _tags(root: etree._Element, page: Page, ids: Ids) -> dict[str, str]:
    """Tags for the kinds of lines, as kraken writes them and needs them to take them for kinds; id of each."""
    kinds = sorted({line.kind for line in page.lines if line.kind is not None})
    if not kinds:
        return {}
    element = _add(root, "Tags")
    result = {kind: ids.new(f"kind_{kind}", "kind") for kind in kinds}
    for kind, name in result.items():
        _add(element, "OtherTag", ID=name, LABEL=kind, TYPE="type")
    return result


def _processing(description: etree._Element, page: Page, name: str) -> None:
    step = _add(description, "Processing", ID=name)
    _add(step, "processingCategory").text = "contentGeneration"
    if day(page.made):
        _add(step, "processingDateTime").text = day(page.made)
    _add(step, "processingStepDescription").text = "lines found and read"
    if model_of(page.made):
        _add(step, "processingStepSettings").text = clean(model_of(page.made))
    software = _add(step, "processingSoftware")
    _add(software, "softwareName").text = "htr_ssl"
    _add(software, "softwareVersion").text = __version__


def _filled(page: Page, folder: Path, filled: _fill.Filled) -> etree._Element:
    """The file the lines come from, with the text and the image's path from `folder`."""
    root = filled.root
    space = etree.QName(root).namespace
    ids = Ids(*filled.ids())
    for line, element in filled.lines(page):
        for child in list(element):
            if isinstance(child.tag, str) and etree.QName(child).localname in ("String", "SP", "HYP"):
                element.remove(child)
        _fill_line(element, line, ids, line.id, space, filled)
    name = root.find("{*}Description/{*}sourceImageInformation/{*}fileName")
    if name is not None:
        name.text = clean(page.reference(folder))
    description = root.find("{*}Description")
    if description is not None and space == NAMESPACE:
        _processing(description, page, ids.new("htr_ssl", "step"))
    return root


def _fill_line(
    element: etree._Element,
    line: Line,
    ids: Ids,
    name: str,
    space: str | None,
    filled: _fill.Filled | None = None,
) -> None:
    """Adds the words of a line; a line without text gets one empty word, which the schema asks for."""
    place = _place if filled is None else filled.place
    before: Box | None = None
    number = 0
    for number, word in enumerate(words_of(line), 1):
        box = box_of(word.polygon)
        if before is not None:
            place(_add(element, "SP", space), _between(before, box))
        string = _add(element, "String", space, CONTENT=clean(word.text))
        place(string, box)
        if word.confidence is not None:
            string.set("WC", share(word.confidence) or "0")
        if space == NAMESPACE:
            _glyphs(string, word, ids.new(f"{name}_w{number}", "word"), ids, place)
        before = box
    if not number:
        string = _add(element, "String", space, CONTENT="")
        place(string, box_of(line.polygon))
        if line.confidence is not None:
            string.set("WC", share(line.confidence) or "0")


def _glyphs(string: etree._Element, word: Word, name: str, ids: Ids, place: _fill.Place) -> None:
    string.set("ID", name)
    for number, glyph in enumerate(word.glyphs, 1):
        element = _add(string, "Glyph", ID=ids.new(f"{name}_{number}", "glyph"), CONTENT=clean(glyph.text))
        place(element, box_of(glyph.polygon))
        if glyph.confidence is not None:
            element.set("GC", share(glyph.confidence) or "0")


def _between(a: Box, b: Box) -> Box:
    """The gap between two boxes side by side or one below the other."""
    if abs(b[0] - a[0]) >= abs(b[1] - a[1]):
        first, second = sorted((a, b))
        return first[0] + first[2], first[1], max(second[0] - first[0] - first[2], 0), first[3]
    first, second = sorted((a, b), key=lambda box: box[1])
    return first[0], first[1] + first[3], first[2], max(second[1] - first[1] - first[3], 0)


def _add(parent: etree._Element, name: str, namespace: str | None = NAMESPACE, /, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{namespace}}}{name}" if namespace else name, attributes)


def _place(element: etree._Element, box: Box) -> None:
    for key, value in zip(("HPOS", "VPOS", "WIDTH", "HEIGHT"), box, strict=True):
        element.set(key, str(value))


def _points(points: np.ndarray) -> str:
    return " ".join(map(str, np.asarray(points).round().astype(int).ravel().tolist()))
