"""Which images are read together: like widths, no batch too large, equal work for every worker."""

from __future__ import annotations

import math
from collections.abc import Sequence


def batches_of(widths: Sequence[int], most: int, area: int, workers: int = 1) -> list[list[int]]:
    """Positions of all images, in batches of similar width, the widest first.

    The number of batches is a multiple of `workers` where that is possible, so that none waits for the others.

    Args:
        widths: of the images [px].
        most: images per batch.
        area: images times padded width per batch [px]; a wider image is alone.
        workers: batches that are read at once.
    """
    order = sorted(range(len(widths)), key=lambda i: -widths[i])
    total = sum(widths)
    count = max(math.ceil(total / area), math.ceil(len(widths) / most))
    count = math.ceil(count / workers) * workers
    budget = total / max(count, 1)
    while True:
        batches = _cut(widths, order, most, min(budget, area))
        if len(batches) <= count or budget >= area:
            return batches
        budget *= 1.05


def _cut(widths: Sequence[int], order: Sequence[int], most: int, area: float) -> list[list[int]]:
    """The order cut where the next image would be one too many."""
    batches: list[list[int]] = []
    for i in order:
        last = batches[-1] if batches else []
        if last and len(last) < most and (len(last) + 1) * widths[last[0]] <= area:
            last.append(i)
        else:
            batches.append([i])
    return batches
