"""Pixels as targets: the strip of each frame, standardised per image; and images that hide some of them.

Letters: N batch, C channels, H height, W width, T frames, S pixels per frame.
"""

from __future__ import annotations

import torch
from torch import Tensor, unflatten
from torch.nn import functional as F

from htr_ssl.data.batch import Images
from htr_ssl.layers.frames import valid

GREY = 0.5
"""What hidden pixels become."""


def strips(pixels: Tensor, stride: int) -> Tensor:
    """(N, C, H, W) -> the pixels of each frame, (N, T, S*H*C); a last strip that is not whole is filled with 0."""
    pixels = F.pad(pixels, (0, -pixels.shape[3] % stride))
    return unflatten(pixels, 3, (-1, stride)).permute(0, 3, 4, 2, 1).flatten(2)


def covered(images: Images, hidden: Tensor, stride: int, content: Tensor | float = GREY) -> Images:
    """Images with other content in the columns of the hidden frames.

    Args:
        images: whole ones.
        hidden: (N, T) bool, True = hidden.
        stride: columns of a frame [px].
        content: of these columns: one tone, or (N, C, H, W).
    """
    columns = hidden.repeat_interleave(stride, 1)[:, None, None, : images.pixels.shape[3]]  # (N, 1, 1, W)
    return Images(torch.where(columns, content, images.pixels), images.widths)


def standardised(images: Images) -> Tensor:
    """(N, C, H, W) pixels with mean 0 and standard deviation of about 1 in each image."""
    mean, spread = _moments(images)
    return (images.pixels - mean) / spread


def painted(predicted: Tensor, images: Images) -> Tensor:
    """Inverse of `strips` and `standardised`: (N, T, S*H*C) -> (N, C, H, W) in [0, 1]."""
    mean, spread = _moments(images)
    _, c, h, w = images.pixels.shape
    pixels = unflatten(predicted, 2, (-1, h, c)).permute(0, 4, 3, 1, 2).flatten(3)[..., :w]
    return (pixels.float() * spread + mean).clamp(0, 1)


def _moments(images: Images) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each image's valid pixels, (N, 1, 1, 1)."""
    _, c, h, w = images.pixels.shape
    weight = valid(images.widths, w)[:, None, None, :] / (images.widths * c * h).view(-1, 1, 1, 1)
    mean = (images.pixels * weight).sum((1, 2, 3), keepdim=True)
    variance = ((images.pixels - mean).square() * weight).sum((1, 2, 3), keepdim=True)
    return mean, variance.sqrt() + 0.05
