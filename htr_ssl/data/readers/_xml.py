"""What the readers of PAGE and ALTO share: every file of one kind below a folder, its lines or words as regions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from htr_ssl.data.readers._crops import CropSamples, Region
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files
from htr_ssl.layout.xml import read_xml, root_kind


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
    columns: dict[str, list[str | None]] = {name: [] for name in ("id", "text", "page", "split")}
    paths = list(sheets(root, kind))
    for path in paths:
        name = (path.relative_to(root) if path != root else Path(path.name)).with_suffix("")
        refused: list[str] = []
        try:
            page = read_xml(path, level == "word", refused)
            if not page.image.is_file():
                raise UserError(f"{path}: its image {page.image.name} is missing; put it beside the file")
        except UserError as error:
            problems.append(str(error))
            continue
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
    samples = CropSamples(regions, columns, level)
    samples.problems += problems
    return samples
