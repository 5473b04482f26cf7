"""Samples to batches: one height, sorted into batches of like width, in an order that depends on seed and step only.

Images are decoded once and kept as bytes when they fit into memory (then no loader process is needed); otherwise they
are decoded when their batch comes, in seeded worker processes. Random changes of the images are not made here but for
whole batches on the device that trains (`htr_ssl.data.augment`, the methods' `views`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from htr_ssl.config import DataConfig
from htr_ssl.data.augment import padded
from htr_ssl.data.batch import Batch
from htr_ssl.data.images import normalise_levels, to_height
from htr_ssl.data.readers._common import Samples
from htr_ssl.data.reading import read
from htr_ssl.data.sample import Sample
from htr_ssl.data.splitting import divide
from htr_ssl.data.subsets import assign_splits
from htr_ssl.errors import UserError
from htr_ssl.seeds import rng

MEMORY = 2 << 30
"""Decoded images kept in memory [bytes]."""
_PROBE = 64  # images decoded to guess the size of all
_POOL = 40  # batches whose images are sorted by width together


class SplitSamples(Samples):
    """Samples of a source with a split for every one of them."""

    def __init__(self, source: Sequence[Sample], columns: dict[str, list[str | None]], config: DataConfig) -> None:
        super().__init__(columns, config.level)
        self._source = source
        self.problems = list(getattr(source, "problems", ()))
        self.facts = dict(getattr(source, "facts", {}))

    def image(self, index: int) -> Any:
        """Image of the source."""
        return self._source[index].image


def read_samples(config: DataConfig) -> SplitSamples:
    """Samples of a configuration, all with a split; splits the source does not name are drawn by `config.seed`.

    Raises:
        UserError: the source cannot be read or is not divided as `config.splits` says.
    """
    if config.source == "synthetic":
        from htr_ssl.data import synthetic

        source: Any = synthetic.samples(synthetic.Config(**config.synthetic), config.level, config.seed)
    else:
        source = read(config.source, config.format, config.level)
        if source.problems:
            more = f" (and {len(source.problems) - 1} more; see htr-ssl data check)" if source.problems[1:] else ""
            warnings.warn(f"{source.problems[0]}{more}", stacklevel=2)
    if config.splits:
        source = divide(source, config.splits)
    columns = {name: source.column(name) for name in ("id", "text", "writer", "page", "split")}
    columns["split"] = assign_splits(
        columns["id"],
        columns["text"],
        [page or writer for page, writer in zip(columns["page"], columns["writer"], strict=True)],
        columns["split"],
        config.validation,
        config.test,
        config.seed,
    )
    return SplitSamples(source, columns, config)


def rows_of(samples: SplitSamples, split: str, labelled: bool) -> list[int]:
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


class Strips(Dataset[Batch]):
    """Strips of chosen rows; indexing with a list of positions gives their batch.

    Unreadable images are left out, with one warning that names the first of them.

    Attributes:
        rows: rows of the samples that are left, in order.
        widths: width of each [px].
        unreadable: a message for each image that was left out.
        in_memory: whether all strips are decoded already.
        labels: label of each, empty for unlabelled data; set by whoever knows the charset.
    """

    def __init__(self, samples: SplitSamples, rows: Sequence[int], config: DataConfig, memory: int = MEMORY) -> None:
        """Decodes everything that fits into `memory` [bytes].

        Raises:
            UserError: there is no readable image among the rows.
        """
        self.samples, self.config = samples, config
        self.unreadable: list[str] = []
        self.labels: list[list[int]] = []
        probe = self._decode(rows[:: max(1, len(rows) // _PROBE)])
        mean = sum(strip.nbytes for strip in probe if strip is not None) / max(len(probe), 1)
        self.in_memory = mean * len(rows) <= memory
        self.unreadable.clear()
        self._strips: list[np.ndarray] = []
        self.rows: list[int] = []
        self.widths: list[int] = []
        for start in range(0, len(rows), 1024):
            part = rows[start : start + 1024]
            for row, strip in zip(part, self._decode(part), strict=True):
                if strip is not None:
                    self.rows.append(row)
                    self.widths.append(strip.shape[1])
                    if self.in_memory:
                        self._strips.append(strip)
        if self.unreadable:
            more = f" (and {len(self.unreadable) - 1} more)" if len(self.unreadable) > 1 else ""
            warnings.warn(f"left out: {self.unreadable[0]}{more}", stacklevel=2)
        if not self.rows:
            reason = f" ({self.unreadable[0]})" if self.unreadable else ""
            raise UserError(f"{config.source}: no readable image among the {len(rows)} asked for{reason}")

    def _decode(self, rows: Sequence[int]) -> list[np.ndarray | None]:
        samples = [self.samples[row] for row in rows]
        with ThreadPoolExecutor() as pool:  # decoding and scaling release the interpreter's lock
            results = list(pool.map(self._strip, samples))
        self.unreadable += [result for result in results if isinstance(result, str)]
        return [None if isinstance(result, str) else result for result in results]

    def _strip(self, sample: Sample) -> np.ndarray | str:
        try:
            return prepare(sample.load(), self.config)
        except UserError as error:
            return str(error)

    def __len__(self) -> int:
        return len(self.rows)

    def strip(self, position: int) -> np.ndarray:
        """One strip, (height, W, channels)."""
        return (
            self._strips[position] if self.in_memory else prepare(self.samples[self.rows[position]].load(), self.config)
        )

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


class StepSampler(Sampler[list[int]]):
    """Batches of one round of steps; the batch of a step depends on the seed and the step only.

    In every pass over the data the images are shuffled, sorted by width within pools of 40 batches, cut into batches,
    and the batches shuffled. The last batch of a pass is filled with its first images.

    Of several processes each iterates over its share of the same batches: every `world`-th image from the `rank`-th on.
    """

    def __init__(
        self,
        widths: Sequence[int],
        batch_size: int,
        seed: int,
        steps: int,
        round_steps: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.widths, self.rank, self.world = np.asarray(widths), rank, world
        self.batch_size, self.seed, self.steps, self.round_steps = batch_size, seed, steps, round_steps
        self.round = 0
        self._pass: tuple[int, list[list[int]]] = (-1, [])

    def set_epoch(self, epoch: int) -> None:
        """Chooses the round; the engine calls it before each."""
        self.round = epoch

    def __len__(self) -> int:
        return max(0, min(self.round_steps, self.steps - self.round * self.round_steps))

    def __iter__(self) -> Iterator[list[int]]:
        first = self.round * self.round_steps
        for step in range(first, first + len(self)):
            yield self.batch(step)[self.rank :: self.world]

    def batch(self, step: int) -> list[int]:
        """Positions of one step's images, of all processes."""
        per_pass = -(-len(self.widths) // self.batch_size)
        number, place = divmod(step, per_pass)
        if self._pass[0] != number:
            self._pass = (number, self._shuffle(number))
        return self._pass[1][place]

    def _shuffle(self, number: int) -> list[list[int]]:
        random = rng(self.seed, "order", number)
        order = random.permutation(len(self.widths))
        order = np.resize(order, -(-len(order) // self.batch_size) * self.batch_size)
        batches: list[list[int]] = []
        for pool in np.split(order, range(_POOL * self.batch_size, len(order), _POOL * self.batch_size)):
            pool = pool[np.argsort(self.widths[pool], kind="stable")]
            batches += pool.reshape(-1, self.batch_size).tolist()
        return [batches[i] for i in random.permutation(len(batches))]


def sorted_batches(widths: Sequence[int], batch_size: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """All positions once, in batches of like width, for validation; of several processes each gets some, at least one.

    With fewer batches than processes some batches are handed out twice.
    """
    order = sorted(range(len(widths)), key=lambda i: widths[i])
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return batches[rank % len(batches) :: world] if world > 1 else batches
