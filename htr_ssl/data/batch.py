"""A batch of images of one height and padded width, and the images a method or recognizer sees."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_WIDTH_STEP = 16  # padded widths are multiples of this, so that few different shapes occur


@dataclass(slots=True)
class Images:
    """Pixels on the device they are used on.

    Attributes:
        pixels: (N, C, H, W) float in [0, 1], 1 = white paper; padding is 1.
        widths: (N,) valid width of each image [px], int64.
    """

    pixels: Tensor
    widths: Tensor


@dataclass(slots=True)
class Batch:
    """What the loader hands over; bytes on the CPU until `images` is called.

    Attributes:
        raw: (N, H, W, C) uint8, 255 = white paper; padding is 255.
        widths: (N,) valid width of each image [px], int64.
        indices: (N,) row of each image in its dataset, int64.
        targets: label indices of all images joined, int64; empty for unlabelled data.
        target_lengths: (N,) labels per image, int64; empty for unlabelled data.
        beside: unlabelled images of the same update, for an objective that is learnt jointly with CTC.
    """

    raw: Tensor
    widths: Tensor
    indices: Tensor
    targets: Tensor
    target_lengths: Tensor
    beside: Batch | None = None

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device."""
        moved = {name: getattr(self, name).to(device, non_blocking=True) for name in _TENSORS}
        return Batch(**moved, beside=self.beside and self.beside.to(device))

    def images(self) -> Images:
        """Float images in channels_last order."""
        # NHWC bytes seen as NCHW are channels_last already; .float() keeps that order.
        return Images(self.raw.permute(0, 3, 1, 2).float().div_(255), self.widths)


def padded(width: int) -> int:
    """Smallest padded width [px] for a valid width."""
    return -(-width // _WIDTH_STEP) * _WIDTH_STEP


_TENSORS = tuple(name for name in Batch.__slots__ if name != "beside")
