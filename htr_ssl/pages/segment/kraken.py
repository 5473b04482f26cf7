"""Lines by kraken's own segmenter, in an environment of its own: HTR_SSL_KRAKEN names its Python.

`python3.12 -m venv ENV && ENV/bin/pip install 'kraken>=7,<8'` makes such an environment; kraken's model comes with it.
`kraken=ENV/bin/python` instead of `kraken` names it too. kraken runs as a process that stays for all pages.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from htr_ssl.environment import cores
from htr_ssl.errors import UserError
from htr_ssl.layout.document import Found, Line

VARIABLE = "HTR_SSL_KRAKEN"
WORKER = Path(__file__).with_name("_kraken_process.py")
_LEAST = 24  # images with a shorter side hold no line [px]
_LONGEST = 8  # times as long as wide or high; kraken makes every page 1,800 px high, so that memory grows with it
_MAKE = "python3.12 -m venv ENV && ENV/bin/pip install 'kraken>=7,<8'"


def segment(image: np.ndarray, direction: str = "ltr", python: str | None = None) -> Found:
    """Text lines of a page image in kraken's reading order, each with polygon and baseline.

    Args:
        image: uint8, (H, W) gray or (H, W, 3) RGB.
        direction: `rtl` if columns are read from right to left.
        python: Python of kraken's environment, or that environment's folder; None = what `HTR_SSL_KRAKEN` names.

    Raises:
        UserError: there is no such Python, kraken is not installed there, or it fails on the page.
    """
    height, width = image.shape[:2]
    if min(height, width) < _LEAST:
        return Found(notes=[f"the image has only {width} x {height} pixels: too small for a line of text"])
    if max(height, width) > _LONGEST * min(height, width):
        return Found(notes=[f"the image has {width} x {height} pixels: a strip, not a page"])
    stated = _started(interpreter(python), os.getpid()).lines(image, direction)
    regions: dict[str, str] = {}  # kraken's own names are chances
    lines = []
    for number, line in enumerate(stated, 1):
        region = line["region"] and regions.setdefault(line["region"], f"region{len(regions) + 1}")
        lines.append(
            Line(f"line{number}", np.array(line["boundary"], float), np.array(line["baseline"], float), region)
        )
    return Found(lines, notes=[] if lines else ["no line of text was found"])


def at(python: str) -> Callable[..., Found]:
    """`segment` with the kraken of one environment, by default the one that `HTR_SSL_KRAKEN` names.

    Raises:
        UserError: none is named, or it is not there.
    """
    return partial(segment, python=interpreter(python))


def interpreter(given: str | None = None) -> str:
    """Path of the Python to run: the one given, else what `HTR_SSL_KRAKEN` names.

    Raises:
        UserError: none is named, or it is not there.
    """
    named = given or os.environ.get(VARIABLE, "")
    if not named:
        raise UserError(
            f"the line finder kraken needs an environment of its own: {_MAKE}, then set {VARIABLE}=ENV/bin/python "
            "or give kraken=ENV/bin/python"
        )
    inside = [Path(named, *parts) for parts in (("bin", "python"), ("Scripts", "python.exe"))]
    found = next((str(path) for path in inside if path.is_file()), None) or shutil.which(named)
    if found is None:
        raise UserError(f"{named}: there is no such Python for the line finder kraken; make one with {_MAKE}")
    return found


@lru_cache(1)
def _started(python: str, process: int) -> _Kraken:
    """kraken as it runs for this process."""
    return _Kraken(python)


class _Kraken:
    """kraken in a process that answers page by page; it ends when this one does, since its input ends then."""

    def __init__(self, python: str) -> None:
        self._python, self._lock = python, threading.Lock()
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 (it stays for as long as kraken)
        self._process = subprocess.Popen(
            [python, "-I", "-W", "ignore", str(WORKER), str(cores())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )

    def lines(self, image: np.ndarray, direction: str) -> list[dict[str, Any]]:
        """Boundary, baseline and region of each line.

        Raises:
            UserError: kraken says no, or has ended.
        """
        head = json.dumps({"shape": image.shape, "direction": direction}).encode() + b"\n"
        with self._lock:
            try:
                answer = self._asked(head + np.ascontiguousarray(image, np.uint8).tobytes())
            except OSError:
                answer = b""
            if not answer:
                self._process.kill()
                self._process.wait()
                _started.cache_clear()
                raise UserError(f"{self._python}: kraken has ended ({self._last_words()}); to install it: {_MAKE}")
        result = json.loads(answer)
        if "error" in result:
            raise UserError(f"kraken cannot find the lines of this page ({result['error']}); use another line finder")
        lines: list[dict[str, Any]] = result["lines"]
        return lines

    def _asked(self, question: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(question)
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def _last_words(self) -> str:
        self._said.seek(0)
        said = self._said.read().decode(errors="replace").strip().splitlines()
        return said[-1].strip() if said else f"exit code {self._process.returncode}"
