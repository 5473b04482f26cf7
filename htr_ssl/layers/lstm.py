"""Bidirectional LSTM over frames of free length.

Letters: N batch, T frames, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from htr_ssl import environment
from htr_ssl.layers.frames import Frames


class Context(nn.Module):
    """Two bidirectional LSTM layers over the frames.

    Each direction is an LSTM of its own on dense tensors: the backward one reads every sequence from its own last
    frame, so that padding comes after the text in both. Packed sequences do the same, but slower on a CPU.
    """

    def __init__(self, inputs: int, units: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        sizes = (inputs, 2 * units)
        self.forwards = nn.ModuleList(nn.LSTM(size, units, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.LSTM(size, units, batch_first=True) for size in sizes)

    def forward(self, frames: Frames) -> Frames:
        """(N, T, D) -> (N, T, 2 * units)."""
        x, mask = frames.features, frames.mask()[..., None]
        time = torch.arange(x.shape[1], device=x.device)
        last = frames.lengths[:, None] - 1
        # (N * T,): rows of the frames in reverse; padding stays where it is.
        first = torch.arange(x.shape[0], device=x.device)[:, None] * x.shape[1]
        reverse = (first + torch.where(time <= last, last - time, time)).flatten()
        # Not every device has a low-precision LSTM; on CPUs with bfloat16 it takes two thirds of the time.
        low = x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and bool(environment.bfloat16())
        x = x if low else x.float()
        with torch.autocast(x.device.type, enabled=low):
            for ahead, back in zip(self.forwards, self.backwards, strict=True):
                x = self.dropout(x)
                y, _ = ahead(x)
                z, _ = back(_rows(x, reverse))
                x = torch.cat((y, _rows(z, reverse)), 2).mul_(mask)
        return Frames(x, frames.lengths)


def _rows(x: Tensor, order: Tensor) -> Tensor:
    """(N, T, D) with its N * T rows in another order."""
    return x.flatten(0, 1).index_select(0, order).view(x.shape)
