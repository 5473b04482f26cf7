"""What PAGE and ALTO say of a line beside its text: its kind, and words and letters with places and confidences."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from lxml import etree

from htr_ssl.layout.document import Glyph, Word

KINDS = ("main", "margin", "between", "vertical", "cell")
"""Kinds of lines that are known here; what else a file says stays in the file."""
_MARGINS = ("marginalia", "MarginTextZone")  # regions of PAGE and of SegmOnto that hold notes in the margin
_STRUCTURE = re.compile(r"structure\s*\{[^}]*type\s*:\s*(\w+)")

Outline = Callable[[etree._Element], np.ndarray]
Content = Callable[[etree._Element], tuple[str | None, float | None]]


def kind_of(element: etree._Element, tags: dict[str, str]) -> str | None:
    """Kind of a line: in `custom` of PAGE, or one of its tags in ALTO; `tags` are labels by id.

    A line without one is a note in the margin if its region is one.
    """
    own = next((name for name in _labels(element, tags) if name in KINDS), None)
    block = element.getparent()
    if own is None and block is not None and any(name in _MARGINS for name in _labels(block, tags)):
        return "margin"
    return own


def _labels(element: etree._Element, tags: dict[str, str]) -> list[str]:
    """What a line or region is called, without the finer kind that SegmOnto puts after a colon."""
    match = _STRUCTURE.search(element.get("custom") or "")
    tagged = [tags.get(name, "") for name in (element.get("TAGREFS") or "").split()]
    stated = [match[1] if match else "", element.get("type") or "", *tagged]
    return [name.split(":")[0] for name in stated]


def tags_of(root: etree._Element) -> dict[str, str]:
    """Labels of an ALTO file's tags by id."""
    return {tag.get("ID") or "": tag.get("LABEL") or "" for tags in root.iterfind("{*}Tags") for tag in tags}


def words_of_line(line: etree._Element, text: str | None, outline: Outline, content: Content) -> list[Word]:
    """Words of a line that a recognizer placed: each with a confidence, together the line's text; else none.

    Args:
        line: the element.
        text: of the line.
        outline: place of an element.
        content: text and confidence of an element.

    Raises:
        ValueError: a place is none.
    """
    elements = [child for child in line if etree.QName(child).localname in ("Word", "String")]
    words = []
    for element in elements:
        written, sure = content(element)
        place = outline(element)
        if written is None or sure is None or not len(place):
            return []
        words.append(Word(written, place, sure, _glyphs(element, outline, content)))
    return words if " ".join(word.text for word in words) == text else []


def _glyphs(word: etree._Element, outline: Outline, content: Content) -> list[Glyph]:
    glyphs = []
    for element in word.iterfind("{*}Glyph"):
        text, sure = content(element)
        place = outline(element)
        if text is not None and len(place):
            glyphs.append(Glyph(text, place, sure))
    return glyphs
