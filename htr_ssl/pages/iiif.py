"""IIIF manifests (Presentation 2 and 3) from a file or a URL: their pages' images, fetched once into a folder.

Bounded: size of a manifest and of an image, number of pages, seconds of waiting; http and https alone. A manifest in a
file may name images beside it or below by relative paths.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from htr_ssl.errors import UserError
from htr_ssl.files import sha256, write_bytes
from htr_ssl.folders import inside

MAX_MANIFEST = 64 << 20
"""Largest manifest [bytes]."""
MAX_IMAGE = 256 << 20
"""Largest image that is fetched [bytes]."""
MAX_PAGES = 10_000
"""Most pages of a manifest."""
TIMEOUT = 60
"""Longest wait for an answer [s]."""


def is_manifest(item: str | Path) -> bool:
    """Whether an input is a URL, or a JSON file that says it is a manifest."""
    if is_url(str(item)):
        return True
    path = Path(item)
    try:
        if path.suffix.lower() != ".json" or not path.is_file():
            return False
        with path.open("rb") as file:
            return b"iiif.io/api/presentation" in file.read(4096)
    except OSError:
        return False


def is_url(text: str) -> bool:
    """Whether it is an address of the web; also one whose double slash a path has swallowed."""
    return text.startswith(("http:/", "https:/"))


def images_of(item: str | Path) -> tuple[str, list[str]]:
    """Name of a manifest's volume and the addresses (or paths) of its pages' images, in order.

    Raises:
        UserError: it cannot be read or fetched, or is no manifest with images.
    """
    name = _address(str(item)) if is_url(str(item)) else str(item)
    try:
        data = _fetch(name, MAX_MANIFEST) if is_url(name) else _read(Path(item))
        manifest = json.loads(data)
        found = list(_bodies(manifest))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise UserError(
            f"{name}: this is not a IIIF manifest of version 2 or 3 ({error}); check the address"
        ) from error
    if not found:
        raise UserError(f"{name}: the manifest names no image; give one of a digitised book")
    if len(found) > MAX_PAGES:
        raise UserError(f"{name}: the manifest has more than {MAX_PAGES} pages; split it")
    stem = Path(urllib.parse.urlparse(name).path).stem if is_url(name) else Path(item).stem
    if is_url(name) and stem in ("manifest", ""):
        stem = Path(urllib.parse.urlparse(name).path).parent.name or "manifest"
    return stem, found


def place_of(image: str, manifest: str | Path, cache: Path) -> Path:
    """The file of an image of a manifest: its own beside the manifest, or the one that it is fetched into.

    Raises:
        UserError: it lies outside of the manifest's folder.
    """
    if not is_url(image):
        path = None if is_url(str(manifest)) else inside(Path(manifest).parent, urllib.parse.unquote(image))
        if path is None:
            raise UserError(f"{manifest}: its image {image!r} is neither a web address nor a file beside it")
        return path
    return cache / f"{sha256(image)[:24]}.jpg"


def fetch(address: str, path: Path) -> None:
    """Fetches an image into a file, unless it is there.

    Raises:
        UserError: it cannot be fetched or is too large.
    """
    if not path.is_file():
        write_bytes(path, _fetch(address, MAX_IMAGE))


def _bodies(manifest: dict[str, Any]) -> Iterator[str]:
    """Address of the image of each canvas."""
    if "sequences" in manifest:
        for canvas in manifest["sequences"][0]["canvases"]:
            yield _of(canvas["images"][0]["resource"])
        return
    for canvas in manifest["items"]:
        body = canvas["items"][0]["items"][0]["body"]
        body = body[0] if isinstance(body, list) else body
        yield _of(body.get("items", [body])[0] if body.get("type") == "Choice" else body)


def _of(resource: dict[str, Any]) -> str:
    """The image itself, or in full size from its image service."""
    address = resource.get("id") or resource.get("@id")
    if address:
        return str(address)
    services = resource["service"]
    service = services[0] if isinstance(services, list) else services
    size = "full" if "/image/2" in str(service.get("@context", "")) else "max"
    return f"{str(service.get('id') or service['@id']).rstrip('/')}/full/{size}/0/default.jpg"


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_MANIFEST:
            raise UserError(f"{path}: the manifest is larger than {MAX_MANIFEST >> 20} MiB; split it")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); check the path") from error


def _address(text: str) -> str:
    """The address as it was given, where a path has swallowed a slash."""
    scheme, _, rest = text.partition(":")
    return f"{scheme}://{rest.lstrip('/')}"


def _fetch(address: str, most: int) -> bytes:
    """What lies at a web address, at most `most` bytes."""
    request = urllib.request.Request(_address(address), headers={"User-Agent": "htr-ssl"})
    try:
        with urllib.request.build_opener(_WebOnly()).open(request, timeout=TIMEOUT) as answer:
            data: bytes = answer.read(most + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"{address}: it cannot be fetched ({reason}); check address and network") from error
    if len(data) > most:
        raise UserError(f"{address}: it is larger than {most >> 20} MiB; download it and make it smaller")
    return data


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to http and https alone."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The next request.

        Raises:
            ValueError: it is not for the web.
        """
        if not is_url(newurl):
            raise ValueError(f"it leads to {newurl[:100]}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
