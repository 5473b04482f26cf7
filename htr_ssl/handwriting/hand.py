"""A writer: chooses the forms of letters, bends them in its own way and writes a text as one path of the pen.

Lengths are in x-heights.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import numpy as np

from htr_ssl import seeds
from htr_ssl.handwriting import strokes
from htr_ssl.handwriting.strokes import Array, Rng


class _Form(NamedTuple):
    """A letter as one hand writes it: body and marks as points with the starts of their strokes."""

    body: Array
    starts: Array
    marks: Array
    mark_starts: Array
    advance: float
    entry: bool
    exit: bool


class Ink(NamedTuple):
    """A written text in x-heights: points (N, 2), y up; starts (N,) of strokes; widths (N,) of the pen; baseline."""

    points: Array
    starts: Array
    widths: Array
    slope: float = 0.0


@dataclass(slots=True)
class Hand:
    """A writer: everything that stays the same from word to word.

    Attributes:
        seed: of this hand's choices among the forms of letters.
        script, plain, running: how much each kind of letters is liked.
        slant: horizontal shift per height.
        aspect: width of letters relative to their height.
        spacing: gap between letters; word_space: between words.
        ascender, descender, capital: heights relative to the usual.
        speed: how much corners are rounded off [x-heights].
        lift: share of joins left out; loops: whether the pen runs on into round letters from above.
        pen: width of thick strokes; contrast: share of it that thin strokes lack; nib: angle of a broad pen, None for
            a pointed one.
        bend: deviation of this hand's letters from the usual ones; jitter: from its own.
        rhythm: change of size and height from letter to letter; wave: of the baseline; slope: of the baseline.
        mark: size of dots and accents; mark_x, mark_y: their place.
        flourish: share of words that end in a long stroke.
        ink: colour in [0, 1]; grain: how much of the ink the paper refuses, as with pencils.
    """

    seed: int
    script: float = 1.0
    plain: float = 0.0
    running: float = 0.5
    slant: float = 0.4
    aspect: float = 0.85
    spacing: float = 0.0
    word_space: float = 0.9
    ascender: float = 1.0
    descender: float = 1.0
    capital: float = 1.0
    speed: float = 0.15
    lift: float = 0.1
    loops: bool = False
    pen: float = 0.16
    contrast: float = 0.5
    nib: float | None = None
    bend: float = 0.05
    jitter: float = 0.02
    rhythm: float = 0.04
    wave: float = 0.05
    slope: float = 0.0
    mark: float = 1.0
    mark_x: float = 0.1
    mark_y: float = 0.0
    flourish: float = 0.0
    ink: tuple[float, float, float] = (0.15, 0.15, 0.2)
    grain: float = 0.0
    _forms: dict[tuple[str, bool], _Form] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def draw(cls, seed: int, number: int) -> Hand:
        """The writer of that number."""
        r = seeds.rng(seed, "hand", number)
        school = r.random()  # below: joined hands; above: printed ones
        printed = school > 0.85
        pencil = r.random() < 0.25
        dark = r.uniform(0.3, 0.5) if pencil else r.uniform(0.08, 0.4)
        tint = r.choice(np.array([(1, 1, 1), (0.9, 0.95, 1.15), (1.2, 0.95, 0.75), (0.95, 0.9, 1.2)]))
        pointed = not pencil and r.random() < 0.7
        return cls(
            seed=seeds.derive(seed, "hand", number, "letters"),
            script=0.15 if printed else r.uniform(0.2, 1),
            plain=r.uniform(0.5, 1.5) if printed else r.choice([0, 0, 0.08, 0.25]),
            running=r.uniform(0.2, 1.2),
            slant=float(np.clip(r.normal(0.15, 0.2) if printed else r.normal(0.55, 0.3), -0.25, 1.3)),
            aspect=float(np.clip(r.lognormal(-0.06, 0.28), 0.5, 1.7)),
            spacing=r.normal(0.12, 0.1) if printed else max(-0.08, r.normal(0.06, 0.15)),
            word_space=r.uniform(0.5, 1.6),
            ascender=r.uniform(0.65, 1.5),
            descender=r.uniform(0.6, 1.5),
            capital=r.uniform(0.8, 1.25),
            speed=r.gamma(2, 0.08),
            lift=r.uniform(0.5, 1) if printed else r.choice([0.0, 0.0, 0.1, 0.4]),
            loops=bool(r.random() < 0.35),
            pen=float(np.clip(r.lognormal(-1.95, 0.38), 0.07, 0.34)),
            contrast=r.uniform(0.3, 0.8) if pointed else r.uniform(0, 0.35),
            nib=None if pointed else r.uniform(0, np.pi),
            bend=r.uniform(0.03, 0.13),
            jitter=r.gamma(2, 0.016),
            rhythm=r.uniform(0.02, 0.11),
            wave=r.gamma(2, 0.04),
            slope=r.normal(0, 0.02),
            mark=r.uniform(0.6, 1.6),
            mark_x=r.normal(0.15, 0.25),
            mark_y=r.normal(0.1, 0.2),
            flourish=max(0.0, r.uniform(-0.15, 0.25)),
            ink=cast(tuple[float, float, float], tuple(np.clip(dark * tint, 0, 1).tolist())),
            grain=r.uniform(0.25, 0.65) if pencil else r.uniform(0, 0.25),
        )

    def trace(self, text: str, rng: Rng) -> Ink:
        """Writes a text from the origin to the right; characters that cannot be drawn are left out."""
        text = unicodedata.normalize("NFC", text)
        n = len(text)
        drift = rng.standard_normal((n + 1, 4))
        drift[1:] += drift[:-1]  # neighbours resemble each other
        chance = rng.random((n + 1, 3))
        bodies, body_starts, marks, mark_starts, place, owner = [], [], [], [], [], []
        x, before = 0.0, None
        for i, character in enumerate(text):
            if not strokes.variants(character):
                x += self.word_space * (0.75 + 0.5 * chance[i, 0]) * (character == " ")
                before = None
                continue
            form = self._form(character, bool(chance[i, 1] < 0.12))
            starts = form.starts
            if before and before.exit and not form.entry and not self.loops:
                x -= max(0.0, self.spacing) + 0.05  # the last letter's end touches the round one
            if before and before.exit and (form.entry or self.loops) and chance[i, 2] >= self.lift:
                starts = starts.copy()
                starts[0] = False
            bodies.append(form.body)
            body_starts.append(starts)
            marks.append(form.marks)
            mark_starts.append(form.mark_starts)
            place.append(x)
            owner.append(i)
            last = i + 1 == n or text[i + 1] == " "
            x += form.advance + self.spacing + 0.5 * self.rhythm * drift[i, 3]
            if last and form.exit and chance[i, 0] < self.flourish:
                end = form.body[-1] + f32(0.3 + 2 * chance[i, 1], -0.2 + 0.6 * chance[i, 2])
                steps = np.linspace(0.2, 1, 6, dtype=np.float32)[:, None]
                bodies[-1] = np.concatenate((form.body, form.body[-1] + steps * (end - form.body[-1])))
                body_starts[-1] = np.concatenate((starts, np.zeros(6, bool)))
                x += 0.3
            before = form
        if not bodies:
            return Ink(np.zeros((0, 2), np.float32), np.zeros(0, bool), np.zeros(0, np.float32))
        points = np.concatenate(bodies + marks)
        letters = np.repeat(np.tile(np.arange(len(owner)), 2), [len(p) for p in bodies + marks])
        start = np.concatenate(body_starts + mark_starts)
        change = drift[owner].astype(np.float32) * np.float32(self.rhythm)
        points = points * (1 + change[letters, :1])
        points[:, 0] += f32(*place)[letters]
        points += _waves(rng, len(points), 2, 7) * np.float32(self.jitter)
        points = _round(points, start, self.speed)
        widths = self._pressure(points, start, rng)
        rise = self.slope + 0.01 * rng.standard_normal()
        rise = float(np.clip(rise, -1 / (x + 1), 1 / (x + 1)))
        wave = self.wave * np.sin(points[:, 0] * rng.uniform(0.1, 0.7) + rng.uniform(0, 6))
        points[:, 0] += (self.slant + change[letters, 1]) * points[:, 1]
        points[:, 1] += wave + change[letters, 2] + rise * points[:, 0]
        return Ink(points, start, widths, rise)

    def _pressure(self, points: Array, start: Array, rng: Rng) -> Array:
        """Width of the pen at every point: by direction, with slow changes, thinner where strokes begin and end."""
        step = np.diff(points, axis=0, append=points[-1:])
        length = np.hypot(step[:, 0], step[:, 1]) + 1e-4
        if self.nib is None:
            share = np.clip(-step[:, 1] / length, 0, 1)
        else:
            share = np.abs(step[:, 0] * np.sin(self.nib) - step[:, 1] * np.cos(self.nib)) / length
        share[:-1][start[1:]] = 0.3
        if len(share) > 4:
            share = np.convolve(share, np.full(5, 0.2), "same")
        length[:-1][start[1:]] = 0
        first = np.flatnonzero(start)
        share[np.repeat(np.add.reduceat(length, first) < 0.7, np.diff(first, append=len(start)))] = 1.15  # dots
        pressure = np.maximum(0.5, 1 + 0.15 * _waves(rng, len(points), 1, 12)[:, 0])
        return cast(Array, (self.pen * (1 - self.contrast * (1 - share)) * pressure).astype(np.float32))

    def _form(self, character: str, second: bool) -> _Form:
        """This hand's form of a character, or its second one."""
        key = (character, second)
        if key not in self._forms:
            self._forms[key] = self._shape(character, second)
        return self._forms[key]

    def _shape(self, character: str, second: bool) -> _Form:
        """Chooses a form and bends it."""
        rng = seeds.rng(self.seed, character, "second" if second else "first")
        glyphs = strokes.variants(character)
        liking = np.array([{"script": self.script, "plain": self.plain}.get(g.face, self.running) for g in glyphs])
        liking = liking + 1e-3
        glyph = glyphs[int(rng.choice(len(glyphs), p=liking / liking.sum()))]
        small = character.islower()
        capital = 1.0 if small else self.capital
        stretch = self.aspect * rng.uniform(0.88, 1.12)

        def fit(points: Array) -> Array:
            y = points[:, 1] * capital
            if small:
                y = np.where(y > 1, 1 + (y - 1) * self.ascender, y)
            y = np.where(y < 0, y * self.descender, y)
            return cast(Array, np.stack((points[:, 0] * stretch, y), axis=1).astype(np.float32))

        body = np.concatenate([fit(s) for s in glyph.body])
        body += _waves(rng, len(body), 2, 6) * np.float32(self.bend)
        advance = glyph.advance * stretch
        marks = [np.zeros((0, 2), np.float32)]
        shift = f32(self.mark_x, self.mark_y) + rng.normal(0, 0.06, 2).astype(np.float32)
        for stroke in glyph.marks:
            middle = stroke.mean(axis=0, keepdims=True)
            moved = fit(middle) + (shift if middle[0, 1] > 1.3 else 0)  # bars stay where they are
            marks.append((stroke - middle) * f32(self.mark * stretch, self.mark) + moved)
        starts, mark_starts = _starts(glyph.body), _starts(glyph.marks)
        first, last = body[0], body[-1]
        letter = character.isalpha()
        entry = small and bool(first[0] < 0.35 * advance and -0.2 < first[1] < 1.2)
        leaves = letter and bool(last[0] > 0.7 * advance and -0.3 < last[1] < 1.15)
        return _Form(body, starts, np.concatenate(marks), mark_starts, advance, entry, leaves)


def _waves(rng: Rng, n: int, columns: int, period: int) -> Array:
    """(n, columns) smooth random numbers along a path; `period` points from one to the next independent one."""
    knots = rng.standard_normal((n // period + 3, columns)).astype(np.float32)
    at = np.arange(n, dtype=np.float32) / period
    cell = at.astype(np.int64)
    t = (at - cell)[:, None]
    t = t * t * (3 - 2 * t)
    return cast(Array, knots[cell] * (1 - t) + knots[cell + 1] * t)


def f32(*values: float) -> Array:
    """Vector of single precision."""
    return np.array(values, np.float32)


def _starts(parts: Sequence[Array]) -> Array:
    """Marks the first point of every stroke."""
    starts = np.zeros(sum(map(len, parts)), bool)
    starts[np.cumsum([0, *map(len, parts)])[:-1]] = True
    return starts


def _round(points: Array, start: Array, amount: float) -> Array:
    """Rounds corners off as a fast pen does: a Gaussian along each stroke, of that standard deviation [x-heights]."""
    n = len(points)
    before = np.arange(-1, n - 1)
    after = np.arange(1, n + 1)
    before[start] = np.flatnonzero(start)
    ends = np.append(np.flatnonzero(start)[1:], n) - 1
    after[ends] = ends
    for _ in range(min(6, round(2 * (amount / strokes.SPACING) ** 2) + 1)):
        points = 0.5 * points + 0.25 * (points[before] + points[after])
    return points


def extent(ink: Ink) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of the ink; one x-height at the origin if there is none."""
    if not len(ink.points):
        return 0.0, 1.0, 0.0, 1.0
    half = ink.widths.max() / 2
    (left, bottom), (right, top) = ink.points.min(axis=0) - half, ink.points.max(axis=0) + half
    return float(left), float(right), float(bottom), float(top)
