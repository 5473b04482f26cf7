"""What the readers of lists share: rows of a file name an image and its text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath
from unicodedata import normalize

from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples
from htr_ssl.errors import UserError
from htr_ssl.folders import exists, inside
from htr_ssl.partners import Images


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
    left: list[Row] = []
    for row in rows:
        path = find(row)
        if path is None:
            left.append(row)
        elif path in paths:
            problems.append(f"{row.place}: {path.name!r} was listed before; this row is left out")
        else:
            paths[path] = row
    images = Images(root)
    for row in left:  # what a row names exactly is never another one's
        like = [path for path in _like(row, images) if path not in paths]
        if len(like) == 1:
            paths[like[0]] = row
        else:
            name = row.names[0] if row.names else ""
            several = f"{name!r} could be {' or '.join(str(path.relative_to(images.root)) for path in like[:3])}"
            problems.append(f"{row.place}: {several if like else f'there is no image {name!r}'}; it is left out")
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


def find(row: Row) -> Path | None:
    """Image of a row where the row says, None if there is none."""
    for folder in row.folders:
        for name in row.names:
            # macOS takes the accents of file names apart.
            for form in dict.fromkeys((name, normalize("NFC", name), normalize("NFD", name))):
                path = inside(folder, form)
                if path is not None and exists(path):
                    return path
    return None


def _like(row: Row, images: Images) -> list[Path]:
    """Images in or below the first folder of a row, or named from a folder above it, that its name can mean."""
    for name in row.names:
        found = images.find(row.folders[0], name)
        if len(found) == 1 and PurePath(name).name == found[0].name and "/" in name:
            return found
        found = [path for path in found if row.folders[0] in path.parents]
        if found:
            return found
    return []
