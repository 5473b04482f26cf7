"""Everything is read once: what the checks want to know of each image is measured in threads, the image forgotten."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import cv2
import numpy as np

from htr_ssl import environment
from htr_ssl.config import FinetuneConfig, PretrainConfig, TableConfig
from htr_ssl.data.images import MIN_WIDTH, decode
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError

CHUNK = 64
"""Rows that a thread reads at a time."""

Progress = Callable[[int, int], None]
Training = FinetuneConfig | PretrainConfig | TableConfig
Measure = Callable[["Picture"], Any]


class Picture:
    """A decoded image as the checks' `measure` gets it.

    Attributes:
        pixels: uint8, (H, W) gray or (H, W, 3) RGB.
    """

    def __init__(self, pixels: np.ndarray, outline: Callable[[], np.ndarray | None] = lambda: None) -> None:
        self.pixels, self._outline = pixels, outline

    @cached_property
    def within(self) -> np.ndarray:
        """What the outline encloses that the image was cut out along, all of it if there was none: bool, (H, W)."""
        mask = self._outline()
        return np.ones(self.pixels.shape[:2], bool) if mask is None else mask > 0

    @cached_property
    def gray(self) -> np.ndarray:
        """Luminance, uint8, (H, W)."""
        return cv2.cvtColor(self.pixels, cv2.COLOR_RGB2GRAY) if self.pixels.ndim == 3 else self.pixels


@dataclass(frozen=True)
class Survey:
    """What was read.

    Attributes:
        samples: the source.
        ids: id of every row.
        texts: text of every row as training sees it, None if it has none.
        splits: split of every row, None if the source names none.
        pages: page of every row, None if unknown.
        writers: writer of every row, None if unknown.
        written: rows whose text stands otherwise in the file (see `Samples.as_written`), with that text.
        unreadable: rows whose image cannot be read, with the reason.
        readable: the other rows, in order, (R,).
        sizes: height and width of the readable images [px], (R, 2).
        measured: name of a check -> what its `measure` returned for the readable images, (R, …).
        unlabelled: whether the data is meant for pretraining only, so that no text is missed.
        training: what will be done with the data: height, largest width, encoder, shares of the splits.
    """

    samples: Samples
    ids: list[str]
    texts: list[str | None]
    splits: list[str | None]
    pages: list[str | None]
    writers: list[str | None]
    written: dict[int, str]
    unreadable: dict[int, str]
    readable: np.ndarray
    sizes: np.ndarray
    measured: dict[str, np.ndarray]
    unlabelled: bool = False
    training: Training = field(default_factory=FinetuneConfig)

    @cached_property
    def widths(self) -> np.ndarray:
        """Widths of the readable images at the height of training [px], not yet squeezed, (R,)."""
        scaled = self.sizes[:, 1] * self.training.data.height / self.sizes[:, 0]
        widths: np.ndarray = np.rint(scaled).clip(min=MIN_WIDTH).astype(int)
        return widths

    @cached_property
    def frames(self) -> np.ndarray:
        """Frames that the encoder makes of the readable images, (R,)."""
        import torch

        from htr_ssl.model_file import build_encoder

        data, encoder = self.training.data, self.training.encoder
        built = build_encoder(encoder.name, encoder.options(), data.height, data.channels)
        frames: np.ndarray = built.frames(torch.from_numpy(np.minimum(self.widths, data.max_width))).numpy()
        return frames

    @cached_property
    def labelled(self) -> list[int]:
        """Rows with a text."""
        return [row for row, text in enumerate(self.texts) if text]

    @cached_property
    def characters(self) -> dict[str | None, Counter[str]]:
        """How often each character comes in each split."""
        counts: dict[str | None, Counter[str]] = {}
        for row in self.labelled:
            counts.setdefault(self.splits[row], Counter()).update(self.texts[row] or "")
        return counts

    @cached_property
    def alphabet(self) -> Counter[str]:
        """How often each character comes."""
        return sum(self.characters.values(), Counter())

    def having(self, signs: Collection[str]) -> Iterator[tuple[int, str]]:
        """Rows whose text has one of the characters, and the text."""
        wanted = frozenset(signs)
        for row in self.labelled if wanted else ():
            text = self.texts[row] or ""
            if not wanted.isdisjoint(text):
                yield row, text

    @cached_property
    def legible(self) -> list[tuple[int, int, str]]:
        """Position among the readable images, row and text of those that have one."""
        return [(place, row, text) for place, row in enumerate(self.readable.tolist()) if (text := self.texts[row])]


def survey(
    samples: Samples,
    measures: dict[str, Measure],
    threads: int = 0,
    progress: Progress | None = None,
    unlabelled: bool = False,
    training: Training | None = None,
) -> Survey:
    """Reads every image and text.

    Args:
        samples: what a reader returns.
        measures: name of a check -> its `measure`.
        threads: at work; 0 = one per CPU.
        progress: called with the rows done and of all.
        unlabelled: whether the data is meant for pretraining only.
        training: what will be done with the data; None = the recipe.
    """
    ids = [str(name) for name in samples.column("id")]
    parts: dict[int, _Part] = {}
    for done, part in enumerate(_parts(samples, ids, measures, threads), start=1):
        parts[part.start] = part
        if progress is not None:
            progress(min(done * CHUNK, len(samples)), len(samples))
    ordered = [parts[start] for start in sorted(parts)]
    readable = [row for part in ordered for row in part.rows]
    return Survey(
        samples,
        ids,
        samples.column("text"),
        samples.column("split"),
        samples.column("page"),
        samples.column("writer"),
        samples.as_written(),
        {row: reason for part in ordered for row, reason in part.unreadable.items()},
        np.array(readable, int),
        _stacked([part.sizes for part in ordered]).reshape(-1, 2),
        {name: _stacked([part.values[name] for part in ordered]) for name in measures},
        unlabelled,
        training or FinetuneConfig(),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    """What one thread found in a run of rows."""

    start: int
    rows: list[int]
    unreadable: dict[int, str]
    sizes: np.ndarray
    values: dict[str, np.ndarray]


def _parts(samples: Samples, ids: list[str], measures: dict[str, Measure], threads: int) -> Iterator[_Part]:
    """The parts as they get ready, at most two per thread ahead."""
    workers = threads or environment.cores()
    starts = list(range(0, len(samples), CHUNK))[::-1]
    running: set[Future[_Part]] = set()
    pool = ThreadPoolExecutor(workers)
    try:
        while starts or running:
            while starts and len(running) < 2 * workers:
                running.add(pool.submit(_read, samples, ids, starts.pop(), measures))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _read(samples: Samples, ids: list[str], start: int, measures: dict[str, Measure]) -> _Part:
    rows: list[int] = []
    sizes: list[tuple[int, ...]] = []
    unreadable: dict[int, str] = {}
    values: dict[str, list[Any]] = {name: [] for name in measures}
    for row in range(start, min(start + CHUNK, len(samples))):
        try:
            picture = Picture(decode(samples.image(row), ids[row]), partial(samples.outline, row))
        except UserError as error:
            unreadable[row] = str(error)
            continue
        rows.append(row)
        sizes.append(picture.pixels.shape[:2])
        for name, measure in measures.items():
            values[name].append(measure(picture))
    stacked = {name: np.array(value) for name, value in values.items()}
    return _Part(start, rows, unreadable, np.array(sizes, int).reshape(-1, 2), stacked)


def _stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays one after the other; those of parts without a readable image are left out, whatever their type."""
    full = [part for part in parts if len(part)]
    return np.concatenate(full) if full else np.empty(0)
