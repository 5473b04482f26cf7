"""What became of the pages of one command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(slots=True)
class Result:
    """What became of one page.

    Attributes:
        source: its file, with the page's number if it has several.
        status: done; skipped (done before); failed.
        message: why it failed.
        lines: lines that were read.
        left_out: lines without certain text that were left out.
        confidence: mean of the lines, or None.
        seconds: for finding, reading and writing.
        notes: sentences on what is doubtful.
        name: of its outputs, without extension.
        kept: see `Outcome`.
        given: name of the PAGE or ALTO file whose lines were read; empty if they were found.
    """

    source: Path
    status: Literal["done", "skipped", "failed"]
    message: str = ""
    lines: int = 0
    left_out: int = 0
    confidence: float | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    name: Path = Path()
    kept: list[tuple[Path, Path | None]] = field(default_factory=list)
    given: str = ""


Progress = Callable[[int, int, Result], None]


@dataclass(slots=True)
class Outcome:
    """What became of the pages.

    Attributes:
        done: those that were read or written now.
        skipped: those that had been done before.
        failed: those that could not be read, and why.
        kept: files that somebody changed and that were left as they are, and what was written beside them.
        older: files of the same pages that are older than a change in `kept`: they have the text from before it.
        ignored: files among the pages that are none.
        gone: names of pages that were transcribed earlier and are not among the pages any more; their files stay.
        results: all pages in their order.
    """

    done: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    kept: list[tuple[Path, Path | None]] = field(default_factory=list)
    older: list[Path] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)
    gone: list[Path] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Counts one page."""
        self.results.append(result)
        self.kept += result.kept
        if result.status == "failed":
            self.failed.append((result.source, result.message))
        else:
            (self.done if result.status == "done" else self.skipped).append(result.source)
