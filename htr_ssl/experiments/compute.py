"""What a cell cost, every stage that its row needs included: passes through the encoder, images seen, seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

NAMES = ("encoder_passes", "views", "device_seconds")
"""Keys of summary.json and result.json."""


class Compute(NamedTuple):
    """Cost of a cell or the mean of several.

    Attributes:
        encoder_passes: images through the encoder and its moving averages, while training.
        views: images seen; each view of an image counts.
        device_seconds: seconds of the updates × processes, on a CPU × threads.
    """

    encoder_passes: float
    views: float
    device_seconds: float


def of_runs(folders: Iterable[Path]) -> dict[str, float | None]:
    """Sum over finished trainings; None where one of them is older than the count."""
    summaries = [json.loads((folder / "summary.json").read_text(encoding="utf-8")) for folder in folders]
    found: dict[str, float | None] = {}
    for name in NAMES:
        values = [summary.get(name) for summary in summaries]
        found[name] = None if None in values else sum(values)
    return found


def mean(costs: Iterable[dict[str, float | None]]) -> Compute | None:
    """Mean of the costs that are known; None if there are none."""
    known = [[cost[name] for name in NAMES] for cost in costs if all(cost.get(name) is not None for name in NAMES)]
    if not known:
        return None
    return Compute(*(sum(float(value or 0) for value in values) / len(known) for values in zip(*known, strict=True)))
