"""ALTO 4 XML, as libraries and eScriptorium read it: lines with outline and baseline, words with estimated boxes.

A line's length is shared out to its words and spaces in proportion to their characters; every word carries the line's
confidence as WC. Lines without a region stand in a block without a position.
"""

from __future__ import annotations

import re
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from lxml import etree

from htr_ssl import __version__
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Line, Page

EXTENSION = ".alto.xml"
NAMESPACE = "http://www.loc.gov/standards/alto/ns-v4#"

_SCHEMA = "http://www.loc.gov/standards/alto/v4/alto-4-2.xsd"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(page: Page, path: Path) -> None:
    """Writes the page; coordinates are rounded to pixels and characters that XML forbids are left out."""
    spaces: dict[str | None, str] = {None: NAMESPACE, "xsi": _INSTANCE}
    root = etree.Element(f"{{{NAMESPACE}}}alto", {"SCHEMAVERSION": "4.2"}, nsmap=spaces)  # type: ignore[arg-type]
    root.set(f"{{{_INSTANCE}}}schemaLocation", f"{NAMESPACE} {_SCHEMA}")
    _description(root, page)
    size = {"WIDTH": str(page.width), "HEIGHT": str(page.height)}
    ids = _Ids("page", "ocr")
    sheet = _add(_add(root, "Layout"), "Page", ID="page", PHYSICAL_IMG_NR="1", PROCESSING="ocr", **size)
    space = _add(sheet, "PrintSpace", HPOS="0", VPOS="0", **size)
    names = [ids.new(line.id, "line") for line in page.lines]
    for region, members in groupby(zip(page.lines, names, strict=True), key=lambda pair: pair[0].region):
        pairs = list(members)
        block = _add(space, "TextBlock", ID=ids.new(region or "lines", "block"))
        if region is not None:
            _place(block, _box(np.concatenate([line.polygon for line, _ in pairs])))
        for line, name in pairs:
            _line(block, line, name)
    write_bytes(path, etree.tostring(root, encoding="UTF-8", xml_declaration=True, pretty_print=True))


class _Ids:
    """Hands out valid XML ids, each once."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)

    def new(self, wanted: str, prefix: str) -> str:
        """`wanted`, made valid and unique."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", wanted)
        if not re.match(r"[A-Za-z_]", name):
            name = f"{prefix}_{name}"
        result, number = name, 1
        while result in self._taken:
            number += 1
            result = f"{name}_{number}"
        self._taken.add(result)
        return result


def _description(root: etree._Element, page: Page) -> None:
    description = _add(root, "Description")
    _add(description, "MeasurementUnit").text = "pixel"
    _add(_add(description, "sourceImageInformation"), "fileName").text = _clean(page.image.name)
    step = _add(_add(description, "OCRProcessing", ID="ocr"), "ocrProcessingStep")
    software = _add(step, "processingSoftware")
    _add(software, "softwareName").text = "htr_ssl"
    _add(software, "softwareVersion").text = __version__


def _line(block: etree._Element, line: Line, name: str) -> None:
    """Adds a line with its words; a line without text gets one empty word, which the schema asks for."""
    element = _add(block, "TextLine", ID=name)
    _place(element, _box(line.polygon))
    if line.baseline is not None:
        element.set("BASELINE", _points(line.baseline))
    _add(_add(element, "Shape"), "Polygon", POINTS=_points(line.polygon))
    words = _clean(line.text or "").split() or [""]
    boxes = _shares(line, [length for word in words for length in (1, max(len(word), 1))][1:])
    for number, word in enumerate(words):
        if number:
            _place(_add(element, "SP"), boxes[2 * number - 1])
        string = _add(element, "String", CONTENT=word)
        _place(string, boxes[2 * number])
        if line.confidence is not None:
            string.set("WC", f"{min(max(float(line.confidence), 0.0), 1.0):.4f}")


def _shares(line: Line, lengths: list[int]) -> list[tuple[int, int, int, int]]:
    """Boxes that divide a line's box in proportion to `lengths`, along the direction in which it is written."""
    left, top, width, height = _box(line.polygon)
    across, down = (1, 0) if line.baseline is None else line.baseline[-1] - line.baseline[0]
    steep = abs(down) > abs(across)
    shares = np.cumsum([0, *lengths]) / sum(lengths)
    if (down if steep else across) < 0:
        shares = 1 - shares
    edges = ((top + height * shares) if steep else (left + width * shares)).round().astype(int).tolist()
    spans = [(min(pair), abs(pair[1] - pair[0])) for pair in pairwise(edges)]
    return [(left, start, width, size) if steep else (start, top, size, height) for start, size in spans]


def _add(parent: etree._Element, name: str, **attributes: str) -> etree._Element:
    return etree.SubElement(parent, f"{{{NAMESPACE}}}{name}", attributes)


def _place(element: etree._Element, box: tuple[int, int, int, int]) -> None:
    for key, value in zip(("HPOS", "VPOS", "WIDTH", "HEIGHT"), box, strict=True):
        element.set(key, str(value))


def _box(points: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, width and height [px]."""
    (left, top), (right, bottom) = points.min(0).round().astype(int), points.max(0).round().astype(int)
    return int(left), int(top), int(right - left), int(bottom - top)


def _points(points: np.ndarray) -> str:
    return " ".join(map(str, np.asarray(points).round().astype(int).ravel().tolist()))


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("", text)
