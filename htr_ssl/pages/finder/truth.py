"""Pages with known lines, prepared for training: baselines with the outline's reach above and below them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq

from htr_ssl.errors import UserError
from htr_ssl.layout.document import Line
from htr_ssl.layout.ink import ink_of, without_rulings

Array = np.ndarray[Any, np.dtype[Any]]

MARKS = ("Stamp", "Graphic", "Digitization")
"""Beginnings of the types of regions that hold no text lines."""
_KNOTS = 20  # points kept along a baseline
_EDGE = 0.03  # outer share of a page in which unmarked ink is no text


@dataclass(slots=True)
class TruePage:
    """A gray page and its lines.

    Attributes:
        name: of the page.
        gray: uint8 (H, W).
        base: baselines [px], one (K, 2) array a line.
        upper: outline above each point of `base` [px].
        lower: outline below each point of `base` [px].
        doubt: uint8 (H / 2, W / 2), 1 = ink outside of the marked lines that may be writing.
        corpus: what the page is drawn with.
        lines: as in the source.
    """

    name: str
    gray: Array
    base: list[Array]
    upper: list[Array]
    lower: list[Array]
    doubt: Array
    corpus: str = ""
    lines: list[Line] = field(default_factory=list)

    @property
    def height(self) -> float:
        """Usual height of a line, from the top of its outline to the bottom [px]."""
        if not self.base:
            return 0.02 * float(max(self.gray.shape))
        return float(np.median([np.hypot(*(u - v).T).mean() for u, v in zip(self.upper, self.lower, strict=True)]))


def rows_of(files: Iterable[Path], split: str | None = None) -> Iterator[dict[str, Any]]:
    """Rows of the Parquet files of pages, of one split or all."""
    for file in sorted(files):
        for batch in pq.ParquetFile(file).iter_batches(16):
            for row in batch.to_pylist():
                if split is None or row["split"] == split:
                    yield row


def lines_of(row: dict[str, Any]) -> list[Line]:
    """Lines of a row, printed ones left in."""
    return [
        Line(f"line{i + 1}", np.array(line["polygon"], float), np.array(line["baseline"], float), text=line["text"])
        for i, line in enumerate(row["lines"])
    ]


def gray_of(data: bytes) -> Array:
    """Gray image of a file's bytes."""
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE))


def colour_of(data: bytes) -> Array:
    """RGB image of a file's bytes."""
    pixels = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))


def from_row(row: dict[str, Any]) -> TruePage:
    """Page of a row of the Parquet files."""
    marks = [np.array(r["polygon"]) for r in row["regions"] if str(r["type"]).startswith(MARKS) and len(r["polygon"])]
    gray = gray_of(row["image"]["bytes"])
    return true_page(row["page"], gray, lines_of(row), row["corpus"], marks)


def true_page(name: str, gray: Array, lines: Sequence[Line], corpus: str = "", marks: Sequence[Array] = ()) -> TruePage:
    """Page of an image and its lines; `marks` outline what is surely no text.

    Raises:
        UserError: no line has a baseline and an outline.
    """
    parts = [part for line in lines if (part := _reach(line)) is not None]
    if not parts:
        raise UserError(f"{name}: no line has both a baseline and an outline; give a page with baselines")
    base, upper, lower = (list(column) for column in zip(*parts, strict=True))
    return TruePage(name, gray, base, upper, lower, _doubt(gray, upper, lower, marks), corpus, list(lines))


def from_image(name: str, pixels: Array, lines: Sequence[Line]) -> TruePage:
    """Page of an image, gray or RGB, and its lines; made smaller where a side has more than 1,800 px."""
    gray = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    scale = min(1.0, 1800 / max(gray.shape))
    if scale < 1:
        gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    scaled = [
        Line(line.id, line.polygon * scale, None if line.baseline is None else line.baseline * scale) for line in lines
    ]
    return true_page(name, gray, scaled)


def along(points: Array, count: int) -> Array:
    """`count` points at even distances on a polyline."""
    steps = np.concatenate(([0.0], np.hypot(*np.diff(points, axis=0).T).cumsum()))
    even = np.linspace(0, steps[-1], count)
    return np.stack([np.interp(even, steps, points[:, k]) for k in (0, 1)], 1)


def _reach(line: Line) -> tuple[Array, Array, Array] | None:
    """Points on the baseline and the outline above and below each; None if they make no line."""
    if line.baseline is None or len(line.baseline) < 2 or len(line.polygon) < 3:
        return None
    chord = line.baseline[-1] - line.baseline[0]
    length = float(np.hypot(*chord))
    if length < 2:
        return None
    x, y = chord / length
    turn = np.array([[x, y], [-y, x]])
    outline, base = line.polygon @ turn.T, along(line.baseline, _KNOTS) @ turn.T
    corner = outline.min(0) - 1
    columns, rows = (int(v) for v in np.ceil(np.ptp(outline, axis=0)) + 3)
    if columns > 20_000 or rows > 20_000:
        return None
    mask = np.zeros((rows, columns), np.uint8)
    cv2.fillPoly(mask, [np.round(outline - corner).astype(np.int32)], 1)
    place = np.clip(np.round(base[:, 0] - corner[0]).astype(int), 0, columns - 1)
    near = mask[:, place] > 0
    there = near.any(0)
    if not there.any():
        return None
    top = np.where(there, near.argmax(0), 0) + corner[1]
    bottom = np.where(there, rows - 1 - near[::-1].argmax(0), 0) + corner[1]
    above, below = base[:, 1] - top, bottom - base[:, 1]
    above[~there], below[~there] = np.median(above[there]), np.median(below[there])
    above, below = np.maximum(above, 2.0), np.maximum(below, 1.0)
    upper, lower = base.copy(), base.copy()
    upper[:, 1] -= above
    lower[:, 1] += below
    return base @ turn, upper @ turn, lower @ turn


def _doubt(gray: Array, upper: Sequence[Array], lower: Sequence[Array], marks: Sequence[Array]) -> Array:
    """Ink outside of the marked lines, grown to the size of lines (H / 2, W / 2)."""
    ink = without_rulings(ink_of(gray))
    height = float(np.median([np.hypot(*(u - v).T).mean() for u, v in zip(upper, lower, strict=True)]))
    known = np.zeros_like(ink)
    for u, v in zip(upper, lower, strict=True):
        cv2.fillPoly(known, [np.round(np.concatenate((u, v[::-1]))).astype(np.int32)], 1)
    known = cv2.dilate(known, np.ones((max(3, int(height / 2)),) * 2, np.uint8))
    ink[known > 0] = 0
    for mark in marks:
        cv2.fillPoly(ink, [np.round(mark).astype(np.int32)], 0)
    rows, columns = (int(_EDGE * side) + 1 for side in gray.shape)
    ink[:rows], ink[-rows:], ink[:, :columns], ink[:, -columns:] = 0, 0, 0, 0
    side = max(3, int(0.8 * height))
    grown = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((side, side), np.uint8))
    grown = cv2.dilate(grown, np.ones((max(3, side // 3),) * 2, np.uint8))
    return np.asarray(cv2.resize(grown, (gray.shape[1] // 2, gray.shape[0] // 2), interpolation=cv2.INTER_NEAREST))
