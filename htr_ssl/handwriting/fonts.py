"""Fonts as pens: a text is set in a font, then bent as a hand would, for scripts that the pen strokes do not have.

Lengths are in x-heights, as those of strokes. Pillow's Raqm layout joins and orders the letters; where Pillow lacks it,
the order is ours and Arabic letters stay apart.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, cast

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from htr_ssl import seeds
from htr_ssl.errors import UserError
from htr_ssl.handwriting.hand import Hand
from htr_ssl.handwriting.strokes import Array, Rng
from htr_ssl.text import direction as order

SUFFIXES = (".ttf", ".otf", ".woff", ".woff2")
_SIZE = 0.75  # of the letters' square, in heights of the image: about what is drawn in the end
_NOWHERE = "\U0010fffd"  # a character that no font has
_PAD = 2  # paper around the set text [px]


class Printed(NamedTuple):
    """A text that is set: ink in [0, 255] with the place of its origin, and how the hand bends it.

    Attributes:
        mask: (H, W), uint8.
        unit: pixels per x-height.
        start, base: column and row of the origin [px].
        stretch: of the width; slant, slope: shift per height and width.
        wave, pace, phase: of the baseline.
        bend: smooth random shifts, (2, rows, columns).
        x, y: where the origin lies.
    """

    mask: Array
    unit: float
    start: float
    base: float
    stretch: float
    slant: float
    slope: float
    wave: float
    pace: float
    phase: float
    bend: Array
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class FontPen:
    """Writes with a font.

    Attributes:
        path: its file.
        height: of the images [px].
        direction: of lines with letters of both directions or none.
    """

    path: Path
    height: int
    direction: Literal["ltr", "rtl"] = "ltr"

    def trace(self, text: str, hand: Hand, rng: Rng) -> Printed:
        """Sets a text; the hand gives slant, width, slope, wave and how much letters are bent."""
        font = _font(self.path, max(8, round(_SIZE * self.height)))
        shown, way = (text, self.direction) if raqm() else (order.visual(text, self.direction), None)
        left, top, right, bottom = font.getbbox(shown, anchor="ls", direction=way)
        start, base = _PAD - int(left), _PAD - int(top)
        size = max(1, int(right) + start) + _PAD, max(1, int(bottom) + base) + _PAD
        picture = Image.new("L", size)
        ImageDraw.Draw(picture).text((start, base), shown, 255, font, anchor="ls", direction=way)
        unit = _unit(self.path, font.size)
        stretch = float(np.clip(hand.aspect / 0.95, 0.7, 1.3))
        length = size[0] / unit * stretch
        cells = 4, max(3, round(length / 1.5))
        bend = rng.standard_normal((2, *cells)).astype(np.float32) * np.float32(0.5 * (hand.jitter + hand.bend))
        slope = float(np.clip(hand.slope + 0.01 * rng.standard_normal(), -1 / length, 1 / length))
        slant = 0.5 * hand.slant + 0.05 * float(rng.standard_normal())  # many fonts lean by themselves
        pace, phase = rng.uniform(0.1, 0.7), rng.uniform(0, 6)
        return Printed(np.asarray(picture), unit, start, base, stretch, slant, slope, hand.wave, pace, phase, bend)

    @staticmethod
    def extent(ink: Printed) -> tuple[float, float, float, float]:
        """Left, right, bottom, top."""
        height, width = ink.mask.shape
        x = (np.array((_PAD, width - _PAD)) - ink.start) / ink.unit * ink.stretch
        y = (ink.base - np.array((height - _PAD, _PAD))) / ink.unit
        ends = x[None] + ink.slant * y[:, None]
        rise = (ink.slope * ends).ravel()
        low, high = y[0] - ink.wave + rise.min(), y[1] + ink.wave + rise.max()
        return float(ends.min() + ink.x), float(ends.max() + ink.x), float(low + ink.y), float(high + ink.y)

    @staticmethod
    def moved(ink: Printed, x: float, y: float) -> Printed:
        """The same ink elsewhere."""
        return ink._replace(x=ink.x + x, y=ink.y + y)

    @staticmethod
    def strays(text: str, below: bool) -> list[str]:
        """Letters of neighbours: those of the text, which the font has."""
        return [letter for letter in text if letter.isalpha()] or list(text)

    @staticmethod
    def draw(parts: list[Printed], left: float, top: float, scale: float, shape: tuple[int, int]) -> Array:
        """Ink in [0, 1] of an image whose corner is at (left, top), `scale` pixels per x-height."""
        across = (np.arange(shape[1], dtype=np.float32) + np.float32(0.5)) / np.float32(scale) + np.float32(left)
        down = np.float32(top) - (np.arange(shape[0], dtype=np.float32) + np.float32(0.5)) / np.float32(scale)
        masks = []
        for ink in parts:
            x = across - np.float32(ink.x)
            lift = ink.wave * np.sin(x * ink.pace + ink.phase) + ink.slope * x + ink.y
            y = down[:, None] - lift[None].astype(np.float32)
            shift_x, shift_y = (cv2.resize(part, shape[::-1], interpolation=cv2.INTER_CUBIC) for part in ink.bend)
            column = (x[None] - np.float32(ink.slant) * y + shift_x) * np.float32(ink.unit / ink.stretch)
            row = np.float32(ink.base - 0.5) - (y + shift_y) * np.float32(ink.unit)
            masks.append(cv2.remap(ink.mask, column + np.float32(ink.start - 0.5), row, cv2.INTER_LINEAR))
        return cast(Array, np.maximum.reduce(masks).astype(np.float32) * np.float32(1 / 255))


class Fonts:
    """The fonts of a folder, and which of them can write a text.

    Attributes:
        paths: of those that can be used.
    """

    def __init__(self, folder: str) -> None:
        """Opens every font below the folder; one that cannot be used is left out and named in a warning.

        Raises:
            UserError: there is no font that can be used.
        """
        place = Path(folder).expanduser()
        try:
            files = [place] if place.is_file() else sorted(_below(place))
        except OSError as error:
            raise UserError(
                f"synthetic.fonts: {folder} cannot be read ({error.strerror}); give a folder of fonts"
            ) from None
        kinds = ", ".join(suffix.lstrip(".").upper() for suffix in SUFFIXES)
        wrong = {path: reason for path in files if (reason := _unusable(path))}
        self.paths = [path for path in files if path not in wrong]
        self._known: dict[Path, frozenset[str]] = {}
        named = "; ".join(f"{path} {reason}" for path, reason in list(wrong.items())[:3])
        if not self.paths:
            found = named or f"there is no {kinds} file below it"
            raise UserError(f"synthetic.fonts: {folder} has no font that can be used ({found}); give a folder of fonts")
        if wrong:
            warnings.warn(f"synthetic.fonts: {len(wrong)} file(s) left out: {named}", stacklevel=2)

    def drawable(self, character: str) -> bool:
        """Whether any of the fonts has it."""
        return character == " " or any(has(path, character) for path in self.paths)

    def choose(self, text: str, seed: int, hand: int) -> tuple[Path, str]:
        """The first font that has all of a text, in this hand's order, and the text.

        Where none has, the one that has most of it, and the text without the rest.
        """
        ranks = seeds.rng(seed, "fonts", hand).permutation(len(self.paths)).tolist()
        needed = set(text) - {" "}
        lacking = {place: {c for c in needed if not has(self.paths[place], c)} for place in ranks}
        best = min(ranks, key=lambda place: len(lacking[place]))  # the first of equals
        kept = "".join(c for c in text if c not in lacking[best])
        return self.paths[best], " ".join(kept.split())

    def check_layout(self, texts: Iterable[str]) -> None:
        """Warns once if letters would have to be joined and Pillow cannot."""
        joined = any(unicodedata.bidirectional(c) == "AL" for text in texts for c in text)
        if joined and not raqm():
            warnings.warn(
                "synthetic.fonts: this Pillow has no Raqm layout, so Arabic letters are not joined; install the wheel "
                "of Pillow for your system from PyPI",
                stacklevel=2,
            )


@lru_cache(maxsize=1)
def raqm() -> bool:
    """Whether Pillow lays text out with Raqm."""
    return bool(features.check("raqm"))


@lru_cache(maxsize=1 << 16)
def has(path: Path, character: str) -> bool:
    """Whether a font draws a character: with ink, and not as it draws what it does not have; spaces need none."""
    if unicodedata.category(character) in ("Cf", "Zs"):
        return True
    ink = _ink(path, character)
    return any(ink) and ink != _ink(path, _NOWHERE)


@lru_cache(maxsize=1 << 12)
def _ink(path: Path, character: str) -> bytes:
    picture = Image.new("L", (64, 64))
    ImageDraw.Draw(picture).text((16, 44), character, 255, _plain(path), anchor="ls")
    return picture.tobytes()


def _below(folder: Path) -> list[Path]:
    """Files with a font's suffix; a folder that is missing or closed is an error."""
    list(folder.iterdir())
    return [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]


def _unusable(path: Path) -> str:
    """Why a file is no font to write with; empty if it is one."""
    try:
        with path.open("rb") as file:
            file.read(1)
        font = _plain(path)
        font.getbbox("x")
    except OSError as error:
        return f"cannot be read ({error.strerror})" if error.strerror else "is not a font, or a broken one"
    if "lastresort" in "".join(str(part) for part in font.getname()).lower().replace(" ", ""):
        return "draws no letters, only boxes"
    return ""


@lru_cache(maxsize=256)
def _plain(path: Path) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, 24, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=256)
def _font(path: Path, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.RAQM if raqm() else ImageFont.Layout.BASIC)


@lru_cache(maxsize=1024)
def _unit(path: Path, size: float) -> float:
    """Height of small letters [px]; about half the size in scripts without them."""
    for letter in ("x", "о", "ο"):
        if has(path, letter):
            return max(1.0, -_font(path, round(size)).getbbox(letter, anchor="ls")[1])
    return 0.5 * size
