"""Processes to kill and to start again. They are forked with the libraries loaded, which saves seconds each time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["htr_ssl.cli", "htr_ssl.experiments.table", "htr_ssl.training.engine"])


class Child:
    """A function of a module in a process of its own, on one thread.

    Args:
        errors: file that takes the standard error; the standard output is thrown away.
        work: the function.
        arguments: its own.
    """

    def __init__(self, errors: Path, work: Callable[..., Any], *arguments: Any) -> None:
        self._errors = errors
        self._process = _CONTEXT.Process(target=_run, args=(errors, work, arguments))
        with mock.patch.dict(os.environ, OMP_NUM_THREADS="1"):  # the first to start forks all others
            self._process.start()

    def poll(self) -> int | None:
        """Exit status, minus the number of the signal that has killed it; None while it runs."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """As `kill` does."""
        os.kill(self._process.pid, number)

    def wait(self, seconds: float = 300) -> int | None:
        """Exit status, or None after so many seconds."""
        self._process.join(seconds)
        return self._process.exitcode

    @property
    def errors(self) -> str:
        """What it has written to standard error."""
        return self._errors.read_text(encoding="utf-8")


def command(*arguments: str) -> None:
    """`htr-ssl` with arguments."""
    from htr_ssl.cli import main

    sys.argv = ["htr-ssl", *arguments]
    main()


def _run(errors: Path, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with open(errors, "w", encoding="utf-8") as log, open(os.devnull, "w", encoding="utf-8") as nothing:
        os.dup2(log.fileno(), 2)
        os.dup2(nothing.fileno(), 1)
    work(*arguments)
