"""Texts that CTC cannot write into their image: more characters, and blanks between equal ones, than frames."""

from __future__ import annotations

from collections.abc import Iterator

from htr_ssl.check.finding import Example, Finding, graver_if_many
from htr_ssl.check.survey import HEIGHT, MAX_WIDTH, STRIDE, Survey
from htr_ssl.text.charset import frames_needed


def find(survey: Survey) -> Iterator[Finding]:
    """Counted by the exact rule at the default height; training leaves such images out of the loss."""
    found = []
    for place, row, text in survey.legible:
        needed = frames_needed([ord(character) for character in text])
        frames = -(-min(int(survey.widths[place]), MAX_WIDTH) // STRIDE)
        if needed > frames:
            found.append((frames / needed, Example((row,), f"{len(text)} characters need {needed} frames of {frames}")))
    if found:
        found.sort(key=lambda item: item[0])
        yield Finding(
            "infeasible",
            graver_if_many(len(found), len(survey.labelled)),
            "text too long for its image",
            f"At {HEIGHT} px of height the image has fewer frames than its text needs: mostly a wrong text, or a line "
            "turned upright. Training leaves them out.",
            [example for _, example in found],
        )
