"""Timing: the best of some runs in turns, and a step of a network on random images."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from htr_ssl import model_file

Name = TypeVar("Name")

CLEARLY = 1.1
"""How many times as fast a choice must be to be taken: less may be chance."""
WIDTH = 384
"""Of the images that are timed [px]."""
Clock = Callable[[], float]
ALONE: Clock = time.perf_counter if sys.platform == "win32" else time.thread_time
"""Clock of a work of one thread: what other programs take does not count, where the system tells it finely."""


def seconds(work: Callable[[], None], clock: Clock) -> float:
    """Time of one call."""
    start = clock()
    work()
    return clock() - start


def best(
    works: Mapping[Name, Callable[[], None]], rounds: int, limit: float, clock: Clock = time.perf_counter
) -> dict[Name, float]:
    """Shortest time of each work over some rounds [s]; after `limit` seconds no further round begins."""
    shortest, spent = dict.fromkeys(works, float("inf")), 0.0
    for _ in range(rounds):
        if spent > limit:
            break
        for name, work in works.items():
            took = seconds(work, clock)
            spent += took
            shortest[name] = min(shortest[name], took)
    return shortest


@contextmanager
def step(network: Mapping[str, Any], images: int, training: bool) -> Iterator[Callable[[bool], None]]:
    """A step of an encoder, forwards and if it is training also backwards; called with whether bfloat16 is used.

    Random numbers elsewhere are not touched, and threads are as before when it ends.
    """
    import torch

    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {key: value for key, value in network["encoder"].items() if key != "name"}
        encoder = model_file.build_encoder(network["encoder"]["name"], options, network["height"], network["channels"])
        encoder = encoder.train(training).to(memory_format=torch.channels_last)
        pixels = torch.rand(images, network["channels"], network["height"], WIDTH)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        widths = torch.full((images,), WIDTH)

        def run(bf16: bool) -> None:
            with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                frames = encoder(pixels, widths)
            if training:
                torch.autograd.backward(frames.features.float().mean())

        try:
            yield run
        finally:
            torch.set_num_threads(threads)
