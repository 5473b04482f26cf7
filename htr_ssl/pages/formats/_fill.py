"""A PAGE or ALTO file that lines come from, opened to have their text filled in; everything else in it stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree

from htr_ssl.errors import UserError
from htr_ssl.layout.document import Line, Page
from htr_ssl.layout.xml_lines import lines_of

Place = Callable[[etree._Element, tuple[int, int, int, int]], None]
_SAFE: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}


class Filled:
    """The tree of such a file.

    Attributes:
        root: its root element.
        factors: pixels of the file for one pixel of the image, across and down.
        pixels: whether the file measures in pixels.
    """

    def __init__(self, root: etree._Element, page: Page) -> None:
        self.root = root
        sheet = next(root.iter("{*}Page"))
        stated = [
            _number(sheet.get(a) or sheet.get(b)) for a, b in (("imageWidth", "WIDTH"), ("imageHeight", "HEIGHT"))
        ]
        sizes = (page.width, page.height)
        self.factors = np.array(
            [have / size if have and size else 1.0 for have, size in zip(stated, sizes, strict=True)]
        )
        unit = (root.findtext("{*}Description/{*}MeasurementUnit") or "pixel").strip()
        self.pixels = unit == "pixel"

    def lines(self, page: Page) -> Iterator[tuple[Line, etree._Element]]:
        """Lines of the page with their elements."""
        elements = dict(line_names(self.root))
        for line in page.lines:
            if line.id in elements:
                yield line, elements[line.id]

    def ids(self) -> set[str]:
        """All ids of the file."""
        return {value for element in self.root.iter("*") for key in ("id", "ID") if (value := element.get(key))}

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points of the image in the file's pixels."""
        return np.asarray(points * self.factors)

    def place(self, element: etree._Element, box: tuple[int, int, int, int]) -> None:
        """Sets the box of an ALTO element; files in other units than pixels get none."""
        if self.pixels:
            across, down = (float(factor) for factor in self.factors)
            for key, value, factor in zip(
                ("HPOS", "VPOS", "WIDTH", "HEIGHT"), box, (across, down, across, down), strict=True
            ):
                element.set(key, str(round(value * factor)))


def open_tree(page: Page, kind: str) -> Filled | None:
    """The file of the page's lines if it is of this kind (page, alto), else None."""
    if page.xml is None or not page.xml.is_file():
        return None
    root = etree.fromstring(page.xml.read_bytes(), etree.XMLParser(remove_blank_text=True, **_SAFE))
    name = {"PcGts": "page", "alto": "alto"}.get(etree.QName(root).localname)
    return Filled(root, page) if name == kind else None


def texts(path: Path) -> dict[str, str]:
    """Line ids and texts of a file that somebody may have corrected; its image need not be there.

    Raises:
        UserError: it is no longer whole.
    """
    try:
        root = etree.fromstring(path.read_bytes(), etree.XMLParser(**_SAFE))
        lines = lines_of(next(root.iter("{*}Page")), 0)
    except (etree.XMLSyntaxError, ValueError, StopIteration) as error:
        raise UserError(f"{path}: it is no longer a whole file of a page ({error}); mend it") from error
    return {line.id: " ".join((line.text or "").split()) for line in lines}


def line_names(root: etree._Element) -> Iterator[tuple[str, etree._Element]]:
    """Every line's element with the id that reading the file gives it: its own, or a number where that is no id."""
    used: set[str] = set()
    for position, element in enumerate(next(root.iter("{*}Page")).iter("{*}TextLine"), 1):
        name = element.get("id") or element.get("ID") or ""
        number = position
        while not name or name in used:
            name = f"line_{number}"
            number += 1
        used.add(name)
        yield name, element


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0
