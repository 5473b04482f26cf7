"""Folders of page images become folders of transcriptions: restartable, page by page, no page stops the others."""

from __future__ import annotations

import json
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from htr_ssl import plugins
from htr_ssl.data.images import decode
from htr_ssl.errors import UserError
from htr_ssl.files import write_json
from htr_ssl.layout.crop import crop
from htr_ssl.layout.document import Line, Page
from htr_ssl.layout.xml import read_xml
from htr_ssl.pages.inputs import STAMP, Job, find_pages, output_paths

ReadLines = Callable[[list[np.ndarray]], list[tuple[str, float]]]
Progress = Callable[[int, int, Path], None]

MAX_DISTORTION = 0.01
"""Largest relative difference between the proportions of an image and those that its XML states."""


@dataclass(slots=True)
class Outcome:
    """What became of the pages, by the path of their image (or of their XML): `failed` says why."""

    done: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)


def transcribe(
    read_lines: ReadLines,
    inputs: Sequence[Path],
    out: Path,
    formats: Sequence[str],
    segmenter: str = "projection",
    progress: Progress | None = None,
    reader: str = "",
) -> Outcome:
    """Transcribes every page of `inputs` and writes it into `out` in every format.

    Inputs are images, PAGE or ALTO files, and folders of them (searched below, `out` left out). Lines come from an
    image's PAGE or ALTO file of the same stem (beside it, or in a folder `page` or `alto` beside it) or one that names
    it, else from the segmenter. Outputs mirror the path below the given folder: `sub/a.jpg` becomes `sub/a.txt`, or
    `sub/a.jpg.txt` if another page would have the same name. A page whose outputs are all newer than its image and
    XML is skipped, so that the same command goes on where it was interrupted.

    Args:
        read_lines: line images (uint8, gray or RGB, any size) to (text, confidence).
        inputs: images, XML files or folders.
        out: a folder of its own, not one that holds pages.
        formats: names of modules in `htr_ssl.pages.formats`.
        segmenter: name of a module in `htr_ssl.pages.segment`.
        progress: called after each page with the number of pages done, of all, and the page's path.
        reader: what reads, e.g. a model's hash; outputs of another one in `out` are made anew.

    Raises:
        UserError: before any work: an unknown format or segmenter, a missing input, no page at all, or `out` is a
            file or a folder that holds pages.
    """
    if not formats:
        known = ", ".join(plugins.names("htr_ssl.pages.formats"))
        raise UserError(f"formats: none is given; choose one or more of: {known}")
    writers = [plugins.load("htr_ssl.pages.formats", name) for name in dict.fromkeys(formats)]
    segment = plugins.load("htr_ssl.pages.segment", segmenter).segment
    jobs, unsuitable = find_pages([Path(item) for item in inputs], Path(out))
    outputs = output_paths(jobs, Path(out), [writer.EXTENSION for writer in writers])
    since = _since(Path(out) / STAMP, f"{reader} {segmenter}") if reader else 0
    outcome = Outcome()
    for path in unsuitable:
        outcome.failed.append((path, f"{path}: neither an image nor a PAGE or ALTO file; leave it out"))
    total = len(jobs) + len(unsuitable)
    for job, paths in zip(jobs, outputs, strict=True):
        try:
            if _is_done(job, paths, since):
                outcome.skipped.append(job.source)
            else:
                page = _page(job, segment, read_lines)
                for writer, path in zip(writers, paths, strict=True):
                    writer.write(page, path)
                outcome.done.append(job.source)
        except UserError as error:
            outcome.failed.append((job.source, str(error)))
        except Exception as error:  # one odd page must not stop a run over thousands
            logging.getLogger(__name__).debug("%s", job.source, exc_info=True)
            outcome.failed.append((job.source, f"{job.source}: {type(error).__name__}: {error}"))
        if progress is not None:
            progress(len(outcome.done) + len(outcome.skipped) + len(outcome.failed), total, job.source)
    return outcome


def _since(stamp: Path, reader: str) -> int:
    """When `reader` first wrote into the folder [ns]; outputs before that are another's."""
    try:
        known = json.loads(stamp.read_text(encoding="utf-8"))
        if known["reader"] == reader:
            return int(known["since"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or damaged: as if there were none
    now = time.time_ns()
    write_json(stamp, {"reader": reader, "since": now})
    return now


def _is_done(job: Job, outputs: list[Path], since: int) -> bool:
    """Whether all outputs exist and none is older than the image, the XML or `since` [ns]."""
    if not all(path.is_file() for path in outputs):
        return False
    image = read_xml(job.source).image if job.source == job.xml else job.source
    sources = [path.stat().st_mtime_ns for path in (image, job.xml) if path is not None and path.exists()]
    return min(path.stat().st_mtime_ns for path in outputs) >= max(since, *sources)


def _page(job: Job, segment: Callable[[np.ndarray], list[Line]], read_lines: ReadLines) -> Page:
    """The page, read."""
    stated = None if job.xml is None else read_xml(job.xml)
    path = stated.image if stated is not None and job.source == job.xml else job.source
    image = decode(path, str(path))
    height, width = image.shape[:2]
    lines = segment(image) if stated is None else _scaled(stated, width, height, job)
    if not lines:
        warnings.warn(f"{job.source}: no line of text was found; its transcription is empty", stacklevel=3)
    read = read_lines([crop(image, line) for line in lines]) if lines else []
    for line, (text, confidence) in zip(lines, read, strict=True):
        line.text, line.confidence = text, confidence
    return Page(path, width, height, lines)


def _scaled(stated: Page, width: int, height: int, job: Job) -> list[Line]:
    """Lines of an XML made for a larger or smaller copy of the image, in the image's pixels."""
    if not stated.width or not stated.height or (stated.width, stated.height) == (width, height):
        return stated.lines
    across, down = width / stated.width, height / stated.height
    if abs(across / down - 1) > MAX_DISTORTION:
        raise UserError(
            f"{job.xml}: its lines are for an image of {stated.width} x {stated.height} pixels, but the image has "
            f"{width} x {height}; put the right image beside it, or take the file away to have the lines found anew"
        )
    for line in stated.lines:
        line.polygon = line.polygon * [across, down]
        line.baseline = None if line.baseline is None else line.baseline * [across, down]
    return stated.lines
