"""Samples to batches of strips: images of one height, side by side.

An image becomes a strip in one way, `prepare`, and the images of a source do so in one place, `StripMaker`, whether
somebody trains on them or reads them. For a training, images are decoded once and kept as bytes when they fit into
memory, or lie decoded on the disk (`data.cache`): then no loader process is needed. Otherwise they are decoded when
their batch comes, in seeded worker processes. Random changes of the images are not made here but for whole batches on
the device that trains (`htr_ssl.views.augment`, the methods' `views`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from htr_ssl.config import DataConfig
from htr_ssl.data.batch import Batch, padded
from htr_ssl.data.images import normalise_levels, to_height
from htr_ssl.data.reading import read
from htr_ssl.data.sample import Sample
from htr_ssl.data.samples import Samples, SampleView
from htr_ssl.data.splits.splitting import divide
from htr_ssl.data.splits.subsets import assign_splits
from htr_ssl.errors import UserError
from htr_ssl.text import tokens

if TYPE_CHECKING:
    from htr_ssl.data.strip_cache import Progress, StripCache

MEMORY = 2 << 30
"""Decoded images kept in memory [bytes]."""
Place = Literal["memory", "cache", "source"]
_PROBE = 64  # images decoded to guess the size of all


def read_samples(config: DataConfig) -> SampleView:
    """Samples of a configuration, all with a split; splits the source does not name are drawn by `config.seed`.

    Raises:
        UserError: the source cannot be read or is not divided as `config.splits` says.
    """
    if config.source == "synthetic":
        from htr_ssl.data import synthetic

        source: Samples = synthetic.samples(synthetic.Config(**config.synthetic), config.level, config.seed)
    else:
        source = read(config.source, config.format, config.level)
        for note in source.notes:
            warnings.warn(note, stacklevel=2)
        if source.problems:
            more = f" (and {len(source.problems) - 1} more; see htr-ssl data check)" if source.problems[1:] else ""
            warnings.warn(f"{source.problems[0]}{more}", stacklevel=2)
    if config.splits:
        source = divide(source, config.splits)
    if config.detokenise:
        source = joined(source)
    splits = assign_splits(
        [str(name) for name in source.column("id")],
        source.column("text"),
        [page or writer for page, writer in zip(source.column("page"), source.column("writer"), strict=True)],
        source.column("split"),
        config.validation,
        config.test,
        config.seed,
    )
    return SampleView(source, splits, level=config.level)


def joined(source: Samples) -> SampleView:
    """The same samples, but tokens that stand apart are joined in their texts; their splits are those of the source."""
    texts = {row: tokens.detokenise(text) for row, text in enumerate(source.column("text")) if text}
    samples = SampleView(source, source.column("split"), texts=texts)
    samples.facts[tokens.FACT] = tokens.JOINED
    return samples


def rows_of(samples: Samples, split: str, labelled: bool) -> list[int]:
    """Rows of a split, with or without those that have no text."""
    pairs = zip(samples.column("split"), samples.column("text"), strict=True)
    return [row for row, (name, text) in enumerate(pairs) if name == split and (text or not labelled)]


def prepare(image: np.ndarray, config: DataConfig) -> np.ndarray:
    """Decoded image to a strip: (height, W, channels) uint8, paper near 255."""
    strip = normalise_levels(to_height(image, config.height, config.channels, config.max_width))
    return strip.reshape(config.height, strip.shape[1], config.channels)


def collate(strips: Sequence[np.ndarray], indices: Sequence[int], labels: Sequence[Sequence[int]] = ()) -> Batch:
    """Strips side by side in one array, white paper right of the narrower ones."""
    widths = [strip.shape[1] for strip in strips]
    height, _, channels = strips[0].shape
    raw = np.full((len(strips), height, padded(max(widths)), channels), 255, np.uint8)
    for row, strip in zip(raw, strips, strict=True):
        row[:, : strip.shape[1]] = strip
    return Batch(
        torch.from_numpy(raw),
        torch.tensor(widths),
        torch.tensor(indices),
        torch.tensor([index for label in labels for index in label], dtype=torch.int64),
        torch.tensor([len(label) for label in labels], dtype=torch.int64),
    )


class StripMaker:
    """Strips of a source's rows, the same for training and for reading: from `data.cache` if it is given, else decoded.

    Attributes:
        samples: the source.
        config: says what the strips are like.
        cache: those on the disk; None = every image is decoded when it is asked for.
    """

    def __init__(self, samples: Samples, config: DataConfig, progress: Progress | None = None) -> None:
        """Opens the cache that `config` names; what it lacks is decoded first, which `progress` is told.

        Raises:
            UserError: see `StripCache`.
        """
        self.samples, self.config = samples, config
        self.cache: StripCache | None = None
        if config.cache:
            from htr_ssl.data.strip_cache import StripCache  # Arrow is loaded for those who have a cache

            self.cache = StripCache(samples, config, self.strips, progress)

    def strip(self, row: int) -> np.ndarray:
        """One strip, (height, W, channels).

        Raises:
            UserError: the image cannot be read.
        """
        cached = self._cached(row)
        return prepare(self.samples[row].load(), self.config) if cached is None else cached

    def strips(self, rows: Sequence[int], threads: int | None = None) -> list[np.ndarray | str]:
        """The strip of each row, or a message that says why its image cannot be read.

        Args:
            rows: of the source.
            threads: that decode; None = as many as Python takes by itself.
        """
        cached = [self._cached(row) for row in rows]
        missing = [self.samples[row] for row, strip in zip(rows, cached, strict=True) if strip is None]
        with ThreadPoolExecutor(threads) as pool:  # decoding and scaling release the interpreter's lock
            made = iter(list(pool.map(self._decoded, missing)))
        return [next(made) if strip is None else strip for strip in cached]

    def _cached(self, row: int) -> np.ndarray | None:
        return self.cache.strip(row) if self.cache is not None and self.cache.widths[row] else None

    def _decoded(self, sample: Sample) -> np.ndarray | str:
        try:
            return prepare(sample.load(), self.config)
        except UserError as error:
            return str(error)


class Strips(Dataset[Batch]):
    """Strips of chosen rows; indexing with a list of positions gives their batch.

    Unreadable images are left out, with one warning that names the first of them.

    Attributes:
        rows: rows of the samples that are left, in order.
        widths: width of each [px].
        unreadable: a message for each image that was left out.
        place: where the strips come from: memory, the cache on disk, or the source, decoded when they are asked for.
        labels: label of each, empty for unlabelled data; set by whoever knows the charset.
    """

    def __init__(
        self,
        samples: Samples,
        rows: Sequence[int],
        config: DataConfig,
        memory: int = MEMORY,
        progress: Progress | None = None,
    ) -> None:
        """Decodes everything, which `progress` is told, unless `config.cache` has it; keeps what fits into `memory`.

        Raises:
            UserError: there is no readable image among the rows.
        """
        self.samples, self.config, self._memory = samples, config, memory
        self._maker = StripMaker(samples, config, progress)
        self.place: Place
        self.unreadable: list[str] = []
        self.labels: list[list[int]] = []
        self._strips: list[np.ndarray] = []
        self.rows: list[int] = []
        self.widths: list[int] = []
        if self._maker.cache is not None:
            self._from_cache(rows, self._maker.cache)
        else:
            self._from_source(rows, progress)
        if self.unreadable:
            more = f" (and {len(self.unreadable) - 1} more)" if len(self.unreadable) > 1 else ""
            warnings.warn(f"left out: {self.unreadable[0]}{more}", stacklevel=2)
        if not self.rows:
            reason = f" ({self.unreadable[0]})" if self.unreadable else ""
            raise UserError(f"{config.source}: no readable image among the {len(rows)} asked for{reason}")

    def _from_cache(self, rows: Sequence[int], cache: StripCache) -> None:
        self.place = "cache"
        widths = cache.widths[rows]
        self.rows, self.widths = np.asarray(rows)[widths > 0].tolist(), widths[widths > 0].tolist()
        self._made(np.asarray(rows)[widths == 0].tolist())  # once more, for the reason

    def _from_source(self, rows: Sequence[int], progress: Progress | None) -> None:
        probe = self._made(rows[:: max(1, len(rows) // _PROBE)])
        mean = sum(strip.nbytes for strip in probe if strip is not None) / max(len(probe), 1)
        self.place = "memory" if mean * len(rows) <= self._memory else "source"
        self.unreadable.clear()
        for start in range(0, len(rows), 1024):
            part = rows[start : start + 1024]
            for row, strip in zip(part, self._made(part), strict=True):
                if strip is not None:
                    self.rows.append(row)
                    self.widths.append(strip.shape[1])
                    if self.place == "memory":
                        self._strips.append(strip)
            if progress is not None:
                progress(start + len(part), len(rows))

    def _made(self, rows: Sequence[int]) -> list[np.ndarray | None]:
        """Strips of rows, None for an image that cannot be read, which is noted."""
        results = self._maker.strips(rows)
        self.unreadable += [result for result in results if isinstance(result, str)]
        return [None if isinstance(result, str) else result for result in results]

    def __len__(self) -> int:
        return len(self.rows)

    def strip(self, position: int) -> np.ndarray:
        """One strip, (height, W, channels)."""
        return self._strips[position] if self.place == "memory" else self._maker.strip(self.rows[position])

    def pieces(self) -> np.ndarray | None:
        """Piece of the source that each strip is read with; None if all strips together are less than `memory`.

        It decides about the order of a training, which therefore is the same with a cache and without.
        """
        size = sum(self.widths) * self.config.height * self.config.channels
        pieces = self.samples.pieces() if size > self._memory else None
        return None if pieces is None else pieces[self.rows]

    def keep(self, positions: Sequence[int]) -> None:
        """Drops all but the given positions."""
        for name in ("rows", "widths", "labels", "_strips"):
            values = getattr(self, name)
            if values:
                setattr(self, name, [values[i] for i in positions])

    def texts(self) -> list[str]:
        """Text of each strip, empty if it has none."""
        column = self.samples.column("text")
        return [column[row] or "" for row in self.rows]

    def ids(self) -> list[str]:
        """Id of each strip."""
        column = self.samples.column("id")
        return [column[row] or "" for row in self.rows]

    def __getitem__(self, positions: Sequence[int]) -> Batch:
        labels = [self.labels[i] for i in positions] if self.labels else ()
        return collate([self.strip(i) for i in positions], positions, labels)
