"""Whole pages whose text is known, read as `transcribe` reads them: what finding lines, and their order, costs."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from htr_ssl.errors import UserError
from htr_ssl.files import write_json, write_text
from htr_ssl.pages.finder.measure import Score, score
from htr_ssl.pages.finder.page_scores import Known, known_pages, lies_on, paired
from htr_ssl.pages.one_page import Options, ReadLines, Segment, read_image
from htr_ssl.text.metrics import Scores, count, score_counts

Way = Literal["given", "marked", "found", "in_order"]
WAYS: dict[Way, str] = {
    "given": "through the given lines",
    "marked": "found lines, without those on no given line",
    "found": "found lines",
    "in_order": "found lines, as the page is read from start to end",
}
"""How pages are read, and scored; only the last one asks for the order of the lines."""


class PageScore(NamedTuple):
    """One page.

    Attributes:
        name: of its image.
        path: of its image.
        counts: of each way, a row as `metrics.count` gives it (6,).
        lines: how the found lines fit the given ones.
        left_out: found lines left out as stains.
        seconds: of finding and reading.
    """

    name: str
    path: Path
    counts: dict[Way, np.ndarray]
    lines: Score
    left_out: int
    seconds: float

    def cer(self, way: Way) -> float:
        """Character error rate."""
        return float(self.counts[way][0] / max(1, self.counts[way][1]))


@dataclass(frozen=True)
class PageEvaluation:
    """Scores of a model on whole pages; rates have 95 % intervals over pages.

    Attributes:
        pages: each page's scores.
        failed: files that cannot be read, and why.
    """

    pages: list[PageScore]
    failed: list[tuple[Path, str]] = field(default_factory=list)

    def scores(self, way: Way) -> Scores:
        """CER, WER and WAcc of all pages: given, marked, found, or in_order."""
        rows = np.stack([page.counts[way] for page in self.pages])
        return score_counts(rows, [str(number) for number in range(len(rows))], 0, "page")

    @property
    def lines(self) -> Score:
        """How the found lines of all pages fit the given ones."""
        return sum((page.lines for page in self.pages), Score())

    def _rates(self, way: Way) -> dict[str, Any]:
        """Scores as in pages.json; one page has no intervals."""
        rates = self.scores(way).to_dict()
        return {name: rate for name, rate in rates.items() if len(self.pages) > 1 or not name.endswith("_ci")}

    def to_dict(self) -> dict[str, Any]:
        """Content of pages.json."""
        lines = self.lines
        counts = {name: getattr(lines, name) for name in ("true", "found", "half", "missed", "spurious", "ordered")}
        return {
            "pages": len(self.pages),
            "failed": [str(path) for path, _ in self.failed],
            **{way: self._rates(way) for way in WAYS},
            "lines": {**counts, "recall": lines.recall, "precision": lines.precision},
            "left_out": sum(page.left_out for page in self.pages),
            "seconds": sum(page.seconds for page in self.pages),
        }

    def write(self, folder: Path) -> None:
        """Writes pages.json, and pages.csv with a row a page."""
        buffer = io.StringIO()
        table = csv.writer(buffer, lineterminator="\n")
        table.writerow(["page", *(f"cer_{way}" for way in WAYS), "lines", "found", "missed", "spurious", "seconds"])
        for page in self.pages:
            rates = [f"{page.cer(way):.4f}" for way in WAYS]
            lines = [page.lines.true, page.lines.found, page.lines.missed, page.lines.spurious]
            table.writerow([page.name, *rates, *lines, f"{page.seconds:.2f}"])
        write_text(Path(folder) / "pages.csv", buffer.getvalue())
        write_json(Path(folder) / "pages.json", self.to_dict())


def evaluate_pages(
    inputs: Sequence[Path],
    segment: Segment,
    read_lines: ReadLines,
    progress: Callable[[PageScore], None] | None = None,
) -> PageEvaluation:
    """Reads pages through their given lines and through found ones.

    Args:
        inputs: PAGE or ALTO files with text, their images beside them, or folders.
        segment: what finds the lines.
        read_lines: what reads them.
        progress: called after each page.

    Raises:
        UserError: an input is missing, or there is no page with text.
    """
    result = PageEvaluation([])
    for page in known_pages(inputs, result.failed):
        if not any(line.text for line in page.lines):
            result.failed.append((page.path, f"{page.path}: none of its lines has a text to compare with"))
            continue
        result.pages.append(_one(page, segment, read_lines))
        if progress is not None:
            progress(result.pages[-1])
    if not result.pages:
        reason = f" ({result.failed[0][1]})" if result.failed else ""
        raise UserError(f"{', '.join(map(str, inputs))}: there is no page with text to compare with{reason}")
    return result


def _one(page: Known, segment: Segment, read_lines: ReadLines) -> PageScore:
    true = [replace(line) for line in page.lines]  # reading fills in the others
    start = time.perf_counter()
    read = read_image(page.image, segment, read_lines)
    seconds = time.perf_counter() - start
    given = read_image(page.image, segment, read_lines, Options(), page.lines)
    # Lines that are marked without text tell nothing: they are left aside, with what is found on them.
    told = [line for line in true if line.text]
    found = [
        line
        for line, place in zip(read.lines, lies_on(true, read.lines), strict=True)
        if place is None or true[place].text
    ]
    by_given = [line.text or "" for line, own in zip(given.lines, true, strict=True) if own.text]
    texts, reads, extra = paired(told, found, [line.text or "" for line in found])
    counts: dict[Way, np.ndarray] = {
        "given": _sum(texts, by_given),
        "marked": _sum(texts, reads),
        "found": _sum(texts + [""] * len(extra), reads + extra),
        "in_order": _sum([" ".join(texts)], [" ".join(line.text or "" for line in found)]),
    }
    return PageScore(page.name, page.path, counts, score(read.lines, true), read.left_out, seconds)


def _sum(texts: Sequence[str], reads: Sequence[str]) -> np.ndarray:
    total: np.ndarray = count(texts, reads, "line").sum(0)
    return total
