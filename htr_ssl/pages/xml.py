"""PAGE (2013, 2019 and their kin) and ALTO 2-4 files become pages: lines with outline, baseline, region and text.

The files are taken as untrusted: no DTD, no entity, no network, a bounded size, and no image outside the file's folder.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import Literal

import numpy as np
from lxml import etree

from htr_ssl.data.readers._common import clean_text, is_image, natural
from htr_ssl.errors import UserError
from htr_ssl.pages.document import Line, Page

MAX_BYTES = 64 << 20
"""Largest XML file read [bytes]."""
MAX_COORDINATE = 1e6
"""Largest absolute coordinate believed [px]."""
FOLDERS = ("page", "alto")
"""Folders whose images lie one level up, as Transkribus exports them."""

_SAFE = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
_HEAD_BYTES = 1 << 16


def read_xml(path: Path) -> Page:
    """Page described by a PAGE or ALTO file, its lines in reading order.

    The image is the one the file names, if it lies in the file's folder or below, else the image of the same name or
    stem in that folder (or one level up from a folder `page` or `alto`). If there is none, `Page.image` is the path at
    which it was expected. Width and height are those the file states, 0 if it states none. A line without an outline
    gets its box, else a band around its baseline.

    Raises:
        UserError: damaged, too large, of another kind, not measured in pixels, or its image's path leads out of its
            folder.
    """
    path = Path(path)
    root = _parse(path)
    kind = _kind(root.tag)
    if kind is None:
        raise UserError(f"{path}: the root element is {_local(root)!r}; expected PAGE (PcGts) or ALTO (alto)")
    pages = list(root.iter("{*}Page"))
    if len(pages) != 1:
        raise UserError(f"{path}: it describes {len(pages)} pages; expected one page a file, split it")
    page = pages[0]
    if kind == "page":
        name, size = page.get("imageFilename"), (page.get("imageWidth"), page.get("imageHeight"))
    else:
        unit = (root.findtext("{*}Description/{*}MeasurementUnit") or "pixel").strip()
        if unit != "pixel":
            raise UserError(f"{path}: positions are measured in {unit!r}; expected pixels, export it again with them")
        name = root.findtext("{*}Description/{*}sourceImageInformation/{*}fileName")
        size = (page.get("WIDTH"), page.get("HEIGHT"))
    try:
        width, height = (round(_number(value or "0")) for value in size)
        lines = _lines(page, height)
    except ValueError as error:
        raise UserError(f"{path}: the file is damaged ({error}); export it again") from error
    return Page(_image(path, name), width, height, lines)


def is_page_xml(path: Path) -> bool:
    """Whether the root element is that of PAGE or ALTO; reads only the file's head."""
    return root_kind(path) in ("page", "alto")


def root_kind(path: Path) -> Literal["page", "alto", "other", "damaged"]:
    """What the root element says the file is; damaged if no root element can be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return "damaged"
    parser = etree.XMLPullParser(events=("start",), **_SAFE)
    for start in range(0, len(head), 512):
        try:
            parser.feed(head[start : start + 512])
        except etree.XMLSyntaxError:
            start = len(head)
        for _, element in parser.read_events():
            return _kind(element.tag) or "other"
        if start == len(head):
            break
    return "damaged"


def _parse(path: Path) -> etree._Element:
    """Root element of a well-formed file without a document type."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: the file is larger than {MAX_BYTES >> 20} MiB; expected the XML of one page")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); check the path") from error
    try:
        root = etree.fromstring(data, etree.XMLParser(remove_comments=True, remove_pis=True, **_SAFE))
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: this is not whole XML ({error.msg}); export or copy it again") from error
    if root.getroottree().docinfo.doctype or root.getroottree().docinfo.internalDTD is not None:
        raise UserError(f"{path}: it declares a document type, which PAGE and ALTO never do; remove the DOCTYPE")
    return root


def _kind(tag: str) -> Literal["page", "alto"] | None:
    name = etree.QName(tag)
    if name.localname == "PcGts" and "/PAGE/gts/pagecontent/" in (name.namespace or ""):
        return "page"
    return "alto" if name.localname == "alto" else None


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname


def _image(path: Path, name: str | None) -> Path:
    """Image of an XML file, never outside its folder, see `read_xml`."""
    folder = path.parent
    named = PureWindowsPath((name or "").strip())  # knows both kinds of slashes
    inside = bool(named.parts) and not named.anchor and ".." not in named.parts
    if inside and (folder / named.as_posix()).is_file():
        return folder / named.as_posix()
    stems = {path.stem, path.name.split(".", 1)[0]}
    for place in (folder, folder.parent) if folder.name.lower() in FOLDERS else (folder,):
        if named.name and (place / named.name).is_file():
            return place / named.name
        same = [image for stem in stems for image in place.glob(f"{_escape(stem)}.*")]
        images = sorted((image for image in same if is_image(image) and image.stem in stems), key=_by_name)
        if images:
            return images[0]
    if named.parts and not inside:
        raise UserError(f"{path}: its image {name!r} is not in the file's own folder; put the image beside the file")
    return folder / (named.as_posix() if inside else f"{path.stem}.jpg")


def _escape(stem: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", stem)


def _by_name(path: Path) -> tuple[tuple[int, str], ...]:
    return natural(path.name)


def _lines(page: etree._Element, height: int) -> list[Line]:
    """Lines in reading order, with ids that are unique and outlines that enclose something."""
    ranks = {reference: rank for rank, reference in enumerate(_references(page.getroottree().getroot()))}
    found = []
    used: set[str] = set()
    for number, element in enumerate(page.iter("{*}TextLine")):
        block = element.getparent()
        region = _id(block) if block is not None and _has_place(block) else None
        line = Line(_id(element) or "", _outline(element), _baseline(element), region, *_text(element))
        at_end = next(element.iterancestors("{*}BottomMargin"), None) is not None
        rank = ranks.get(line.id, ranks.get(region or "", len(ranks)))
        if not line.id or line.id in used:
            line = replace(line, id=next(name for name in _numbered("line", number + 1) if name not in used))
        used.add(line.id)
        found.append(((at_end, rank, _custom_rank(element)), line))
    lines = [line for _, line in sorted(found, key=lambda pair: pair[0])]
    heights = [float(np.ptp(line.polygon[:, 1])) for line in lines if len(line.polygon)]
    band = float(np.median(heights)) if heights else height / 40
    for line in lines:
        if not len(line.polygon):
            if line.baseline is None:
                raise ValueError(f"line {line.id} has no position")
            line.polygon = np.concatenate([line.baseline - [0, 0.75 * band], line.baseline[::-1] + [0, 0.25 * band]])
    return lines


def _id(element: etree._Element) -> str | None:
    return element.get("id") or element.get("ID")


def _numbered(stem: str, first: int) -> Iterator[str]:
    while True:
        yield f"{stem}_{first}"
        first += 1


def _has_place(block: etree._Element) -> bool:
    """Whether a block is more than a container: ALTO blocks without a position hold the lines that have no region."""
    return _local(block) != "TextBlock" or block.get("HPOS") is not None or block.find("{*}Shape") is not None


def _references(root: etree._Element) -> Iterator[str]:
    """Ids in the stated reading order: PAGE 2013 ff. and ALTO 4.3 ff.; groups may be nested."""
    for element in root.iter("{*}ReadingOrder"):
        yield from _group(element)


def _group(element: etree._Element) -> Iterator[str]:
    reference = element.get("regionRef") or element.get("REF")
    if reference:
        yield reference
    for child in sorted(element, key=lambda child: _number(child.get("index") or "0")):
        yield from _group(child)


def _custom_rank(element: etree._Element) -> int:
    """Place of a line within its region as Transkribus writes it, else 0."""
    match = re.search(r"readingOrder\s*\{\s*index\s*:\s*(\d{1,9})", element.get("custom") or "")
    return int(match[1]) if match else 0


def _outline(element: etree._Element) -> np.ndarray:
    """Polygon of a line, else the box of the line or of its words; without points if there is none."""
    shape = element.find("{*}Coords")
    shape = element.find("{*}Shape/{*}Polygon") if shape is None else shape
    if shape is not None:
        points = _points(shape.get("points") or shape.get("POINTS") or "")
        if len(points) >= 3:
            return points
    boxes = [box for box in (element, *element.iterchildren("{*}String")) if box.get("HPOS") and box.get("WIDTH")]
    if not boxes:
        return np.empty((0, 2))
    values = np.array([[_number(box.get(key) or "0") for key in ("HPOS", "VPOS", "WIDTH", "HEIGHT")] for box in boxes])
    if values[0, 2:].all() and boxes[0] is element:
        values = values[:1]
    (left, top), (right, bottom) = values[:, :2].min(0), (values[:, :2] + values[:, 2:]).max(0)
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def _baseline(element: etree._Element) -> np.ndarray | None:
    """Baseline of a line; ALTO 2 and 3 state only its height."""
    baseline = element.find("{*}Baseline")
    text = element.get("BASELINE") if baseline is None else baseline.get("points")
    if not text or not text.strip():
        return None
    if re.fullmatch(r"[^\s,]+", text.strip()):
        left, width = (_number(element.get(key) or "0") for key in ("HPOS", "WIDTH"))
        return np.array([[left, _number(text)], [left + width, _number(text)]]) if width else None
    points = _points(text)
    return points if len(points) >= 2 else None


def _points(text: str) -> np.ndarray:
    """Points (K, 2) of "x,y x,y" or "x y x y"."""
    values = [_number(value) for value in re.split(r"[\s,]+", text.strip()) if value]
    if len(values) % 2:
        raise ValueError(f"odd number of coordinates in {text[:40]!r}")
    return np.array(values).reshape(-1, 2)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or abs(value) > MAX_COORDINATE:
        raise ValueError(f"{text[:40]} is no position on a page")
    return value


def _text(element: etree._Element) -> tuple[str | None, float | None]:
    """Transcription of a line and its confidence."""
    strings = [child for child in element if _local(child) in ("String", "SP", "HYP")]
    if strings:
        gap = "" if any(_local(child) == "SP" for child in strings) else " "
        parts = []
        for child in strings:
            glue = "" if _local(child) == "HYP" or not parts else gap
            parts.append(glue + (" " if _local(child) == "SP" else child.get("CONTENT") or ""))
        scores = [_number(child.get("WC") or "") for child in strings if child.get("WC")]
        return clean_text("".join(parts)), _share(float(np.mean(scores))) if scores else None
    equivalents = sorted(element.findall("{*}TextEquiv"), key=lambda item: _number(item.get("index") or "0"))
    if equivalents:
        confidence = equivalents[0].get("conf")
        text = equivalents[0].findtext("{*}Unicode")
        return clean_text(text), _share(_number(confidence)) if confidence else None
    words = [_text(word)[0] or "" for word in element.findall("{*}Word")]
    return clean_text(" ".join(words)), None


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)
