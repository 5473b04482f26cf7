"""Synthetic handwriting as data: words and lines by many hands, rendered when asked for.

The writing itself is in `htr_ssl.handwriting`.
"""

from __future__ import annotations

import unicodedata
import warnings
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import Field

from htr_ssl import seeds
from htr_ssl.config import Strict
from htr_ssl.data.images import to_height
from htr_ssl.data.reading import read
from htr_ssl.data.sample import Level, Sample
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path
from htr_ssl.handwriting import strokes
from htr_ssl.handwriting.drawing import render
from htr_ssl.handwriting.fonts import FontPen, Fonts
from htr_ssl.handwriting.hand import Hand
from htr_ssl.handwriting.paper import Paper
from htr_ssl.handwriting.phrases import PHRASES, Ngrams
from htr_ssl.handwriting.scanned import without_ink
from htr_ssl.handwriting.strokes import Array, Rng
from htr_ssl.text.direction import of_text

ON_A_PAGE = 8
MAX_WIDTH = 2000
"""Widest paper that is kept of an image [px]."""
SHEETS = 200
"""Images of which the paper is taken, at most."""


class Config(Strict):
    """What is written, by how many hands, on what paper."""

    samples: int = Field(2000, ge=1)
    """Number of images."""
    text: str = ""
    """UTF-8 text file with one transcription per line to write like; empty = embedded French and English phrases."""
    fonts: str = ""
    """Folder of fonts (TTF, OTF, WOFF, WOFF2) to write with, for scripts without pen strokes; empty = pen strokes."""
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
    scans: str = ""
    """Lines or words, as any data source, on whose paper it is written once their ink is out; empty = made-up paper."""


_PAPER = "give images of lines, or leave the option out for made-up paper"  # what to do without scans


class Scans:
    """Paper of somebody's own images: each loses its ink when it is first asked for.

    Images of validation and test splits that the source names are not taken.

    Raises:
        UserError: the source cannot be read, or none of its images.
    """

    def __init__(self, source: str, level: Level, height: int) -> None:
        try:
            found = read(source, level=level)
        except UserError as error:
            raise UserError(f"synthetic.scans: {error}; {_PAPER}") from error
        rows = [row for row, split in enumerate(found.column("split")) if split in (None, "train")]
        problems: list[str] = []
        self._strips: list[Array] = []
        self._sheets: dict[int, Array] = {}
        for place in np.linspace(0, len(rows) - 1, min(len(rows), SHEETS)).round().astype(int).tolist():
            row = rows[place]
            try:
                image = found[row].load()
            except UserError as error:
                problems.append(str(error))
            else:
                self._strips.append(to_height(image, height, 3 if image.ndim == 3 else 1, MAX_WIDTH))
        if problems and self._strips:
            warnings.warn(f"synthetic.scans: {problems[0]} ({len(problems)} left out)", stacklevel=4)
        if not self._strips:
            why = problems[0] if problems else "it has no train image"
            raise UserError(f"synthetic.scans: {source}: {why}; {_PAPER}")

    def sheet(self, rng: Rng) -> Array:
        """Paper of one of them, uint8, (height, W) or (height, W, 3)."""
        number = int(rng.integers(len(self._strips)))
        if number not in self._sheets:
            self._sheets[number] = without_ink(self._strips[number], seeds.rng(0, "grain", number))
        return self._sheets[number]


class SyntheticSamples(Samples):
    """Samples that are written when they are asked for; number i depends on the seed and i only."""

    def __init__(self, config: Config, texts: list[str], level: Level, seed: int, fonts: Fonts | None = None) -> None:
        """One sample for each text."""
        self._scans = Scans(config.scans, level, config.height) if config.scans else None
        count = len(texts)
        pages = [i // ON_A_PAGE for i in range(count)]
        hands = [page % config.hands for page in pages]
        self._pens: list[FontPen] = []
        if fonts is not None:
            texts = self._set_in(fonts, texts, hands, config.height, seed)
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
        rng = seeds.rng(self.seed, "paper", page)
        sheet = self._scans.sheet(rng) if self._scans else None
        paper = Paper.draw(rng, self.config.damage, sheet)
        hand = _hand(self.seed, page % self.config.hands)
        rng = seeds.rng(self.seed, "sample", index)
        pen = self._pens[index] if self._pens else None
        return render(self._texts[index], hand, rng, self.config.height, paper, self.config.colour, pen)

    def _set_in(self, fonts: Fonts, texts: list[str], hands: list[int], height: int, seed: int) -> list[str]:
        """Chooses the font of each text; what is left of a text that no font has whole is its text."""
        direction = of_text(texts) or "ltr"
        chosen = [fonts.choose(text, seed, hand) for text, hand in zip(texts, hands, strict=True)]
        self._pens = [FontPen(path, height, direction) for path, _ in chosen]
        cut = [text for text, (_, kept) in zip(texts, chosen, strict=True) if kept != text]
        if cut:
            warnings.warn(
                f"synthetic.fonts: no font has all characters of {len(cut)} of {len(texts)} texts, e.g. {cut[0]!r}; "
                "what the best font lacks is left out of them",
                stacklevel=4,
            )
        return [kept for _, kept in chosen]


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
    fonts = Fonts(config.fonts) if config.fonts else None
    lines = _texts(config.text, fonts) if texts is None else _writable(texts, "synthetic", fonts)
    if fonts:
        fonts.check_layout(lines)
    source = Ngrams(lines, config.order, config.repeat)
    rngs = (seeds.rng(seed, "text", level, i) for i in range(config.samples))
    if level == "word":
        return SyntheticSamples(config, [source.words(rng, 1)[0] for rng in rngs], level, seed, fonts)
    return SyntheticSamples(config, [source.lines(rng, 1, (low, high))[0] for rng in rngs], level, seed, fonts)


@lru_cache(maxsize=256)
def _hand(seed: int, number: int) -> Hand:
    return Hand.draw(seed, number)


def _texts(path: str, fonts: Fonts | None) -> list[str]:
    """Lines of a text file, or the embedded phrases, without what cannot be drawn."""
    if not path:
        return _writable(PHRASES, "the embedded phrases", fonts) if fonts else list(PHRASES)
    try:
        lines = Path(path).expanduser().read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"
        raise UserError(
            f"synthetic.text: {path} {reason}; give a UTF-8 text file, one transcription per line"
        ) from None
    return _writable(lines, path, fonts)


def _writable(texts: Sequence[str], name: str, fonts: Fonts | None) -> list[str]:
    """Texts without the characters that cannot be drawn; those are named in one warning."""
    texts = [" ".join(unicodedata.normalize("NFC", text).split()) for text in texts]
    unknown = sorted(c for c in set().union(*texts) if not (fonts.drawable(c) if fonts else strokes.drawable(c)))
    if unknown:
        warnings.warn(
            f"{name}: there {'is no font' if fonts else 'are no pen strokes'} for {' '.join(unknown)}; left out",
            stacklevel=4,
        )
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
