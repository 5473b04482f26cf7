"""Plain text, UTF-8: line n of the file is line n of the page in reading order. Volumes have one file more.

In the file of a volume every page begins with a line ``=== name ===``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Page
from htr_ssl.pages.formats._marks import one_line

EXTENSION = ".txt"


def write(page: Page, path: Path) -> None:
    """Writes one line of text for each line of the page, empty where nothing was read."""
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content."""
    return "".join(one_line(line.text) + "\n" for line in page.lines).encode("utf-8", "replace")


def texts(path: Path) -> list[str]:
    """Texts of the lines of a file that somebody may have corrected, in their order."""
    try:
        return [one_line(line) for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: it is not UTF-8 text any more; save it as UTF-8") from error


def volume(pages: Sequence[tuple[str, Path]]) -> bytes:
    """The text of all pages of a volume.

    Args:
        pages: name of each page and its text file.
    """
    parts = [f"=== {name} ===\n".encode("utf-8", "replace") + path.read_bytes() for name, path in pages]
    return b"\n".join(parts)
