"""Jobs of the measured tools: a JSON file says what to do, a JSON file takes the result; standard library only.

Runs in foreign environments too, so nothing here needs htr_ssl or a Python newer than 3.9.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Job = dict[str, Any]


class Stopwatch:
    """Times of the updates of one training.

    Attributes:
        marks: seconds and lines of each update, its loading included, the first update left out.
    """

    def __init__(self) -> None:
        self.marks: list[tuple[float, int]] = []
        self._last = 0.0

    def done(self, lines: int) -> None:
        """An update has ended."""
        now = time.perf_counter()
        if self._last:
            self.marks.append((now - self._last, lines))
        self._last = now

    def result(self, warmup: int, window: int = 8) -> dict[str, float]:
        """Lines/s after `warmup` updates: of all the rest together, and the median over windows of `window` lines."""
        marks = self.marks[warmup:]
        rates, seconds, lines = [], 0.0, 0
        for spent, count in marks:
            seconds, lines = seconds + spent, lines + count
            if lines >= window:
                rates.append(lines / seconds)
                seconds, lines = 0.0, 0
        total = sum(spent for spent, _ in marks)
        return {
            "lines_per_second": sum(count for _, count in marks) / total,
            "lines_per_second_median": sorted(rates)[len(rates) // 2],
            "steps": len(marks),
            "seconds": total,
        }


def paced(batches: list[list[Any]], read: Callable[[list[Any]], list[str]]) -> tuple[dict[str, float], list[str]]:
    """Reads batches, the first once more beforehand as warm-up: lines/s of all, and the texts."""
    read(batches[0])
    texts: list[str] = []
    start = time.perf_counter()
    for batch in batches:
        texts += read(batch)
    seconds = time.perf_counter() - start
    return {"lines_per_second": len(texts) / seconds, "seconds": seconds, "lines": len(texts)}, texts


def chunks(items: list[Any], size: int) -> list[list[Any]]:
    """Items in lists of `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def lines_of(folder: str) -> list[str]:
    """Line images of a folder, in order of their names."""
    return sorted(str(path) for path in Path(folder).glob("*.png"))


def memory() -> dict[str, float]:
    """Largest resident memory [MB] of this process so far, and of the largest of its ended children."""
    unit = 1024 if sys.platform != "darwin" else 1 << 20
    kinds = {"peak_mb": resource.RUSAGE_SELF, "largest_child_mb": resource.RUSAGE_CHILDREN}
    return {name: round(resource.getrusage(kind).ru_maxrss / unit, 1) for name, kind in kinds.items()}


def run(handlers: dict[str, Callable[[Job], dict[str, Any]]]) -> None:
    """Command line of a helper: JOB.json RESULT.json."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    import torch

    torch.set_num_threads(job["threads"])
    result = handlers[job["mode"]](job)
    result = {**result, **memory(), "torch": torch.__version__, "threads": torch.get_num_threads()}
    path = Path(sys.argv[2])
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result, ensure_ascii=False), encoding="utf-8")
    os.replace(part, path)
