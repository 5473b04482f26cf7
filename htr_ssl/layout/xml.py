"""PAGE (2013, 2019 and their kin) and ALTO 2-4 files become pages: lines with outline, baseline, region and text.

The files are taken as untrusted: no DTD, no entity, no network, a bounded size, and no image outside the file's folder.
"""

from __future__ import annotations

import re
from pathlib import Path, PureWindowsPath
from typing import Any, Literal, cast

from lxml import etree

from htr_ssl.errors import UserError
from htr_ssl.folders import is_image, natural
from htr_ssl.layout.document import Page
from htr_ssl.layout.xml_lines import lines_of, local_name, number

MAX_BYTES = 64 << 20
"""Largest XML file read [bytes]."""
FOLDERS = ("page", "alto")
"""Folders whose images lie one level up, as Transkribus exports them, or in one of `IMAGES` beside."""
IMAGES = ("Images", "images")
"""Folders beside `page` that hold the images, as in READ 2016."""

_SAFE: dict[str, Any] = {"resolve_entities": False, "no_network": True, "load_dtd": False, "huge_tree": False}
_HEAD_BYTES = 1 << 16


def read_xml(path: Path, words: bool = False, refused: list[str] | None = None) -> Page:
    """Page described by a PAGE or ALTO file, its lines (or words) in reading order.

    The image is the one the file names, if it lies in the file's folder or below, else the image of the same name or
    stem in that folder (or, from a folder `page` or `alto`, one level up or in `Images` beside). If there is none,
    `Page.image` is the path at which it was expected. Width and height are those the file states, 0 if it states none.
    A line without an outline gets its box, else a band around its baseline. `words` and `refused` are those of
    `lines_of`.

    Raises:
        UserError: damaged, too large, of another kind, not measured in pixels, or its image's path leads out of its
            folder.
    """
    path = Path(path)
    root = _parse(path)
    kind = _kind(root.tag)
    if kind is None:
        raise UserError(f"{path}: the root element is {local_name(root)!r}; expected PAGE (PcGts) or ALTO (alto)")
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
        width, height = (round(number(value or "0")) for value in size)
        lines = lines_of(page, height, words, refused)
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
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); check the path") from error
    try:
        root = etree.fromstring(data, etree.XMLParser(remove_comments=True, remove_pis=True, **_SAFE))
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: this is not whole XML ({error.msg}); export or copy it again") from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise UserError(f"{path}: it declares a document type, which PAGE and ALTO never do; remove the DOCTYPE")
    return root


def _kind(tag: str) -> Literal["page", "alto"] | None:
    """Kind by the element's name alone: exports have all kinds of namespaces, and some have none."""
    return {"PcGts": "page", "alto": "alto"}.get(etree.QName(tag).localname)  # type: ignore[return-value]


def _image(path: Path, name: str | None) -> Path:
    """Image of an XML file, never outside its folder, see `read_xml`."""
    folder = path.parent
    named = PureWindowsPath((name or "").strip())  # knows both kinds of slashes
    inside = bool(named.parts) and not named.anchor and ".." not in named.parts
    if inside and _is_file(folder / named.as_posix()):
        return folder / named.as_posix()
    stems = {path.stem, path.name.split(".", 1)[0]}
    beside = (folder.parent, *(folder.parent / name for name in IMAGES)) if folder.name.lower() in FOLDERS else ()
    for place in (folder, *beside):
        if named.name and _is_file(place / named.name):
            return place / named.name
        same = [image for stem in stems for image in place.glob(f"{_escape(stem)}.*")]
        images = sorted((image for image in same if is_image(image) and image.stem in stems), key=_by_name)
        if images:
            return images[0]
    if named.parts and not inside:
        raise UserError(f"{path}: its image {name!r} is not in the file's own folder; put the image beside the file")
    return folder / (named.as_posix() if inside else f"{path.stem}.jpg")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no name a file can have
        return False


def _escape(stem: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", stem)


def _by_name(path: Path) -> tuple[tuple[int, str], ...]:
    return natural(path.name)
