"""Models from the network into the user's folder: safetensors only, of bounded size, with a checksum."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from htr_ssl import model_file
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path
from htr_ssl.models import shelf

MOST = 1 << 30
"""Largest file [bytes]."""
_MOST_FACTS = 4 << 20  # of what a hub says of a model [bytes]
_PIECE = 1 << 20
_WAIT = 60.0  # without an answer [s]


class Remote(NamedTuple):
    """A file to fetch.

    Attributes:
        url: where it is.
        name: of the model.
        algorithm: of the checksum, such as sha256; empty if there is none.
        checksum: hexadecimal.
    """

    url: str
    name: str
    algorithm: str = ""
    checksum: str = ""


def get(source: str, name: str = "", sha256: str = "", into: Path | None = None) -> tuple[Path, str, bool]:
    """Fetches a model.

    Args:
        source: an https URL of a safetensors file, ``hf:OWNER/NAME`` or ``doi:10.5281/zenodo.NUMBER``.
        name: of the model; empty = that of the source.
        sha256: what the file must have; hubs give their own checksum.
        into: folder; None = the user's model folder.

    Returns:
        The file, its SHA-256, and whether it was compared with a checksum.

    Raises:
        UserError: a bad source, no answer, another checksum, no model of this program, or the name is taken.
    """
    remote = resolve(source)
    name = name or remote.name
    if not re.fullmatch(r"[\w][\w.+-]*", name):
        raise UserError(f"{name!r} cannot be a model's name; give one of letters, digits, '-' and '_' (--name)")
    if (shelf.SHIPPED / f"{name}.safetensors").exists():
        raise UserError(f"{name}: a model of this name comes with the package; give another (--name)")
    wanted = {remote.algorithm: remote.checksum.lower()} if remote.algorithm else {}
    if sha256:
        wanted["sha256"] = sha256.lower()
    path = (into or shelf.folder()) / f"{name}.safetensors"
    with atomic_path(path) as temporary:
        found = _fetch(remote.url, temporary, {"sha256", *wanted})
        for algorithm, checksum in wanted.items():
            if found[algorithm] != checksum:
                raise UserError(f"{remote.url}: its {algorithm} is {found[algorithm]}, not {checksum}; fetch it again")
        if path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() != found["sha256"]:
            raise UserError(f"{path}: another model of this name is there; give another name (--name)")
        try:
            model_file.read_header(temporary)
        except UserError as error:
            raise UserError(f"{remote.url}: {str(error).removeprefix(f'{temporary}: ')}") from None
    return path, found["sha256"], bool(wanted)


def resolve(source: str) -> Remote:
    """Where a model is, its name, and the checksum that its hub gives.

    Raises:
        UserError: the source is none of the three kinds, or its hub does not know it.
    """
    if source.startswith("hf:"):
        return _hugging_face(source)
    if source.startswith("doi:"):
        return _zenodo(source)
    parts = urlsplit(source)
    if parts.scheme != "https" or not parts.hostname:
        raise UserError(f"{source}: give an https address, hf:OWNER/NAME or doi:10.5281/zenodo.NUMBER")
    name = Path(unquote(parts.path)).name
    if not name.endswith(".safetensors"):
        raise UserError(f"{source}: only safetensors files are taken, for others can hold programs; export it as one")
    return Remote(source, name.removesuffix(".safetensors"))


def _hugging_face(source: str) -> Remote:
    name = source.removeprefix("hf:")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(f"{source}: expected hf:OWNER/NAME")
    facts = _json(f"https://huggingface.co/api/models/{name}?blobs=true", source)
    files = {str(one.get("rfilename")): one for one in facts.get("siblings", []) if isinstance(one, dict)}
    chosen = _only([file for file in files if file.endswith(".safetensors")], source)
    checksum = str((files[chosen].get("lfs") or {}).get("sha256", ""))
    url = f"https://huggingface.co/{name}/resolve/main/{quote(chosen)}"
    return Remote(url, name.partition("/")[2], "sha256" if checksum else "", checksum)


def _zenodo(source: str) -> Remote:
    found = re.fullmatch(r"doi:10\.5281/zenodo\.(\d+)", source)
    if found is None:
        raise UserError(f"{source}: only DOIs of Zenodo are known, doi:10.5281/zenodo.NUMBER; give the file's address")
    facts = _json(f"https://zenodo.org/api/records/{found[1]}", source)
    files = {str(one.get("key")): one for one in facts.get("files", []) if isinstance(one, dict)}
    chosen = _only([file for file in files if file.endswith(".safetensors")], source)
    algorithm, _, checksum = str(files[chosen].get("checksum", "")).partition(":")
    url = f"https://zenodo.org/api/records/{found[1]}/files/{quote(chosen)}/content"
    known = algorithm in ("md5", "sha256")
    return Remote(url, Path(chosen).stem, algorithm if known else "", checksum if known else "")


def _only(files: list[str], source: str) -> str:
    """The one model among files: `model.safetensors` if there are several."""
    if not files:
        raise UserError(f"{source}: there is no safetensors file, and others are not taken; ask its authors for one")
    if len(files) > 1 and "model.safetensors" not in files:
        raise UserError(f"{source}: it has several models ({', '.join(sorted(files))}); give the address of one")
    return files[0] if len(files) == 1 else "model.safetensors"


def _json(url: str, source: str) -> dict[str, Any]:
    with open_url(url) as handle:
        text = handle.read(_MOST_FACTS + 1)
    try:
        if len(text) > _MOST_FACTS:
            raise ValueError
        facts = json.loads(text)
    except ValueError:
        facts = None
    if not isinstance(facts, dict):
        raise UserError(f"{source}: {url} gives no answer that can be read; try later, or give the file's address")
    return facts


def _fetch(url: str, path: Path, algorithms: set[str]) -> dict[str, str]:
    """Writes a file and returns its checksums."""
    sums = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
    size = 0
    with open_url(url) as source, open(path, "wb") as target:
        while piece := source.read(_PIECE):
            size += len(piece)
            if size > MOST:
                raise UserError(f"{url}: it is larger than {MOST >> 20} MiB, too large for a model; check the address")
            target.write(piece)
            for one in sums.values():
                one.update(piece)
    return {name: one.hexdigest() for name, one in sums.items()}


class _Secure(urllib.request.HTTPRedirectHandler):
    """Follows to https addresses only."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The request of the new address."""
        if urlsplit(newurl).scheme != "https":
            raise UserError(f"{req.full_url}: it leads to {newurl}, which is not https; give another address")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@contextmanager
def open_url(url: str) -> Iterator[IO[bytes]]:
    """What an https address answers.

    Raises:
        UserError: no answer, or an error.
    """
    opener = urllib.request.build_opener(_Secure)
    request = urllib.request.Request(url, headers={"User-Agent": "htr-ssl"})
    try:
        with opener.open(request, timeout=_WAIT) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        raise UserError(f"{url}: {error.code} {error.reason}; check the address") from None
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(f"{url}: cannot be reached ({reason}); check the connection, or copy the file") from None
