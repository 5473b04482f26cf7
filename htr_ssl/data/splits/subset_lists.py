"""Nested subsets of the train labels as committed lists, so that others can cite and repeat them.

`splits/subsets/iam-rwth-lines.yaml` holds the subsets of one split at one level. Its entries ``a01-003:4340`` give each
sample from ``a01-003-00`` on a digit: the number of the first of `fractions` whose subset has it; ``.`` is no train
sample. `subsets.subset` draws the same ids, and `scripts/subset_lists.py` writes and verifies such files.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import yaml
from pydantic import ValidationError

from htr_ssl.config import Strict
from htr_ssl.data.splits.subsets import digest, subset
from htr_ssl.errors import UserError

FOLDER = Path(__file__).with_name("subsets")
"""Lists that come with the package."""
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
SEEDS = (0, 1, 2)
_NONE = "."


class SubsetLists(Strict):
    """Nested subsets of the train ids of one split, as their file states them."""

    split: str
    """Named split whose train ids these are."""
    level: str
    """word or line."""
    train_sha256: str
    """Checksum of the train ids: the lists hold for exactly these."""
    fractions: list[float]
    """Ascending shares of the train ids."""
    sha256: dict[int, list[str]]
    """Seed -> checksum of the subset of each fraction."""
    seeds: dict[int, str]
    """Seed -> entries ``group:digits``, between blanks."""

    def ids(self, seed: int, fraction: float) -> list[str]:
        """Ids of a subset, in the file's order."""
        last = self.fractions.index(fraction)
        return [
            f"{group}-{number:02d}"
            for group, _, digits in (entry.rpartition(":") for entry in self.seeds[seed].split())
            for number, digit in enumerate(digits)
            if digit != _NONE and int(digit) <= last
        ]


def names() -> list[str]:
    """Lists that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@lru_cache(maxsize=16)
def load(path: Path) -> SubsetLists:
    """Lists of a file, whose ids are those of their checksums.

    Raises:
        UserError: not such a file, or changed.
    """
    try:
        lists = SubsetLists.model_validate(yaml.safe_load(path.read_bytes()))
        marks = {seed: [digest(lists.ids(seed, part)) for part in lists.fractions] for seed in lists.seeds}
    except (OSError, ValueError, yaml.YAMLError, ValidationError) as error:
        raise UserError(f"{path}: this is no list of subsets ({' '.join(str(error).split())[:300]})") from None
    if marks != lists.sha256 or any(digests[-1] != lists.train_sha256 for digests in marks.values()):
        raise UserError(f"{path}: the ids are not those of its checksums; restore the file")
    return lists


def chosen(ids: Sequence[str], fraction: float, seed: int) -> tuple[list[int], str | None]:
    """Positions of a subset of the train ids, and the committed list it is taken from, None if there is none.

    A list counts if its train ids are exactly these; otherwise, and for other fractions and seeds, `subset` draws.
    """
    mark = digest(ids)
    for name in names():
        lists = load(FOLDER / f"{name}.yaml")
        if lists.train_sha256 == mark and seed in lists.seeds and fraction in lists.fractions:
            listed = set(lists.ids(seed, fraction))
            return [position for position, item in enumerate(ids) if item in listed], name
    return subset(ids, fraction, seed), None


def drawn(ids: Sequence[str], split: str, level: str) -> str:
    """Text of the file for train ids that end in a hyphen and two digits.

    Raises:
        UserError: an id of another form.
    """
    groups: dict[str, dict[int, str]] = {}
    for item in ids:
        group, hyphen, number = item.rpartition("-")
        if not hyphen or not (len(number) == 2 and number.isdecimal()):
            raise UserError(f"the id {item!r} does not end in a hyphen and two digits; such ids cannot be listed")
        groups.setdefault(group, {})[int(number)] = item
    head = {"split": split, "level": level, "train_sha256": digest(ids), "fractions": list(FRACTIONS)}
    lines = [yaml.safe_dump(head, sort_keys=False, default_flow_style=None, width=118).rstrip(), "sha256:"]
    entries: dict[int, list[str]] = {}
    for seed in SEEDS:
        subsets = [{ids[i] for i in subset(ids, fraction, seed)} for fraction in FRACTIONS]
        lines += [f"  {seed}:", *(f"  - {digest(sorted(part))}" for part in subsets)]
        first = {item: next(i for i, part in enumerate(subsets) if item in part) for item in ids}
        entries[seed] = [
            f"{group}:" + "".join(str(first[of[n]]) if n in of else _NONE for n in range(max(of) + 1))
            for group, of in groups.items()
        ]
    lines.append("seeds:")
    for seed, words in entries.items():
        text = textwrap.fill(
            " ".join(words), 118, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
        )
        lines += [f"  {seed}: >-", text]
    return "\n".join(lines) + "\n"
