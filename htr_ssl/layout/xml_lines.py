"""Lines of one page element of PAGE or ALTO: order, outline, baseline and text, whatever the version's namespace."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from lxml import etree

from htr_ssl.layout import orientation
from htr_ssl.layout.document import Line
from htr_ssl.layout.estimate import estimate
from htr_ssl.layout.xml_words import kind_of, tags_of, words_of_line

MAX_COORDINATE = 1e6
"""Largest absolute coordinate believed [px]."""


def lines_of(page: etree._Element, height: int, words: bool = False, refused: list[str] | None = None) -> list[Line]:
    """Lines in reading order, with ids that are unique and outlines that enclose something.

    Args:
        page: the element of the page.
        height: of the page, if stated, else 0 [px].
        words: words instead of lines, `Line.region` is their line's id; none where a line has no boxes of single words.
        refused: takes a sentence for each line or word with a position that cannot be used, which is then left out.

    Raises:
        ValueError: `refused` is not given and a number is none or beyond `MAX_COORDINATE`, or a line has no position.
    """
    ranks: dict[str, int] = {}
    for reference in _references(page.getroottree().getroot()):
        ranks.setdefault(reference, len(ranks))
    found: list[tuple[tuple[object, ...], Line, etree._Element]] = []
    used: set[str] = set()
    tags = tags_of(page.getroottree().getroot())
    places: dict[etree._Element | None, int] = {}  # of blocks, in the order of the file
    for position, element in enumerate(page.iter("{*}TextLine")):
        block = element.getparent()
        region = _id(block) if block is not None and _has_place(block) else None
        try:
            line = Line(_id(element) or "", _outline(element), _baseline(element), region, *_text(element))
            if not len(line.polygon) and line.baseline is None:
                raise ValueError(f"line {line.id or position + 1} has no position")
            line.orientation = orientation.stated(element, line.polygon)
            line.kind = kind_of(element, tags)
            line.words = words_of_line(element, line.text, _outline, _content)
        except ValueError as error:
            if refused is None:
                raise
            refused.append(f"line {_id(element) or position + 1} is left out ({error})")
            continue
        at_end = next(element.iterancestors("{*}BottomMargin"), None) is not None
        place = 0 if block is None else _custom_rank(block), places.setdefault(block, len(places))
        named = (_id(above) or "" for above in (element, *element.iterancestors()))
        rank = next((ranks[name] for name in named if name in ranks), len(ranks))
        if not line.id or line.id in used:
            line = replace(line, id=next(name for name in _numbered("line", position + 1) if name not in used))
        used.add(line.id)
        found.append(((at_end, rank, place, _custom_rank(element)), line, element))
    found.sort(key=lambda entry: entry[0])
    if words:
        return _all_words([(line, element) for _, line, element in found], refused)
    lines = [line for _, line, _ in found]
    estimate(lines, height)
    return lines


def _all_words(lines: list[tuple[Line, etree._Element]], refused: list[str] | None) -> list[Line]:
    """Words of all lines; how many lines with a text have none is said in one sentence."""
    found: list[Line] = []
    bare = 0
    for line, element in lines:
        own = list(_words(element, line.id, refused))
        steep = orientation.along(line.baseline)
        for word in own:
            word.orientation = line.orientation if steep is None else steep
        bare += bool(line.text) and not own
        found += own
    if bare and refused is not None:
        refused.append(f"there are no boxes of single words in {bare} of its {len(lines)} lines, these are left out")
    return found


def _words(line: etree._Element, name: str, refused: list[str] | None) -> Iterator[Line]:
    """Words of a line that have a position of their own; a box around several words is none."""
    elements = [child for child in line if local_name(child) in ("Word", "String")]
    for number_, element in enumerate(elements, start=1):
        try:
            outline = _outline(element)
            text, confidence = _content(element)
        except ValueError as error:
            if refused is None:
                raise
            refused.append(f"word {_id(element) or number_} of line {name} is left out ({error})")
            continue
        if len(outline) and len((text or "").split()) <= 1:
            yield Line(f"{name}_{number_}", outline, None, name, text, confidence)


def _content(string: etree._Element) -> tuple[str | None, float | None]:
    """Text and confidence of a word or letter."""
    if string.get("CONTENT") is None:
        return _text(string)
    return _stated(string.get("CONTENT")), _share(string.get("WC") or string.get("GC"))


def local_name(element: etree._Element) -> str:
    """Name of an element without its namespace."""
    return etree.QName(element).localname


def _id(element: etree._Element) -> str | None:
    return element.get("id") or element.get("ID")


def _numbered(stem: str, first: int) -> Iterator[str]:
    while True:
        yield f"{stem}_{first}"
        first += 1


def _has_place(block: etree._Element) -> bool:
    """Whether a block is more than a container: ALTO blocks without a position hold the lines that have no region."""
    return local_name(block) != "TextBlock" or block.get("HPOS") is not None or block.find("{*}Shape") is not None


def _references(root: etree._Element) -> Iterator[str]:
    """Ids in the stated reading order: PAGE 2013 ff. and ALTO 4.3 ff.; groups may be nested."""
    for element in root.iter("{*}ReadingOrder"):
        yield from _group(element)


def _group(element: etree._Element) -> Iterator[str]:
    reference = element.get("regionRef") or element.get("REF")
    if reference:
        yield reference
    for child in sorted(element, key=_index):
        yield from _group(child)


def _custom_rank(element: etree._Element) -> int:
    """Place of a line within its region, or of a region on its page, as Transkribus writes it, else 0."""
    match = re.search(r"readingOrder\s*\{\s*index\s*:\s*(\d{1,9})", element.get("custom") or "")
    return int(match[1]) if match else 0


def _outline(element: etree._Element) -> np.ndarray:
    """Polygon of a line, else the box of the line or of its words; without points if there is none."""
    shape = element.find("{*}Coords")
    shape = element.find("{*}Shape/{*}Polygon") if shape is None else shape
    if shape is not None:
        points = _stated_points(shape)
        if len(points) >= 3 and np.ptp(points, axis=0).all():
            return points
    values = _boxes([element])
    if not values[:, 2:].all(1).any():
        values = _boxes([element, *element.iterchildren("{*}String")])
    if not len(values):
        return np.empty((0, 2))
    (left, top), (right, bottom) = values[:, :2].min(0), (values[:, :2] + values[:, 2:]).max(0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _boxes(elements: list[etree._Element]) -> np.ndarray:
    """Left, top, width and height of those elements that have a box, (N, 4)."""
    boxes = [box for box in elements if box.get("HPOS") and box.get("WIDTH")]
    values = [[number(box.get(key) or "0") for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")] for box in boxes]
    return np.array(values).reshape(-1, 4)


def _baseline(element: etree._Element) -> np.ndarray | None:
    """Baseline of a line; ALTO 2 and 3 state only its height."""
    baseline = element.find("{*}Baseline")
    if baseline is not None:
        points = _stated_points(baseline)
        return points if len(points) >= 2 else None
    text = element.get("BASELINE")
    if not text or not text.strip():
        return None
    if re.fullmatch(r"[^\s,]+", text.strip()):
        left, width = (number(element.get(key) or "0") for key in ("HPOS", "WIDTH"))
        return np.array([[left, number(text)], [left + width, number(text)]]) if width else None
    points = _points(text)
    return points if len(points) >= 2 else None


def _stated_points(element: etree._Element) -> np.ndarray:
    """Points of an outline or baseline: an attribute, or elements as in PAGE 2010."""
    stated = element.get("points") or element.get("POINTS")
    if stated is None:
        stated = " ".join(f"{point.get('x')},{point.get('y')}" for point in element.findall("{*}Point"))
    return _points(stated)


def _points(text: str) -> np.ndarray:
    """Points (K, 2) of "x,y x,y" or "x y x y"."""
    values = [number(value) for value in re.split(r"[\s,]+", text.strip()) if value]
    if len(values) % 2:
        raise ValueError(f"odd number of coordinates in {text[:40]!r}")
    return np.array(values).reshape(-1, 2)


def number(text: str) -> float:
    """Finite number of an attribute [px]."""
    value = float(text)
    if not math.isfinite(value) or abs(value) > MAX_COORDINATE:
        raise ValueError(f"{text[:40]} is no position on a page")
    return value


def _text(element: etree._Element) -> tuple[str | None, float | None]:
    """Transcription of a line and its confidence."""
    strings = [child for child in element if local_name(child) in ("String", "SP", "HYP")]
    if strings:
        gap = "" if any(local_name(child) == "SP" for child in strings) else " "
        parts: list[str] = []
        for child in strings:
            glue = "" if local_name(child) == "HYP" or not parts else gap
            parts.append(glue + (" " if local_name(child) == "SP" else child.get("CONTENT") or ""))
        scores = [score for child in strings if (score := _share(child.get("WC"))) is not None]
        return _stated("".join(parts)), float(np.mean(scores)) if scores else None
    for equivalent in sorted(element.findall("{*}TextEquiv"), key=_index):
        text = _stated(equivalent.findtext("{*}Unicode")) or _stated(equivalent.findtext("{*}PlainText"))
        if text:
            return text, _share(equivalent.get("conf"))
    words = [_text(word)[0] or "" for word in element.findall("{*}Word")]
    return _stated(" ".join(words)), None


def _index(element: etree._Element) -> float:
    """Rank that an element states; 0 if it states none that can be used."""
    value = _usable(element.get("index"))
    return 0.0 if value is None else value


def _usable(text: str | None) -> float | None:
    """Finite number, None if the text is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _stated(text: str | None) -> str | None:
    """Text without the line breaks and spaces that are the XML's layout, None if nothing is left."""
    return " ".join(re.split(r"[ \t\r\n]+", text.strip(" \t\r\n"))) or None if text else None


def _share(text: str | None) -> float | None:
    """Confidence; None if it is no number in [0, 1], which never decides about a text."""
    value = _usable(text)
    return value if value is not None and 0 <= value <= 1 else None
