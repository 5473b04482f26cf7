"""Area of a reading batch: how many images are read at once, so that what is computed fits in the processor's cache."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from htr_ssl.measured import cache, timing

USUAL = 8192
"""Images times padded width of a batch on a CPU [px], where nothing is measured."""
OTHERS = (4096, 16384)
_ROUNDS, _SECONDS = 2, 1.0


def choose(facts: list[Any], read: Callable[[int, int], None]) -> tuple[int, str]:
    """Area of a batch on the CPU, and the reason in words; the usual one unless another is clearly faster.

    Args:
        facts: of the network, what decides how fast it is.
        read: reads so many images of a width [px] in one batch.
    """
    if not cache.on():
        return USUAL, "the usual"
    speeds = cache.remembered("area", facts, partial(_missing, read))
    fastest = max(OTHERS, key=lambda area: speeds[str(area)])
    chosen = fastest if speeds[str(fastest)] > timing.CLEARLY * speeds[str(USUAL)] else USUAL
    figures = ", ".join(f"{speeds[str(area)] / 1000:.0f} with {area}" for area in sorted((USUAL, *OTHERS)))
    return chosen, f"measured 1,000 px a second and thread: {figures}"


def _missing(read: Callable[[int, int], None], known: cache.Figures) -> cache.Figures:
    """Pixels of width a second by area, if they are not known; one thread is timed."""
    import torch

    areas = (USUAL, *OTHERS)
    if known.keys() >= {str(area) for area in areas}:
        return {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        read(1, timing.WIDTH)  # what only the first batch needs
        works = {area: partial(read, area // timing.WIDTH, timing.WIDTH) for area in areas}
        times = timing.best(works, _ROUNDS, _SECONDS, timing.ALONE)
    finally:
        torch.set_num_threads(threads)
    return {str(area): round(area // timing.WIDTH * timing.WIDTH / took, 2) for area, took in times.items()}
