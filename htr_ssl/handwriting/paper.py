"""Paper and ink: texture, stains, rules, fading and blur, or the paper of a scan, laid under and over a mask of ink."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import cv2
import numpy as np

from htr_ssl import seeds
from htr_ssl.handwriting.hand import Hand, f32
from htr_ssl.handwriting.strokes import Array, Rng

_GRAY = np.array((0.299, 0.587, 0.114), np.float32)


@dataclass(frozen=True, slots=True)
class Paper:
    """A sheet and what time did to it; all zero is clean white paper.

    Attributes:
        tone: colour in [0, 1]; mottle: slow changes of it; fibre: fine ones.
        rules: distance of ruled lines [x-heights], 0 = none; rule: their strength; squared: whether also upright ones.
        bleed: strength of the writing on the other side.
        fade: how much of the ink is lost in places; stray: share of images with a neighbour's ink.
        blur: standard deviation [x-heights].
        sheet: paper of a scan, uint8, (H, W) or (H, W, 3), which the writing is laid on as it is: no tone, rules or
            texture are added to it.
    """

    tone: tuple[float, float, float] = (1.0, 1.0, 1.0)
    mottle: float = 0.0
    fibre: float = 0.0
    rules: float = 0.0
    rule: float = 0.0
    squared: bool = False
    bleed: float = 0.0
    fade: float = 0.0
    stray: float = 0.0
    blur: float = 0.0
    sheet: Array | None = None

    @classmethod
    def draw(cls, rng: Rng, damage: float = 1.0, sheet: Array | None = None) -> Paper:
        """A sheet, or what time did to one that is given; `damage` scales everything but its tone."""
        light = float(np.clip(1 - rng.gamma(2, 0.07), 0.45, 0.97))
        yellow = rng.uniform(0, 0.25) * rng.random() * (1.3 - light)
        ruled = rng.random() < 0.35
        return cls(
            tone=(min(1.0, light * (1 + 0.3 * yellow)), light, light * (1 - yellow)),
            mottle=damage * rng.gamma(2, 0.006),
            fibre=damage * rng.gamma(2, 0.0045),
            rules=rng.uniform(1.2, 4.5) if ruled else 0.0,
            rule=damage * rng.uniform(0.04, 0.22) if ruled else 0.0,
            squared=bool(rng.random() < 0.4),
            bleed=damage * max(0.0, rng.uniform(-0.35, 0.16)),
            fade=min(0.8, damage * rng.gamma(2, 0.1)),
            stray=damage * rng.uniform(0, 0.35),
            blur=damage * rng.uniform(0.005, 0.04),
            sheet=sheet,
        )


def finish(mask: Array, hand: Hand, paper: Paper, rng: Rng, scale: float, base: float, colour: bool) -> Array:
    """Lays ink (mask in [0, 1]) on paper; `scale` [px per x-height], `base` = row of the baseline [px]."""
    alpha = mask
    grain = min(1.0, hand.grain)
    if grain:
        alpha = alpha * (1 - grain * np.clip(0.35 + 0.5 * _noise(rng, mask.shape, 1), 0, 1))
    if paper.fade:
        alpha = alpha * (1 - paper.fade * np.clip(0.4 + 0.6 * _slow(rng, mask.shape, scale), 0, 1))
    if paper.blur:
        sigma = paper.blur * scale
        alpha = cv2.GaussianBlur(alpha, (0, 0), sigma) if sigma > 0.25 else alpha
    ink = f32(*hand.ink) if colour else np.float32(_GRAY @ f32(*hand.ink))
    if paper.sheet is not None:
        ground = _cut(paper.sheet, mask.shape, rng, colour)
        alpha = alpha[..., None] if colour else alpha
        pixels = ground * (1 - alpha) + alpha * (ink * np.median(ground, axis=(0, 1)))
    else:
        shade = _shade(mask, paper, rng, scale, base)
        if colour:
            tone = f32(*paper.tone) * 255
            pixels = (shade * (1 - alpha))[..., None] * tone + alpha[..., None] * (tone * ink)
        else:
            level = 255 * float(_GRAY @ f32(*paper.tone))
            pixels = level * (shade * (1 - alpha) + alpha * float(ink))
    return cast(Array, np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def _shade(mask: Array, paper: Paper, rng: Rng, scale: float, base: float) -> Array:
    """Brightness of paper that is made up, in tones of clean paper."""
    shade = np.ones(mask.shape, np.float32)
    if paper.mottle:
        shade += np.float32(paper.mottle) * (_slow(rng, mask.shape, 2 * scale) + _noise(rng, mask.shape, 2))
    if paper.fibre:
        shade += np.float32(paper.fibre) * (_noise(rng, mask.shape, 0) + _noise(rng, mask.shape, 1))
    if paper.rule:
        shade *= 1 - np.float32(paper.rule) * _ruled(mask.shape, paper, rng, scale, base)
    if paper.bleed:
        other = cv2.blur(np.roll(mask[:, ::-1], int(rng.integers(len(mask))), axis=0), (3, 3))
        shade *= 1 - np.float32(paper.bleed) * other
    return shade


def _cut(sheet: Array, shape: tuple[int, ...], rng: Rng, colour: bool) -> Array:
    """A piece of a sheet, in [0, 255], float32, (H, W) or (H, W, 3); its mirror image follows where it is too small."""
    if sheet.ndim == 3 and not colour:
        sheet = cv2.cvtColor(sheet, cv2.COLOR_RGB2GRAY)
    elif sheet.ndim == 2 and colour:
        sheet = cv2.cvtColor(sheet, cv2.COLOR_GRAY2RGB)
    sheet = sheet[:, ::-1] if rng.random() < 0.5 else sheet
    first = int(rng.integers(sheet.shape[1]))
    rows, columns = _mirrored(shape[0], 0, len(sheet)), _mirrored(shape[1], first, sheet.shape[1])
    return cast(Array, sheet[rows][:, columns].astype(np.float32))


def _mirrored(count: int, first: int, size: int) -> Array:
    """Places from `first` on that go to and fro within `size`."""
    places = (first + np.arange(count)) % (2 * size)
    return np.minimum(places, 2 * size - 1 - places)


def _ruled(shape: tuple[int, ...], paper: Paper, rng: Rng, scale: float, base: float) -> Array:
    """Printed lines in [0, 1]."""
    height, width = shape
    lines = np.zeros(shape, np.float32)
    gap = max(6.0, paper.rules * scale)
    tilt = rng.normal(0, 0.006) * width
    first = (base + rng.normal(0.1, 0.1) * scale) % gap
    for y in np.arange(first, height + gap, gap):
        cv2.line(lines, (0, round(y * 8)), (width * 8, round((y + tilt) * 8)), 1.0, 1, cv2.LINE_AA, 3)
    if paper.squared:
        for x in np.arange(rng.uniform(0, gap), width, gap):
            cv2.line(lines, (round(x * 8), 0), (round((x - tilt * height / width) * 8), height * 8), 1.0, 1, 16, 3)
    return lines


@lru_cache(maxsize=1)
def _bank() -> tuple[Array, ...]:
    """Noise of three sizes of grain, mean 0 and standard deviation 1, made once and cut from ever after."""
    rng = seeds.rng(0, "paper")
    white = rng.standard_normal((512, 2048)).astype(np.float32)
    bank = [white]
    for sigma in ((1.2, 0.9), (9.0, 5.0)):
        soft = cv2.GaussianBlur(np.pad(white, 64, mode="wrap"), (0, 0), sigma[0], None, sigma[1])[64:-64, 64:-64]
        bank.append(soft / soft.std())
    return tuple(bank)


def _noise(rng: Rng, shape: tuple[int, ...], grain: int) -> Array:
    """A piece of the bank; larger pieces repeat."""
    source = _bank()[grain]
    y, x = int(rng.integers(source.shape[0])), int(rng.integers(source.shape[1]))
    if y + shape[0] <= source.shape[0] and x + shape[1] <= source.shape[1]:
        return source[y : y + shape[0], x : x + shape[1]]
    rows, columns = (y + np.arange(shape[0])) % source.shape[0], (x + np.arange(shape[1])) % source.shape[1]
    return cast(Array, source[rows][:, columns])


def _slow(rng: Rng, shape: tuple[int, ...], size: float) -> Array:
    """Smooth noise whose patches are about `size` [px]."""
    cells = [max(2, round(side / max(4.0, size)) + 1) for side in shape]
    coarse = rng.standard_normal(cells).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
