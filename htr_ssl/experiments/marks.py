"""Where two texts differ, for pictures and the report."""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from htr_ssl.text.charset import normalise

Parts = list[tuple[str, bool]]
"""Pieces of a text, each with whether it differs from the other text."""


def marked(written: str, read: str) -> tuple[Parts, Parts]:
    """Both texts, normalised, in pieces along an alignment with the fewest edits."""
    written, read = normalise(written), normalise(read)
    left: Parts = []
    right: Parts = []
    for edit in Levenshtein.opcodes(written, read):
        left.append((written[edit.src_start : edit.src_end], edit.tag != "equal"))
        right.append((read[edit.dest_start : edit.dest_end], edit.tag != "equal"))
    return left, right
