"""Files and rows that the reader left out, and images that cannot be read: each named, with the reason."""

from __future__ import annotations

from collections.abc import Iterator

from htr_ssl.check.finding import Example, Finding
from htr_ssl.check.survey import Survey

SHOWN = 20


def find(survey: Survey) -> Iterator[Finding]:
    """Always an error: not all of what was given would be trained on."""
    if survey.samples.problems:
        yield Finding(
            "refused",
            "error",
            "left out or doubtful on reading",
            "These are not in the data that training sees, or were read with a guess. Repair them, or take them away.",
            [Example(remark=problem) for problem in survey.samples.problems],
            SHOWN,
        )
    if survey.unreadable:
        yield Finding(
            "unreadable",
            "error",
            "unreadable",
            "Training leaves these images out. Copy or export them again, or take them away.",
            [Example((row,), reason.removeprefix(f"{survey.ids[row]}: ")) for row, reason in survey.unreadable.items()],
            SHOWN,
        )
