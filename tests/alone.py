"""A test's work in a process of its own, where its memory can be measured."""

from __future__ import annotations

import multiprocessing
import os
import resource
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from unittest import mock

ALLOCATOR = {"MALLOC_ARENA_MAX": "1", "MALLOC_TRIM_THRESHOLD_": "1000000"}
"""Makes the GNU C library give back free memory. It keeps some for each thread otherwise, and that would be counted."""


def alone(work: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a module returns in a new process. What it raises is raised here.

    In a process that has run other tests a peak says nothing: it is theirs, or what they left free is used again.
    """
    with (
        mock.patch.dict(os.environ, ALLOCATOR),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process,
    ):
        return process.submit(work, *arguments).result()


def peak() -> int:
    """Most memory that this process has had [bytes]."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
