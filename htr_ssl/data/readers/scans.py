"""Whole pages without transcription, as images, TIFF or PDF files: the built-in line finder cuts them into lines."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from htr_ssl import plugins
from htr_ssl.data.page_images import PageImage, is_pdf, pages_of
from htr_ssl.data.readers._crops import CropSamples, Region
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image

SEGMENTER = "learned"
"""What finds the lines, see `htr-ssl formats`."""
PAGED = True
"""Every page of a TIFF file is read, not only the first."""


def detect(root: Path) -> bool:
    """Whether there is a PDF; images may as well be lines, so `scans` has to be asked for."""
    return any(map(is_pdf, files(root)))


def read(root: Path, level: Level) -> CropSamples:
    """Lines of all pages below `root`, unlabelled; a page without a line and one that cannot be read are problems.

    Ids are the file's path, the page's number in it if it has several, and the line's id.

    Raises:
        UserError: there is no page or no line at all, or words are asked for.
    """
    if level == "word":
        raise UserError(f"{root}: there is no word in scans, only lines; give level=line")
    problems: list[str] = []
    pages = list(_pages(root, problems))
    if not pages and not problems:
        raise UserError(f"{root}: there is no page image and no PDF in it; give a folder of scans")
    if not pages:
        raise UserError(f"{root}: none of its {len(problems)} file(s) of pages can be read ({problems[0]})")
    regions: list[Region] = []
    columns: dict[str, list[str | None]] = {name: [] for name in ("id", "page", "split")}
    with ThreadPoolExecutor() as pool:
        for (page, name), found in zip(pages, pool.map(_lines, pages), strict=True):
            if isinstance(found, str):
                problems.append(found)
                continue
            for region in found:
                regions.append(region)
                columns["id"].append(f"{name}/{region.line.id}")
                columns["page"].append(name)
                columns["split"].append(split_of(Path(name).parts[0]) if "/" in name else None)
            if not found:
                where = f", page {page.number + 1}" if page.count > 1 else ""
                problems.append(f"{page.path}{where}: no line of text was found")
    if not regions:
        raise UserError(f"{root}: there is no line of text in its {len(pages)} page(s) ({problems[0]})")
    samples = CropSamples(regions, columns, level)
    samples.problems += problems
    return samples


def _pages(root: Path, problems: list[str]) -> Iterator[tuple[PageImage, str]]:
    """Every page and its name."""
    for path in files(root):
        if not (is_image(path) or is_pdf(path)):
            continue
        place = path.relative_to(root) if path != root else Path(path.name)
        try:
            pages = pages_of(path)
        except UserError as error:
            problems.append(str(error))
            continue
        yield from ((page, (place.parent / page.name).as_posix()) for page in pages)


def _lines(named: tuple[PageImage, str]) -> list[Region] | str:
    page, _ = named
    segment = plugins.load("htr_ssl.pages.segment", SEGMENTER).segment
    try:
        image = page.load()
    except UserError as error:
        return str(error)
    return [Region(page.path, line, image.shape[1::-1], page.number) for line in segment(image)]
