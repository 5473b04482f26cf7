"""Picture to look at: the page with its lines marked and numbered, and beside it their text in place."""

from __future__ import annotations

import io
import math
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from htr_ssl.data.page_images import page_image
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Line, Page

EXTENSION = ".overlay.jpg"
MAX_SIDE = 2000
"""Longest side of the picture [px]."""
QUALITY = 80
"""Of the JPEG."""
STEEP = 30.0
"""Lines at a greater angle have their text turned [degrees]."""

_COLOURS = ((31, 119, 180), (214, 95, 30), (44, 140, 70))
_INK, _DOUBT, _PAPER = (30, 30, 40), (200, 40, 30), (252, 251, 247)


def write(page: Page, path: Path) -> None:
    """Writes a JPEG: the page and, to its right (below, if it is wider than high), a sheet with the text of each line.

    Text is the redder, the lower its confidence.

    Raises:
        UserError: the page's image cannot be read.
    """
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content.

    Raises:
        UserError: the page's image cannot be read.
    """
    pixels = page_image(page.image, page.number)
    wide = pixels.shape[1] > pixels.shape[0]
    whole = (pixels.shape[1], 2 * pixels.shape[0]) if wide else (2 * pixels.shape[1], pixels.shape[0])
    scale = min(1.0, MAX_SIDE / max(whole))
    size = (max(1, int(pixels.shape[1] * scale)), max(1, int(pixels.shape[0] * scale)))
    factors = np.array([size[0] / max(page.width, 1), size[1] / max(page.height, 1)])
    picture = Image.fromarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)).convert("RGB")
    sheet = Image.new("RGB", size, _PAPER)
    polygons = [np.asarray(line.polygon) * factors for line in page.lines]
    _mark(picture, page.lines, polygons, factors)
    _typeset(sheet, page.lines, polygons, factors)
    both = Image.new("RGB", (size[0], 2 * size[1]) if wide else (2 * size[0], size[1]))
    both.paste(picture, (0, 0))
    both.paste(sheet, (0, size[1]) if wide else (size[0], 0))
    buffer = io.BytesIO()
    both.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _mark(picture: Image.Image, lines: list[Line], polygons: list[np.ndarray], factors: np.ndarray) -> None:
    """Draws outlines, baselines and numbers onto the page."""
    draw = ImageDraw.Draw(picture, "RGBA")
    font = _font(max(10, min(18, _line_height(polygons) * 0.4)))
    for number, (line, polygon) in enumerate(zip(lines, polygons, strict=True), 1):
        colour = _COLOURS[number % len(_COLOURS)]
        draw.polygon(_flat(polygon), fill=(*colour, 36), outline=(*colour, 150))
        if line.baseline is not None:
            draw.line(_flat(np.asarray(line.baseline) * factors), fill=(*colour, 220), width=2)
    for number, (line, polygon) in enumerate(zip(lines, polygons, strict=True), 1):
        x, y = _start(line, polygon, factors)
        box = draw.textbbox((x - 4, y), str(number), font=font, anchor="rm")
        shift = max(0.0, 3 - box[0])
        box = (box[0] + shift - 3, box[1] - 2, box[2] + shift + 3, box[3] + 2)
        draw.rounded_rectangle(box, radius=4, fill=(*_COLOURS[number % len(_COLOURS)], 220))
        draw.text((x - 4 + shift, y), str(number), font=font, anchor="rm", fill=(255, 255, 255))


def _typeset(sheet: Image.Image, lines: list[Line], polygons: list[np.ndarray], factors: np.ndarray) -> None:
    """Writes each line's number and text where the line stands on the page, small enough to fit."""
    draw = ImageDraw.Draw(sheet)
    draw.rectangle((0, 0, sheet.width - 1, sheet.height - 1), outline=(220, 218, 210))
    usual = max(9.0, min(30.0, _line_height(polygons) * 0.5))
    small = _font(usual * 0.7)
    margin = draw.textlength(f"{len(lines)} ", font=small) + 6
    for number, (line, polygon) in enumerate(zip(lines, polygons, strict=True), 1):
        colour = _COLOURS[number % len(_COLOURS)]
        text = " ".join((line.text or "").split())
        if abs(_angle(line)) > STEEP:
            _typeset_steep(sheet, f"{number} {text}", _angle(line), polygon, usual, _ink(line))
            continue
        left, y = _start(line, polygon, factors)
        if line.baseline is not None:
            y = float(line.baseline[0, 1] * factors[1]) - 0.35 * usual  # the middle of small letters
        x = max(margin, left)
        draw.text((x - 5, y), str(number), font=small, anchor="rm", fill=colour)
        draw.text((x, y), text, font=_fitting(draw, text, usual, sheet.width - x - 6), anchor="lm", fill=_ink(line))


def _typeset_steep(
    sheet: Image.Image, text: str, angle: float, polygon: np.ndarray, usual: float, ink: tuple[int, ...]
) -> None:
    """Writes a text turned by `angle` [degrees] into the middle of its line's outline."""
    draw = ImageDraw.Draw(sheet)
    font = _fitting(draw, text, usual, float(np.ptp(polygon, axis=0).max()))
    tile = Image.new("L", (max(1, math.ceil(draw.textlength(text, font=font))), math.ceil(1.3 * font.size)))
    ImageDraw.Draw(tile).text((0, tile.height / 2), text, font=font, anchor="lm", fill=255)
    tile = tile.rotate(-angle, expand=True, resample=Image.Resampling.BICUBIC)
    centre = (polygon.min(0) + polygon.max(0)) / 2
    sheet.paste(ink, (round(centre[0] - tile.width / 2), round(centre[1] - tile.height / 2)), tile)


def _fitting(draw: ImageDraw.ImageDraw, text: str, usual: float, room: float) -> ImageFont.FreeTypeFont:
    """The usual size, or a smaller one at which the text fits into `room` [px]."""
    width = draw.textlength(text, font=_font(usual))
    return _font(usual if width <= room else max(7.0, usual * max(room, 1.0) / width))


def _ink(line: Line) -> tuple[int, ...]:
    doubt = 0.0 if line.confidence is None else 1 - min(max(float(line.confidence), 0.0), 1.0)
    return tuple(round(a + (b - a) * doubt) for a, b in zip(_INK, _DOUBT, strict=True))


def _angle(line: Line) -> float:
    """Direction of writing [degrees], clockwise from the right; 0 without a baseline."""
    if line.baseline is None:
        return 0.0
    across, down = line.baseline[-1] - line.baseline[0]
    return math.degrees(math.atan2(down, across))


def _start(line: Line, polygon: np.ndarray, factors: np.ndarray) -> tuple[float, float]:
    """Where a line's number goes: the middle of its left edge, or the start of a steep baseline."""
    if line.baseline is not None and abs(_angle(line)) > STEEP:
        x, y = line.baseline[0] * factors
        return float(x), float(y)
    left = float(polygon[:, 0].min())
    near = polygon[polygon[:, 0] <= left + 0.05 * float(np.ptp(polygon[:, 0]))]
    return left, float((near[:, 1].min() + near[:, 1].max()) / 2)


def _line_height(polygons: list[np.ndarray]) -> float:
    return float(np.median([np.ptp(polygon, axis=0).min() for polygon in polygons])) if polygons else 20.0


def _flat(points: np.ndarray) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]


def _font(size: float) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which knows accents, Greek and Cyrillic and comes with matplotlib."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), math.floor(size))
