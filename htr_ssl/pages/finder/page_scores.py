"""Line finders on pages whose lines are known: counts by page and finder, and the CER of what is read through them."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from htr_ssl.data.images import decode
from htr_ssl.errors import UserError
from htr_ssl.folders import is_image
from htr_ssl.layout.crop import crop
from htr_ssl.layout.document import Line
from htr_ssl.layout.xml import is_page_xml, read_xml
from htr_ssl.pages.finder.measure import Score, base_of, covers, line_distance, score
from htr_ssl.text.metrics import count

Array = np.ndarray[Any, np.dtype[Any]]
Segment = Callable[[np.ndarray], list[Line]]
ReadLines = Callable[[list[np.ndarray]], Sequence[Any]]


@dataclass(slots=True)
class Known:
    """A page image, uint8 (H, W) or (H, W, 3), and its lines; `corpus` is what the table sums over."""

    name: str
    corpus: str
    image: Array
    lines: list[Line]
    path: Path = field(default_factory=Path)


@dataclass(slots=True)
class Result:
    """One finder on some pages.

    Attributes:
        score: counts of lines.
        given: edits and characters of the true lines, read where the truth gives them.
        found: the same through the found lines: what is missed counts as left out, what is spurious as put in.
        marked: as `found`, without the found lines that lie on no true one. Where the truth leaves writing out, the
            loss through found lines lies between this and `found`.
    """

    score: Score = field(default_factory=Score)
    given: tuple[int, int] = (0, 0)
    found: tuple[int, int] = (0, 0)
    marked: tuple[int, int] = (0, 0)

    def __add__(self, other: Result) -> Result:
        given, found, marked = (
            (getattr(self, name)[0] + getattr(other, name)[0], getattr(self, name)[1] + getattr(other, name)[1])
            for name in ("given", "found", "marked")
        )
        return Result(self.score + other.score, given, found, marked)


def known_pages(inputs: Sequence[Path], failed: list[tuple[Path, str]] | None = None) -> Iterator[Known]:
    """Pages of PAGE and ALTO files, of folders of them, or of a Parquet file of pages (its test split).

    Args:
        inputs: files and folders.
        failed: takes the files that cannot be read and why; None = the first one ends it.

    Raises:
        UserError: an input is missing, no page with lines is there, or a file cannot be read.
    """
    some = False
    for item in inputs:
        if not item.exists():
            raise UserError(f"{item}: there is no such file or folder; check the path")
        if item.suffix == ".parquet":
            for page in pages_of_table(item):
                some = True
                yield page
            continue
        files = [item] if item.is_file() else sorted(item.rglob("*.xml"))
        for file in files:
            xml = file.with_suffix(".xml") if is_image(file) else file
            if not xml.is_file() or not is_page_xml(xml):
                continue
            try:
                known = _of_xml(xml)
            except UserError as error:
                if failed is None:
                    raise
                failed.append((xml, str(error)))
                continue
            if known is not None:
                some = True
                yield known
    if not some and not failed:
        raise UserError(
            f"{', '.join(map(str, inputs))}: no PAGE or ALTO file with lines; give files with the lines marked"
        )


def _of_xml(xml: Path) -> Known | None:
    """Page of a PAGE or ALTO file; None if it has no lines."""
    stated = read_xml(xml)
    if not stated.lines:
        return None
    image = decode(stated.image, str(stated.image))
    height, width = image.shape[:2]
    scale = np.array([width / (stated.width or width), height / (stated.height or height)])
    for line in stated.lines:
        line.polygon = line.polygon * scale
        line.baseline = None if line.baseline is None else line.baseline * scale
    return Known(stated.image.stem, xml.parent.name, image, stated.lines, stated.image)


def pages_of_table(file: str | Path, split: str = "test") -> Iterator[Known]:
    """Pages of one split of a Parquet file."""
    from htr_ssl.pages.finder.truth import colour_of, lines_of, rows_of

    for row in rows_of([Path(file)], split):
        yield Known(row["page"], row["corpus"], colour_of(row["image"]["bytes"]), lines_of(row))


def evaluate(page: Known, segment: Segment, read_lines: ReadLines | None = None) -> Result:
    """One finder on one page; with `read_lines`, what is read too."""
    start = time.perf_counter()
    found = segment(page.image)
    result = Result(score(found, page.lines, time.perf_counter() - start))
    if read_lines is not None:
        texts = [line.text or "" for line in page.lines]
        given = _read(read_lines, page.image, page.lines)
        result.given = _edits(texts, given)
        read = _read(read_lines, page.image, list(found))
        result.found, result.marked = _end_to_end(page.lines, list(found), read)
    return result


def _read(read_lines: ReadLines, image: Array, lines: list[Line]) -> list[str]:
    return [reading[0] for reading in read_lines([crop(image, line) for line in lines])] if lines else []


def _edits(texts: Sequence[str], read: Sequence[str]) -> tuple[int, int]:
    table = count(texts, read, "line")
    return int(table[:, 0].sum()), int(table[:, 1].sum())


def _end_to_end(true: list[Line], found: list[Line], read: list[str]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Edits and characters with and without the found lines that lie on no true one, see `paired`."""
    texts, reads, extra = paired(true, found, read)
    return _edits(texts + [""] * len(extra), reads + extra), _edits(texts, reads)


def paired(true: list[Line], found: list[Line], read: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Texts of the true lines, what was read in the found lines on each, and what in found lines on no true one.

    Several found lines on a true one are joined from left to right; the order of the page plays no part.
    """
    parts: list[list[tuple[float, str]]] = [[] for _ in true]
    extra: list[str] = []
    for line, text, place in zip(found, read, lies_on(true, found), strict=True):
        if place is None:
            extra.append(text)
        else:
            parts[place].append((float(base_of(line)[0, 0]), text))
    return [line.text or "" for line in true], [" ".join(text for _, text in sorted(part)) for part in parts], extra


def lies_on(true: list[Line], found: list[Line]) -> list[int | None]:
    """The true line that each found one lies on, or None."""
    if not true or not found:
        return [None] * len(found)
    distance = line_distance(true)
    of_found, of_true = covers([base_of(line) for line in found], [base_of(line) for line in true], distance)
    # A line that covers several goes with the one it covers most of.
    weight = of_found * np.array([max(1.0, float(np.ptp(base_of(line)[:, 0]))) for line in found])[:, None]
    places = weight.argmax(1).tolist()
    return [j if of_found[i, j] >= 0.2 or of_true[i, j] >= 0.2 else None for i, j in enumerate(places)]


def memory() -> float:
    """Most memory this process has held [MB]."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / (1 << 20 if sys.platform == "darwin" else 1 << 10)
