"""A folder that `transcribe` wrote: lines of pages that you corrected with your text, those of other pages without."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from htr_ssl.archives.members import Member
from htr_ssl.data.readers._crops import CropSamples, Region
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import natural
from htr_ssl.layout.corrections import Corrected, corrected
from htr_ssl.layout.document import Line
from htr_ssl.layout.ledger import HOME, Entry

FIRST = True
"""Chosen before all others: its PAGE, ALTO or text files are those of the readings too, right or wrong."""
PAGED = True
"""Every page of a TIFF file is read, not only the first."""
_PAGES, _VOLUMES = "pages", "volumes"


def detect(root: Path) -> bool:
    """Whether `transcribe` has written into the folder."""
    return (root / HOME / _PAGES).is_dir()


def read(root: Path, level: Level) -> CropSamples:
    """Lines of all pages that were transcribed, cut out of their images as they were for reading.

    A page counts as read through if the text of a line was changed: all its lines are labels then, also those that were
    right. A line that was emptied or removed is left out. Pages that nobody changed have no text, because what the
    program read is no label. Ids are the page's name and the line's.

    Raises:
        UserError: there is no page, or no image of one is there any more, or words are asked for.
    """
    if isinstance(root, Member):
        raise UserError(f"{root}: this folder of transcriptions is within an archive; take it out, beside its scans")
    if level == "word":
        raise UserError(f"{root}: there is no word in it, only lines; give level=line")
    regions: list[Region] = []
    sheets: list[Path] = []
    problems: list[str] = []
    columns: dict[str, list[str | None]] = {name: [] for name in ("id", "text", "page", "split")}
    pages = through = emptied = 0
    for name, entry in _entries(root, _PAGES):
        if not entry.page:
            problems.append(f"{entry.path}: it is damaged; transcribe the page again")
            continue
        image = Path(os.path.normpath(root.resolve() / entry.source.rpartition("#")[0]))
        if not image.is_file():
            problems.append(f"{root / name}: its image {image} is not there any more; put it back")
            continue
        try:
            found = corrected(entry, image, words=False)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            problems.append(f"{entry.path}: it is damaged; transcribe the page again")
            continue
        pages += 1
        through += found.changed
        problems += found.notes
        sheets += found.files
        page = found.page
        for line, text in _lines(found):
            if found.changed and not text:
                emptied += 1
                continue
            regions.append(Region(image, line, (page.width, page.height), page.number))
            columns["id"].append(f"{name}/{line.id}")
            columns["text"].append(text)
            columns["page"].append(name)
            columns["split"].append(split_of(Path(name).parts[0]) if "/" in name else None)
    for _, entry in _entries(root, _VOLUMES):
        problems += [
            f"{path}: it was changed, but corrections are read from the files of its pages, such as {path.stem}#001"
            f"{path.suffix}; correct those"
            for _, path in entry.edited()
        ]
    if not regions:
        raise UserError(f"{root}: there is no line in its {pages} page(s){f' ({problems[0]})' if problems else ''}")
    samples = CropSamples(regions, columns, level, sheets)
    samples.problems += problems
    samples.notes.append(_said(root, pages, through, emptied))
    return samples


def _entries(root: Path, kind: str) -> Iterator[tuple[str, Entry]]:
    """Name and entry of every page or volume, in natural order."""
    home = root / HOME / kind
    names = [path.relative_to(home).with_suffix("") for path in home.rglob("*.json")]
    for name in sorted(names, key=lambda path: natural(path.as_posix())):
        yield name.as_posix(), Entry.load(root, name, kind)


def _lines(found: Corrected) -> Iterator[tuple[Line, str | None]]:
    """Lines of a page with their text: that of a page that somebody corrected, else none."""
    for line in found.page.lines:
        text = (line.text or "").strip()
        yield line, None if not found.changed else "" if line.id in found.removed else text


def _said(root: Path, pages: int, through: int, emptied: int) -> str:
    """What was taken for a label and what was not."""
    if not through:
        return (
            f"{root}: nobody has corrected a page of its {pages} yet, so that no line has a text; correct the files of "
            "some pages, every line of them"
        )
    left = f"; {emptied} lines that were emptied or removed there are left out" if emptied else ""
    return (
        f"{root}: {through} of {pages} pages were corrected and count as read through: all their lines are labels, the "
        f"lines of the others have no text{left}"
    )
