"""What a folder says of itself (htr-united.yml), and sources that have to be fetched (hf://)."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import yaml

from htr_ssl.errors import UserError

HUB = "hf://"
"""Start of the name of a data set on the Hugging Face Hub."""
CATALOGUE = "htr-united.yml"
"""Description of a repository, see <https://htr-united.github.io/schema-description.html>."""
_MAX_BYTES = 1 << 20


def catalogue(root: Path) -> dict[str, str]:
    """Title, licence, language and script that the `htr-united.yml` of a repository states; empty if there is none.

    The file lies in `root`, or above it in the same clone.
    """
    path = next((folder / CATALOGUE for folder in _clone(root) if (folder / CATALOGUE).is_file()), None)
    try:
        if path is None or path.stat().st_size > _MAX_BYTES:
            return {}
        stated = yaml.safe_load(path.read_bytes())
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        return {}
    if not isinstance(stated, dict):
        return {}
    licence = stated.get("license")
    found = {
        "title": _plain(stated.get("title")),
        "licence": _plain([item.get("name") if isinstance(item, dict) else item for item in _list(licence)]),
        "language": _plain(stated.get("language")),
        "script": _plain([item.get("iso") if isinstance(item, dict) else item for item in _list(stated.get("script"))]),
    }
    return {name: text for name, text in found.items() if text}


def fetched(name: str) -> Path:
    """Folder with the Parquet files of a data set of the Hub, e.g. ``hf://Teklia/IAM-line``; needs the network once.

    Raises:
        UserError: not such a name, no network, no such data set, or the extra `hub` is not installed.
    """
    repository = name.removeprefix(HUB).removeprefix("datasets/").strip("/")
    if repository.count("/") != 1:
        raise UserError(f"{name}: expected {HUB}OWNER/NAME, e.g. {HUB}Teklia/IAM-line")
    try:
        hub: Any = importlib.import_module("huggingface_hub")
    except ImportError:
        raise UserError(f"{name}: fetching needs one more library: pip install 'htr-ssl[hub]'") from None
    try:
        folder = Path(hub.snapshot_download(repository, repo_type="dataset", allow_patterns=["*.parquet", "README.md"]))
    except Exception as error:  # the library's own, and those of the network below it
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"{name}: it cannot be fetched ({reason}); check name and network, or download it and give its folder"
        ) from error
    return folder


def _clone(root: Path) -> list[Path]:
    """The folder, and those above it up to the root of the clone it lies in."""
    folders = [root, *root.resolve().parents]
    top = next((number for number, folder in enumerate(folders) if (folder / ".git").exists()), 0)
    return folders[: top + 1]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _plain(value: object) -> str:
    return ", ".join(str(item) for item in _list(value) if isinstance(item, (str, int, float)))
