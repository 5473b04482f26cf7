"""Applies a named split to samples: who belongs to which part, who to none, and what is missing.

A sample belongs to the part that lists its id or what stands before one of the id's hyphens and slashes:
``a01-000u-00-01`` is word 01 of line 00 of form ``a01-000u``, and a list may name any of the three.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from htr_ssl.data.samples import Samples, SampleView
from htr_ssl.data.splits.named_splits import NamedSplit, checksum, load
from htr_ssl.errors import UserError
from htr_ssl.folders import is_image

NAME, MARK, OF = FACTS = "splits", "splits_sha256", "splits_of"
"""Facts under which a source, a model and a result carry the name and SHA-256 of their split, and its data set.

The checksum is that of the ids that are there: a part of a split has another one than the whole.
"""
_BOUND = re.compile(r"[-/]")


def divide(samples: Samples, name: str, partial: bool = False) -> Samples:
    """The samples of a named split, divided as it says; those in none of its parts are left out.

    Numbers that differ from the published ones are warned about. Data that carries the split already stays as it is.

    Args:
        samples: what a reader returns.
        name: a split, see `load`.
        partial: take what is there of a split whose ids are not all in the data; the name then says how much that is.

    Raises:
        UserError: the data carries another named split, or lacks ids of this one, or knows none of them.
    """
    split = load(name)
    title = Path(name).stem
    own, part, _ = samples.facts.get(NAME, title).partition(" (")
    if MARK in samples.facts and (own != title or not (part or split.sha256 in ("", samples.facts[MARK]))):
        raise UserError(
            f"the data is already divided as {samples.facts[NAME]} ({samples.facts[MARK][:12]}); two named splits must "
            f"not be mixed: apply {title} to the source from which the data was imported"
        )
    if MARK in samples.facts:
        return samples
    if split.reader:
        rows, parts = _own(samples, split, title)
    else:
        rows, parts = _listed(samples, split, title)
    whole = {part: len(ids) for part, ids in parts.items()} == split.counts
    if not whole and not partial:
        raise UserError(f"{title}: {_sentence(split, parts, samples, rows)}")
    if not whole:
        have = sum(map(len, parts.values()))
        title = f"{title} ({have} of {sum(split.counts.values())} {split.unit}s)"
    divided = SampleView(samples, list(rows.values()), list(rows))
    divided.facts |= {NAME: title, MARK: checksum(parts), OF: split.dataset}
    if samples.doubtful:
        divided.facts["segmentation err"] = str(len(samples.doubtful.intersection(map(str, divided.column("id")))))
    if whole:
        _compare(divided, split, title)
    return divided


def carried(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What a source, model or result says of its split; values are None if it has no named one."""
    return {key: facts.get(key) for key in FACTS}


def refuse_mixed(one: Mapping[str, Any], other: Mapping[str, Any], names: tuple[str, str]) -> None:
    """Stops if two things follow different splits of one data set: test images of one may be train images of the other.

    Args:
        one: facts, header or result.
        other: same.
        names: what the two are, for the message.

    Raises:
        UserError: they are.
    """
    if one.get(MARK) and one.get(OF) == other.get(OF) and one[MARK] != other.get(MARK):
        raise UserError(
            f"{names[0]} is divided as {one[NAME]} ({one[MARK][:12]}), but {names[1]} as {other[NAME]} "
            f"({other[MARK][:12]}); two named splits must not be mixed, make both with the same one"
        )


def _listed(samples: Samples, split: NamedSplit, title: str) -> tuple[dict[int, str], dict[str, list[str]]]:
    """Row -> part for the rows of a list, and the ids of each part that the data has."""
    doubtful = samples.doubtful if split.sound else frozenset()
    if split.sound and samples.facts.get("segmentation err", "0") != "0" and not doubtful:
        raise UserError(
            f"{title} leaves out what the source marks as badly segmented, and this file no longer says which: apply "
            f"it when importing (data import … --splits {title})"
        )
    part_of = {item: part for part, ids in split.parts().items() for item in ids}
    rows: dict[int, str] = {}
    found: set[str] = set()
    names = [str(name) for name in samples.column("id")]
    for row, name in enumerate(names):
        item = next((key for key in _keys(name) if key in part_of), None)
        if item is not None:
            found.add(item)
            if name not in doubtful:
                rows[row] = part_of[item]
    if not rows:
        raise UserError(
            f"{title}: the data has none of its {split.unit}s (such as {next(iter(part_of))}), its ids are like "
            f"{names[0] if names else '-'}; give the tree of {split.dataset} as it is distributed"
        )
    return rows, {part: [item for item in ids if item in found] for part, ids in split.parts().items()}


def _own(samples: Samples, split: NamedSplit, title: str) -> tuple[dict[int, str], dict[str, list[str]]]:
    """Row -> part as the reader says, and the pages or writers of each part."""
    if samples.facts.get("format") != split.reader:
        raise UserError(
            f"{title}: it is the division that {split.dataset} is distributed in, which only the reader "
            f"{split.reader} knows (this is {samples.facts.get('format', 'other')} data); give that tree"
        )
    units = samples.column("writer" if split.unit == "writer" else "page" if split.unit == "page" else "id")
    rows: dict[int, str] = {}
    parts: dict[str, dict[str, None]] = {part: {} for part in split.counts}
    for row, (part, unit) in enumerate(zip(samples.column("split"), units, strict=True)):
        if part in parts:
            rows[row] = part
            parts[part][unit or ""] = None
    return rows, {part: list(ids) for part, ids in parts.items()}


def _sentence(split: NamedSplit, parts: Mapping[str, list[str]], samples: Samples, rows: Mapping[int, str]) -> str:
    """What is missing, with examples, and the way out."""
    have = ", ".join(f"{len(parts[part])} of {count} {part} {split.unit}s" for part, count in split.counts.items())
    known = {item for ids in parts.values() for item in ids}
    missing = [item for ids in split.parts().values() for item in ids if item not in known]
    examples = f" (missing are {len(missing)}, e.g. {', '.join(missing[:3])})" if missing else ""
    outside = [str(name) for row, name in enumerate(samples.column("id")) if row not in rows]
    rest = f"; {len(outside)} images are in none of its parts (e.g. {', '.join(outside[:3])})" if outside else ""
    return (
        f"the data has {have}{examples}{rest}. Complete the data, or take what is there with --partial: its scores are "
        "not comparable with published ones"
    )


def _compare(samples: Samples, split: NamedSplit, title: str) -> None:
    """Warns of numbers of images that are not those published."""
    splits = samples.column("split")
    for part, number in split.expected.get("word" if samples.level == "word" else "line", {}).items():
        have = splits.count(part)
        if have != number:
            warnings.warn(f"{title}: {part} has {have} {samples.level}s, published are {number}", stacklevel=3)
    pages = samples.column("page")
    for part, number in split.expected.get("page", {}).items():
        have = len({page for page, own in zip(pages, splits, strict=True) if own == part})
        if have != number:
            warnings.warn(f"{title}: {part} has {have} pages, published are {number}", stacklevel=3)


def _keys(name: str) -> Iterator[str]:
    """What a list may call a sample: its id and the beginnings of it, then those of its file's name without suffix."""
    last = name.rpartition("/")[2]
    for text in (name, Path(last).stem if is_image(Path(last)) else last):
        yield text
        for bound in reversed([match.start() for match in _BOUND.finditer(text)]):
            yield text[:bound]
