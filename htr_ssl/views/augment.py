"""Random changes of handwriting images, for a whole batch at once on the device that trains.

No flips, the reading direction and the order of letters are kept. One resampling does slant, stretch, size, shift,
crop, rotation, perspective and smooth local distortion; what changes the pixels in their place
(`htr_ssl.views.photometric`) follows. Whole batches are changed at once, because Python for each image would be slow.

Letters: N batch, C channels, H height, W width.
"""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images, padded
from htr_ssl.layers.frames import valid
from htr_ssl.views import photometric
from htr_ssl.views.photometric import signed
from htr_ssl.views.pipeline import Pipeline

VIEWS = AugmentConfig(
    slant=0.35,
    scale=0.15,
    perspective=0.04,
    crop=0.12,
    contrast=0.5,
    fading=0.5,
    blur=0.6,
    bleed=0.25,
    texture=0.2,
    noise=0.04,
)
"""Strengths for the two views of joint-embedding methods: the writing looks otherwise, its letters stay readable."""


class TextAugment:
    """Draws a changed copy of each image.

    Args:
        config: strengths.
        shift_x: largest horizontal shift [share of the height], for the views of joint-embedding methods.
    """

    def __init__(self, config: AugmentConfig, shift_x: float = 0.0) -> None:
        self.config = config
        self.shift_x = shift_x
        self.pipeline = None if config.pipeline is None else Pipeline(config.pipeline)

    def __call__(
        self,
        images: Images,
        generator: Generator,
        stretch: Tensor | None = None,
        margins: tuple[Tensor, Tensor] | None = None,
    ) -> Images:
        """Changed copies.

        Args:
            images: (N, C, H, W) in [0, 1].
            generator: of the CPU; the only source of randomness.
            stretch: (N,) factors of the width to use instead of drawn ones, so that two views stay aligned.
            margins: paper put before and after each stretched image [px], (N,) each; of a negative one, so much is cut.

        Returns:
            Images of the same height; widths change with the stretch and the margins.
        """
        c = self.config
        n = images.pixels.shape[0]
        if stretch is None:
            stretch = self.draw_stretch(n, generator)
        if self.pipeline is not None:
            images = self.pipeline(images, generator)
        ink = 1 - images.pixels
        ink = ink * valid(images.widths, ink.shape[3])[:, None, None, :]
        widths = self.stretched(images.widths, stretch)
        start, size = torch.zeros_like(widths), widths
        if margins is not None:
            start, size = margins[0], widths + margins[0] + margins[1]
        ink = self._warp(ink, images.widths, widths, start, size, generator)
        widths = size
        ink = self._changed(ink, widths, generator)
        keep = valid(widths, ink.shape[3])[:, None, None, :]
        if c.mask:
            keep = keep & ~photometric.hidden(ink, c.mask, generator)[:, None, None, :]
        return Images(1 - (ink * keep).clamp_(0, 1), widths)

    def draw_stretch(self, n: int, generator: Generator) -> Tensor:
        """(N,) factors of the width."""
        return 1 + self.config.stretch * signed((n,), generator)

    @staticmethod
    def stretched(widths: Tensor, stretch: Tensor) -> Tensor:
        """(N,) widths [px] after stretching by (N,) factors."""
        return (widths * stretch.to(widths.device)).round().long().clamp(min=8)

    def _warp(self, ink: Tensor, old: Tensor, new: Tensor, start: Tensor, size: Tensor, generator: Generator) -> Tensor:
        """Resamples (N, C, H, W) once: slant, stretch, size, crop, shifts, rotation, perspective, smooth distortion.

        Args:
            ink: the images.
            old, new: (N,) widths before and after stretching [px].
            start: (N,) where the stretched image begins in the result [px].
            size: (N,) widths of the results [px].
            generator: the only source of randomness.
        """
        c = self.config
        n, _, height, width = ink.shape
        out_width = padded(int(size.max()))
        draw = signed((n, 5), generator).to(ink.device)
        y = torch.arange(height, device=ink.device, dtype=torch.float32)[None, :, None] - (height - 1) / 2
        x = torch.arange(out_width, device=ink.device, dtype=torch.float32)[None, None, :] - start[:, None, None]
        # Long lines turn less: their ends may leave the image by an eighth of the height at most.
        largest = torch.minimum(torch.full_like(new, math.radians(c.rotate), dtype=torch.float32), height / 4 / new)
        turn = (draw[:, 3] * largest)[:, None, None]
        source_x = x * (old / new)[:, None, None] + (c.slant * draw[:, 0])[:, None, None] * y
        source_x = source_x + (self.shift_x * height * draw[:, 4])[:, None, None]
        source_y = y / (1 + c.scale * draw[:, 1])[:, None, None] + (c.shift * height * draw[:, 2])[:, None, None]
        source_y = source_y + turn * (x - new[:, None, None] / 2)
        if c.crop:
            cut = (c.crop * torch.rand(n, 2, generator=generator)).to(ink.device)[:, :, None, None]  # top, bottom
            source_y = source_y * (1 - cut[:, 0] - cut[:, 1]) + (cut[:, 0] - cut[:, 1]) * (height / 2)
        if c.perspective:
            field = self._corners(y / (height - 1) + 0.5, x / new[:, None, None], generator)
            source_x, source_y = source_x + field[:, 0], source_y + field[:, 1]
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

    def _corners(self, down: Tensor, along: Tensor, generator: Generator) -> Tensor:
        """Shifts of all pixels [px], (N, 2, H, W) for x and y: those of the four corners, in proportion between them.

        A true projection would also crowd one end of the line: frames of two views would part.

        Args:
            down: (1, H, 1), 0 in the top row, 1 in the bottom row.
            along: (N, 1, W), 0 at the left end of the image, 1 at its right end.
            generator: the only source of randomness.
        """
        largest = self.config.perspective * down.shape[1]
        corners = (largest * signed((len(along), 2, 2, 2), generator)).to(down.device)  # x and y, top and bottom, ends
        ends = corners[:, :, :1] * (1 - down[:, None]) + corners[:, :, 1:] * down[:, None]  # (N, 2, H, 2)
        return ends[..., :1] * (1 - along[:, None]) + ends[..., 1:] * along[:, None]

    def _changed(self, ink: Tensor, widths: Tensor, generator: Generator) -> Tensor:
        """Changes the pixels in their place; what has no strength draws nothing."""
        c = self.config
        if c.stroke:
            ink = photometric.strokes(ink, c.stroke, generator)
        if c.blur:
            ink = photometric.blurred(ink, c.blur, generator)
        if c.contrast:
            ink = photometric.contrasted(ink, c.contrast, generator)
        if c.fading:
            ink = photometric.faded(ink, c.fading, generator)
        if c.bleed:
            ink = photometric.bled(ink, widths, c.bleed, generator)
        if c.texture:
            ink = photometric.papered(ink, c.texture, generator)
        if c.noise:
            ink = photometric.noisy(ink, c.noise, generator)
        return ink
