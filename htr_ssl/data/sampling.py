"""Order of the images: batches of similar width that depend on the seed and the step only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from htr_ssl.data.sample import Level
from htr_ssl.seeds import rng

WINDOW = 16384
"""Images mixed at a time where a source is read piece by piece."""
_POOL = 40  # batches whose images are sorted by width together
_LEAST = 4  # smallest pool, for words


class StepSampler(Sampler[list[int]]):
    """Batches of one round of steps; the batch of a step depends on the seed and the step only.

    A pass over the data shuffles the images, sorts them by width within pools of batches, cuts the pools into batches,
    and shuffles the batches. The last batch of a pass is filled with the first images of the pass.

    A pool holds 40 batches of lines. A pool of words holds an eighth of the pass, at least four and at most 40 batches:
    in larger pools a small set would repeat the same batches in every pass (benchmarks/results/recipe.md).

    With `pieces` the order of the pieces is shuffled, and images are mixed only within windows of about `WINDOW`
    images. Every piece is then fetched once in a pass and given back soon.

    With several processes, process `rank` takes every `world`-th image of the same batches.
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
        pieces: np.ndarray | None = None,
        level: Level = "line",
    ) -> None:
        """Widths of the images [px], pieces of the source (None if each image stands alone), words or lines."""
        self.widths, self.rank, self.world = np.asarray(widths), rank, world
        self.batch_size, self.seed, self.steps, self.round_steps = batch_size, seed, steps, round_steps
        self.pieces = pieces
        self._per_pass = -(-len(self.widths) // batch_size)
        self._pool = min(max(self._per_pass // 8, _LEAST), _POOL) if level == "word" else _POOL
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
        number, place = divmod(step, self._per_pass)
        if self._pass[0] != number:
            self._pass = (number, self._shuffle(number))
        return self._pass[1][place]

    def _shuffle(self, number: int) -> list[list[int]]:
        random = rng(self.seed, "order", number)
        pool = self._pool * self.batch_size
        window = len(self.widths) if self.pieces is None else max(1, WINDOW // pool) * pool
        order = self._shuffled(random, window)
        order = np.resize(order, self._per_pass * self.batch_size)
        batches: list[list[int]] = []
        for images in np.split(order, range(pool, len(order), pool)):
            images = images[np.argsort(self.widths[images], kind="stable")]
            batches += images.reshape(-1, self.batch_size).tolist()
        size = -(-window // self.batch_size)
        parts = [batches[start : start + size] for start in range(0, len(batches), size)]
        return [part[i] for part in parts for i in random.permutation(len(part))]

    def _shuffled(self, random: np.random.Generator, window: int) -> np.ndarray:
        """All positions, mixed within windows of whole pieces in a row."""
        count = len(self.widths)
        if self.pieces is None:
            return random.permutation(count)
        place = random.permutation(int(self.pieces.max()) + 1)[self.pieces]
        order = np.argsort(place, kind="stable")
        return np.concatenate([random.permutation(part) for part in np.split(order, range(window, count, window))])


def sorted_batches(widths: Sequence[int], batch_size: int, rank: int = 0, world: int = 1) -> list[list[int]]:
    """All positions once, in batches of similar width, for validation; each process gets at least one batch.

    With fewer batches than processes some batches are handed out twice.
    """
    order = sorted(range(len(widths)), key=lambda i: widths[i])
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return batches[rank % len(batches) :: world] if world > 1 else batches
