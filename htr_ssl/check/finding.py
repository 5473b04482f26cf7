"""What a check says: one sentence on what was found, how grave it is, and where to look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Gravest first: with an error training would not be sound; a warning costs accuracy; a note is good to know."""
MANY = 0.05
"""Share of the images from which a fault of single images becomes an error."""


@dataclass(frozen=True, slots=True)
class Example:
    """One place where a finding shows.

    Attributes:
        rows: samples it concerns; several if they belong together, such as duplicates.
        remark: what is to be said of this one.
        same: whether the rows are copies of each other.
    """

    rows: tuple[int, ...] = ()
    remark: str = ""
    same: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of fault or fact.

    Attributes:
        kind: its name, the same in every version, for programs.
        severity: error, warning or note.
        title: its name for people; an error's is a reason why training would not be sound.
        advice: what it does to training and what can be done, one or two sentences.
        examples: every place, the most telling first.
        shown: most of them that a report prints; all are in the JSON.
    """

    kind: str
    severity: Severity
    title: str
    advice: str
    examples: list[Example] = field(default_factory=list)
    shown: int = 5


def graver_if_many(count: int, of: int) -> Severity:
    """A warning, or an error if more than `MANY` of the images have the fault."""
    return "error" if count > MANY * of else "warning"


def code(character: str) -> str:
    """A character by itself, its number and its name: ``'é' U+00E9 latin small letter e with acute``."""
    import unicodedata

    name = unicodedata.name(character, "").lower() or "without a name"
    visible = character.isprintable() and not unicodedata.combining(character) and not character.isspace()
    return f"{repr(character) + ' ' if visible else ''}U+{ord(character):04X} {name}"
