"""What became of all pages, as text, CSV and HTML: pages in doubt first."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from htr_ssl import webpage
from htr_ssl.errors import UserError
from htr_ssl.layout.document import Made
from htr_ssl.layout.ledger import Entry
from htr_ssl.pages.outcome import Result

NAME = "summary"
"""Name of its files, without extension."""
MOST_PICTURES = 200
"""Pages with a small picture in the HTML file; the others have none, so that it stays small enough to open."""
_SIDE = 160  # of a picture [px]
_DOUBT = 0.8  # below, a page's confidence is marked


def write(results: Sequence[Result], out: Path, made: Made, overwrite: bool = False) -> None:
    """Writes summary.txt, summary.csv and summary.html into the folder of transcriptions."""
    ordered = sorted(results, key=lambda item: (item.status != "failed", _sure(item), str(item.source)))
    contents = {
        name: (out / f"{NAME}.{name}", data.encode("utf-8", "replace"))
        for name, data in (
            ("txt", _text(ordered)),
            ("csv", _csv(ordered)),
            ("html", _html(ordered, out, made)),
        )
    }
    Entry.load(out, Path(NAME), "summary").put(contents, overwrite)


def totals(results: Sequence[Result]) -> dict[str, Any]:
    """Pages of each kind, lines, lines left out, seconds, and mean confidence weighted by lines (or None)."""
    read = [item for item in results if item.status != "failed" and item.confidence is not None]
    lines = sum(item.lines for item in read)
    return {
        **{status: sum(item.status == status for item in results) for status in ("done", "skipped", "failed")},
        "lines": sum(item.lines for item in results),
        "left_out": sum(item.left_out for item in results),
        "seconds": sum(item.seconds for item in results),
        "confidence": sum((item.confidence or 0) * item.lines for item in read) / lines if lines else None,
    }


def _sure(item: Result) -> float:
    return -1.0 if item.confidence is None else item.confidence


def _remarks(item: Result) -> list[str]:
    """Sentences on a page that was read."""
    return [*([f"lines of {item.given}"] if item.given else []), *item.notes]


def _text(results: Sequence[Result]) -> str:
    all_of = totals(results)
    sure = "" if all_of["confidence"] is None else f", mean confidence {all_of['confidence']:.2f}"
    rows = [
        f"{all_of['done']} page(s) transcribed, {all_of['skipped']} done before, {all_of['failed']} failed",
        f"{all_of['lines']} line(s), {all_of['left_out']} left out without certain text{sure}",
        f"{all_of['seconds']:.1f} seconds of work on pages",
        "",
        "status   confidence  lines  left out  seconds  page",
    ]
    for item in results:
        value = "" if item.confidence is None else f"{item.confidence:.2f}"
        rows.append(
            f"{item.status:8} {value:>10}  {item.lines:5}  {item.left_out:8}  {item.seconds:7.2f}  {item.source}"
        )
        rows += [f"         {text}" for text in (item.message, *_remarks(item)) if text]
    return "\n".join(rows) + "\n"


def _csv(results: Sequence[Result]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("page", "status", "confidence", "lines", "left_out", "seconds", "outputs", "message"))
    for item in results:
        value = "" if item.confidence is None else f"{item.confidence:.4f}"
        message = " ".join((item.message, *_remarks(item))).strip()
        known = (
            item.source,
            item.status,
            value,
            item.lines,
            item.left_out,
            f"{item.seconds:.2f}",
            item.name.as_posix(),
        )
        writer.writerow((*known, message))
    return buffer.getvalue()


def _html(results: Sequence[Result], out: Path, made: Made) -> str:
    all_of = totals(results)
    rows = [
        {
            "item": item,
            "picture": _picture(item.source) if number < MOST_PICTURES else "",
            "doubt": item.confidence is None or item.confidence < _DOUBT,
            "files": _files(item, out),
            "remarks": _remarks(item),
            "message": item.message.removeprefix(f"{item.source}: "),
        }
        for number, item in enumerate(results)
    ]
    shown = all_of["done"] + all_of["skipped"]
    return webpage.render("summary.html", title=f"Transcription: {shown} pages", rows=rows, all=all_of, made=made)


def _files(item: Result, out: Path) -> list[dict[str, str]]:
    """Paths of a page's outputs from the folder of transcriptions, and the ends of their names."""
    if item.status == "failed":
        return []
    paths = sorted(Entry.load(out, item.name).files)
    return [{"path": path, "label": path.removeprefix(f"{item.name.as_posix()}.")} for path in paths]


def _picture(source: Path) -> str:
    """A small picture of a page as a data URL; empty if it cannot be read."""
    from PIL import Image

    from htr_ssl.data.page_images import page_image

    name, _, number = str(source).rpartition("#") if not source.is_file() else (str(source), "", "1")
    try:
        picture = Image.fromarray(page_image(type(source)(name), int(number) - 1))
    except (UserError, ValueError):
        return ""
    picture.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    picture.convert("RGB").save(buffer, "JPEG", quality=70)
    return webpage.picture_source(buffer.getvalue(), "jpeg")
