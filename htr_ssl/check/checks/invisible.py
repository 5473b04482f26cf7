"""Characters without ink: zero-width, control and direction marks; and those that stand for a lost one."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator

from htr_ssl.check.alike import SCRIPTS, script
from htr_ssl.check.finding import Example, Finding, code
from htr_ssl.check.survey import Survey

_JOINERS = "\u200c\u200d\u200e\u200f"
"""Part of the spelling in Arabic, Persian and Indian scripts, and never seen in others."""
_PLACES = 5


def find(survey: Survey) -> Iterator[Finding]:
    """Where they are and how often."""
    kinds = {sign: unicodedata.category(sign) for sign in survey.alphabet}
    replaced = {sign for sign, kind in kinds.items() if sign == "\ufffd" or kind in ("Co", "Cn", "Cs")}
    hidden = {sign for sign, kind in kinds.items() if kind in ("Cf", "Cc")}
    unseen: defaultdict[str, list[int]] = defaultdict(list)
    lost: defaultdict[str, list[int]] = defaultdict(list)
    for row, text in survey.having(replaced | hidden):
        for sign in text:
            if sign in replaced:
                lost[sign].append(row)
            elif sign in hidden and not (sign in _JOINERS and _joins(text)):
                unseen[sign].append(row)
    if unseen:
        yield Finding(
            "invisible_characters",
            "warning",
            "characters that cannot be seen",
            "The recognizer is taught to write what is not in the image. Remove them from the texts.",
            _examples(unseen),
            shown=20,
        )
    if lost:
        yield Finding(
            "lost_characters",
            "warning",
            "characters without a meaning of their own",
            "U+FFFD stands for one that was lost in a conversion: go back to the source. Private ones (MUFI fonts) "
            "mean something only beside their font: replace them by Unicode's.",
            _examples(lost),
            shown=20,
        )


def _joins(text: str) -> bool:
    """Whether there is a letter of a script that joins or runs from right to left."""
    return any(script(letter) not in ("", *SCRIPTS) for letter in text)


def _examples(where: dict[str, list[int]]) -> list[Example]:
    return [
        Example(tuple(dict.fromkeys(rows))[:_PLACES], f"{code(character)} ×{len(rows)}")
        for character, rows in sorted(where.items(), key=lambda item: -len(item[1]))
    ]
