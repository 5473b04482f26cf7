"""What the reader guessed, and what is worth knowing though nothing was left out for it."""

from __future__ import annotations

from collections.abc import Iterator

from htr_ssl.check.finding import Example, Finding
from htr_ssl.check.survey import Survey


def find(survey: Survey) -> Iterator[Finding]:
    """A warning: look whether the guess is right."""
    if survey.samples.notes:
        yield Finding(
            "guessed",
            "warning",
            "read with a guess",
            "Look at some of these images with their texts (data show); where the guess is wrong, change the files.",
            [Example(remark=note) for note in survey.samples.notes],
        )
