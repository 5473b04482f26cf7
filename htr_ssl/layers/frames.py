"""What every encoder returns, and the masking that makes padding not matter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class Frames:
    """A batch of feature sequences.

    Attributes:
        features: (N, T, D); frames beyond a sample's length are zero.
        lengths: (N,) number of valid frames, int64.
    """

    features: Tensor
    lengths: Tensor

    def mask(self) -> Tensor:
        """(N, T) bool, True where a frame is valid."""
        return valid(self.lengths, self.features.shape[1])


def valid(lengths: Tensor, size: int) -> Tensor:
    """(N, size) bool, True at positions below each length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def halved(lengths: Tensor) -> Tensor:
    """Lengths after a stride of 2 (rounded up, as a padded convolution does)."""
    return torch.div(lengths + 1, 2, rounding_mode="floor")
