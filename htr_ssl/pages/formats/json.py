"""JSON: everything known about a page, one line of text on one line of the file.

Keys: `software`, `model`, `sha256` of the model, `date`, `settings`, `image` (path from the file's folder), `number` of
the page in its file from 0, `width` and `height` [px], `orientation` [degrees], `notes`, `left_out` (lines), `lines`: a
list in reading order of `id`, `region`, `kind`, `text`, `confidence` and `found` (0 to 1), `orientation` (turn to the
right that levels the line, degrees), `polygon` and `baseline` (lists of [x, y] in px), `words`: a list of `text`,
`confidence`, `polygon` and `glyphs` with the same three keys. What
is not known is null.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Glyph, Line, Made, Page, Word
from htr_ssl.pages.formats._marks import SOFTWARE, one_line

EXTENSION = ".json"
_WORDS = re.compile(rb'"words": \[.*\]\}')  # the end of a line of the file
NAMES_IMAGE = True


def write(page: Page, path: Path) -> None:
    """Writes the page; coordinates are rounded to tenths of a pixel."""
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content; `folder` is where it will lie, for the path of the image."""
    made = page.made or Made()
    head = {
        "software": SOFTWARE,
        "model": made.model or None,
        "sha256": made.digest or None,
        "date": made.date or None,
        "settings": made.settings or None,
        "image": page.reference(folder),
        "number": page.number,
        "width": page.width,
        "height": page.height,
        "orientation": page.orientation,
        "notes": page.notes,
        "left_out": page.left_out,
    }
    rows = ",".join(f"\n    {_dump(_line(line))}" for line in page.lines)
    items = "".join(f"  {_dump(key)}: {_dump(value)},\n" for key, value in head.items())
    end = "\n  " if rows else ""
    return f'{{\n{items}  "lines": [{rows}{end}]\n}}\n'.encode("utf-8", "replace")


def texts(path: Path) -> dict[str, str]:
    """Line ids and texts of a file that somebody may have corrected."""
    try:
        return {str(line["id"]): one_line(line["text"]) for line in json.loads(path.read_bytes())["lines"]}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: it is no longer whole JSON ({error}); mend it") from error


def read(data: bytes, image: Path, words: bool = True) -> Page:
    """A page from the content of such a file.

    Args:
        data: as `render` made it.
        image: the page's image.
        words: also the places of words and characters, which are most of it.
    """
    stored = json.loads(data if words else _WORDS.sub(b'"words": []}', data))
    made = {key: stored.get(name) or "" for key, name in (("model", "model"), ("digest", "sha256"))}
    made |= {key: stored.get(key) or "" for key in ("date", "settings")}
    size = {key: int(stored[key]) for key in ("width", "height", "orientation", "number", "left_out")}
    lines = [_read_line({"orientation": stored["orientation"] or None, **line}) for line in stored["lines"]]
    page = Page(image, size["width"], size["height"], lines, size["orientation"], list(stored["notes"]))
    page.number, page.left_out, page.made = size["number"], size["left_out"], Made(**made)
    return page


def _read_line(item: dict[str, Any]) -> Line:
    words = [
        Word(
            word["text"],
            _array(word["polygon"]),
            word["confidence"],
            [Glyph(glyph["text"], _array(glyph["polygon"]), glyph["confidence"]) for glyph in word["glyphs"]],
        )
        for word in item["words"]
    ]
    baseline = None if item["baseline"] is None else _array(item["baseline"])
    known = {key: item[key] for key in ("region", "text", "confidence", "kind", "found", "orientation")}
    return Line(item["id"], _array(item["polygon"]), baseline, words=words, **known)


def _array(points: list[list[float]]) -> np.ndarray:
    return np.array(points, float).reshape(-1, 2)


def _line(line: Line) -> dict[str, Any]:
    return {
        "id": line.id,
        "region": line.region,
        "kind": line.kind,
        "text": line.text,
        "confidence": _share(line.confidence),
        "found": _share(line.found),
        "orientation": line.orientation,
        "polygon": _points(line.polygon),
        "baseline": None if line.baseline is None else _points(line.baseline),
        "words": [{**_mark(word), "glyphs": [_mark(glyph) for glyph in word.glyphs]} for word in line.words],
    }


def _mark(mark: Word | Glyph) -> dict[str, Any]:
    return {"text": mark.text, "confidence": _share(mark.confidence), "polygon": _points(mark.polygon)}


def _share(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _points(points: np.ndarray) -> list[list[float]]:
    rounded = np.asarray(points, dtype=float).round(1).tolist()
    return [[int(value) if value == int(value) else value for value in point] for point in rounded]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
