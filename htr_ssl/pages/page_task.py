"""One page of a command: left alone if it is done, else read and written; whatever is wrong becomes its message."""

from __future__ import annotations

import io
import logging
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from PIL import Image

from htr_ssl.data.page_images import is_pdf, page_image
from htr_ssl.errors import UserError
from htr_ssl.layout.corrections import corrected, read
from htr_ssl.layout.document import Made, Page
from htr_ssl.layout.ledger import Entry
from htr_ssl.layout.xml import read_xml
from htr_ssl.pages.formats import json as stored
from htr_ssl.pages.inputs import Job, source_of
from htr_ssl.pages.one_page import Options, ReadLines, Segment, read_page
from htr_ssl.pages.outcome import Result

PICTURE = "picture"
"""The image of a page alone, written where a format names the image and its file holds several pages."""
Item = tuple[Job, Path]
"""A page and the name of its outputs."""


@dataclass(frozen=True, slots=True)
class Task:
    """What all pages of a command share.

    Attributes:
        run: tells this command from others where a page may be begun anew by another worker, else empty: a page that
            this command itself has finished before is done, not skipped.
    """

    out: Path
    writers: dict[str, ModuleType]
    segment: Segment
    read_lines: ReadLines
    options: Options
    made: Made
    key: str
    overwrite: bool
    run: str = ""


def planned(task: Task, item: Item) -> Result:
    """What would become of a page."""
    job, name = item
    entry = Entry.load(task.out, name)
    try:
        current = entry.is_current(_key(task, job), entry.fingerprints(_sources(job)))
        done = current and entry.has(_paths(task, job, name))
    except (UserError, OSError) as error:
        return Result(job.shown, "failed", str(error), name=name)
    return Result(job.shown, "skipped" if done else "done", name=name)


def safely(task: Task, item: Item) -> Result:
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


def _one(task: Task, job: Job, name: Path) -> Result:
    """Reads a page unless that is done, and writes the formats that are missing."""
    entry = Entry.load(task.out, name)
    key, paths = _key(task, job), _paths(task, job, name)
    sources = entry.fingerprints(_sources(job))
    current = entry.is_current(key, sources)
    if current and entry.has(paths):
        own = bool(task.run) and entry.facts.get("run") == task.run
        return _result(job, name, entry, "done" if own else "skipped", [(path, None) for _, path in entry.edited()])
    again = current and entry.page is not None
    start = time.perf_counter()
    notes: list[str] = []
    if again and not entry.written:  # a run was stopped before it had written anything of this reading
        page = _placed(read(entry, _image_of(job)), job)
    elif again:
        found = corrected(entry, _image_of(job))
        page, notes = _placed(found.page, job), list(found.notes)
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
        entry.renew(content.decode("utf-8"))
        entry.facts = {
            "lines": len(page.lines),
            "left_out": page.left_out,
            "confidence": page.confidence,
            "seconds": round(time.perf_counter() - start, 2),
            "notes": page.notes,
            "given": page.xml.name if page.xml is not None else "",
        }
    if task.run:
        entry.facts["run"] = task.run
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
        given=str(entry.facts.get("given") or ""),
    )


def _content(name: str, writers: dict[str, ModuleType], page: Page, folder: Path) -> bytes:
    if name != PICTURE:
        data: bytes = writers[name].render(page, folder)
        return data
    buffer = io.BytesIO()
    Image.fromarray(page_image(page.image, page.number)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _paths(task: Task, job: Job, name: Path) -> dict[str, Path]:
    """Path of each output of a page."""
    endings = {key: writer.EXTENSION for key, writer in task.writers.items()}
    alone = (job.count == 1 or bool(job.label)) and not is_pdf(job.source)
    if not alone and any(getattr(writer, "NAMES_IMAGE", False) for writer in task.writers.values()):
        endings[PICTURE] = ".jpg"
    return {key: task.out / name.with_name(name.name + ending) for key, ending in endings.items()}


def _image_of(job: Job) -> Path:
    return read_xml(job.source).image if job.source == job.xml else job.source


def _key(task: Task, job: Job) -> str:
    """What a page is read with."""
    return f"{task.key}, page {job.number}"


def _sources(job: Job) -> list[Path]:
    """Files that a page is read from."""
    return [path for path in (_image_of(job), job.xml) if path is not None and path.exists()]


def _placed(page: Page, job: Job) -> Page:
    """A page that was read before, as that of a job."""
    page.number = job.frame
    page.xml = job.xml if ", lines of " in (page.made.settings if page.made else "") else None
    return page
