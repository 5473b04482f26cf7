"""Published splits by name: the folder `splits` is the registry, `splits/iam-rwth.yaml` *is* `data.splits: iam-rwth`.

A file lists ids of pages, lines, words or folders. Where the distribution itself divides the data and no list is
published, it has counts only and the reader's own splits are meant. How both are applied is in `splitting`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from htr_ssl.config import Strict
from htr_ssl.data.splits.subsets import SPLITS, digest
from htr_ssl.errors import UserError

FOLDER = Path(__file__).parent
"""Lists that come with the package, one file each."""
_MAX_BYTES = 8 << 20
_MAX_RANGE = 100_000
_RANGE = re.compile(r"(.*)\{(\d+)\.\.(\d+)\}")

Unit = Literal["page", "line", "word", "writer", "folder"]


class NamedSplit(Strict):
    """A published division of a data set, as its file states it."""

    dataset: str
    """Which data set, and which version of it."""
    about: str
    """One sentence: whose split, and what is special about it."""
    source: str
    """Where the list was found."""
    unit: Unit
    """What an id names."""
    counts: dict[str, int]
    """Part -> number of ids, or of the pages or writers that the distribution puts there."""
    expected: dict[Literal["page", "line", "word"], dict[str, int]] = Field(default_factory=dict)
    """Level -> part -> published number of pages, lines or words."""
    sound: bool = False
    """Whether samples that the source marks as badly segmented belong to no part."""
    reader: str | None = None
    """The one reader whose own splits are meant; only without lists of ids."""
    sha256: str = ""
    """Checksum of the ids, see `checksum`; empty without lists."""
    train: str = ""
    """Ids between blanks; ``a-{00..02}`` stands for a-00, a-01 and a-02."""
    validation: str = ""
    """Same."""
    test: str = ""
    """Same."""

    def parts(self) -> dict[str, list[str]]:
        """Part -> its ids, in the file's order."""
        return {part: list(_expanded(getattr(self, part))) for part in SPLITS if getattr(self, part)}


def names() -> list[str]:
    """Splits that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@lru_cache(maxsize=16)
def load(name: str) -> NamedSplit:
    """A split that comes with the package, or the one in a file of your own (``lists/mine.yaml``).

    Raises:
        UserError: no such split, not such a file, or its ids are not those of its counts and checksum.
    """
    path = Path(name).expanduser() if name.endswith(".yaml") else FOLDER / f"{name}.yaml"
    if not path.is_file() and name.endswith(".yaml"):
        raise UserError(f"splits: there is no file {name}; check the path, or name one of {', '.join(names())}")
    if not path.is_file():
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of {', '.join(names())}, or give a .yaml file"
        raise UserError(f"splits: there is no {name!r}; {hint}")
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UserError(f"{path}: the file is larger than {_MAX_BYTES >> 20} MiB; name pages instead of words")
        split = NamedSplit.model_validate(yaml.safe_load(path.read_bytes()))
        parts = split.parts()
    except (ValueError, RecursionError, yaml.YAMLError, ValidationError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: this is no list of a split ({reason}); see datasets/README.md") from None
    flat = [item for ids in parts.values() for item in ids]
    sizes = {part: len(ids) for part, ids in parts.items()}
    if len(flat) != len(set(flat)):
        raise UserError(f"{path}: an id is listed twice; every id belongs to one part")
    if bool(flat) == bool(split.reader):
        raise UserError(f"{path}: give either ids or the reader whose splits are meant")
    if flat and (sizes != split.counts or checksum(parts) != split.sha256):
        raise UserError(f"{path}: {sizes} ids are not those of its counts and sha256; restore the file")
    return split


def listed(parts: Mapping[str, list[str]], dataset: str, about: str, source: str, unit: Unit) -> str:
    """Text of a file for parts of your own; ids must not contain blanks.

    Raises:
        UserError: an id contains a blank, or there are none.
    """
    if not any(parts.values()):
        raise UserError("there is no id in the lists; give files with one id in each row")
    for item in (item for ids in parts.values() for item in ids):
        if len(item.split()) != 1:
            raise UserError(f"the id {item!r} contains a blank; name pages or folders without")
    head = {"dataset": dataset, "about": about, "source": source, "unit": unit}
    counts = {part: len(ids) for part, ids in parts.items()}
    lists = {part: " ".join(ids) for part, ids in parts.items()}
    value = {**head, "counts": counts, "sha256": checksum(parts), **lists}
    return str(yaml.safe_dump(value, sort_keys=False, width=118, allow_unicode=True))


def checksum(parts: Mapping[str, list[str]]) -> str:
    """SHA-256 of lines ``part id``, sorted and joined by line feeds."""
    return digest([f"{part} {item}" for part, ids in parts.items() for item in ids])


def _expanded(text: str) -> Iterator[str]:
    for item in text.split():
        match = _RANGE.fullmatch(item)
        if match is None:
            yield item
            continue
        first, last = match[2], match[3]
        if int(last) - int(first) >= _MAX_RANGE:
            raise ValueError(f"{item} stands for more than {_MAX_RANGE} ids")
        yield from (f"{match[1]}{number:0{len(first)}d}" for number in range(int(first), int(last) + 1))
