"""Texts that were read in the wrong encoding once: UTF-8 taken for Windows-1252, as in ``Ã©`` for ``é``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from htr_ssl.check.finding import Example, Finding
from htr_ssl.check.survey import Survey

_CONTINUED = "\u0080-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122"
_SUSPECT = re.compile(f"[\u00c2\u00c3][{_CONTINUED}]|\u00e2\u20ac[{_CONTINUED}]")


def find(survey: Survey) -> Iterator[Finding]:
    """Texts with a part that makes sense once that mistake is undone."""
    found = []
    for row in survey.labelled:
        for part in _SUSPECT.findall(survey.texts[row] or ""):
            repaired = _repaired(part)
            if repaired:
                found.append(Example((row,), f"{part!r} for {repaired!r}"))
                break
    if found:
        yield Finding(
            "wrong_encoding",
            "warning",
            "texts that were read in the wrong encoding",
            "Some program took UTF-8 for Windows-1252 and saved the result. Go back to the source.",
            found,
        )


def _repaired(part: str) -> str | None:
    """The part in the right encoding, None if it does not come from that mistake."""
    try:
        return part.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return None
