"""XML of foreign make, parsed without trusting it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lxml import etree

from htr_ssl.errors import UserError

MAX_BYTES = 256 << 20
"""Largest XML file parsed [bytes]: RIMES has one file for all pages."""


def parse(path: Path) -> etree._Element:
    """Root element; no entity is resolved, nothing is fetched, a document type is refused.

    Raises:
        UserError: unreadable, too large, or not whole.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: the file is larger than {MAX_BYTES >> 20} MiB; split it")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); check the path") from error
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise UserError(f"{path}: this is not whole XML ({error.msg}); copy it again") from error
    dtd: Any = root.getroottree().docinfo.internalDTD
    if dtd is not None and any(True for _ in dtd.iterentities()):
        raise UserError(f"{path}: it declares entities; remove them")
    return root
