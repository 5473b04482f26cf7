"""Threads: those cores that other programs leave, and of these as many as a step of the network gains from.

The threads of a step wait for each other many hundred times. One that shares its core with another program makes all
wait, and a step may take a hundred times as long. So free cores are looked for anew each time, before anything else is
timed; speeds are only measured on free cores, and remembered.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from htr_ssl.measured import cache, timing

_IMAGES, _ROUNDS, _SECONDS = 8, 3, 0.4  # a count is timed again until so many seconds are over
_MOMENT, _MOMENTS, _SLACK = 0.05, 3, 0.25  # [s], number, cores
_BLOCK = bytes(1 << 20)


def choose(header: Mapping[str, Any], bf16: bool, most: int) -> tuple[int, str]:
    """Threads for training a network on the CPU, at most so many, and the reason in words.

    Args:
        header: of the encoder: `encoder`, `height`, `channels`, as in a model file.
        bf16: whether it computes in bfloat16.
        most: cores that may be used.
    """
    if most == 1 or not cache.on():
        return most, _cores(most)
    usable = free(most)
    if usable == 1:
        return 1, f"one of {_cores(most)} is free"
    network = cache.network(header)
    measure, quiet = partial(_missing, network, bf16, usable), lambda: free(usable) == usable
    speeds = cache.remembered("threads", [network, bf16], measure, quiet)
    chosen, seen = _climb(speeds, usable)
    figures = ", ".join(f"{speeds[str(count)]:.0f} with {count}" for count in seen)
    busy = f", {usable} of {_cores(most)} are free" if usable < most else ""
    return chosen, f"measured images a second and threads: {figures}{busy}"


def free(most: int) -> int:
    """Cores, at least one and at most so many, that other programs leave to this one now.

    So many threads compute for a moment, each without waiting for another; what they get together is counted. That
    works for any system, and for programs of any priority.
    """
    found = 0.0
    for _ in range(_MOMENTS):  # something short beside it must not decide
        with ThreadPoolExecutor(most) as pool:
            found = max(found, sum(pool.map(_share, range(most))))
        if found > most - _SLACK:
            break
    return max(1, min(most, int(found + _SLACK)))


def _share(_: int) -> float:
    """Share of a core that a thread gets."""
    start, used = time.perf_counter(), time.thread_time()
    while time.perf_counter() - start < _MOMENT:
        hashlib.sha256(_BLOCK)  # other threads run meanwhile
    return (time.thread_time() - used) / (time.perf_counter() - start)


def _cores(count: int) -> str:
    return f"{count} core{'s' * (count > 1)}"


def _counts(most: int) -> Iterator[int]:
    """1, 2, 4, … and the most."""
    count = 1
    while count < most:
        yield count
        count *= 2
    yield most


def _climb(speeds: cache.Figures, usable: int) -> tuple[int, list[int]]:
    """The last count that is clearly faster than the one before, and all that were looked at."""
    seen: list[int] = []
    for count in _counts(usable):
        if str(count) not in speeds:
            break
        seen.append(count)
        if len(seen) > 1 and speeds[str(count)] <= timing.CLEARLY * speeds[str(seen[-2])]:
            return seen[-2], seen
    return seen[-1], seen


def _missing(network: Mapping[str, Any], bf16: bool, usable: int, known: cache.Figures) -> cache.Figures:
    """Images a second by threads, as far as the climb goes and they are not known."""
    import torch

    new: cache.Figures = {}
    with timing.step(network, _IMAGES, training=True) as run:
        for count in _counts(usable):
            if str(count) not in known:
                torch.set_num_threads(count)
                took = timing.best({count: partial(run, bf16)}, _ROUNDS, _SECONDS)[count]
                new[str(count)] = round(_IMAGES / took, 2)
            chosen, seen = _climb(known | new, count)
            if chosen < seen[-1]:
                break
    return new
