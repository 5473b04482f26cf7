"""How much is read at once, and by how many threads; both are measured (htr_ssl.measured)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import torch

from htr_ssl import environment
from htr_ssl.measured import area, cache, threads
from htr_ssl.recognizers._batches import batches_of

AREA = 131072
"""Images times padded width of a batch [px] where only the memory sets a limit: on other devices than a CPU."""
MUCH = 8 * area.USUAL
"""Width of all images together [px] from which on the area is measured."""


class Pace:
    """Of one reader; a copy in another process cuts the same batches.

    Attributes:
        choices: what was chosen by measurement, with reasons.
    """

    def __init__(self, device: torch.device) -> None:
        self.choices: dict[str, str] = {}
        self._on_cpu = device.type == "cpu"
        self._threads = torch.get_num_threads()
        self._area = 0 if self._on_cpu else AREA

    def leave_busy_cores(self) -> None:
        """Uses only those cores that other programs leave now."""
        most = min(self._threads, environment.cores())
        measured = self._on_cpu and most > 1 and cache.on()
        self._threads = threads.free(most) if measured else most
        if measured:
            self.choices["threads"] = f"{self._threads}: so many of {most} cores are free now"

    def batches(
        self, widths: Sequence[int], most: int, facts: Callable[[], list[Any]], read: Callable[[int, int], None]
    ) -> list[list[int]]:
        """Positions of the images of each batch, the widest first.

        Args:
            widths: of the images [px].
            most: images of a batch.
            facts: what decides how fast they are read.
            read: reads so many images of a width [px], to measure how many are best read at once.
        """
        if not self._area and sum(widths) >= MUCH:
            self._area, why = area.choose(facts(), read)
            self.choices["area"] = f"{self._area} px of width a batch: {why}"
        return batches_of(widths, most, self._area or area.USUAL, self._threads if self._on_cpu else 1)

    @contextmanager
    def pool(self, tasks: int, on_cpu: bool = True) -> Iterator[Callable[..., Iterator[Any]]]:
        """A parallel `map` whose workers compute with one torch thread each; the plain one, with all, for one task."""
        before = torch.get_num_threads()
        most = min(self._threads, before)
        workers = min(most, tasks) if on_cpu else 1
        try:
            if workers > 1:
                with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
                    yield pool.map
            else:
                torch.set_num_threads(most)
                yield map
        finally:
            torch.set_num_threads(before)  # the workers' number has become that of a part of the process
