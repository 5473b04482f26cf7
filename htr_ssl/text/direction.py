"""Direction of writing: labels in the order of the image, from left to right, and texts in the order of reading.

CTC emits characters from left to right. A label of a right-to-left line must therefore stand in *visual* order: letters
reversed, numbers and words of other scripts as they are, brackets mirrored. What is read is turned back to *logical*
order, in which files, searches and scores have it. The rules are those of Unicode (UAX #9), worked out by python-bidi.

A line with letters of one direction only is laid out in that direction. The direction of the whole collection decides
about lines with both or none. Combining marks follow their letter in either order.

Different texts may look the same ("12 ABC" and "ABC 12" between Hebrew words). Then `logical` returns one of them.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import combinations, islice, pairwise, product
from typing import Literal

from bidi import get_display
from bidi.mirror import MIRRORED

Direction = Literal["ltr", "rtl", "reversed"]
"""ltr and rtl = the direction of lines with letters of both kinds or none; reversed = every label is reversed as a
whole, whatever its letters: for transliterations of right-to-left script into Latin letters."""

_KIND: dict[str, Literal["ltr", "rtl"]] = {"L": "ltr", "R": "rtl", "AL": "rtl", "AN": "rtl"}
_TAGS = 0xE0020, 0xE0040, 0xE0060
"""Ignorable characters (bidi class BN) that carry a position through the layout: three digits of base 32."""
_LONGEST = 32**3
_MARKS = "\u200f\u200e\u061c"
"""Right-to-left, left-to-right and Arabic letter mark: what separates texts that look the same."""
_TRIES = 80
"""Most texts compared with what was read; nearly always the first one is right."""


def of_text(texts: Iterable[str]) -> Literal["ltr", "rtl"] | None:
    """Direction of most letters; None if there is no letter at all."""
    counts = Counter(_KIND.get(unicodedata.bidirectional(character)) for text in texts for character in text)
    del counts[None]
    return "rtl" if counts["rtl"] > counts["ltr"] else "ltr" if counts else None


def has_right_to_left(texts: Iterable[str]) -> bool:
    """Whether there is a letter or number of a right-to-left script."""
    return any(_KIND.get(unicodedata.bidirectional(character)) == "rtl" for text in texts for character in text)


def visual(text: str, direction: Direction) -> str:
    """Characters of `text` from left to right, as they stand on the page."""
    return "".join(character for _, character in _placed(text, direction))


def visual_order(text: str, direction: Direction) -> list[int]:
    """For each character of `visual` its position in `text`."""
    return [position for position, _ in _placed(text, direction)]


def logical(text: str, direction: Direction) -> str:
    """Inverse of `visual`: a text in the order of reading that looks as `text` does from left to right.

    If no text looks like that, as it may happen with misread lines, the nearest found.
    """
    base = _base(text, direction)
    if base == "plain":
        return text
    if direction == "reversed":
        return visual(text, direction)
    return _inverse(text, base)


@lru_cache(maxsize=4096)
def _inverse(text: str, base: Literal["ltr", "rtl"]) -> str:
    """The first candidate that is laid out as `text`, else the one that agrees in most places."""
    best, agreed = text, -1
    for candidate in islice(_candidates(text, base), _TRIES):
        shown = visual(candidate, base)
        if shown == text:
            return candidate
        same = sum(a == b for a, b in zip(shown, text, strict=False))
        if same > agreed:
            best, agreed = candidate, same
    return best


def _candidates(text: str, base: Literal["ltr", "rtl"]) -> Iterator[str]:
    """The layout of what is laid out, which mostly is the text, then with marks where directions may meet otherwise."""
    numbers = ("EN", "AN")
    gaps = [
        i
        for i in range(1, len(text))
        if _weak(text[i - 1]) != _weak(text[i]) or unicodedata.bidirectional(text[i]) in numbers
    ]
    for size in range(3):
        for places in combinations(gaps, size):
            for start, mark in product(("", *_MARKS), _MARKS if size else ("",)):
                edges = [0, *places, len(text)]
                parts = [text[low:high] for low, high in pairwise(edges)]
                marked = visual(start + mark.join(parts), base)
                yield marked.translate(dict.fromkeys(map(ord, _MARKS)))


def _weak(character: str) -> bool:
    return unicodedata.bidirectional(character) not in ("L", "R", "AL", "EN", "AN", "NSM")


def _base(text: str, direction: Direction) -> Literal["ltr", "rtl", "plain"]:
    """Direction a line is laid out in; plain if that changes nothing. The order of its characters has no influence."""
    kinds = {_KIND.get(unicodedata.bidirectional(character)) for character in text}
    if direction == "reversed":
        return "rtl"
    if len(text) > _LONGEST:  # no line
        return "plain"
    if "rtl" not in kinds:
        return "rtl" if direction == "rtl" and "ltr" not in kinds else "plain"
    return direction if "ltr" in kinds else "rtl"


def _placed(text: str, direction: Direction) -> list[tuple[int, str]]:
    """Position in `text` and shape of each character, from left to right; marks follow their letters."""
    base = _base(text, direction)
    if base == "plain":
        return list(enumerate(text))
    if direction == "reversed":
        shown = [(i, MIRRORED.get(text[i], text[i])) for i in reversed(range(len(text)))]
    else:
        shown = _laid_out(text, base)
    letter = list(range(len(text)))  # position of the letter that a mark belongs to
    for i in range(1, len(text)):
        if unicodedata.bidirectional(text[i]) == "NSM":
            letter[i] = letter[i - 1]
    clusters: dict[int, list[tuple[int, str]]] = {}
    for position, character in shown:
        clusters.setdefault(letter[position], []).append((position, character))
    return [item for cluster in clusters.values() for item in sorted(cluster)]


def _laid_out(text: str, base: Literal["ltr", "rtl"]) -> list[tuple[int, str]]:
    """The library's layout, with positions; mirrored where it runs from right to left.

    Three tags behind each character go where it goes. They stand before it where the direction is right to left.
    """
    first, second, third = _TAGS
    tagged = "".join(
        f"{c}{chr(first + i // 1024)}{chr(second + i // 32 % 32)}{chr(third + i % 32)}" for i, c in enumerate(text)
    )
    # A letter at the end: tags there would be taken for white space, which is laid out apart.
    if base == "rtl":
        shown = get_display(tagged + "\u05d0", base_dir="R")[1:]
    else:
        shown = get_display(tagged + "a", base_dir="L")[:-1]
    placed = []
    for start in range(0, len(shown), 4):
        part = shown[start : start + 4]
        backward = third <= ord(part[0]) < third + 32 and first <= ord(part[2]) < first + 32
        character, *tags = reversed(part) if backward else part
        high, middle, low = (ord(tag) - digit for tag, digit in zip(tags, _TAGS, strict=True))
        placed.append((high * 1024 + middle * 32 + low, MIRRORED.get(character, character) if backward else character))
    return placed
