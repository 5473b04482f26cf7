"""Time and memory of whole pages: ``python benchmarks/speed/pages.py MODEL SCANS… [--repeat 1] [--jobs 1]``.

Without SCANS it draws pages of its own (--pages of --width px with --lines lines). Each is found, read and written as
txt, ALTO and PAGE by `transcribe` in a new folder. Prints and leaves with --out: what a start costs (see start.py),
seconds a page, where the computing goes, and the resident memory over the pages (VmRSS, Linux). Computing is the
processor's time, which other programs on the machine change little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from PIL import Image
from start import HERE, starts

from htr_ssl.environment import hardware
from htr_ssl.files import write_json
from htr_ssl.handwriting.page import page as synthetic_page
from htr_ssl.models import shelf
from htr_ssl.pages import segmenters
from htr_ssl.pages.transcribe import transcribe
from htr_ssl.recognizers.aligned import read_aligned
from htr_ssl.recognizers.reader import Reader

FORMATS = ("txt", "alto", "page")
DRAWN = 20  # different pages; more are copies under other names


def resident() -> float:
    """Resident memory of this process [MB]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def draw(folder: Path, options: argparse.Namespace) -> None:
    """Writes the synthetic pages."""
    drawn = [synthetic_page(seed, options.lines, options.width)[0] for seed in range(min(DRAWN, options.pages))]
    for number in range(options.pages):
        Image.fromarray(drawn[number % len(drawn)]).save(folder / f"{number:05d}.jpg", quality=85)


def timed(name: str, spent: dict[str, float], call: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its computing time added up."""

    def wrapped(*given: Any) -> Any:
        start = time.process_time()
        try:
            return call(*given)
        finally:
            spent[name] += time.process_time() - start

    return wrapped


def main() -> None:
    """Runs and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("scans", nargs="*")
    parser.add_argument("--pages", type=int, default=50)
    parser.add_argument("--lines", type=int, default=24)
    parser.add_argument("--width", type=int, default=1240)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    model = shelf.find(options.model)
    reader, spent, track = Reader.load(model, "cpu", options.threads), defaultdict[str, float](float), []
    plain = segmenters.segmenter
    mock.patch.object(segmenters, "segmenter", lambda *given: timed("finding", spent, plain(*given))).start()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "in"
        folder.mkdir()
        if not options.scans:
            draw(folder, options)
        clock, computing = time.perf_counter(), time.process_time()
        outcome = transcribe(
            timed("reading", spent, partial(read_aligned, reader)),
            options.scans or [folder],
            Path(scratch) / "out",
            FORMATS,
            progress=lambda done, total, result: track.append(resident()),
            jobs=options.jobs,
        )
        clock, computing = time.perf_counter() - clock, time.process_time() - computing
    count = len(outcome.done)
    spent["opening and writing"] = computing - sum(spent.values())
    settled = np.array(track[len(track) // 10 :])
    slope = float(np.polyfit(np.arange(len(settled)), settled, 1)[0]) if len(settled) > 1 else 0.0
    result = {
        "model": options.model,
        "pages": count,
        "lines": sum(item.lines for item in outcome.results),
        "start_up_seconds": starts(model, 3, {"now": HERE})["now"],
        "seconds_a_page": round(clock / count, 3),
        "computing_a_page": round(computing / count, 3),
        "computing_by_part": {name: round(value / count, 3) for name, value in spent.items()},
        "memory_mb": {
            "after_a_tenth": round(float(settled[0]), 1),
            "at_the_end": round(float(settled[-1]), 1),
            "most": round(float(max(track)), 1),
            "growth_per_1000_pages": round(1000 * slope, 1),
        },
        "jobs": options.jobs,
        "hardware": hardware("cpu"),
    }
    if options.out:
        write_json(options.out, result)
    print(result)


if __name__ == "__main__":
    main()
