"""Pen strokes of letters: the Hershey faces and a running hand of our own, in the units of a written line.

Upright, x to the right and y up, baseline 0, x-height 1, ascenders and capitals about 2, descenders about -1. A
character has several variants, so that hands can differ in the letters' forms and not only in their proportions.
Accented letters are composed of the bare letter and its marks.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
Rng = np.random.Generator

SPACING = 0.16
"""Distance of neighbouring points along a stroke [x-heights]."""

_ASCENDERS = {"script": (9, 21, 12, 0.3), "plain": (14, 21, 7, 0.0)}  # x-height, ascender, descender [units], slant
_FACES = {"script": "scripts", "plain": "futural"}
_DIRECT = frozenset("!\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`{|}~")

# Upright letters, 10 units to the x-height: "x y x y …", strokes parted by ";", variants by "|".
_RUNNING = {
    "a": "8 9 4 10 1 6 2 1 5 0 8 4 9 10 9 3 10 0 13 5|9 8 6 10 2 8 1 3 3 0 7 2 9 7 10 10;9 9 9 3 11 0 14 5",
    "b": "2 20 2 3 3 0 7 1 8 6 6 10 2 6|0 4 4 13 5 19 4 20 3 16 2 3 4 0 7 2 8 9 10 8 12 8",
    "c": "9 8 6 10 2 8 1 3 4 0 8 1 11 5|0 4 4 10 8 9;5 10 2 6 3 1 6 0 10 5",
    "d": "8 9 4 10 1 7 1 3 4 0 7 2 8 7 8 13 5 18 2 19 1 17|8 8 5 10 1 7 1 2 4 0 7 3 9 12 9 19 8 20 7 15 8 3 10 0 13 4"
    "|7 9 3 9 1 5 2 0 5 0 8 6 9 20 8 3 10 0 13 5",
    "e": "8 9 4 10 3 7 6 6 2 4 2 1 6 0 10 4|0 4 4 5 7 7 6 10 4 10 2 6 3 1 6 0 10 4"
    "|0 4 5 5 7 8 5 10 3 7 2 3 4 0 7 0 11 5|0 3 4 6 5 9 4 10 3 6 4 1 8 5",
    "f": "9 19 6 20 5 14 5 0 4 -8 1 -9;1 9 9 10|0 4 5 12 7 19 5 20 4 14 4 0 4 -9 6 -10 7 -5 5 0 10 5"
    "|9 18 7 20 5 16 5 0;2 10 9 11",
    "g": "8 8 4 10 1 7 1 2 4 0 7 3 8 9 8 -5 5 -10 1 -8|8 8 4 10 1 7 1 2 4 0 7 3 8 10 8 -6 5 -10 2 -8 5 -3 12 4",
    "h": "0 4 3 20 3 0 3 2 6 9 8 10 9 7 9 2 10 0 13 5|0 4 5 14 5 19 4 20 3 15 3 0 4 5 7 9 9 7 8 2 10 0 13 5",
    "i": "0 4 3 10 3 3 4 0 6 0 8 5;4 16 5 15|0 3 2 9 3 2 5 1 7 5;4 15 6 16",
    "j": "0 4 4 10 4 -5 2 -10 -2 -8;5 16 5 15|0 4 4 10 4 -6 2 -10 0 -8 3 -3 9 4;5 16 6 15",
    "k": "2 20 2 0;9 10 3 5 6 4 9 0 12 4|0 4 4 15 4 20 3 18 3 0;3 4 7 10 8 7 4 5 8 0 12 4",
    "l": "3 20 3 4 4 0 7 1 9 5|0 4 4 13 5 19 4 20 3 16 3 3 5 0 9 5",
    "m": "0 4 2 10 2 0 2 1 4 8 6 10 7 8 7 0 7 1 9 8 11 10 12 8 12 2 13 0 16 5"
    "|0 6 2 10 3 3 4 0 5 3 7 9 8 3 9 0 10 3 12 9 13 3 14 0 17 5",
    "n": "0 4 2 10 2 0 2 1 5 7 7 10 8 8 8 2 9 0 12 5|0 6 2 10 3 3 4 0 6 3 8 9 9 3 10 0 13 5",
    "o": "6 10 2 9 1 4 4 0 8 2 8 7 6 10 8 9 11 9|6 10 2 8 1 3 4 0 8 3 7 9 5 10|0 3 3 9 2 2 5 0 8 5 6 10 4 9 11 8",
    "p": "0 4 3 13 3 4 3 -10;3 5 6 10 8 8 8 2 10 0 13 4|3 10 3 -10 3 -3 4 7 7 10 10 6 8 1 4 1"
    "|0 5 4 15 4 0 3 -10 4 0 6 8 8 9 9 5 9 1 11 0 13 4",
    "q": "8 8 4 10 1 7 1 2 4 0 8 4 8 9 8 -11 9 -4 12 2|8 9 4 10 1 6 2 1 5 1 8 6 9 10 8 -10",
    "r": "0 3 3 9 3 11 4 9 7 9 7 4 8 0 10 0 13 5|0 4 3 10 3 2 3 0 3 5 5 9 8 10|0 4 3 11 5 9 6 3 7 0 11 5",
    "s": "9 9 5 10 2 8 5 5 7 3 5 0 1 1|0 3 5 11 6 6 6 1 3 0 1 2|0 3 5 11 6 6 7 2 4 0 2 1 6 0 11 5",
    "t": "4 16 4 4 5 0 8 0 11 4;1 11 8 12|0 4 4 17 4 3 6 0 9 3 8 10 2 10 12 11|0 4 3 16 3 3 5 0 8 4;0 13 9 15",
    "u": "0 6 2 10 2 3 3 0 6 1 8 6 9 10 9 2 10 0 13 5|0 5 2 10 2 2 4 0 7 4 8 10 8 3 10 0 12 5",
    "v": "0 8 2 10 4 1 4 0 8 8 9 10 11 9|0 5 2 10 2 3 4 0 7 3 7 9 6 10 9 8 12 8",
    "w": "0 8 2 10 3 2 4 0 7 8 8 10 8 2 9 0 12 8 13 10 15 9",
    "x": "1 9 4 8 5 2 8 0 11 3;10 10 6 5 1 0|1 8 3 10 5 7 4 1 1 1;10 9 7 10 5 6 6 1 9 0 12 4",
    "y": "0 9 2 10 2 3 4 0 7 2 9 10 8 -3 5 -10 1 -8|0 5 2 10 3 3 5 1 8 5 9 10 8 -5 5 -10 3 -8 6 -3 13 4",
    "z": "1 9 9 10 4 4 1 0 5 1 10 1|0 6 3 10 7 9 4 5 2 1 6 2 5 -5 2 -9 1 -7 5 -2 12 4",
    "A": "0 1 3 3 8 19 9 20 10 0;3 8 11 9|1 0 6 12 9 20 10 8 11 0 14 3;1 8 12 8",
    "C": "11 17 8 20 3 15 1 6 4 0 9 1 13 5|9 16 11 19 8 20 3 13 2 4 6 0 12 4",
    "D": "4 19 4 1 1 1 6 0 11 4 13 12 9 19 3 20 0 16|5 17 4 4 2 0 9 1 13 8 11 17 4 20 1 17",
    "E": "9 18 6 20 3 17 4 12 7 11 3 9 1 4 4 0 9 2",
    "J": "3 18 8 20 8 4 5 -6 1 -6 4 -1 12 4|2 20 12 20;8 20 8 3 5 0 1 3",
    "L": "4 14 8 19 6 20 4 14 4 3 1 0 3 1 7 0 12 2|3 20 3 2 3 0 11 0",
    "M": "0 1 2 2 5 19 6 10 8 3 13 20 14 4 16 0 19 4|1 0 3 20 3 18 8 5 14 20 15 0",
    "N": "0 0 3 2 4 19 5 17 11 1 12 12 14 20 17 20",
    "P": "5 18 4 5 3 0;0 16 5 20 11 19 12 14 8 10 5 11|3 20 3 0;0 18 6 20 11 16 7 10 3 10",
    "R": "4 19 4 0;0 17 6 20 11 17 8 11 4 10 7 10 10 1 14 2",
    "S": "11 17 8 20 4 16 9 8 9 2 5 0 0 4|10 18 5 19 4 14 9 7 6 0 1 2",
    "T": "0 17 3 19 12 19 14 20;8 19 8 4 5 0 1 3",
    "V": "0 17 3 20 6 2 6 0 10 12 14 20|1 19 3 18 6 0 11 20",
    "Q": "7 20 2 16 1 6 5 0 10 4 11 14 7 20;6 5 9 1 14 0",
    "1": "2 13 6 20 6 0|5 20 4 0",
    "2": "1 15 4 20 9 17 8 11 1 0 4 2 11 0",
    "3": "1 18 6 20 9 16 4 11 9 9 9 2 4 0 0 2|1 19 9 19 5 12 9 8 8 1 4 0 1 1",
    "4": "6 20 1 7 11 7;9 13 8 0|2 19 2 9 10 9;9 18 9 0",
    "5": "9 19 3 19 2 11 6 12 9 8 7 1 3 0 0 3|3 19 2 12 7 12 9 5 5 0 0 1;3 19 10 20",
    "7": "1 18 4 19 11 19 6 9 4 0;3 10 10 10|1 19 10 20 5 0",
    "8": "9 17 5 20 2 16 8 7 6 0 1 3 6 11 9 17",
    "9": "9 16 5 20 1 15 5 11 9 17 9 10 6 0",
    "0": "6 20 2 16 1 7 4 0 9 4 9 14 6 20",
    "&": "11 8 8 2 4 0 1 4 6 11 8 17 5 20 3 16 7 6 13 0",
    "ß": "0 4 3 15 6 20 9 17 6 12 10 7 8 1 5 0;3 15 3 -8",
    "€": "13 17 9 20 4 16 2 9 5 1 9 0 13 3;0 12 10 12;0 8 9 8",
    "£": "11 17 8 20 5 16 6 8 3 1 1 0 5 2 11 0;2 10 10 10",
    "«": "6 9 2 5 6 1;11 9 7 5 11 1",
    "»": "2 9 6 5 2 1;7 9 11 5 7 1",
    "‹": "6 9 2 5 6 1",
    "›": "2 9 6 5 2 1",
    "–": "1 6 14 6",
    "—": "1 6 22 6",
    "…": "1 0 1.5 1;7 0 7.5 1;13 0 13.5 1",
    "·": "2 6 2.5 6.5",
    "•": "2 6 3 7 4 6 3 5 2 6",
    "°": "3 20 1 18 3 16 5 18 3 20",
    "§": "9 17 6 20 3 17 8 10 5 6;5 14 2 10 8 3 5 -2 1 1",
    "ø": "6 10 2 9 1 4 4 0 8 2 8 7 6 10;0 -2 9 12",
    "Ø": "7 20 2 16 1 6 5 0 10 4 11 14 7 20;0 -2 12 22",
    "ł": "0 4 4 13 5 19 4 20 3 16 3 3 5 0 9 5;0 8 8 13",
    "đ": "8 8 5 10 1 7 1 2 4 0 7 3 8 20 8 3 10 0 13 4;4 16 12 17",
}
_SAME = {"’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "−": "-", "‐": "-", "‑": "-", "ı": "i", "µ": "u"}
_PAIRS = {"œ": "oe", "æ": "ae", "Œ": "OE", "Æ": "AE", "ĳ": "ij", "№": "No"}
# Marks [1/10 x-height] about the middle of the letter; y is the height above it, below the baseline for cedillas.
_MARKS = {
    "\u0300": "-3 6 2 2",
    "\u0301": "-1 2 4 7",
    "\u0302": "-4 2 0 6 4 2",
    "\u0303": "-4 3 -2 6 2 3 4 6",
    "\u0304": "-4 4 4 4",
    "\u0306": "-4 6 0 3 4 6",
    "\u0307": "0 4 0.5 4.5",
    "\u0308": "-3 4 -2.5 5;3 4 3.5 5",
    "\u030a": "0 7 -2 5 0 3 2 5 0 7",
    "\u030b": "-3 2 0 7;1 2 4 7",
    "\u030c": "-4 6 0 2 4 6",
    "\u0327": "0 0 -1 -3 2 -4 1 -7 -2 -7",
    "\u0328": "2 0 0 -4 2 -6 4 -5",
}
_BELOW = frozenset("\u0327\u0328")


@dataclass(frozen=True, slots=True)
class Glyph:
    """One form of a character.

    Attributes:
        face: script, plain or running.
        body: strokes that belong to the line of writing, each (K, 2).
        marks: strokes set afterwards (dots, bars, accents), each (K, 2).
        advance: width the character takes.
    """

    face: str
    body: tuple[Array, ...]
    marks: tuple[Array, ...]
    advance: float


def drawable(character: str) -> bool:
    """Whether there are strokes for it; a space counts."""
    return character == " " or bool(variants(character))


@lru_cache(maxsize=4096)
def variants(character: str) -> tuple[Glyph, ...]:
    """All forms of a character, none if it cannot be drawn."""
    if len(character) != 1:
        return ()
    if character in _SAME:
        return variants(_SAME[character])
    if pair := _PAIRS.get(character):
        return tuple(_pair(a, b) for a, b in zip(variants(pair[0]), variants(pair[1]), strict=False))
    found = [_hershey(face, character) for face in _FACES if "!" <= character <= "~"]
    if character in _DIRECT:  # the script face has only printed, double-stroked signs
        found = [glyph for glyph in found if glyph.face == "plain"]
    found += [_written(text) for text in _RUNNING.get(character, "").split("|") if text]
    decomposed = unicodedata.normalize("NFD", character)
    base, marks = decomposed[0], decomposed[1:]
    if not found and marks and all(mark in _MARKS for mark in marks):
        return tuple(_marked(glyph, marks, base in "ij") for glyph in variants(base))
    return tuple(found)


@lru_cache(maxsize=2)
def _face(face: str) -> dict[str, tuple[list[Array], float, float]]:
    """Strokes (y down), left and right side of a Hershey face's characters in its own units."""
    from HersheyFonts import HersheyFonts

    font = HersheyFonts()
    font.load_default_font(_FACES[face])
    characters = [chr(code) for code in range(33, 127)]
    glyphs = zip(characters, font.glyphs_for_text("".join(characters)), strict=True)
    return {
        c: ([np.array(s, np.float64) for s in map(list, g.strokes)], g.left_offset, g.left_offset + g.char_width)
        for c, g in glyphs
    }


def _hershey(face: str, character: str) -> Glyph:
    """A character of a Hershey face, upright and with the common proportions."""
    strokes, left, right = _face(face)[character]
    x_height, ascender, descender, slant = _ASCENDERS[face]
    unit = x_height if character.islower() else ascender / 1.9
    scaled = []
    for stroke in strokes:
        x, y = stroke[:, 0] - left, 9 - stroke[:, 1]
        x = x - slant * (y - 5)  # joins are 5 units above the baseline, and stay where they are
        y = y / unit
        if character.islower():
            y = np.where(y > 1, 1 + (y - 1) / (ascender / x_height - 1), np.where(y < 0, y * x_height / descender, y))
        scaled.append(np.stack((x / unit, y), axis=1))
    return _glyph(face, scaled, (right - left) / unit, smooth=False)


def _written(text: str) -> Glyph:
    """A character of `_RUNNING`."""
    strokes = _parse(text)
    points = np.concatenate(strokes)
    return _glyph("running", strokes, float(points[:, 0].max()) + (0.05 if points[-1, 0] > 0.9 else 0.2), smooth=True)


def _parse(text: str) -> list[Array]:
    return [np.array(part.split(), np.float64).reshape(-1, 2) / 10 for part in text.split(";")]


def _glyph(face: str, strokes: Sequence[Array], advance: float, smooth: bool) -> Glyph:
    """Tells marks from the body and brings the points to one distance."""
    body: list[Array] = []
    marks: list[Array] = []
    for stroke in strokes:
        low, high = stroke[:, 1].min(), stroke[:, 1].max()
        mark = len(strokes) > 1 and (low > 1.05 or (low > 0.9 and high - low < 0.3))
        (marks if mark else body).append(_resample(stroke, smooth))
    if not body:  # quotation marks and their like
        body, marks = marks, []
    return Glyph(face, tuple(_merge(body)), tuple(marks), float(advance))


def _resample(points: Array, smooth: bool) -> Array:
    """Points at equal distances along a polyline, or along a Catmull-Rom curve through its points."""
    if smooth and len(points) > 2:
        p = np.concatenate((2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]))
        a, b, c, d = (p[i : len(p) - 3 + i, None] for i in range(4))
        t = np.linspace(0, 1, 8, endpoint=False)[None, :, None]
        curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
        points = np.concatenate((curve.reshape(-1, 2), points[-1:]))
    length = np.concatenate(([0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))))
    at = np.linspace(0, length[-1], max(2, round(length[-1] / SPACING) + 1))
    return np.stack([np.interp(at, length, points[:, axis]) for axis in (0, 1)], axis=1).astype(np.float32)


def _merge(strokes: Iterable[Array]) -> list[Array]:
    """Joins strokes where the next one starts close to the end of the last one."""
    merged: list[Array] = []
    for stroke in strokes:
        if merged and np.hypot(*(merged[-1][-1] - stroke[0])) < 0.4:
            merged[-1] = np.concatenate((merged[-1], stroke))
        else:
            merged.append(stroke)
    return merged


def _pair(first: Glyph, second: Glyph) -> Glyph:
    """Two letters written as one."""
    shift = np.array((first.advance * 0.85, 0), np.float32)
    body = (*first.body, *(stroke + shift for stroke in second.body))
    marks = (*first.marks, *(stroke + shift for stroke in second.marks))
    return Glyph(first.face, body, marks, first.advance * 0.85 + second.advance)


def _marked(glyph: Glyph, marks: Sequence[str], dotted: bool) -> Glyph:
    """A letter with accents; the dot of i and j gives way to them."""
    points = np.concatenate(glyph.body)
    middle, top = (points[:, 0].min() + points[:, 0].max()) / 2, max(1.0, float(points[:, 1].max()))
    kept = [] if dotted else list(glyph.marks)
    for mark in marks:
        place = np.array((middle, 0 if mark in _BELOW else top), np.float32)
        kept += [_resample(stroke, smooth=True) + place for stroke in _parse(_MARKS[mark])]
        top += 0.0 if mark in _BELOW else 0.6
    return Glyph(glyph.face, glyph.body, tuple(kept), glyph.advance)
