"""Ink and paper of an image, and images in which the two are hard to tell apart.

Letters: N batch, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from htr_ssl.data.batch import Images
from htr_ssl.layers.frames import valid
from htr_ssl.views.photometric import enlarged

_LEVELS = 64
_LEAST = 0.15  # distance of the mean tones of ink and paper below which an image is blank


def binarised(images: Images) -> Tensor:
    """(N, 1, H, W) bool, True = ink: darker than the threshold of the image (Otsu 1979), False right of the image.

    An image whose two halves of the histogram are nearly of one tone is blank: it has no ink.
    """
    ink = 1 - images.pixels.float().mean(1, keepdim=True)
    inside = valid(images.widths, ink.shape[3])[:, None, None, :].expand_as(ink)
    level = (ink * (_LEVELS - 1)).round().long().clamp(0, _LEVELS - 1)
    counts = torch.zeros(len(ink), _LEVELS, device=ink.device)
    counts.scatter_add_(1, level.flatten(1), inside.flatten(1).float())
    share = counts / counts.sum(1, keepdim=True)
    tones = torch.linspace(0, 1, _LEVELS, device=ink.device)
    below, below_tone = share.cumsum(1), (share * tones).cumsum(1)
    above, above_tone = 1 - below, below_tone[:, -1:] - below_tone
    distance = above_tone / above.clamp(min=1e-6) - below_tone / below.clamp(min=1e-6)
    best = (below * above * distance.square()).argmax(1, keepdim=True)
    blank = distance.gather(1, best) < _LEAST
    return (level > best[..., None, None]) & inside & ~blank[..., None, None]


def degraded(images: Images, damage: float, generator: Generator) -> Images:
    """Images with faded, blurred ink on shaded, noisy paper; shadows are darker than the faintest strokes.

    Args:
        images: (N, C, H, W) in [0, 1].
        damage: strength; 0 = as they are.
        generator: of the CPU; the only source of randomness.
    """
    ink = 1 - images.pixels
    n, _, height, width = ink.shape

    def smooth(cells: int) -> Tensor:
        """Uniform numbers in [0, 1] that change slowly, about `cells` times in a height, (N, 1, H, W)."""
        size = (n, 1, cells + 1, max(2, cells * width // height + 1))
        return enlarged(torch.rand(size, generator=generator), ink)

    blurred = F.avg_pool2d(ink, 3, 1, 1)
    ink = ink + min(damage, 1.0) * torch.rand(n, 1, 1, 1, generator=generator).to(ink.device) * (blurred - ink)
    ink = ink * (1 - 0.85 * min(damage, 1.0) * smooth(1).sqrt())
    ink = ink + 0.4 * damage * smooth(2)
    ink = ink + 0.06 * damage * torch.randn(n, 1, height, width, generator=generator).to(ink.device)
    inside = valid(images.widths, width)[:, None, None, :]
    return Images(1 - ink.clamp(0, 1) * inside, images.widths)
