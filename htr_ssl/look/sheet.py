"""A picture of random samples with their texts, to see what a source holds."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from htr_ssl.data.images import to_height
from htr_ssl.data.sample import Sample
from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.seeds import rng

HEIGHT = 48
"""Height of the images on the sheet [px]."""
_GAP = 8
_TEXT = 14
_CELLS = {"word": (200, 5), "line": (640, 2), "page": (640, 2)}  # width [px] and number of columns


def sheet(samples: Sequence[Sample], out: Path, count: int = 30, seed: int = 0, large: bool = False) -> None:
    """Writes a PNG of `count` random samples in source order; what cannot be read is named in red.

    Args:
        samples: what a reader returns, not empty.
        out: the picture.
        count: number of samples, all if there are fewer.
        seed: seed of the choice.
        large: one below the other and twice as large, to be transcribed from.
    """
    rows = sorted(rng(seed, "sheet").permutation(len(samples))[:count].tolist())
    width, columns = _CELLS[samples[rows[0]].level]
    width, columns, tall = (2 * width, 1, 2 * HEIGHT) if large else (width, min(columns, len(rows)), HEIGHT)
    height = tall + 2 * _TEXT + _GAP
    lines = -(-len(rows) // columns)
    picture = Image.new("RGB", (columns * (width + _GAP) + _GAP, lines * height + _GAP), "white")
    for place, row in enumerate(rows):
        corner = (_GAP + place % columns * (width + _GAP), _GAP + place // columns * height)
        _draw(picture, samples[row], corner, (width, tall))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    write_bytes(Path(out), buffer.getvalue())


def _draw(picture: Image.Image, sample: Sample, corner: tuple[int, int], size: tuple[int, int]) -> None:
    """Puts one sample and its text into its cell, whose image is at most of this width and height [px]."""
    (x, y), (width, tall) = corner, size
    text, colour = sample.text or f"({sample.id})", "black" if sample.text else "gray"
    try:
        image = sample.load()
        scale = min(tall / image.shape[0], width / image.shape[1])
        strip = to_height(image, max(1, round(image.shape[0] * scale)), 3, width)
        picture.paste(Image.fromarray(np.ascontiguousarray(strip)), corner)
    except UserError as error:
        text, colour = str(error), "red"
    ImageDraw.Draw(picture).text((x, y + tall), fitted(text, width), colour, font())


def fitted(text: str, width: int) -> str:
    """The text, cut to a width [px] of `font`; dots stand for the rest."""
    while text and font().getlength(text) > width:
        text = text[: -max(2, len(text) // 20)].rstrip("…") + "…" if len(text) > 2 else ""
    return text


@cache
def font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings: it has Latin, Greek, Cyrillic, Hebrew and Arabic letters."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), _TEXT)
