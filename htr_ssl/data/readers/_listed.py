"""What the readers of lists share: rows of a file name an image and its text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples
from htr_ssl.errors import UserError
from htr_ssl.folders import exists, inside


@dataclass(slots=True)
class Row:
    """One row of a list.

    Attributes:
        place: for messages, e.g. ``train.txt:12``.
        folders: where the image may lie; names are relative to them.
        names: what the file may be called, the likeliest first.
        text: transcription.
        split: train, validation or test, None if unknown.
        writer: id of the hand, None if unknown.
        page: id of the page, None if unknown.
    """

    place: str
    folders: tuple[Path, ...]
    names: tuple[str, ...]
    text: str | None
    split: str | None = None
    writer: str | None = None
    page: str | None = None


def samples_of(root: Path, rows: Iterable[Row], level: Level, problems: list[str], kind: str) -> FileSamples:
    """Rows whose image is there; the others, and further rows for the same image, become problems.

    Raises:
        UserError: there is no image for any of the rows.
    """
    paths: dict[Path, Row] = {}
    for row in rows:
        path = _find(row)
        if path is None:
            problems.append(f"{row.place}: there is no image {row.names[0] if row.names else ''!r}; it is left out")
        elif path in paths:
            problems.append(f"{row.place}: {path.name!r} was listed before; this row is left out")
        else:
            paths[path] = row
    if not paths:
        reason = f" ({problems[0]})" if problems else ""
        raise UserError(f"{root}: there is no {kind} with its images in it{reason}; put the images where the list says")
    found = list(paths.values())
    base = root if root.is_dir() else root.parent
    samples = FileSamples(
        base,
        list(paths),
        level,
        [row.text for row in found],
        split=[row.split for row in found],
        writer=[row.writer for row in found],
        page=[row.page for row in found],
    )
    samples.problems += problems
    return samples


def _find(row: Row) -> Path | None:
    for folder in row.folders:
        for name in row.names:
            # macOS takes the accents of file names apart.
            for form in dict.fromkeys((name, normalize("NFC", name), normalize("NFD", name))):
                path = inside(folder, form)
                if path is not None and exists(path):
                    return path
    return None
