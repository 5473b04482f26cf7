"""What the formats share: words with their boxes, blocks of lines, legal and unique names, numbers as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise

import numpy as np
from lxml import etree

from htr_ssl import __version__
from htr_ssl.layout.document import Line, Made, Page, Word
from htr_ssl.text import direction

SOFTWARE = f"htr_ssl {__version__}"
Box = tuple[int, int, int, int]

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean(text: str | None) -> str:
    """Text without the characters that XML forbids."""
    return _FORBIDDEN.sub("", text or "")


def one_line(text: str | None) -> str:
    """Text of one line, single spaces between its words."""
    return " ".join((text or "").split())


def words_of(line: Line) -> list[Word]:
    """Words with the boxes that were measured, else with shares of the line's box in proportion to their characters."""
    texts = clean(one_line(line.text)).split()  # spaces first: some of them XML forbids
    if line.words and [clean(word.text) for word in line.words] == texts:
        return line.words
    if not texts:
        return []
    shares = _shares(line, [length for text in texts for length in (1, len(text))][1:])
    return [Word(text, corners(box), line.confidence) for text, box in zip(texts, shares[::2], strict=True)]


def blocks(page: Page) -> Iterator[tuple[str | None, list[Line]]]:
    """Neighbouring lines of one region, with its id."""
    for region, members in groupby(page.lines, key=lambda line: line.region):
        yield region, list(members)


def box_of(points: np.ndarray) -> Box:
    """Left, top, width and height [px]."""
    (left, top), (right, bottom) = points.min(0).round().astype(int), points.max(0).round().astype(int)
    return int(left), int(top), int(right - left), int(bottom - top)


def corners(box: Box) -> np.ndarray:
    """Corners of a box [px], (4, 2)."""
    left, top, width, height = box
    return np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]], float)


def share(value: float | None) -> str | None:
    """Confidence as text, in [0, 1], or None."""
    return None if value is None else f"{min(max(float(value), 0.0), 1.0):.4f}"


def day(made: Made | None) -> str | None:
    """Midnight of the day on which the job began, UTC, or None."""
    return f"{made.date}T00:00:00" if made is not None and made.date else None


def model_of(made: Made | None) -> str:
    """Model and settings in one line."""
    if made is None:
        return ""
    digest = f"sha256 {made.digest[:16]}" if made.digest else ""
    return "; ".join(part for part in (f"model {made.model}" if made.model else "", digest, made.settings) if part)


class Ids:
    """Hands out valid XML ids, each once."""

    def __init__(self, *taken: str) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def new(self, wanted: str, prefix: str) -> str:
        """`wanted`, made valid and unique."""
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", wanted)
        if not re.match(r"[A-Za-z_]", name):
            name = f"{prefix}_{name}"
        result, number = name, self._next.get(name, 1)
        while result in self._taken:
            number += 1
            result = f"{name}_{number}"
        self._next[name] = number
        self._taken.add(result)
        return result


def serialise(root: etree._Element) -> bytes:
    """The document as indented UTF-8."""
    data: bytes = etree.tostring(root.getroottree(), encoding="UTF-8", xml_declaration=True, pretty_print=True)
    return data


def texts_by_id(pairs: Sequence[tuple[str, str | None]]) -> dict[str, str]:
    """Ids and texts as a reader of an edited file gives them."""
    return {name: one_line(text) for name, text in pairs}


def _shares(line: Line, lengths: list[int]) -> list[Box]:
    """Boxes that divide a line's box in proportion to `lengths`, along the direction in which it is written."""
    left, top, width, height = box_of(line.polygon)
    across, down = (1, 0) if line.baseline is None else line.baseline[-1] - line.baseline[0]
    steep = abs(down) > abs(across)
    parts = np.cumsum([0, *lengths]) / sum(lengths)
    backward = not steep and direction.of_text([line.text or ""]) == "rtl"  # baselines run as left-to-right text does
    if ((down if steep else across) < 0) != backward:
        parts = 1 - parts
    edges = ((top + height * parts) if steep else (left + width * parts)).round().astype(int).tolist()
    spans = [(min(pair), abs(pair[1] - pair[0])) for pair in pairwise(edges)]
    return [(left, start, width, size) if steep else (start, top, size, height) for start, size in spans]
