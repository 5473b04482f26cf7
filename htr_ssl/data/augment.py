"""Random changes of handwriting images, for a whole batch at once on the device that trains.

No flips, the reading direction and the order of letters are kept. One resampling does slant, stretch, size, shift,
rotation and smooth local distortion; stroke thickness, blur, fading and noise follow on the pixels. Done here and not
image by image in the loader, so that no Python runs per image.

Letters: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images
from htr_ssl.encoders._frames import valid

_WIDTH_STEP = 32  # padded widths are multiples of this, so that few different shapes occur


def padded(width: int) -> int:
    """Smallest padded width [px] for a valid width."""
    return -(-width // _WIDTH_STEP) * _WIDTH_STEP


class TextAugment:
    """Draws a changed copy of each image.

    Args:
        config: strengths.
        shift_x: largest horizontal shift [share of the height], for the views of joint-embedding methods.
    """

    def __init__(self, config: AugmentConfig, shift_x: float = 0.0) -> None:
        self.config = config
        self.shift_x = shift_x

    def __call__(self, images: Images, generator: Generator, stretch: Tensor | None = None) -> Images:
        """Changed copies.

        Args:
            images: (N, C, H, W) in [0, 1].
            generator: of the CPU; the only source of randomness.
            stretch: (N,) factors of the width to use instead of drawn ones, so that two views stay aligned.

        Returns:
            Images of the same height; widths change with the stretch.
        """
        c = self.config
        n = images.pixels.shape[0]
        if stretch is None:
            stretch = self.draw_stretch(n, generator)
        stretch = stretch.to(images.pixels.device)
        ink = 1 - images.pixels
        ink = ink * valid(images.widths, ink.shape[3])[:, None, None, :]
        widths = (images.widths * stretch).round().long().clamp(min=8)
        ink = self._warp(ink, images.widths, widths, generator)
        ink = self._strokes(ink, generator)
        if c.contrast:
            ink = ink * self._fading(ink, generator)
        if c.noise:
            level = c.noise * torch.rand(n, 1, 1, 1, generator=generator)
            ink = ink + (level * torch.randn(ink.shape, generator=generator)).to(ink.device)
        keep = valid(widths, ink.shape[3])[:, None, None, :]
        if c.mask:
            keep = keep & ~self._hidden(n, ink.shape[2], ink.shape[3], widths, generator)[:, None, None, :]
        return Images(1 - (ink * keep).clamp_(0, 1), widths)

    def draw_stretch(self, n: int, generator: Generator) -> Tensor:
        """(N,) factors of the width."""
        return 1 + self.config.stretch * _signed((n,), generator)

    def _warp(self, ink: Tensor, old: Tensor, new: Tensor, generator: Generator) -> Tensor:
        """Resamples (N, C, H, W) once: slant, stretch, size, shifts, rotation, smooth distortion."""
        c = self.config
        n, _, height, width = ink.shape
        out_width = padded(int(new.max()))
        draw = _signed((n, 5), generator).to(ink.device)
        y = torch.arange(height, device=ink.device, dtype=torch.float32)[None, :, None] - (height - 1) / 2
        x = torch.arange(out_width, device=ink.device, dtype=torch.float32)[None, None, :]
        # Long lines turn less: their ends may leave the image by an eighth of the height at most.
        largest = torch.minimum(torch.full_like(new, math.radians(c.rotate), dtype=torch.float32), height / 4 / new)
        turn = (draw[:, 3] * largest)[:, None, None]
        source_x = x * (old / new)[:, None, None] + (c.slant * draw[:, 0])[:, None, None] * y
        source_x = source_x + (self.shift_x * height * draw[:, 4])[:, None, None]
        source_y = y / (1 + c.scale * draw[:, 1])[:, None, None] + (c.shift * height * draw[:, 2])[:, None, None]
        source_y = source_y + turn * (x - new[:, None, None] / 2)
        if c.elastic:
            cells = (max(2, 4), max(2, round(4 * out_width / height)))
            field = torch.randn(n, 2, *cells, generator=generator).to(ink.device)
            field = F.interpolate(field, (height, out_width), mode="bilinear", align_corners=True) * (
                c.elastic * height
            )
            source_x, source_y = source_x + field[:, 0], source_y + field[:, 1]
        grid = torch.stack(
            ((source_x + 0.5) * (2 / width) - 1, ((source_y + (height - 1) / 2) + 0.5) * (2 / height) - 1), dim=3
        )
        return F.grid_sample(ink, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    def _strokes(self, ink: Tensor, generator: Generator) -> Tensor:
        """Blends in a thicker or thinner copy, then a blurred or sharpened one."""
        c = self.config
        n = ink.shape[0]
        if c.stroke:
            amount = (c.stroke * _signed((n, 1, 1, 1), generator)).to(ink.device)
            thick, thin = _neighbours(ink, torch.maximum), _neighbours(ink, torch.minimum)
            ink = ink + amount.clamp(min=0) * (thick - ink) + (-amount).clamp(min=0) * (thin - ink)
        if c.blur:
            amount = (c.blur * _signed((n, 1, 1, 1), generator)).to(ink.device)
            ink = ink + amount * (F.avg_pool2d(ink, 3, 1, 1) - ink)
        return ink

    def _fading(self, ink: Tensor, generator: Generator) -> Tensor:
        """(N, 1, H, W) factors of the ink: one contrast for each image and a slow change along it."""
        c = self.config
        n, _, height, width = ink.shape
        coarse = 1 - c.contrast * torch.rand(n, 1, 2, max(2, width // height), generator=generator)
        coarse = coarse * (1 + c.contrast * _signed((n, 1, 1, 1), generator))
        return F.interpolate(coarse.to(ink.device), (height, width), mode="bilinear", align_corners=True)

    def _hidden(self, n: int, height: int, width: int, widths: Tensor, generator: Generator) -> Tensor:
        """(N, W) bool, True = painted over with paper: spans of up to half the height."""
        share = self.config.mask * torch.rand(n, 1, generator=generator)
        span = max(2, height // 4)
        # A column starts a span with the probability that covers `share` of the columns on average.
        starts = torch.rand(n, width, generator=generator) < share / span
        hidden = F.max_pool1d(F.pad(starts[:, None].float(), (span - 1, 0)), span, 1)[:, 0] > 0
        return hidden.to(widths.device)


def _neighbours(ink: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Largest or smallest value in each 3x3 neighbourhood; a pooling takes eight times as long on a CPU."""
    for axis in (2, 3):
        size = ink.shape[axis]
        first, last = ink.narrow(axis, 0, 1), ink.narrow(axis, size - 1, 1)
        before, after = (
            torch.cat((first, ink.narrow(axis, 0, size - 1)), axis),
            torch.cat((ink.narrow(axis, 1, size - 1), last), axis),
        )
        ink = pick(pick(ink, before), after)
    return ink


def _signed(shape: tuple[int, ...], generator: Generator) -> Tensor:
    """Uniform numbers in [-1, 1]."""
    return torch.rand(shape, generator=generator) * 2 - 1
