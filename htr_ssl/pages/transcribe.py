"""Folders of page images become folders of transcriptions: restartable, page by page, no page stops the others."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from htr_ssl import __version__, plugins
from htr_ssl.errors import UserError
from htr_ssl.files import write_json
from htr_ssl.layout.document import Made
from htr_ssl.layout.ledger import Entry, gone
from htr_ssl.pages import segmenters
from htr_ssl.pages import summary as summaries
from htr_ssl.pages.inputs import STAMP, Job, find_pages, names_of, source_of
from htr_ssl.pages.one_page import Options, ReadLines
from htr_ssl.pages.outcome import Outcome, Progress, Result
from htr_ssl.pages.page_task import Item, Task, planned, safely
from htr_ssl.text.direction import Direction

Engine = Literal["local", "ray"]
"""What reads the pages: threads of this process, or the workers of a Ray cluster."""
_RESERVED = tuple(f"{summaries.NAME}{ending}" for ending in ("", ".html"))


def transcribe(
    read_lines: ReadLines,
    inputs: Sequence[str | Path],
    out: Path,
    formats: Sequence[str],
    segmenter: str = "learned",
    progress: Progress | None = None,
    reader: str = "",
    *,
    model: str = "",
    direction: Direction = "ltr",
    options: Options | None = None,
    overwrite: bool = False,
    jobs: int = 1,
    engine: Engine = "local",
    dry_run: bool = False,
    summary: bool = False,
) -> Outcome:
    """Transcribes every page of `inputs` and writes it into `out` in every format.

    Inputs are images, TIFF and PDF files with all their pages, PAGE or ALTO files, folders of them (searched below,
    `out` left out), and globs. Lines come from an image's PAGE or ALTO file of the same stem (beside it, or in a folder
    `page` or `alto` beside it) or one that names it, else from the segmenter. Outputs mirror the path below the given
    folder: `sub/a.jpg` becomes `sub/a.txt`, or `sub/a.jpg.txt` if another page would have the same name, and page 3 of
    `book.pdf` becomes `book#003.txt`.

    A page that this model has read with these options, and whose image and XML are the same, is not read again; a
    further format is written from the text that is there, also from a corrected one. A file that is no longer what was
    written stays as it is; what is new lies beside it as `a.new.txt`.

    Args:
        read_lines: see `ReadLines`.
        inputs: images, PDF, XML files, folders or globs.
        out: a folder of its own, not one that holds pages.
        formats: names of modules in `htr_ssl.pages.formats`.
        segmenter: name of a module in `htr_ssl.pages.segment`, or a line finder's file.
        progress: called after each page with the number of pages done, of all, and what became of the page.
        reader: what reads, e.g. a model's hash; pages that another one read are read anew.
        model: its name, for the outputs.
        direction: of the script it reads; columns of right-to-left script are read from right to left.
        options: how pages are read.
        overwrite: replace also files that somebody changed.
        jobs: pages at a time; lines of one page are read at a time.
        engine: local = threads of this process; ray = processes of a Ray cluster, at most `jobs` of them, 0 = one per
            core of the cluster (`htr_ssl.pages.ray_engine`).
        dry_run: only say what would be done.
        summary: write a summary of all pages as text, CSV and HTML.

    Raises:
        UserError: before any work: an unknown format or segmenter, a missing input, no page at all, or `out` is a
            file or a folder that holds pages.
    """
    if not formats:
        known = ", ".join(plugins.names("htr_ssl.pages.formats"))
        raise UserError(f"formats: none is given; choose one or more of: {known}")
    options = options or Options()
    writers = {name: plugins.load("htr_ssl.pages.formats", name) for name in dict.fromkeys(formats)}
    segment = segmenters.segmenter(segmenter, direction)
    out = Path(out)
    found = find_pages(inputs, out)
    pages = found.jobs
    names = names_of(pages, out, lambda name: Entry.load(out, name).source or None, _RESERVED if summary else ())
    settings = _settings(segmenter, options)
    made = Made(model, reader, _day(out, f"{reader} {settings}", bool(reader) and not dry_run), settings)
    key, run = f"{reader} {settings}", uuid4().hex if engine == "ray" else ""
    task = Task(out, writers, segment, read_lines, options, made, key, overwrite, run)
    outcome = Outcome(ignored=found.ignored)
    total = len(pages) + len(found.failed)
    for path, message in found.failed:
        outcome.add(Result(path, "failed", message))
        if progress is not None:
            progress(len(outcome.results), total, outcome.results[-1])
    items = list(zip(pages, names, strict=True))
    for result in _planned(task, items, jobs) if dry_run else _read(task, items, jobs, engine):
        outcome.add(result)
        if progress is not None:
            progress(len(outcome.results), total, result)
    unreadable = [path for path, _ in found.failed]
    unreadable += [
        job.source
        for job, result in zip(pages, outcome.results[len(found.failed) :], strict=True)
        if result.status == "failed"
    ]
    sources = {source_of(job, out) for job in pages}
    outcome.gone = gone(out, [Path(item) for item in inputs], sources, names, unreadable)
    if not dry_run:
        _volumes(task, pages, names, outcome)
        if summary:
            try:
                summaries.write(outcome.results, out, made, overwrite)
            except UserError as error:
                outcome.failed.append((out / summaries.NAME, str(error)))
    outcome.older = _older(outcome, [writer.EXTENSION for writer in writers.values()])
    return outcome


def _older(outcome: Outcome, endings: Sequence[str]) -> list[Path]:
    """Files of a page in other formats that are older than one that somebody changed."""
    kept = {path for path, _ in outcome.kept}
    found: set[Path] = set()
    for path in kept:
        ending = max((one for one in endings if path.name.endswith(one)), key=len, default=path.name)
        others = {path.with_name(path.name.removesuffix(ending) + one) for one in endings} - kept
        changed = path.stat().st_mtime_ns
        found |= {other for other in others if other.is_file() and other.stat().st_mtime_ns < changed}
    return sorted(found)


def _settings(segmenter: str, options: Options) -> str:
    parts = [f"segmenter={segmenter}", f"lines={options.lines}"]
    parts += [f"min_confidence={options.min_confidence:g}"] if options.min_confidence else []
    parts += ["keep_junk=true"] if options.keep_junk else []
    return ", ".join(parts)


def _planned(task: Task, items: Sequence[Item], jobs: int) -> Iterator[Result]:
    """What would become of the pages."""
    return _in_threads(partial(planned, task), items, jobs)


def _read(task: Task, items: Sequence[Item], jobs: int, engine: Engine) -> Iterator[Result]:
    """Reads the pages."""
    if engine == "ray":
        from htr_ssl.pages import ray_engine

        return ray_engine.read(task, items, jobs)
    lock = threading.Lock()

    def one_at_a_time(images: list[Any]) -> Sequence[Any]:
        with lock:
            return task.read_lines(images)

    return _in_threads(partial(safely, replace(task, read_lines=one_at_a_time)), items, jobs)


def _in_threads(work: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Iterator[Result]:
    """Results in the order of the items; at most a few pages are in memory."""
    if jobs < 2:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(jobs) as pool:
        waiting: list[Future[Result]] = []
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * jobs:
                    yield waiting.pop(0).result()
            while waiting:
                yield waiting.pop(0).result()
        finally:
            for future in waiting:
                future.cancel()


def _day(out: Path, key: str, remember: bool) -> str:
    """Day on which this reader began in this folder, ISO 8601, so that a restart writes the same."""
    path = out / STAMP
    today = datetime.now(UTC).date().isoformat()
    try:
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["days"]
        known = {str(name): str(day) for name, day in known.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        known = {}
    if key not in known and remember:
        write_json(path, {"software": f"htr_ssl {__version__}", "days": {**known, key: today}})
    return known.get(key, today)


def _volumes(task: Task, jobs: Sequence[Job], names: Sequence[Path], outcome: Outcome) -> None:
    """Joins the pages of files with several pages, in the formats that have volumes."""
    groups: dict[Path, list[Path]] = {}
    for job, name in zip(jobs, names, strict=True):
        if job.count > 1:
            groups.setdefault(name.with_name(re.sub(r"#\d+(-\d+)?$", r"\1", name.name)), []).append(name)
    for volume, members in groups.items():
        try:
            contents = dict(_volume(task, volume, members))
            if contents:
                outcome.kept += Entry.load(task.out, volume, "volumes").put(contents, task.overwrite)
        except (UserError, OSError) as error:
            outcome.failed.append((task.out / volume, str(error)))


def _volume(task: Task, volume: Path, members: Sequence[Path]) -> Iterator[tuple[str, tuple[Path, bytes]]]:
    """Format, path and content of the files that hold all pages of a volume."""
    for kind, writer in task.writers.items():
        parts = [(one.name, task.out / one.with_name(one.name + writer.EXTENSION)) for one in members]
        there = [(title, path) for title, path in parts if path.is_file()]
        if hasattr(writer, "volume") and there:
            yield kind, (task.out / volume.with_name(volume.name + writer.EXTENSION), writer.volume(there))
