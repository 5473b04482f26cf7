"""Who sees which sample: splits that never cut a page, and nested subsets of the train labels.

Both depend on ids and a seed only, not on the order of the source or on the machine.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

from htr_ssl.errors import UserError
from htr_ssl.files import sha256, write_text
from htr_ssl.seeds import derive, rng

SPLITS = ("train", "validation", "test")


def assign_splits(
    ids: Sequence[str],
    texts: Sequence[str | None],
    groups: Sequence[str | None],
    splits: Sequence[str | None],
    validation: float,
    test: float,
    seed: int,
) -> list[str]:
    """Split of every sample: ``train``, ``validation`` or ``test``.

    If the source names no split at all, its labelled samples are divided; if it names some, these stand, samples
    without one are train, and a validation split without labels is filled from train. Unlabelled samples are never
    drawn out of train. All labelled samples of a group stay together; only if there are fewer groups than splits are
    samples divided instead, with a warning.

    Args:
        ids: unique id of each sample.
        texts: transcription of each sample, None or empty for unlabelled ones.
        groups: page of each sample (or writer, where pages are unknown); None = the sample stands for itself.
        splits: split the source names for each sample.
        validation: share of the labelled samples for validation, in [0, 1).
        test: share of the labelled samples for the test, in [0, 1).
        seed: which division.

    Raises:
        UserError: the two shares leave nothing for train.
    """
    if validation + test >= 1:
        raise UserError(f"data.validation + data.test = {validation + test:g} leaves no train labels; stay below 1")
    result = [split or "train" for split in splits]
    labelled = [position for position, text in enumerate(texts) if text]
    named = {splits[position] for position in labelled}
    wanted = {"test": test, "validation": validation} if not any(splits) else {"validation": validation}
    wanted = {name: share for name, share in wanted.items() if share > 0 and name not in named}
    pool = [position for position in labelled if result[position] == "train"]
    if pool and wanted:
        for name, positions in _divide(ids, groups, pool, wanted, seed).items():
            for position in positions:
                result[position] = name
    return result


def subset(
    ids: Sequence[str], fraction: float, seed: int, groups: Sequence[str | None] | None = None, by: str = "page"
) -> list[int]:
    """Positions of ⌈fraction · n⌉ of the ids, in source order; at one seed a smaller fraction lies inside a larger.

    Args:
        ids: of the train labels.
        fraction: share of them, in (0, 1].
        seed: which subset.
        groups: page or writer of each id: whole groups are drawn, until they have that many ids; None draws ids.
        by: what a group is, for messages.

    Raises:
        UserError: the fraction is not in (0, 1], or the group of an id is not known.
    """
    if not 0 < fraction <= 1:
        raise UserError(f"fraction={fraction:g} is not a share of the train labels; give a number above 0, up to 1")
    size = max(1, math.ceil(round(fraction * len(ids), 6)))
    if groups is not None:
        return _whole_groups(ids, size, seed, groups, by)
    if size == len(ids):
        return list(range(size))
    ranked = sorted(range(len(ids)), key=lambda position: (derive(seed, "subset", ids[position]), position))
    return sorted(ranked[:size])


def _whole_groups(ids: Sequence[str], size: int, seed: int, groups: Sequence[str | None], by: str) -> list[int]:
    """Positions of the groups, in drawn order, that have `size` ids."""
    members: dict[str, list[int]] = {}
    for position, group in enumerate(groups):
        if not group:
            raise UserError(
                f"subset_by={by}: the {by} of {ids[position]!r} is not known; name {by}s in the data, or draw samples"
            )
        members.setdefault(group, []).append(position)
    chosen: list[int] = []
    for group in sorted(members, key=lambda name: (derive(seed, "subset", by, name), name)):
        if len(chosen) >= size:
            break
        chosen += members[group]
    return sorted(chosen)


def digest(ids: Sequence[str]) -> str:
    """SHA-256 of a set of ids: sorted, joined by line feeds."""
    return sha256("\n".join(sorted(ids)))


def write(path: Path, ids: Sequence[str], fraction: float, seed: int, source: str) -> str:
    """Writes a list of ids that `read` verifies; returns its SHA-256.

    Raises:
        UserError: an id contains a line break.
    """
    for name in ids:
        if "\n" in name or "\r" in name:
            raise UserError(f"{path}: the id {name!r} contains a line break; rename that file")
    mark = digest(ids)
    head = {"source": " ".join(source.split()), "fraction": f"{fraction:g}", "seed": seed, "sha256": mark}
    lines = [f"# {key}: {value}" for key, value in head.items()]
    write_text(path, "\n".join([*lines, f"# ids: {len(ids)}", *ids]) + "\n")
    return mark


def read(path: Path) -> list[str]:
    """Ids of a list written by `write`, in its order.

    Raises:
        UserError: no such file, not such a list, or its ids are not those that were written.
    """
    try:
        lines = Path(path).read_bytes().decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such subset list; check the path") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: this is not a subset list (not UTF-8); give one that htr-ssl wrote") from None
    head: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        key, colon, value = line.removeprefix("# ").partition(": ")
        if not line.startswith("# ") or not colon:
            break
        head[key] = value
        if key == "ids":
            ids = lines[number:]
            if str(len(ids)) != value or digest(ids) != head.get("sha256"):
                raise UserError(f"{path}: the ids are not those of its sha256; restore the file or write it anew")
            return ids
    raise UserError(f"{path}: this is not a subset list (no '# ids:' line); give one that htr-ssl wrote")


def _divide(
    ids: Sequence[str], groups: Sequence[str | None], pool: Sequence[int], wanted: dict[str, float], seed: int
) -> dict[str, list[int]]:
    """Positions of `pool` drawn for each wanted split; the rest stays train."""
    members: dict[str, list[int]] = {}
    for position in pool:
        group = groups[position]
        members.setdefault(f"sample {ids[position]}" if group is None else f"group {group}", []).append(position)
    if len(members) <= len(wanted) < len(pool):
        warnings.warn(
            f"{len(members)} page(s) or writer(s) are too few for {len(wanted) + 1} splits: samples are divided "
            "instead, so that pages are shared between splits and scores come out too good",
            stacklevel=3,
        )
        members = {f"sample {ids[position]}": [position] for position in pool}
    elif len(pool) <= len(wanted):
        warnings.warn(f"{len(pool)} labelled sample(s) are too few for {len(wanted) + 1} splits", stacklevel=3)
    names = sorted(members)
    order = [names[i] for i in rng(seed, "splits").permutation(len(names))]
    drawn: dict[str, list[int]] = {}
    for done, (split, share) in enumerate(wanted.items(), start=1):
        # Train and, where there is enough, every later split keep one group at least.
        keep = 1 + (len(wanted) - done if len(order) > 1 + len(wanted) - done else 0)
        chosen = _choose(order, members, share * len(pool), keep)
        order = [name for name in order if name not in chosen]
        drawn[split] = [position for name in chosen for position in members[name]]
    return drawn


def _choose(order: Sequence[str], members: dict[str, list[int]], target: float, keep: int) -> set[str]:
    """Groups, taken in order, that come nearest to `target` samples; one at least, and `keep` groups stay."""
    chosen: set[str] = set()
    count = 0
    for name in order:
        size = len(members[name])
        if len(order) - len(chosen) > keep and abs(count + size - target) < abs(count - target):
            chosen.add(name)
            count += size
    if not chosen and len(order) > keep:
        chosen.add(min(order, key=lambda name: len(members[name])))
    return chosen
