"""Texts that CTC cannot write into their image: more characters, and blanks between equal ones, than frames."""

from __future__ import annotations

from collections.abc import Iterator

from htr_ssl.check.finding import Example, Finding, graver_if_many
from htr_ssl.check.survey import Survey
from htr_ssl.text.charset import frames_needed


def find(survey: Survey) -> Iterator[Finding]:
    """Counted by the exact rule, with the frames that the encoder makes; training leaves such images out."""
    found = []
    for place, row, text in survey.legible:
        needed = frames_needed([ord(character) for character in text])
        frames = int(survey.frames[place])
        if needed > frames:
            found.append((frames / needed, Example((row,), f"{len(text)} characters need {needed} frames of {frames}")))
    if found:
        found.sort(key=lambda item: item[0])
        yield Finding(
            "infeasible",
            graver_if_many(len(found), len(survey.labelled)),
            "text too long for its image",
            f"At {survey.training.data.height} px of height the image has fewer frames than its text needs: mostly a "
            "wrong text, or a line turned upright; else raise data.height. Training leaves them out.",
            [example for _, example in found],
        )
