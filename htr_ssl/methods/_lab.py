"""CIE Lab under D65 from sRGB and back, and bins of its two chroma axes.

Source: IEC 61966-2-1 (sRGB), CIE 15 (Lab); bins, soft labels and rebalancing of classes as in Zhang et al. 2016,
"Colorful image colorization", arXiv 1603.08511.

Letters: N batch, H height, W width, M cells, Q bins.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from htr_ssl.layers.collective import total

_TO_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_TO_RGB = ((3.240479, -1.537150, -0.498535), (-0.969256, 1.875991, 0.041556), (0.055648, -0.204043, 1.057311))
_WHITE = (0.950456, 1.0, 1.088754)  # D65
_NEAREST = 5  # bins that share a soft label
_SIGMA = 5.0  # of soft labels and of the smoothing


def lab(rgb: Tensor) -> Tensor:
    """(N, 3, H, W) sRGB in [0, 1] -> L in [0, 100], a and b in about [-110, 110]."""
    linear = torch.where(rgb > 0.04045, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mixed(linear, [[value / white for value in row] for row, white in zip(_TO_XYZ, _WHITE, strict=True)])
    cubic = torch.where(xyz > 216 / 24389, xyz.clamp(min=1e-6) ** (1 / 3), xyz * (24389 / 27 / 116) + 16 / 116)
    x, y, z = cubic.unbind(1)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), 1)


def rgb(values: Tensor) -> Tensor:
    """(N, 3, H, W) Lab -> sRGB in [0, 1]; what lies outside is clipped."""
    level, a, b = values.unbind(1)
    y = (level + 16) / 116
    cubic = torch.stack((y + a / 500, y, y - b / 200), 1)
    xyz = torch.where(cubic > 6 / 29, cubic**3, (cubic - 16 / 116) * (116 * 27 / 24389))
    linear = _mixed(xyz, [[value * white for value, white in zip(row, _WHITE, strict=True)] for row in _TO_RGB])
    curved = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear > 0.0031308, curved, 12.92 * linear).clamp(0, 1)


def _mixed(channels: Tensor, matrix: list[list[float]]) -> Tensor:
    """(N, 3, H, W) channels times a 3x3 matrix, in the precision they have."""
    x, y, z = channels.unbind(1)
    return torch.stack([row[0] * x + row[1] * y + row[2] * z for row in matrix], 1)


def gamut(size: float, reach: float) -> Tensor:
    """Centres (Q, 2) of the bins on a grid of `size` that sRGB colours fall into and that lie within `reach` of gray.

    Size 10 and a reach of 150, which is all, are the bins of the paper.
    """
    steps = torch.linspace(0, 1, 52)  # every fifth of 256 levels
    colours = torch.cartesian_prod(steps, steps, steps).T[None, :, :, None]
    centres = torch.unique((lab(colours)[0, 1:, :, 0].T / size).round(), dim=0) * size
    inside: Tensor = centres[centres.norm(dim=1) <= reach]
    return inside


class Rebalanced(nn.Module):
    """Running distribution of classes, and the weights that make rare ones count.

    The paper takes the distribution of all of ImageNet; here it is an average over the batches seen, the plain mean of
    the first hundred and a moving one from then on, so that it needs no pass over the data. A batch is that of all
    processes.

    Args:
        centres: (Q, 2) of bins whose distribution is smoothed, or (Q, 0) for classes without neighbours.
        uniform: share of a uniform distribution mixed in (lambda).
    """

    distribution: Tensor
    seen: Tensor
    smoothing: Tensor

    def __init__(self, centres: Tensor, uniform: float) -> None:
        super().__init__()
        self.uniform = uniform
        count = len(centres)
        near = torch.exp(-torch.cdist(centres, centres).square() / (2 * _SIGMA**2)) if centres.shape[1] else None
        near = torch.eye(count) if near is None else near / near.sum(1, keepdim=True)
        self.register_buffer("smoothing", near, persistent=False)
        self.register_buffer("distribution", torch.full((count,), 1 / count))
        self.register_buffer("seen", torch.zeros(()))

    @torch.no_grad()
    def update(self, classes: Tensor) -> None:
        """Takes the classes (M,) of one batch, of which there is one at least, into the average."""
        counts = total(torch.bincount(classes, minlength=len(self.distribution)))
        share = counts / counts.sum()
        self.seen += 1
        self.distribution.lerp_(share.to(self.distribution.dtype), (1 / self.seen).clamp(min=0.01))

    def weights(self) -> Tensor:
        """(Q,) weights of the classes; their mean under the smoothed distribution is 1."""
        smoothed = self.distribution @ self.smoothing
        weights = 1 / ((1 - self.uniform) * smoothed + self.uniform / len(smoothed))
        return weights / (smoothed * weights).sum()


def soft_labels(chroma: Tensor, centres: Tensor) -> Tensor:
    """(M, 2) a and b -> (M, Q), shared among the five nearest bins by their distance."""
    distance, nearest = torch.cdist(chroma, centres).topk(min(_NEAREST, len(centres)), largest=False)
    share = torch.softmax(-distance.square() / (2 * _SIGMA**2), 1)
    return torch.zeros(len(chroma), len(centres), device=chroma.device).scatter_(1, nearest, share)
