"""How texts stand in the files, before the reader tidies them: decomposed letters, no-break and other spaces."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator

from htr_ssl.check.finding import Example, Finding, code
from htr_ssl.check.survey import Survey


def find(survey: Survey) -> Iterator[Finding]:
    """Notes: training sees composed letters and plain spaces; other programs may not."""
    decomposed = [row for row, text in survey.written.items() if not unicodedata.is_normalized("NFC", text)]
    if decomposed:
        yield Finding(
            "decomposed",
            "note",
            "texts not in composed form (Unicode NFC)",
            "They are composed on reading: 'é' is one character however it was typed. Other programs count two.",
            [Example((row,), _parts(survey.written[row])) for row in decomposed],
        )
    spaces = Counter(sign for text in survey.written.values() for sign in text if _unusual(sign))
    if spaces:
        yield Finding(
            "unusual_spaces",
            "note",
            "no-break and other unusual spaces",
            "They are read as plain spaces. Other programs take them for characters of their own.",
            [
                Example(
                    tuple(row for row, text in survey.written.items() if sign in text)[:5], f"{code(sign)} ×{count}"
                )
                for sign, count in spaces.most_common()
            ],
        )


def _unusual(character: str) -> bool:
    return character.isspace() and character not in " \t\r\n"


def _parts(text: str) -> str:
    """What composing changes, e.g. ``U+0065 U+0301 -> 'é'``."""
    for start in range(len(text)):
        end = start + 1
        while end < len(text) and unicodedata.combining(text[end]):
            end += 1
        part = text[start:end]
        composed = unicodedata.normalize("NFC", part)
        if composed != part:
            return f"{' '.join(f'U+{ord(sign):04X}' for sign in part)} -> {composed!r}"
    return ""
