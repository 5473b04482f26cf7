"""Plain text, UTF-8: line n of the file is line n of the page in reading order."""

from __future__ import annotations

from pathlib import Path

from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Page

EXTENSION = ".txt"


def write(page: Page, path: Path) -> None:
    """Writes one line of text for each line of the page, empty where nothing was read."""
    text = "".join(" ".join((line.text or "").split()) + "\n" for line in page.lines)
    write_bytes(path, text.encode("utf-8", "replace"))
