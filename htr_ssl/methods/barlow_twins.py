"""Barlow Twins on parts of a line: the features of two views correlate one to one and with nothing else.

Source: Zbontar et al. 2021, "Barlow Twins: self-supervised learning via redundancy reduction", arXiv 2103.03230.

Differs from the paper: instances are images, windows or frames of a line; a smaller projector; the whole is multiplied
by `scale`, as in the authors' code (`--scale-loss`, 0.024 there).

Letters: M instances, D features, E projection size.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from htr_ssl.data.batch import Images
from htr_ssl.layers.collective import full_precision, gather
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.methods._heads import mlp
from htr_ssl.methods._pair import Pair, PairConfig, View
from htr_ssl.objective import Objective


class Config(PairConfig):
    """Options of Barlow Twins."""

    off_diagonal: float = Field(5e-3, gt=0)
    """Weight of the off-diagonal terms (lambda)."""
    scale: float = Field(0.1, gt=0)
    """Factor of the whole loss."""
    hidden: int = Field(512, ge=1)
    """Width of the projector's hidden layers."""
    projection: int = Field(512, ge=2)
    """Width of the projections."""


class Method(Objective):
    """Encoder and projector."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.pair = Pair(config)
        self.projector = mlp(encoder.out_dim, config.hidden, config.projection, layers=3)

    def views(self, images: Images, generator: Generator) -> tuple[View, View]:
        """Two copies, changed independently but for their scale along the line; each has other paper at its ends."""
        return self.pair.views(images, self.encoder, generator)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor | float]:
        """Distance of the views' cross-correlation from the identity."""
        h1, h2 = self.pair.instances(*self.pair.frames(self.encoder, *self.views(images, generator)))
        z1, z2 = (gather(self.projector(h).float()) for h in self.pair.some(generator, h1, h2))  # (M, E)
        return {"loss": self.config.scale * barlow_twins(z1, z2, self.config.off_diagonal), "weight": 1.0}


@full_precision
def barlow_twins(z1: Tensor, z2: Tensor, off_diagonal: float) -> Tensor:
    """sum_i (1 - C_ii)^2 + lambda * sum_{i != j} C_ij^2 (eq. 1), C the correlation of the columns of (M, E)."""
    z1, z2 = (nn.functional.batch_norm(z, None, None, training=True, eps=1e-5) for z in (z1, z2))
    correlation = z1.T @ z2 / len(z1)  # (E, E)
    diagonal = torch.diagonal(correlation)
    rest = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + off_diagonal * rest
