"""Named seeds: every random draw comes from (seed, names…), never from a global state."""

from __future__ import annotations

import hashlib

import numpy as np


def derive(seed: int, *names: str | int) -> int:
    """Integer in [0, 2^63) for a seed and a path of names; stable over machines and versions of Python."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def rng(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy generator of its own for one purpose, e.g. ``rng(0, "subset")``."""
    return np.random.default_rng(derive(seed, *names))
