"""Texts whose tokens stand apart, as in IAM's list of lines: ``tomorrow .`` instead of ``tomorrow.``."""

from __future__ import annotations

import re
from collections.abc import Mapping

from htr_ssl.text.charset import NORMALISATION

FACT = "tokens"
"""Fact under which a source says what its tokens are: `APART`, `JOINED`, or nothing."""
APART, JOINED = "apart", "joined"
_RULES = {APART: "tokens apart (as IAM's |)", JOINED: "tokens joined"}

_BEFORE = re.compile(r" +(?=[.,;:!?)\]}%]|(?:n't|'(?:s|ll|re|ve|d|m|t))(?:\W|$))", re.IGNORECASE)
_AFTER = re.compile(r"(?<=[(\[{]) +")


def detokenise(text: str) -> str:
    """Text with punctuation, brackets, English clitics and double quotes at the words they belong to.

    It is a rule, not knowledge: a quotation mark with blanks on both sides opens if it is the first, third, … of its
    text.
    """
    text = _AFTER.sub("", _BEFORE.sub("", text))
    first, *others = text.split('"')
    for number, part in enumerate(others):
        first = f'{first}"{part.lstrip(" ")}' if number % 2 == 0 else f'{first.rstrip(" ")}"{part}'
    return first


def rule(facts: Mapping[str, str]) -> str:
    """Name of the text rule of a source: how texts are compared, and whether its tokens stand apart or were joined."""
    return ", ".join([NORMALISATION, *filter(None, [_RULES.get(facts.get(FACT, ""))])])
