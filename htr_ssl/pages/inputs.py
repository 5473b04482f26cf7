"""What a person names (files, folders, globs of both) becomes a list of pages, each with its own output paths."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image
from htr_ssl.layout.xml import FOLDERS, is_page_xml, read_xml, root_kind

STAMP = ".htr-ssl.json"
"""File in an output folder that says what read the pages."""


@dataclass(slots=True)
class Job:
    """One page to transcribe.

    Attributes:
        source: its image, or its XML if the image is known only from there.
        root: the folder its outputs' names are relative to.
        xml: PAGE or ALTO file with its lines, or None.
    """

    source: Path
    root: Path
    xml: Path | None = None

    def name(self, level: int) -> Path:
        """Its outputs' name without extension: plain, with the source's suffix (1), with the root's name too (2)."""
        name = self.source.relative_to(self.root)
        if level == 0:
            return name.with_name(name.stem)
        return Path(self.root.resolve().name, name) if level == 2 else name


def find_pages(inputs: Sequence[Path], out: Path) -> tuple[list[Job], list[Path]]:
    """Pages of files and folders (what lies in `out` left out), each image and XML used once, and unsuitable files.

    Raises:
        UserError: an input does not exist, or there is no page at all.
    """
    images: dict[Path, Job] = {}
    sheets: dict[Path, Job] = {}
    unsuitable = []
    for path, root in _found(inputs, out):
        if is_image(path):
            images.setdefault(path.resolve(), Job(path, root))
        elif path.suffix.lower() == ".xml" and is_page_xml(path):
            sheets.setdefault(path.resolve(), Job(path, root, xml=path))
        elif path in inputs:
            unsuitable.append(path)
    for job in images.values():
        job.xml = _xml_of(job.source)
        if job.xml is not None:
            sheets.pop(job.xml.resolve(), None)
    for sheet in sheets.values():
        try:
            image = read_xml(sheet.source).image.resolve()
        except UserError:  # said again when the page's turn comes
            image = sheet.source.resolve()
        job = images.setdefault(image, sheet)
        job.xml = job.xml or sheet.xml
    if not images:
        raise UserError(
            f"{', '.join(map(str, inputs)) or 'inputs'}: there is no page; give images, PAGE or ALTO files, or folders "
            "of them"
        )
    return list(images.values()), unsuitable


def output_paths(jobs: Sequence[Job], out: Path, extensions: Sequence[str]) -> list[list[Path]]:
    """Paths of each page's outputs; names that clash on any file system keep the suffix, then the folder's name.

    Raises:
        UserError: `out` is no folder, or outputs would lie among the pages, where they might overwrite something.
    """
    place = next((path for path in (out, *out.parents) if path.exists()), out)
    if place.exists() and not place.is_dir():
        raise UserError(f"{place}: this is a file, but the transcriptions need a folder; give another name for it")
    levels = [0] * len(jobs)
    for level in (1, 2):
        names = [_fold(job.name(own)) for job, own in zip(jobs, levels, strict=True)]
        counts = Counter(names)
        levels = [level if counts[name] > 1 else own for name, own in zip(names, levels, strict=True)]
    result = []
    used: set[str] = set()
    for job, level in zip(jobs, levels, strict=True):
        name = plain = job.name(level)
        number = 1
        while _fold(name) in used:
            number += 1
            name = plain.with_name(f"{plain.name}-{number}")
        used.add(_fold(name))
        folder = (out / name).parent.resolve()
        if any(path is not None and path.parent.resolve() == folder for path in (job.source, job.xml)):
            raise UserError(
                f"{out}: outputs would lie among the pages ({job.source}) and might overwrite files there; "
                f"choose a folder of its own, such as {out / 'transcriptions'}"
            )
        result.append([out / name.with_name(name.name + extension) for extension in extensions])
    return result


def _found(inputs: Sequence[Path], out: Path) -> Iterator[tuple[Path, Path]]:
    """Files of the inputs, each with the folder its outputs' names are relative to; outputs of any run left out."""
    for item in inputs:
        if not item.exists():
            raise UserError(f"{item}: there is no such file or folder; check the path")
    for item in inputs:
        if item.is_file():
            yield item, item.parent
            continue
        outputs = {out.resolve(), *(stamp.parent.resolve() for stamp in item.rglob(STAMP))} - {item.resolve()}
        yield from ((path, item) for path in files(item) if outputs.isdisjoint(path.resolve().parents))


def _xml_of(image: Path) -> Path | None:
    """PAGE or ALTO file of an image, also a damaged one, so that the damage is reported."""
    for folder in (image.parent, *(image.parent / name for name in FOLDERS)):
        path = folder / f"{image.stem}.xml"
        if path.is_file() and root_kind(path) != "other":
            return path
    return None


def _fold(name: Path) -> str:
    """The same for names that some file system takes for one: case and the two forms of accents do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(name)).casefold())
