"""PAGE (2013, 2019 and their kin) and ALTO 2-4 files become pages: lines with outline, baseline, region and text.

The files are taken as untrusted: no DTD, no entity, no network, a bounded size, and no image outside the file's folder.
"""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath
from typing import Any, Literal, cast

from lxml import etree
from PIL import Image

from htr_ssl.errors import UserError
from htr_ssl.folders import is_image, natural
from htr_ssl.layout.document import Line, Page
from htr_ssl.layout.xml_lines import lines_of, local_name, number
from htr_ssl.partners import Images, partner

MAX_BYTES = 64 << 20
"""Largest XML file read [bytes]."""
FOLDERS = ("page", "alto")
"""Folders whose images lie one level up, as Transkribus exports them, or in one of `IMAGES` beside."""
IMAGES = ("Images", "images")
"""Folders beside `page` that hold the images, as in READ 2016."""

UNITS = {"pixel": 0.0, "mm10": 254.0, "inch1200": 1200.0}
"""Units of ALTO, each with how many of them an inch is."""

_SAFE: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
_HEAD_BYTES = 1 << 16


def read_xml(path: Path, words: bool = False, refused: list[str] | None = None, images: Images | None = None) -> Page:
    """Page described by a PAGE or ALTO file, its lines (or words) in reading order.

    The image is the one the file names (see `Images.find`), in the file's folder or in the folder of `images`; else
    one called like the file, in that folder (or, from a folder `page` or `alto`, one level up or in `Images` beside).
    If there is none, `Page.image` is the path at which it was expected. Width and height are those the file states, 0
    if it states none; positions in tenths of millimetres or 1/1200 inch are in the same unit as they, or in pixels
    by the image's resolution. A line without an outline gets its box, else one estimated from the baselines. `words`
    and `refused` are those of `lines_of`.

    Raises:
        UserError: damaged, too large, of another kind, measured in an unknown unit, or its image is outside of its
            folder or could be one of several.
    """
    path = path if isinstance(path, Path) else Path(path)
    root = _parse(path)
    kind = _kind(root.tag)
    if kind is None:
        raise UserError(f"{path}: the root element is {local_name(root)!r}; expected PAGE (PcGts) or ALTO (alto)")
    per_inch = 0.0
    pages = list(root.iter("{*}Page"))
    if len(pages) != 1:
        raise UserError(f"{path}: it describes {len(pages)} pages; expected one page a file, split it")
    page = pages[0]
    if kind == "page":
        name, size = page.get("imageFilename"), (page.get("imageWidth"), page.get("imageHeight"))
    else:
        unit = (root.findtext("{*}Description/{*}MeasurementUnit") or "pixel").strip()
        if unit not in UNITS:
            raise UserError(f"{path}: positions are measured in {unit!r}; expected pixels, export it again with them")
        per_inch = UNITS[unit]
        name = root.findtext("{*}Description/{*}sourceImageInformation/{*}fileName")
        size = (page.get("WIDTH"), page.get("HEIGHT"))
    try:
        width, height = (round(number(value or "0")) for value in size)
        lines = lines_of(page, height, words, refused)
    except ValueError as error:
        raise UserError(f"{path}: the file is damaged ({error}); export it again") from error
    image, sure = _image(path, name, images or Images(path), images is not None)
    if per_inch and not (width and height):
        _to_pixels(path, image, lines, per_inch)
    return Page(image, width, height, lines, sure=sure)


def is_page_xml(path: Path) -> bool:
    """Whether the root element is that of PAGE or ALTO; reads only the file's head."""
    return root_kind(path) in ("page", "alto")


def root_kind(path: Path) -> Literal["page", "alto", "other", "damaged"]:
    """What the root element says the file is; damaged if no root element can be read."""
    try:
        with path.open("rb") as file:
            head = _begun(file.read(_HEAD_BYTES))
    except OSError:
        return "damaged"
    parser = etree.XMLPullParser(events=("start",), **_SAFE)
    for start in range(0, len(head), 512):
        try:
            parser.feed(head[start : start + 512])
        except etree.XMLSyntaxError:
            start = len(head)
        for event in parser.read_events():
            return _kind(cast(etree._Element, event[1]).tag) or "other"
        if start == len(head):
            break
    return "damaged"


def _parse(path: Path) -> etree._Element:
    """Root element of a well-formed file without a document type."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: the file is larger than {MAX_BYTES >> 20} MiB; expected the XML of one page")
        data = _begun(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); check the path") from error
    try:
        root = etree.fromstring(data, etree.XMLParser(remove_comments=True, remove_pis=True, **_SAFE))
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: this is not whole XML ({error.msg}); export or copy it again") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise UserError(f"{path}: it declares a document type, which PAGE and ALTO never do; remove the DOCTYPE")
    return root


def _begun(data: bytes) -> bytes:
    """The file from its first bracket on: blank lines before the declaration, which XML forbids, are passed over."""
    plain = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    return plain if plain.startswith(b"<") else data


def _to_pixels(path: Path, image: Path, lines: list[Line], per_inch: float) -> None:
    """Positions in a unit of length become pixels by the resolution that the image states."""
    try:
        with image.open("rb") as file, Image.open(file) as picture:
            dots = float(picture.info.get("dpi", (0, 0))[0])
    except Exception:  # what is wrong with it is said when it is decoded
        dots = 0.0
    if not 20 <= dots <= 10_000:
        raise UserError(
            f"{path}: positions are lengths, but neither it states the page's size nor {image.name} its resolution; "
            "export it again with pixels"
        )
    for line in lines:
        line.polygon = line.polygon * (dots / per_inch)
        line.baseline = None if line.baseline is None else line.baseline * (dots / per_inch)
        line.words = []  # they are lengths too, and are read anew


def _kind(tag: str) -> Literal["page", "alto"] | None:
    """Kind by the element's name alone: exports have all kinds of namespaces, and some have none."""
    return {"PcGts": "page", "alto": "alto"}.get(etree.QName(tag).localname)  # type: ignore[return-value]


def _image(path: Path, name: str | None, images: Images, known: bool) -> tuple[Path, bool]:
    """Image of an XML file, see `read_xml`, and whether it is surely that; `known` if a person named the folder."""
    folder = path.parent
    name = (name or "").strip()
    beside = (folder.parent, *(folder.parent / name for name in IMAGES)) if folder.name.lower() in FOLDERS else ()
    found, sure = images.search(folder, name) if name else ([], False)
    if sure:
        return found[0], True
    last = PureWindowsPath(name).name
    for place in beside:
        if last and _is_file(place / last):
            return place / last, True
    if len(found) > 1:
        several = ", ".join(str(image.relative_to(images.root)) for image in found[:3])
        raise UserError(f"{path}: its image {name!r} could be {several}; keep one of them, or name it with its folder")
    if found:
        return found[0], False
    for place in (folder, *beside):
        near = [image for image in place.glob("*") if is_image(image)] if place.is_dir() else []
        own, same = partner(path.name, path.suffix, sorted(near, key=_by_name))
        if own is not None:
            return own, same and not name
    named = PureWindowsPath(name)
    inside = bool(named.parts) and not named.anchor and ".." not in named.parts
    if named.parts and not inside:
        raise UserError(
            f"{path}: its image {name!r} is not in the file's own folder; put the image beside the file"
            f"{_wider(folder, name) if known else ''}"
        )
    return folder / (named.as_posix() if inside else f"{path.stem}.jpg"), True


def _wider(folder: Path, name: str) -> str:
    """The folder that holds a file's folder and its image, to be given in place of the file's; empty if none does."""
    image = os.path.abspath(folder / name)
    if PureWindowsPath(name).anchor or not (folder.is_dir() and os.path.isfile(image)):
        return ""
    return f", or give the folder that holds both: {os.path.commonpath([folder.absolute(), image])}"


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no name a file can have
        return False


def _by_name(path: Path) -> tuple[tuple[int, str], ...]:
    return natural(path.name)
