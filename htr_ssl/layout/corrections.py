"""A page of a folder of transcriptions with the text that somebody corrected there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from htr_ssl import plugins
from htr_ssl.errors import UserError
from htr_ssl.layout.document import WRITERS, Line, Page
from htr_ssl.layout.ledger import Entry


@dataclass(frozen=True, slots=True)
class Corrected:
    """A page with corrected text.

    Attributes:
        page: as it was read when the corrected files were written, with their text.
        files: those whose text was taken over.
        removed: ids of lines that none of them has any more.
        changed: whether that is another text than was read; a file only saved anew, with other line ends, is none.
        notes: a sentence for each file whose text could not be taken over.
    """

    page: Page
    files: tuple[Path, ...]
    removed: frozenset[str]
    changed: bool
    notes: tuple[str, ...]


def read(entry: Entry, image: Path) -> Page:
    """The page as it was read last.

    Args:
        entry: of a folder of transcriptions.
        image: the page's image.
    """
    return _page(entry.page or "", image)


def corrected(entry: Entry, image: Path, words: bool = True) -> Corrected:
    """The page with the text of the files that somebody corrected.

    The file changed last decides which reading the lines are of: another reading may have found others.

    Args:
        entry: of a folder of transcriptions.
        image: the page's image.
        words: also the places of words and characters.
    """
    edited = [(plugins.load(WRITERS, name), path) for name, path in entry.edited() if name in plugins.names(WRITERS)]
    edited = [(writer, path) for writer, path in edited if hasattr(writer, "texts")]
    reading = entry.reading_of(edited[-1][1]) if edited else entry.page or ""
    page = _page(reading, image, words)
    before = [" ".join((line.text or "").split()) for line in page.lines]
    files: list[Path] = []
    notes: list[str] = []
    held: set[int] = set()
    for writer, path in edited:
        if entry.reading_of(path) != reading:
            notes.append(f"{path}: it is of an earlier reading than {edited[-1][1].name}; its text is not taken over")
            continue
        try:
            places = _places(writer.texts(path), page.lines)
        except (UserError, OSError) as error:
            notes.append(str(error))
            continue
        if isinstance(places, int):
            notes.append(f"{path}: it has {places} lines, the page {len(page.lines)}; its text is not taken over")
            continue
        files.append(path)
        held |= places.keys()
        for place, text in places.items():
            if text != before[place]:
                line = page.lines[place]
                line.text, line.words, line.confidence = text, [], None
    removed = frozenset(line.id for place, line in enumerate(page.lines) if files and place not in held)
    after = [" ".join((line.text or "").split()) for line in page.lines]
    return Corrected(page, tuple(files), removed, bool(removed) or after != before, tuple(notes))


def _page(reading: str, image: Path, words: bool = True) -> Page:
    page: Page = plugins.load(WRITERS, "json").read(reading.encode("utf-8", "surrogatepass"), image, words)
    return page


def _places(texts: dict[str, str] | list[str], lines: list[Line]) -> dict[int, str] | int:
    """Place of a line -> its text in a file; the number of the file's lines if they cannot be told apart."""
    known = {line.id: place for place, line in enumerate(lines)}
    if isinstance(texts, dict) and all(name in known for name in texts):
        return {known[name]: text for name, text in texts.items()}
    if len(texts) == len(lines):
        return dict(enumerate(texts.values() if isinstance(texts, dict) else texts))
    return len(texts)
