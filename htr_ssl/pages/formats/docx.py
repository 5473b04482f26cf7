"""Word document (docx): a paragraph for each region, in it a line for each line; doubtful words are highlighted."""

from __future__ import annotations

import io
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Line, Page
from htr_ssl.pages.formats._marks import SOFTWARE, blocks, clean, model_of, one_line, words_of

EXTENSION = ".docx"
DOUBT = 0.5
"""Words with less confidence are highlighted."""

_FIRST_DAY = datetime(1980, 1, 1)  # the earliest that a zip file can hold


def write(page: Page, path: Path) -> None:
    """Writes the page; characters that XML forbids are left out."""
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content."""
    import docx

    document = docx.Document()
    known = document.core_properties
    known.title, known.author, known.comments = clean(page.image.name)[:255], SOFTWARE, clean(model_of(page.made))[:255]
    day = datetime.fromisoformat(page.made.date) if page.made is not None and page.made.date else _FIRST_DAY
    known.created = known.modified = day
    for _, lines in blocks(page):
        paragraph = document.add_paragraph()
        for number, line in enumerate(lines):
            if number:
                paragraph.add_run().add_break()
            _add_line(paragraph, line)
    buffer = io.BytesIO()
    document.save(buffer)
    return _undated(buffer.getvalue())


def texts(path: Path) -> list[str]:
    """Texts of the lines of a file that somebody may have corrected, in their order."""
    import docx

    try:
        paragraphs = docx.Document(str(path)).paragraphs
    except Exception as error:  # damaged files make the library fail in several ways
        raise UserError(f"{path}: it is no longer a whole Word document ({error}); save it again") from error
    return [one_line(line) for paragraph in paragraphs for line in paragraph.text.split("\n")]


def _add_line(paragraph: Any, line: Line) -> None:
    from docx.enum.text import WD_COLOR_INDEX

    for number, word in enumerate(words_of(line)):
        if number:
            paragraph.add_run(" ")
        run = paragraph.add_run(clean(word.text))
        if word.confidence is not None and word.confidence < DOUBT:
            run.font.highlight_color = WD_COLOR_INDEX.YELLOW


def _undated(data: bytes) -> bytes:
    """The same file without the time of day in its entries, so that the same page gives the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(
                zipfile.ZipInfo(entry.filename, _FIRST_DAY.timetuple()[:6]), old.read(entry), zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()
