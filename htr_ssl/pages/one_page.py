"""One page: its lines found or taken from a file, cut out, read, and what is certainly no text left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from htr_ssl.data.page_images import page_image
from htr_ssl.errors import UserError
from htr_ssl.layout.crop import boxes, crop
from htr_ssl.layout.document import Glyph, Line, Page, Word
from htr_ssl.layout.xml import read_xml
from htr_ssl.pages.inputs import Job

ReadLines = Callable[[list[np.ndarray]], Sequence[Any]]
"""Images of lines (uint8, gray or RGB, any size) to what was read: (text, confidence), or also the places of the
characters, see `htr_ssl.recognizers.aligned.Reading`."""
Segment = Callable[[np.ndarray], list[Line]]
Lines = Literal["given", "found"]

MAX_DISTORTION = 0.01
"""Largest relative difference between the proportions of an image and those that its XML states."""
JUNK = 0.15
"""Found lines of whose text the network alone is less sure are stains and edges. Measured on 28 pages with the shipped
model: 0.5 % of the lines on true ones, 18 % of the others, 45 % of crops without writing (benchmarks/segmentation)."""


@dataclass(frozen=True, slots=True)
class Options:
    """How pages are read.

    Attributes:
        lines: given = from a PAGE or ALTO file where there is one; found = always by the segmenter.
        min_confidence: lines below are left out; given lines stay, without text.
        keep_junk: keep found lines in which nothing, or certainly no text, was read.
    """

    lines: Lines = "given"
    min_confidence: float = 0.0
    keep_junk: bool = False


def read_page(job: Job, segment: Segment, read_lines: ReadLines, options: Options) -> Page:
    """The page of a job, read.

    Raises:
        UserError: its image or XML cannot be read, or do not fit together.
    """
    stated = None if job.xml is None else read_xml(job.xml)
    path = stated.image if stated is not None and job.source == job.xml else job.source
    image = page_image(path, job.frame)
    given = stated is not None and options.lines == "given"
    page = read_image(image, segment, read_lines, options, _scaled(stated, image, job) if stated and given else None)
    page.image, page.number, page.xml = path, job.frame, job.xml if given else None
    return page


def read_image(
    image: np.ndarray,
    segment: Segment,
    read_lines: ReadLines,
    options: Options | None = None,
    lines: list[Line] | None = None,
) -> Page:
    """A page image, read; its path is left empty.

    Args:
        image: uint8, (H, W) gray or (H, W, 3) RGB.
        segment: what finds the lines.
        read_lines: what reads them.
        options: see there.
        lines: given ones; None = find them.
    """
    options = options or Options()
    height, width = image.shape[:2]
    found = segment(image) if lines is None else lines
    page = Page(Path(), width, height, list(found))
    page.orientation, page.notes = getattr(found, "orientation", 0), list(getattr(found, "notes", []))
    readings = read_lines([crop(image, line) for line in page.lines]) if page.lines else []
    for line, reading in zip(page.lines, readings, strict=True):
        line.text, line.confidence, line.words = reading[0], reading[1], []
        if len(reading) > 2 and reading[2] is not None:
            line.words = _words(line, reading[2], reading[3], width, height)
    if lines is None:
        kept = [line for line, reading in zip(page.lines, readings, strict=True) if _kept(reading, options)]
        page.left_out = len(page.lines) - len(kept)
        page.lines = kept
    else:
        for line in page.lines:
            if line.text and (line.confidence or 0.0) < options.min_confidence:
                line.text, line.words = "", []
                page.left_out += 1
    return page


def _kept(reading: Any, options: Options) -> bool:
    """Whether a found line stays: something is read, the network sees writing, and it is as sure as asked for."""
    ink = getattr(reading, "ink", None)
    writing = bool(reading[0]) and (reading[1] if ink is None else ink) >= JUNK
    return (options.keep_junk or writing) and reading[1] >= options.min_confidence


def _words(line: Line, spans: np.ndarray, confidences: np.ndarray, width: int, height: int) -> list[Word]:
    """Words of a line from the places of its characters."""
    text = line.text or ""
    words: list[Word] = []
    ranges: list[list[int]] = []
    for position, character in enumerate(text):
        if character.isspace():
            continue
        if not ranges or ranges[-1][-1] != position - 1:
            ranges.append([])
        ranges[-1].append(position)
    whole = np.array([[spans[members, 0].min(), spans[members, 1].max()] for members in ranges]).reshape(-1, 2)
    places = boxes(line, np.concatenate([spans, whole]), width, height)
    for members, box in zip(ranges, places[len(spans) :], strict=True):
        sure = float(np.exp(np.log(np.maximum(confidences[members], 1e-9)).mean()))
        glyphs = [Glyph(text[i], places[i], float(confidences[i])) for i in members]
        words.append(Word("".join(text[i] for i in members), box, sure, glyphs))
    return words


def _scaled(stated: Page, image: np.ndarray, job: Job) -> list[Line]:
    """Lines of an XML made for a larger or smaller copy of the image, in the image's pixels."""
    height, width = image.shape[:2]
    if not stated.width or not stated.height or (stated.width, stated.height) == (width, height):
        return stated.lines
    across, down = width / stated.width, height / stated.height
    if abs(across / down - 1) > MAX_DISTORTION:
        raise UserError(
            f"{job.xml}: its lines are for an image of {stated.width} x {stated.height} pixels, but the image has "
            f"{width} x {height}; put the right image beside it, or find the lines anew (--lines found)"
        )
    for line in stated.lines:
        line.polygon = line.polygon * [across, down]
        line.baseline = None if line.baseline is None else line.baseline * [across, down]
    return stated.lines
