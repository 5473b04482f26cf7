"""What the readers of PAGE and ALTO share: every file of one kind below a folder, its lines or words as regions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from htr_ssl.data.page_images import orientation
from htr_ssl.data.readers._crops import CropSamples, Region
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files
from htr_ssl.layout.document import Page
from htr_ssl.layout.xml import read_xml, root_kind
from htr_ssl.partners import Images


def sheets(root: Path, kind: str) -> Iterator[Path]:
    """Files below `root` whose root element is that of `kind`, page or alto, or that are too damaged to say."""
    return (path for path in files(root) if path.suffix.lower() == ".xml" and root_kind(path) in (kind, "damaged"))


def knows(root: Path, kind: str) -> bool:
    """Whether there is a file of this kind."""
    return any(path.suffix.lower() == ".xml" and root_kind(path) == kind for path in files(root))


def read_sheets(root: Path, kind: str, level: Level) -> CropSamples:
    """Lines or words of all files of a kind; those without text are unlabelled.

    Ids are the file's path below `root` without its suffix and the line's id; the page is the former. Folders train,
    validation (val) and test name the splits.

    Raises:
        UserError: there is no such file, or nothing in them can be used.
    """
    regions: list[Region] = []
    problems: list[str] = []
    notes: list[str] = []
    columns: dict[str, list[str | None]] = {name: [] for name in ("id", "text", "page", "split")}
    paths = list(sheets(root, kind))
    pages = _pages(root, paths, level, problems)
    own = {page.image for page, _ in pages.values() if page.sure}
    estimated = 0
    for path, (page, refused) in pages.items():
        name = (path.relative_to(root) if path != root else Path(path.name)).with_suffix("")
        if not page.sure and page.image in own:
            problems.append(f"{path}: its image is missing, and {page.image.name} is another file's; put it there")
            continue
        own.add(page.image)
        if not page.lines and not refused:
            problems.append(f"{path}: there is no {level} in it; have them found and transcribed first")
        if orientation(page.image) in (2, 3, 4):
            notes.append(
                f"{page.image}: its EXIF data turns it round, which no size can show; the outlines were taken as made "
                "for the pixels as they are stored"
            )
        estimated += sum(line.estimated for line in page.lines)
        problems += [f"{path}: {reason}" for reason in refused]
        for line in page.lines:
            regions.append(Region(page.image, line, (page.width, page.height)))
            columns["id"].append(f"{name.as_posix()}/{line.id}")
            columns["text"].append(line.text)
            columns["page"].append(name.as_posix())
            columns["split"].append(split_of(name.parts[0]) if len(name.parts) > 1 else None)
    if not regions:
        what = f"no {level} in its {len(paths)} {kind.upper()} file(s)" if paths else f"no {kind.upper()} file in it"
        reason = f" ({problems[0]})" if problems else ""
        hint = "; try level=line" if level == "word" and paths else ""
        raise UserError(f"{root}: there is {what}{reason}{hint}")
    samples = CropSamples(regions, columns, level, list(pages))
    samples.problems += problems
    if estimated:
        notes.append(
            f"{root}: {estimated} lines have a baseline and no outline; it was estimated from the distance of the "
            "baselines and from the ink"
        )
    samples.notes += notes
    return samples


def _pages(root: Path, paths: list[Path], level: Level, problems: list[str]) -> dict[Path, tuple[Page, list[str]]]:
    """Page of every file that has one, and what was refused of it."""
    images = Images(root)
    found: dict[Path, tuple[Page, list[str]]] = {}
    for path in paths:
        refused: list[str] = []
        try:
            page = read_xml(path, level == "word", refused, images)
            if not page.image.is_file():
                raise UserError(f"{path}: its image {page.image.name} is missing; put it beside the file")
        except UserError as error:
            problems.append(str(error))
            continue
        found[path] = page, refused
    return found
