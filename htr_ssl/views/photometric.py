"""Random changes of the pixels that leave the writing in its place: strokes, fading, the back of the sheet, paper.

All take and return ink, (N, C, H, W) with 0 = white paper and 1 = black, and draw on the CPU from the generator.

Letters: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


def strokes(ink: Tensor, strength: float, generator: Generator) -> Tensor:
    """Blends in a thicker or a thinner copy."""
    amount = (strength * signed((len(ink), 1, 1, 1), generator)).to(ink.device)
    # Thinner ink is thicker paper: one search does for both.
    sign = torch.where(amount < 0, -1.0, 1.0)
    return ink + amount.abs() * (largest_neighbours(ink * sign) * sign - ink)


def blurred(ink: Tensor, strength: float, generator: Generator) -> Tensor:
    """Blends in a blurred copy, or takes it away, which sharpens."""
    amount = (strength * signed((len(ink), 1, 1, 1), generator)).to(ink.device)
    return ink + amount * (F.avg_pool2d(ink, 3, 1, 1) - ink)


def contrasted(ink: Tensor, strength: float, generator: Generator) -> Tensor:
    """One contrast for each image, and a slow change of it along the line."""
    n, _, height, width = ink.shape
    coarse = 1 - strength * torch.rand(n, 1, 2, max(2, width // height), generator=generator)
    coarse = coarse * (1 + strength * signed((n, 1, 1, 1), generator))
    return ink * enlarged(coarse, ink)


def faded(ink: Tensor, strength: float, generator: Generator) -> Tensor:
    """Patches of about half a letter, a third of the line, where the pen runs dry."""
    n, _, height, width = ink.shape
    dry = enlarged(torch.randn(n, 1, 3, max(2, 3 * width // height), generator=generator), ink)
    amount = (strength * torch.rand(n, 1, 1, 1, generator=generator)).to(ink.device)
    return ink * (1 - amount * (2 * dry - 0.8).clamp(0, 1))


def bled(ink: Tensor, widths: Tensor, strength: float, generator: Generator) -> Tensor:
    """The back of the sheet shines through: another image of the batch, mirrored as there, blurred and faint.

    Args:
        ink: what is written.
        widths: (N,) valid widths [px]; the back is mirrored within them.
        strength: largest share of its ink that comes through.
        generator: chooses the image and the share.
    """
    n = len(ink)
    other = int(torch.randint(1, max(2, n), (1,), generator=generator))
    amount = (strength * torch.rand(n, 1, 1, 1, generator=generator)).to(ink.device)
    half = F.avg_pool2d(ink.roll(other, 0), 2)
    mirrored = (widths[:, None] // 2 - 1 - torch.arange(half.shape[3], device=ink.device)).clamp(min=0)
    back = half.gather(3, mirrored[:, None, None].expand_as(half))
    return ink + amount * (1 - ink) * enlarged(back, ink)


def papered(ink: Tensor, strength: float, generator: Generator) -> Tensor:
    """Darker paper: stains as large as letters and a grain of two pixels."""
    n, _, height, width = ink.shape
    stains = torch.rand(n, 1, 3, max(2, 2 * width // height), generator=generator)
    grain = torch.rand(n, 1, height // 2, width // 2, generator=generator)
    amount = (strength * torch.rand(n, 1, 1, 1, generator=generator)).to(ink.device)
    return ink + amount * (1 - ink) * enlarged((enlarged(stains, grain) + grain) / 2, ink)


def noisy(ink: Tensor, strength: float, generator: Generator) -> Tensor:
    """Independent noise on every pixel."""
    level = strength * torch.rand(len(ink), 1, 1, 1, generator=generator)
    return ink + (level * torch.randn(ink.shape, generator=generator)).to(ink.device)


def hidden(ink: Tensor, strength: float, generator: Generator) -> Tensor:
    """(N, W) bool, True = painted over with paper: spans of a quarter of the height, which may join."""
    n, _, height, width = ink.shape
    share = strength * torch.rand(n, 1, generator=generator)
    span = max(2, height // 4)
    # A column starts a span with the probability that covers `share` of the columns on average.
    starts = torch.rand(n, width, generator=generator) < share / span
    covered = F.max_pool1d(F.pad(starts[:, None].float(), (span - 1, 0)), span, 1)[:, 0] > 0
    return covered.to(ink.device)


def largest_neighbours(x: Tensor) -> Tensor:
    """Largest value in each 3x3 neighbourhood; a pooling takes eight times as long on a CPU."""
    for axis in (2, 3):
        size = x.shape[axis]
        first, last = x.narrow(axis, 0, 1), x.narrow(axis, size - 1, 1)
        before = torch.cat((first, x.narrow(axis, 0, size - 1)), axis)
        after = torch.cat((x.narrow(axis, 1, size - 1), last), axis)
        x = torch.maximum(torch.maximum(x, before), after)
    return x


def signed(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Uniform numbers in [-1, 1]."""
    return torch.rand(shape, generator=generator) * 2 - 1


def enlarged(coarse: Tensor, like: Tensor) -> Tensor:
    """A coarse field at the size and on the device of another."""
    return F.interpolate(coarse.to(like.device), like.shape[2:], mode="bilinear", align_corners=True)
