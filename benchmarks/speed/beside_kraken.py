"""Whole pages beside kraken: ``python benchmarks/speed/beside_kraken.py PAGES… [--count 3] [--out FILE.json]``.

PAGES as for `htr-ssl segment evaluate`; kraken's environment is in HTR_SSL_KRAKEN. The same pages, from image to ALTO,
each tool with one thread in one command: `htr-ssl transcribe base` and `kraken segment -bl ocr`, start-up included. No
recognizer comes with kraken, so a network of its default specification is trained for some steps first; it costs what
any of its kind costs, but what it reads is nonsense, so only time is compared. Seconds are those of the clock and of
the processor; the latter change little with other programs on the machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from peers import call
from PIL import Image

from htr_ssl.environment import hardware
from htr_ssl.files import write_json
from htr_ssl.layout.crop import crop
from htr_ssl.pages.finder.page_scores import Known, known_pages
from htr_ssl.pages.segment.kraken import interpreter

STEPS = 8
LINES = 12  # that the network is trained on
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def trained(page: Known, python: Path, folder: Path) -> Path:
    """A recognition model of kraken's default specification, after a few steps on lines of a page."""
    lines = folder / "lines"
    lines.mkdir()
    for number, line in enumerate([line for line in page.lines if line.text][:LINES]):
        Image.fromarray(crop(page.image, line)).save(lines / f"{number:02d}.png")
        (lines / f"{number:02d}.gt.txt").write_text(line.text or "", encoding="utf-8")
    model = folder / "model.safetensors"
    job: dict[str, Any] = {"mode": "train", "lines": str(lines), "validation": str(lines), "model": str(model)}
    job |= {"batch_size": 1, "workers": 1, "threads": 1, "precision": "32-true", "warmup": 1, "steps": STEPS}
    call(python, "kraken", job)
    return model


def timed(command: list[str], pages: int) -> dict[str, float]:
    """Seconds of a command with one thread."""
    clock, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **ONE_THREAD})
    clock, after = time.perf_counter() - clock, resource.getrusage(resource.RUSAGE_CHILDREN)
    computing = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "clock_seconds": round(clock, 1),
        "computing_seconds": round(computing, 1),
        "pages_per_second": round(pages / clock, 4),
        "pages_per_second_of_computing": round(pages / computing, 4),
    }


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    python = Path(interpreter())
    pages = list(islice(known_pages(options.pages), options.count))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = trained(pages[0], python, folder)
        (folder / "scans").mkdir()
        scans = [Path(shutil.copy(page.path, folder / "scans")) for page in pages]
        ours = [sys.executable, "-m", "htr_ssl", "transcribe", "base", str(folder / "scans"), "--out"]
        theirs = [str(python.with_name("kraken")), "--alto", "--device", "cpu", "--threads", "1"]
        for scan in scans:
            theirs += ["-i", str(scan), str(folder / f"{scan.stem}.xml")]
        result: dict[str, Any] = {"pages": [page.name for page in pages], "hardware": hardware("cpu"), "threads": 1}
        result["ours"] = timed([*ours, str(folder / "ours"), "--format", "alto", "--jobs", "1", "--quiet"], len(pages))
        result["kraken"] = timed([*theirs, "segment", "-bl", "ocr", "-m", str(model)], len(pages))
        for name, files in (("ours", (folder / "ours").glob("*.xml")), ("kraken", folder.glob("*.xml"))):
            written = list(files)
            assert len(written) == len(pages), f"{name} wrote {len(written)} pages"
            result[name]["lines"] = sum(file.read_text(encoding="utf-8").count("<TextLine") for file in written)
    if options.out:
        write_json(options.out, result)
    print(result)


if __name__ == "__main__":
    main()
