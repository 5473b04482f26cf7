"""The characters: those that come too rarely to be learnt, and those that only validation or test has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from htr_ssl.check.finding import Example, Finding, code
from htr_ssl.check.survey import Survey

RARE = 5
"""Characters seen fewer times than this are listed."""
FLOOR = 0.01
"""Share of a split's characters from which those that train lacks make its scores unsound, rare ones not counted."""
_PLACES = 3


def find(survey: Survey) -> Iterator[Finding]:
    """Unknown characters that are not rare are an error from 1 % of a split: train follows other rules."""
    counts = survey.characters
    known = counts.get("train", Counter()) + counts.get(None, Counter())
    for split in ("validation", "test"):
        unknown = Counter({name: n for name, n in counts.get(split, Counter()).items() if name not in known})
        if unknown and known:
            share = unknown.total() / counts[split].total()
            usual = sum(n for n in unknown.values() if n >= RARE) / counts[split].total()
            yield Finding(
                f"unknown_in_{split}",
                "error" if usual >= FLOOR else "warning",
                f"{split} has characters that train lacks",
                f"They are {100 * share:.2g} % of its characters, each a certain error. Write them as train does, "
                "or move a line with them into train.",
                _examples(survey, unknown, split),
            )
    rare = Counter({name: n for name, n in survey.alphabet.items() if n < RARE})
    if rare:
        yield Finding(
            "rare_characters",
            "note",
            f"characters seen fewer than {RARE} times",
            "They will hardly be learnt. Slips of the keyboard are among them: look at the texts.",
            _examples(survey, rare),
            shown=10,
        )


def _examples(survey: Survey, wanted: Counter[str], split: str | None = None) -> list[Example]:
    """For each character its count and the first rows that have it, the rarest first."""
    where: dict[str, list[int]] = {name: [] for name in wanted}
    for row, text in survey.having(wanted):
        if split is None or survey.splits[row] == split:
            for character in wanted.keys() & set(text):
                if len(where[character]) < _PLACES:
                    where[character].append(row)
    names = sorted(wanted, key=lambda name: (wanted[name], name))
    return [Example(tuple(where[name]), f"{code(name)} ×{wanted[name]}") for name in names]
