"""Deviations that outliers themselves cannot hide."""

from __future__ import annotations

import numpy as np

LEAST = 0.05
"""Smallest standard deviation believed."""
_NORMAL = 1.4826  # standard deviation of a normal distribution / its median absolute deviation


def spread(distances: np.ndarray) -> float:
    """Robust standard deviation of values at these distances from their middle; at least `LEAST`."""
    return max(_NORMAL * float(np.median(distances)), LEAST) if len(distances) else LEAST


def deviations(values: np.ndarray) -> np.ndarray:
    """Signed distance of each value from the median, in robust standard deviations."""
    distance = values - np.median(values)
    result: np.ndarray = distance / spread(np.abs(distance))
    return result
