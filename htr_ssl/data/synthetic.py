"""Embedded synthetic handwriting: words, lines and pages written with pen strokes on paper.

A hand chooses the forms of its letters, bends them in its own way and writes a text as one path of the pen
(`Hand.trace`); the path is smoothed, slanted and drawn with a width that follows the direction of the pen; paper and
ink are laid over and under it (`Paper`). Lengths are in x-heights until a path is drawn, then in pixels.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
from pydantic import Field

from htr_ssl import seeds
from htr_ssl.config import Strict
from htr_ssl.data import strokes
from htr_ssl.data.readers._common import Samples
from htr_ssl.data.sample import Level, Sample
from htr_ssl.data.text import PHRASES, Ngrams
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path
from htr_ssl.pages.document import Line

Array = np.ndarray[Any, np.dtype[Any]]
Rng = np.random.Generator

ON_A_PAGE = 8
"""Samples that share one sheet of paper and one hand."""
_FINE = 4  # the pen is drawn at this many times the resolution
_GRAY = np.array((0.299, 0.587, 0.114), np.float32)
_BITS = 3  # binary places of coordinates when drawing


class Config(Strict):
    """What is written, by how many hands, on what paper."""

    samples: int = Field(2000, ge=1)
    """Number of images."""
    text: str = ""
    """UTF-8 text file with one transcription per line to write like; empty = embedded French and English phrases."""
    order: int = Field(4, ge=0, le=12)
    """Length of the character n-grams that new text is drawn from; 0 = the words or lines of the text as they are."""
    repeat: float = Field(0.25, ge=0, le=1)
    """Share of the words that are words of the text rather than made up (with `order` above 0)."""
    characters: tuple[int, int] = (20, 60)
    """Shortest and longest line [characters] (with `order` above 0)."""
    hands: int = Field(200, ge=1)
    """Number of writers; of every ten, one is for validation and one for the test."""
    height: int = Field(48, ge=16, le=256)
    """Height of the images [px]."""
    colour: bool = False
    """RGB instead of gray."""
    damage: float = Field(1.0, ge=0, le=2)
    """Strength of texture, stains, rules, fading, stray ink and blur; 0 = clean paper."""


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
                end = form.body[-1] + _f32(0.3 + 2 * chance[i, 1], -0.2 + 0.6 * chance[i, 2])
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
        points[:, 0] += _f32(*place)[letters]
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
        shift = _f32(self.mark_x, self.mark_y) + rng.normal(0, 0.06, 2).astype(np.float32)
        for stroke in glyph.marks:
            middle = stroke.mean(axis=0, keepdims=True)
            moved = fit(middle) + (shift if middle[0, 1] > 1.3 else 0)  # bars stay where they are
            marks.append((stroke - middle) * _f32(self.mark * stretch, self.mark) + moved)
        starts, mark_starts = _starts(glyph.body), _starts(glyph.marks)
        first, last = body[0], body[-1]
        letter = character.isalpha()
        entry = small and bool(first[0] < 0.35 * advance and -0.2 < first[1] < 1.2)
        leaves = letter and bool(last[0] > 0.7 * advance and -0.3 < last[1] < 1.15)
        return _Form(body, starts, np.concatenate(marks), mark_starts, advance, entry, leaves)


@dataclass(frozen=True, slots=True)
class Paper:
    """A sheet and what time did to it; all zero is clean white paper.

    Attributes:
        tone: colour in [0, 1]; mottle: slow changes of it; fibre: fine ones.
        rules: distance of ruled lines [x-heights], 0 = none; rule: their strength; squared: whether also upright ones.
        bleed: strength of the writing on the other side.
        fade: how much of the ink is lost in places; stray: share of images with a neighbour's ink.
        blur: standard deviation [x-heights].
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

    @classmethod
    def draw(cls, rng: Rng, damage: float = 1.0) -> Paper:
        """A sheet; `damage` scales everything but its tone."""
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
        )


class SyntheticSamples(Samples):
    """Samples that are written when they are asked for; number i depends on the seed and i only."""

    def __init__(self, config: Config, texts: list[str], level: Level, seed: int) -> None:
        """One sample for each text."""
        count = len(texts)
        pages = [i // ON_A_PAGE for i in range(count)]
        hands = [page % config.hands for page in pages]
        columns: dict[str, list[str | None]] = {
            "id": [f"synthetic_{seed}_{i:06d}" for i in range(count)],
            "text": list(texts),
            "writer": [f"hand{hand:05d}" for hand in hands],
            "page": [f"page{page:06d}" for page in pages],
            "split": [split_of_hand(hand) for hand in hands],
        }
        super().__init__(columns, level)
        self.config = config
        self.seed = seed
        self._texts = texts

    def image(self, index: int) -> Array:
        """Pixels of one sample."""
        page = index // ON_A_PAGE
        paper = Paper.draw(seeds.rng(self.seed, "paper", page), self.config.damage)
        hand = _hand(self.seed, page % self.config.hands)
        rng = seeds.rng(self.seed, "sample", index)
        return render(self._texts[index], hand, rng, self.config.height, paper, self.config.colour)


def split_of_hand(number: int) -> str:
    """Split that a writer belongs to: of every ten, the second is for validation and the third for the test."""
    return {1: "validation", 2: "test"}.get(number % 10, "train")


def samples(config: Config, level: Level, seed: int, texts: Sequence[str] | None = None) -> SyntheticSamples:
    """Synthetic words or lines with text, writer, page and split.

    Args:
        config: what is written and how.
        level: word or line.
        seed: of everything drawn; sample i depends on it and i only.
        texts: transcriptions to write like, in place of those that `config.text` names.

    Raises:
        UserError: the text cannot be used, or the level is neither word nor line.
    """
    if level == "page":
        raise UserError("synthetic: samples are words or lines, not pages; set level to word or line")
    low, high = config.characters
    if not 1 <= low <= high:
        raise UserError(f"synthetic.characters: {low} to {high} is not a range of lengths; give e.g. [20, 60]")
    lines = _texts(config.text) if texts is None else _writable(texts, "synthetic")
    source = Ngrams(lines, config.order, config.repeat)
    rngs = (seeds.rng(seed, "text", level, i) for i in range(config.samples))
    if level == "word":
        return SyntheticSamples(config, [source.words(rng, 1)[0] for rng in rngs], level, seed)
    return SyntheticSamples(config, [source.lines(rng, 1, (low, high))[0] for rng in rngs], level, seed)


@lru_cache(maxsize=256)
def _hand(seed: int, number: int) -> Hand:
    return Hand.draw(seed, number)


def _texts(path: str) -> list[str]:
    """Lines of a text file, or the embedded phrases, without what cannot be drawn."""
    if not path:
        return list(PHRASES)
    try:
        lines = Path(path).expanduser().read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"
        raise UserError(
            f"synthetic.text: {path} {reason}; give a UTF-8 text file, one transcription per line"
        ) from None
    return _writable(lines, path)


def _writable(texts: Sequence[str], name: str) -> list[str]:
    """Texts without the characters that cannot be drawn; those are named in one warning."""
    texts = [" ".join(unicodedata.normalize("NFC", text).split()) for text in texts]
    unknown = sorted(c for c in set().union(*texts) if not strokes.drawable(c))
    if unknown:
        warnings.warn(f"{name}: there are no pen strokes for {' '.join(unknown)}; left out", stacklevel=4)
        table = dict.fromkeys(map(ord, unknown))
        texts = [" ".join(text.translate(table).split()) for text in texts]
    texts = [text for text in texts if text]
    if not texts:
        raise UserError(f"{name}: there is nothing in it that can be written; give one transcription per line")
    return texts


def write_parquet(samples: Sequence[Sample], path: Path, split: str | None = None) -> None:
    """Writes samples as Parquet in the layout of Hugging Face, images as PNG.

    Args:
        samples: of any kind; images are decoded one at a time.
        path: replaced once the whole file is written.
        split: keep only the samples of this split.

    Raises:
        UserError: there is no such sample, an image cannot be decoded, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    text = pa.string()
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", text)]))]
        + [(name, text) for name in ("text", "writer", "page", "split")]
    )
    known = samples.column("split") if isinstance(samples, Samples) else [sample.split for sample in samples]
    chosen = [i for i, name in enumerate(known) if split in (None, name)]
    if not chosen:
        raise UserError(f"{path}: there is no sample to write" + (f" of the split {split}" if split else ""))
    with atomic_path(Path(path)) as temporary, pq.ParquetWriter(temporary, schema) as writer:
        for start in range(0, len(chosen), 256):
            rows = [_row(samples[i]) for i in chosen[start : start + 256]]
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _row(sample: Sample) -> dict[str, Any]:
    pixels = sample.load()
    done, data = cv2.imencode(".png", pixels if pixels.ndim == 2 else pixels[..., ::-1])
    if not done:
        raise UserError(f"{sample.id}: the image of shape {pixels.shape} cannot be written as PNG; make it smaller")
    image = {"bytes": data.tobytes(), "path": f"{sample.id}.png"}
    return {"image": image, "text": sample.text, "writer": sample.writer, "page": sample.page, "split": sample.split}


def page(
    seed: int,
    lines: int = 12,
    width: int = 1240,
    hand: Hand | None = None,
    paper: Paper | None = None,
    colour: bool = True,
    texts: Sequence[str] = PHRASES,
) -> tuple[Array, list[Line]]:
    """A whole page: a title, then paragraphs, a little askew and unevenly lit.

    Args:
        seed: of everything drawn.
        lines: number of lines, the title included.
        width: of the image [px]; the height follows from the lines.
        hand: the writer, drawn if None.
        paper: the sheet, drawn if None.
        colour: RGB instead of gray.
        texts: what the text is drawn from (see `Ngrams`).

    Returns:
        The image, uint8 (H, W, 3) or (H, W), and its lines from top to bottom, with the outline and the baseline of
        what is written.
    """
    rng = seeds.rng(seed, "page")
    hand = hand or Hand.draw(seed, int(rng.integers(1000)))
    source = Ngrams(texts, 5, repeat=0.6)
    scale = width / rng.uniform(62, 88)
    pitch = scale * rng.uniform(1.1, 1.5) * (1 + 0.85 * hand.ascender + 0.6 * hand.descender)
    first, turn = 1.6 * pitch, rng.normal(0, 0.006)
    height = round(first + (lines + 1.4) * pitch)
    mask = np.zeros((height, width), np.float32)
    found: list[Line] = []
    for number, (region, x, room) in enumerate(_places(lines, width, rng)):
        text, ink = _fitting(source, hand, rng, room / scale)
        left, right, _, _ = _extent(ink)
        x += ((room - (right - left) * scale) / 2 if region == "title" else 0) - left * scale
        y = first + (number + (0.6 if number and found[0].region == "title" else 0)) * pitch

        def placed(points: Array, x: float = x, y: float = y) -> Array:
            moved = points * (scale, -scale) + (x, y)
            moved[:, 1] += turn * (moved[:, 0] - width / 2)
            return cast(Array, moved)

        points, widths = placed(ink.points), ink.widths * scale
        _stamp(mask, points.astype(np.float32), ink.starts, widths)
        ends = np.linspace(left, right, 5)
        baseline = placed(np.stack((ends, ink.slope * ends), axis=1))
        found.append(Line(f"line{number + 1}", _outline(points, widths, mask.shape), baseline, region, text))
    sheet = paper or replace(Paper.draw(rng), rules=pitch / scale)
    pixels = _finish(mask, hand, sheet, rng, scale, first, colour)
    if sheet.mottle:
        corners = rng.uniform(0.78, 1, (3, 3)).astype(np.float32)
        light = np.minimum(1, cv2.resize(corners, (width, height), interpolation=cv2.INTER_CUBIC))
        pixels = (pixels * (light[..., None] if colour else light)).astype(np.uint8)
    return pixels, found


def _places(lines: int, width: int, rng: Rng) -> list[tuple[str, float, float]]:
    """Region, left edge [px] and room [px] of every line of a page."""
    left, right = width * rng.uniform(0.06, 0.13, 2)
    block = width - left - right
    places: list[tuple[str, float, float]] = [("title", left + block / 4, block / 2)] if lines > 2 else []
    paragraph = 0
    while len(places) < lines:
        paragraph += 1
        indent = rng.uniform(0, 0.12) * block
        size = int(rng.integers(3, 8))
        places.append((f"paragraph{paragraph}", left + indent, block - indent))
        places += [(f"paragraph{paragraph}", left, block)] * (size - 2)
        places.append((f"paragraph{paragraph}", left, block * rng.uniform(0.3, 0.8)))
    return places[:lines]


def _fitting(source: Ngrams, hand: Hand, rng: Rng, room: float) -> tuple[str, Ink]:
    """As many words as fill a line [x-heights]."""
    draw = int(rng.integers(1 << 62))
    words: list[str] = []
    while len(" ".join(words)) < 1.5 * room:
        words += source.words(rng, 4)
    while True:
        text = " ".join(words)
        ink = hand.trace(text, np.random.default_rng(draw))
        left, right, _, _ = _extent(ink)
        if right - left <= room or len(words) == 1:
            return text, ink
        words = words[: max(1, min(len(words) - 1, int(1.15 * len(words) * room / (right - left))))]


def _stamp(mask: Array, points: Array, starts: Array, widths: Array) -> None:
    """Draws a path into its place in the mask of a page."""
    reach = widths.max() + 2
    low = np.maximum(0, np.floor(points.min(axis=0) - reach).astype(int))
    high = np.minimum(mask.shape[::-1], np.ceil(points.max(axis=0) + reach)).astype(int)
    window = mask[low[1] : high[1], low[0] : high[0]]
    if window.size:
        drawn = _draw(points - low.astype(np.float32), starts, widths, (window.shape[0], window.shape[1]))
        np.maximum(window, drawn, out=window)


def _outline(points: Array, widths: Array, shape: tuple[int, ...]) -> Array:
    """Polygon [px] around all ink of a path, inside an image of that shape."""
    height, width = shape
    reach = float(widths.max()) / 2 + 2
    left, right = points[:, 0].min() - reach, points[:, 0].max() + reach
    cells = max(1, round((right - left) / 40))
    edges = np.linspace(left, right, cells + 1)
    # Strokes cross edges, so each cell counts a little beyond its own; an edge has room for both of its cells.
    over = [(points[:, 0] > a - 20 - reach) & (points[:, 0] < b + 20 + reach) for a, b in pairwise(edges)]
    middle = float(np.median(points[:, 1]))
    tops = np.array([points[inside, 1].min(initial=middle) for inside in over]) - reach
    bottoms = np.array([points[inside, 1].max(initial=middle) for inside in over]) + reach
    top = np.minimum(np.append(tops, tops[-1]), np.append(tops[0], tops))
    bottom = np.maximum(np.append(bottoms, bottoms[-1]), np.append(bottoms[0], bottoms))
    upper, lower = np.stack((edges, top), axis=1), np.stack((edges, bottom), axis=1)[::-1]
    return cast(Array, np.clip(np.concatenate((upper, lower)), 0, (width - 1, height - 1)))


def render(
    text: str, hand: Hand, rng: Rng, height: int = 48, paper: Paper | None = None, colour: bool = False
) -> Array:
    """A word or line as it is cut from a page.

    Args:
        text: one line; characters that cannot be drawn are left out.
        hand: the writer.
        rng: everything that changes from image to image.
        height: of the image [px].
        paper: drawn from `rng` if None.
        colour: RGB instead of gray.

    Returns:
        uint8 (H, W), or (H, W, 3) with `colour`.
    """
    paper = paper or Paper.draw(rng)
    ink = hand.trace(text, rng)
    left, right, bottom, top = _extent(ink)
    words = text.count(" ")
    # The higher the line's share, the more room above and below short letters.
    share = rng.random() ** 2
    top += share * max(0.0, 1.7 - top) + max(0.0, 0.6 - (top - bottom) / 2)
    bottom -= share * max(0.0, bottom + 0.6) + max(0.0, 0.6 - (top - bottom) / 2)
    loose = 0.16 if words > 1 else 0.04
    margins = np.clip(rng.normal(loose, 0.05, 2), -0.05 * min(1.0, paper.stray * 4), 0.3) * (top - bottom)
    top, bottom = top + margins[0], bottom - margins[1]
    scale = height / (top - bottom)
    sides = np.clip(rng.normal(0.5, 0.3, 2), -0.06, 1.5)
    left, right = left - sides[0], right + sides[1]
    width = max(8, round((right - left) * scale))
    parts = [ink, *_strays(hand, paper, rng, left, right, bottom, top)]
    points, starts, widths = (np.concatenate([part[i] for part in parts]) for i in range(3))
    points = (points * _f32(1, -1) + _f32(-left, top)) * np.float32(scale)
    mask = _draw(points, starts, widths * np.float32(scale), (height, width))
    return _finish(mask, hand, paper, rng, scale, top * scale, colour)


def _strays(hand: Hand, paper: Paper, rng: Rng, left: float, right: float, bottom: float, top: float) -> list[Ink]:
    """Ink of neighbouring words and lines that reaches into the image."""
    found = []
    for side in range(4):
        if rng.random() > paper.stray / (1 if side < 2 else 2):
            continue
        letters = "".join(rng.choice(list("aegjpqyçf,)ls" if side < 2 else "bdfhltgpy"), 1))
        ink = hand.trace(letters, rng)
        x0, x1, y0, y1 = _extent(ink)
        reach = rng.uniform(0.05, 0.3)
        x = rng.uniform(left, right)
        move = ((left + reach - x1, 0), (right - reach - x0, 0), (x, top - reach - y0), (x, bottom + reach - y1))[side]
        found.append(ink._replace(points=ink.points + _f32(*move)))
    return found


def _finish(mask: Array, hand: Hand, paper: Paper, rng: Rng, scale: float, base: float, colour: bool) -> Array:
    """Lays ink (mask in [0, 1]) on paper; `scale` [px per x-height], `base` = row of the baseline [px]."""
    alpha = mask
    grain = min(1.0, hand.grain)
    if grain:
        alpha = alpha * (1 - grain * np.clip(0.35 + 0.5 * _noise(rng, mask.shape, 1), 0, 1))
    if paper.fade:
        alpha = alpha * (1 - paper.fade * np.clip(0.4 + 0.6 * _slow(rng, mask.shape, scale), 0, 1))
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
    if paper.blur:
        sigma = paper.blur * scale
        alpha = cv2.GaussianBlur(alpha, (0, 0), sigma) if sigma > 0.25 else alpha
    if colour:
        tone = _f32(*paper.tone) * 255
        ink = tone * _f32(*hand.ink)
        pixels = (shade * (1 - alpha))[..., None] * tone + alpha[..., None] * ink
    else:
        level = 255 * float(_GRAY @ _f32(*paper.tone))
        pixels = level * (shade * (1 - alpha) + alpha * float(_GRAY @ _f32(*hand.ink)))
    return cast(Array, np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


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


def _waves(rng: Rng, n: int, columns: int, period: int) -> Array:
    """(n, columns) smooth random numbers along a path; `period` points from one to the next independent one."""
    knots = rng.standard_normal((n // period + 3, columns)).astype(np.float32)
    at = np.arange(n, dtype=np.float32) / period
    cell = at.astype(np.int64)
    t = (at - cell)[:, None]
    t = t * t * (3 - 2 * t)
    return cast(Array, knots[cell] * (1 - t) + knots[cell + 1] * t)


def _f32(*values: float) -> Array:
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


def _extent(ink: Ink) -> tuple[float, float, float, float]:
    """Left, right, bottom, top of the ink; one x-height at the origin if there is none."""
    if not len(ink.points):
        return 0.0, 1.0, 0.0, 1.0
    half = ink.widths.max() / 2
    (left, bottom), (right, top) = ink.points.min(axis=0) - half, ink.points.max(axis=0) + half
    return float(left), float(right), float(bottom), float(top)


def _draw(points: Array, starts: Array, widths: Array, shape: tuple[int, int]) -> Array:
    """Ink in [0, 1] of a path [px], y down."""
    canvas = np.zeros((shape[0] * _FINE, shape[1] * _FINE), np.uint8)
    if len(points) > 1:
        points, starts, widths = _between(points, starts, widths)
        fixed = np.round(points * (_FINE << _BITS)).astype(np.int32)
        # One polyline for as long as the width, in steps of half a pixel, stays the same: far faster than segments.
        thick = np.clip(2 * np.round((widths[:-1] + widths[1:]) * (_FINE / 4)), 2, 254).astype(np.int32)
        thick[starts[1:]] = 0
        first = np.append(0, np.flatnonzero(np.diff(thick)) + 1)
        runs: dict[int, list[Array]] = {}
        for a, b, width in zip(first.tolist(), [*first[1:].tolist(), len(thick)], thick[first].tolist(), strict=True):
            runs.setdefault(width, []).append(fixed[a : b + 1])
        runs.pop(0, None)
        for width, lines in runs.items():
            cv2.polylines(canvas, lines, False, 255, width, cv2.LINE_8, _BITS)
    small = cv2.resize(canvas, (shape[1], shape[0]), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) * np.float32(1 / 255)


def _between(points: Array, starts: Array, widths: Array) -> tuple[Array, Array, Array]:
    """Puts a point on the curve between any two if they are far apart [px]."""
    if np.abs(np.diff(points[:40], axis=0)).max() < 3.5 or len(points) < 4:
        return points, starts, widths
    n = len(points)
    after = np.minimum(np.arange(n) + 1, n - 1)
    outer = np.minimum(np.arange(n) + 2, n - 1)
    outer = np.where(starts[outer], after, outer)
    before = np.where(starts, np.arange(n), np.arange(n) - 1)
    middle = (9 * (points + points[after]) - points[before] - points[outer]) / 16
    wide = (widths + widths[after]) / 2
    cut = np.append(starts[1:], True)  # nothing lies between two strokes: repeat the last point
    middle[cut], wide[cut] = points[cut], widths[cut]
    both = np.stack((points, middle), axis=1).reshape(-1, 2)
    begins = np.stack((starts, np.zeros(n, bool)), axis=1).reshape(-1)
    return both, begins, np.stack((widths, wide), axis=1).reshape(-1)
