"""A contact sheet of words that `data words` would cut, for a person to judge.

    python benchmarks/data/word_cuts.py MODEL.safetensors LINES.parquet --out sheet.png --count 100 --seed 0

Each cell shows a word with what stands left and right of it on its line; outside of the cut it is pale. Below stand its
number on the sheet, label and confidence. More than 50 words take several pictures (sheet-2.png, …). `sheet.tsv` lists
the same words, with an empty column for the verdict.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from htr_ssl.data.images import to_height
from htr_ssl.data.reading import read
from htr_ssl.data.samples import COLUMNS, Samples
from htr_ssl.files import write_bytes, write_text
from htr_ssl.look.sheet import font
from htr_ssl.recognizers.reader import Reader
from htr_ssl.recognizers.words import Word, words_of
from htr_ssl.seeds import rng

HEIGHT, WIDTH, ACROSS, PER_SHEET = 64, 340, 4, 52
AROUND = 0.7
"""What is shown of the line beside the word, in heights."""


class Chosen(Samples):
    """Some rows of other samples."""

    def __init__(self, source: Samples, rows: Sequence[int]) -> None:
        super().__init__({name: [source.cell(name, row) for row in rows] for name in COLUMNS}, source.level)
        self._source, self._rows = source, rows

    def image(self, index: int) -> bytes | Path | np.ndarray:
        """Image of the source."""
        return self._source.image(self._rows[index])


def cell(line: np.ndarray, word: Word, caption: str) -> Image.Image:
    """One word in its surroundings, with a caption."""
    around = round(AROUND * line.shape[0])
    left, right = max(0, word.left - around), min(line.shape[1], word.right + around)
    piece = line[:, left:right].astype(np.float32)
    beside = np.ones(right - left, bool)
    beside[word.left - left : word.right - left] = False
    piece[:, beside] = 255 - (255 - piece[:, beside]) * 0.35
    height = max(8, min(HEIGHT, WIDTH * line.shape[0] // (right - left)))
    shown = Image.fromarray(to_height(piece.astype(np.uint8), height, 3, WIDTH))
    picture = Image.new("RGB", (WIDTH, HEIGHT + 22), "white")
    picture.paste(shown, (0, HEIGHT - height))
    draw = ImageDraw.Draw(picture)
    scale = shown.width / (right - left)
    for column in (word.left - left, word.right - left):
        draw.line([(column * scale, HEIGHT - height), (column * scale, HEIGHT)], "red")
    draw.text((0, HEIGHT + 2), caption, "black", font())
    return picture


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("lines", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", choices=("train", "validation", "test"), help="only lines of this split")
    parser.add_argument("--lines-at-most", type=int, default=1000, help="chosen at random before any is cut; 0 = all")
    parser.add_argument("--confidence", type=float, default=0.0, help="words below are left out")
    options = parser.parse_args()
    source = read(options.lines)
    splits = source.column("split")
    rows = [row for row, text in enumerate(source.column("text")) if text and options.split in (None, splits[row])]
    chosen = rng(options.seed, "lines").permutation(rows)[: options.lines_at_most or None]
    lines = Chosen(source, sorted(chosen.tolist()))
    words = words_of(lines, Reader.load(options.model), options.confidence)
    print(f"{len(words)} words of {len(lines)} lines, {len(words.problems)} line(s) left out; {words.facts['words']}")
    found = rng(options.seed, "words").permutation(len(words))[: options.count].tolist()
    table = ["number\tid\tconfidence\tlabel\tverdict"]
    cells = []
    for number, index in enumerate(found, start=1):
        row, word = words.rows[index]
        cells.append(cell(lines[row].load(), word, f"{number}  {word.text}  {word.confidence:.2f}"))
        table.append(f"{number}\t{words.cell('id', index)}\t{word.confidence:.3f}\t{word.text}\t")
    for start in range(0, len(cells), PER_SHEET):
        part = cells[start : start + PER_SHEET]
        size = (ACROSS * (WIDTH + 10), -(-len(part) // ACROSS) * (HEIGHT + 28))
        sheet = Image.new("RGB", size, "white")
        for place, picture in enumerate(part):
            down, across = divmod(place, ACROSS)
            sheet.paste(picture, (across * (WIDTH + 10), down * (HEIGHT + 28)))
        number = start // PER_SHEET + 1
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG", optimize=True)
        write_bytes(
            options.out if number == 1 else options.out.with_stem(f"{options.out.stem}-{number}"), buffer.getvalue()
        )
    write_text(options.out.with_suffix(".tsv"), "\n".join(table) + "\n")


if __name__ == "__main__":
    main()
