"""Folders of page images become folders of transcriptions: restartable, page by page, no page stops the others."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from PIL import Image

from htr_ssl import __version__, plugins
from htr_ssl.data.page_images import is_pdf, page_image
from htr_ssl.errors import UserError
from htr_ssl.files import write_json
from htr_ssl.layout.document import Made, Page
from htr_ssl.layout.xml import read_xml
from htr_ssl.pages import segmenters
from htr_ssl.pages import summary as summaries
from htr_ssl.pages.formats import json as stored
from htr_ssl.pages.inputs import STAMP, Job, find_pages, names_of, source_of
from htr_ssl.pages.ledger import Entry, gone
from htr_ssl.pages.one_page import Options, ReadLines, Segment, read_page
from htr_ssl.pages.outcome import Outcome, Progress, Result
from htr_ssl.text.direction import Direction

PICTURE = "picture"
"""The image of a page alone, written where a format names the image and its file holds several pages."""
_RESERVED = tuple(f"{summaries.NAME}{ending}" for ending in ("", ".html"))


@dataclass(frozen=True, slots=True)
class _Task:
    """What all pages of a command share."""

    out: Path
    writers: dict[str, ModuleType]
    segment: Segment
    read_lines: ReadLines
    options: Options
    made: Made
    key: str
    overwrite: bool


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
    lock = threading.Lock()

    def one_at_a_time(images: list[Any]) -> Sequence[Any]:
        with lock:
            return read_lines(images)

    key = f"{reader} {settings}"
    task = _Task(out, writers, segment, one_at_a_time, options, made, key, overwrite)
    outcome = Outcome(ignored=found.ignored)
    total = len(pages) + len(found.failed)
    for path, message in found.failed:
        outcome.add(Result(path, "failed", message))
    work = partial(_planned if dry_run else _safely, task)
    for result in _mapped(work, list(zip(pages, names, strict=True)), jobs):
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
    return outcome


def _settings(segmenter: str, options: Options) -> str:
    parts = [f"segmenter={segmenter}", f"lines={options.lines}"]
    parts += [f"min_confidence={options.min_confidence:g}"] if options.min_confidence else []
    parts += ["keep_junk=true"] if options.keep_junk else []
    return ", ".join(parts)


def _mapped(work: Callable[[tuple[Job, Path]], Result], items: list[tuple[Job, Path]], jobs: int) -> Iterator[Result]:
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


def _planned(task: _Task, item: tuple[Job, Path]) -> Result:
    """What would become of a page."""
    job, name = item
    entry = Entry.load(task.out, name)
    try:
        current = entry.is_current(_key(task, job), entry.fingerprints(_sources(job)))
        done = current and entry.has(_paths(task, job, name))
    except (UserError, OSError) as error:
        return Result(job.shown, "failed", str(error), name=name)
    return Result(job.shown, "skipped" if done else "done", name=name)


def _safely(task: _Task, item: tuple[Job, Path]) -> Result:
    """One page; whatever is wrong with it becomes its message."""
    job, name = item
    start = time.perf_counter()
    try:
        job.fetch()
        result = _one(task, job, name)
    except UserError as error:
        result = Result(job.shown, "failed", str(error), name=name)
    except Exception as error:  # one odd page must not stop a run over thousands
        logging.getLogger(__name__).debug("%s", job.shown, exc_info=True)
        result = Result(job.shown, "failed", f"{job.shown}: {type(error).__name__}: {error}", name=name)
    if result.status == "done":
        result.seconds = time.perf_counter() - start
    return result


def _one(task: _Task, job: Job, name: Path) -> Result:
    """Reads a page unless that is done, and writes the formats that are missing."""
    entry = Entry.load(task.out, name)
    key, paths = _key(task, job), _paths(task, job, name)
    sources = entry.fingerprints(_sources(job))
    current = entry.is_current(key, sources)
    if current and entry.has(paths):
        return _result(job, name, entry, "skipped", [(path, None) for _, path in entry.edited()])
    again = current and entry.page is not None
    start = time.perf_counter()
    notes: list[str] = []
    if again and not entry.written:  # a run was stopped before it had written anything of this reading
        page = _as_read(entry, _image_of(job), job)
    elif again:
        page, notes = _as_corrected(entry, task.writers, _image_of(job), job)
    else:
        page = read_page(job, task.segment, task.read_lines, task.options)
        if not page.lines:
            warnings.warn(f"{job.shown}: no line of text was found; its transcription is empty", stacklevel=2)
        given = "" if page.xml is None else f", lines of {page.xml.name}"
        page.made = replace(task.made, settings=task.made.settings + given)
        content = stored.render(page, task.out)
        xml = page.xml
        page = stored.read(content, page.image)  # what a restart has: the same to the last digit
        page.xml = xml
    if PICTURE in paths:
        page.picture = paths[PICTURE]
    missing = {kind: path for kind, path in paths.items() if not (again and entry.has({kind: path}))}
    contents = {kind: (path, _content(kind, task.writers, page, path.parent)) for kind, path in missing.items()}
    if not again:
        entry.source, entry.key, entry.sources, entry.written = source_of(job, task.out), key, sources, []
        entry.page = content.decode("utf-8")
        entry.facts = {
            "lines": len(page.lines),
            "left_out": page.left_out,
            "confidence": page.confidence,
            "seconds": round(time.perf_counter() - start, 2),
            "notes": page.notes,
        }
    before = [path for _, path in entry.edited()] if again else []
    kept = entry.put(contents, task.overwrite)
    kept += [(path, None) for path in before if path not in {known for known, _ in kept}]
    result = _result(job, name, entry, "done", kept)
    result.notes += notes
    return result


def _result(job: Job, name: Path, entry: Entry, status: Literal["done", "skipped"], kept: Any) -> Result:
    facts = {key: entry.facts.get(key) for key in ("confidence", "notes", "lines", "left_out", "seconds")}
    return Result(
        job.shown,
        status,
        lines=int(facts["lines"] or 0),
        left_out=int(facts["left_out"] or 0),
        confidence=facts["confidence"],
        seconds=float(facts["seconds"] or 0.0),
        notes=list(facts["notes"] or []),
        name=name,
        kept=list(kept),
    )


def _content(name: str, writers: dict[str, ModuleType], page: Page, folder: Path) -> bytes:
    if name != PICTURE:
        data: bytes = writers[name].render(page, folder)
        return data
    buffer = io.BytesIO()
    Image.fromarray(page_image(page.image, page.number)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _paths(task: _Task, job: Job, name: Path) -> dict[str, Path]:
    """Path of each output of a page."""
    endings = {key: writer.EXTENSION for key, writer in task.writers.items()}
    alone = (job.count == 1 or bool(job.label)) and not is_pdf(job.source)
    if not alone and any(getattr(writer, "NAMES_IMAGE", False) for writer in task.writers.values()):
        endings[PICTURE] = ".jpg"
    return {key: task.out / name.with_name(name.name + ending) for key, ending in endings.items()}


def _image_of(job: Job) -> Path:
    return read_xml(job.source).image if job.source == job.xml else job.source


def _key(task: _Task, job: Job) -> str:
    """What a page is read with."""
    return f"{task.key}, page {job.number}"


def _sources(job: Job) -> list[Path]:
    """Files that a page is read from."""
    return [path for path in (_image_of(job), job.xml) if path is not None and path.exists()]


def _as_read(entry: Entry, image: Path, job: Job) -> Page:
    """The page that was read."""
    page = stored.read((entry.page or "").encode("utf-8", "surrogatepass"), image)
    page.number = job.frame
    page.xml = job.xml if ", lines of " in (page.made.settings if page.made else "") else None
    return page


def _as_corrected(entry: Entry, writers: dict[str, ModuleType], image: Path, job: Job) -> tuple[Page, list[str]]:
    """The page that was read, with the text of the files that somebody corrected, and what could not be taken over."""
    page = _as_read(entry, image, job)
    notes = []
    known = {name: i for i, name in enumerate(line.id for line in page.lines)}
    before = [" ".join((line.text or "").split()) for line in page.lines]
    for name, path in entry.edited():
        module = writers.get(name) or (plugins.load("htr_ssl.pages.formats", name) if name != PICTURE else None)
        reads = getattr(module, "texts", None)
        if reads is None:
            continue
        try:
            texts = reads(path)
        except (UserError, OSError) as error:
            notes.append(str(error))
            continue
        pairs = texts.items() if isinstance(texts, dict) else ()
        if isinstance(texts, dict) and all(own in known for own, _ in pairs):
            places = {known[own]: text for own, text in pairs}
        elif len(texts) == len(page.lines):
            places = dict(enumerate(texts.values() if isinstance(texts, dict) else texts))
        else:
            notes.append(f"{path}: it has {len(texts)} lines, the page {len(page.lines)}; its text is not taken over")
            continue
        for place, text in places.items():
            if text != before[place]:
                line = page.lines[place]
                line.text, line.words, line.confidence = text, [], None
    return page, notes


def _volumes(task: _Task, jobs: Sequence[Job], names: Sequence[Path], outcome: Outcome) -> None:
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


def _volume(task: _Task, volume: Path, members: Sequence[Path]) -> Iterator[tuple[str, tuple[Path, bytes]]]:
    """Format, path and content of the files that hold all pages of a volume."""
    for kind, writer in task.writers.items():
        parts = [(one.name, task.out / one.with_name(one.name + writer.EXTENSION)) for one in members]
        there = [(title, path) for title, path in parts if path.is_file()]
        if hasattr(writer, "volume") and there:
            yield kind, (task.out / volume.with_name(volume.name + writer.EXTENSION), writer.volume(there))
