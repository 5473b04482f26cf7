"""VICReg on parts of a line: views agree (invariance), every feature varies, and no two features say the same.

Source: Bardes, Ponce, LeCun 2022, "VICReg: variance-invariance-covariance regularization", arXiv 2105.04906.

Differs from the paper: instances are images, windows or frames of a line; a smaller expander. As in the authors' code
the variance terms of the two views are averaged and the covariance terms summed; the paper's eq. 6 sums both.

Letters: M instances, D features, E projection size.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F

from htr_ssl.data.batch import Images
from htr_ssl.layers.collective import full_precision, gather
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.methods._heads import mlp
from htr_ssl.methods._pair import Pair, PairConfig, View
from htr_ssl.objective import Objective


class Config(PairConfig):
    """Options of VICReg."""

    invariance: float = Field(25.0, ge=0)
    """Weight of the distance between the views (lambda)."""
    variance: float = Field(25.0, ge=0)
    """Weight of the hinge on the standard deviations (mu); 0 lets everything become one point."""
    covariance: float = Field(1.0, ge=0)
    """Weight of the covariances (nu)."""
    gamma: float = Field(1.0, gt=0)
    """Standard deviation that every feature should reach."""
    eps: float = Field(1e-4, gt=0)
    """Added to the variances."""
    hidden: int = Field(512, ge=1)
    """Width of the expander's hidden layers."""
    projection: int = Field(512, ge=2)
    """Width of the embeddings."""


class Method(Objective):
    """Encoder and expander."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.pair = Pair(config)
        self.projector = mlp(encoder.out_dim, config.hidden, config.projection, layers=3)

    def views(self, images: Images, generator: Generator) -> tuple[View, View]:
        """Two copies, changed independently but for their scale along the line; each has other paper at its ends."""
        return self.pair.views(images, self.encoder, generator)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor | float]:
        """Weighted sum of the three terms."""
        h1, h2 = self.pair.instances(*self.pair.frames(self.encoder, *self.views(images, generator)))
        z1, z2 = (gather(self.projector(h).float()) for h in self.pair.some(generator, h1, h2))  # (M, E)
        return {"weight": 1.0, **vicreg(z1, z2, self.config)}


def vicreg(z1: Tensor, z2: Tensor, config: Config) -> dict[str, Tensor]:
    """Loss (eq. 6) and its three terms of two views' embeddings, (M, E) each."""
    c = config
    terms = {
        "invariance": F.mse_loss(z1, z2),
        "variance": 0.5 * (variance(z1, c.gamma, c.eps) + variance(z2, c.gamma, c.eps)),
        "covariance": covariance(z1) + covariance(z2),
    }
    loss = c.invariance * terms["invariance"] + c.variance * terms["variance"] + c.covariance * terms["covariance"]
    return {"loss": loss, **{name: term.detach() for name, term in terms.items()}}


def variance(z: Tensor, gamma: float, eps: float) -> Tensor:
    """v(Z): mean over the columns of (M, E) of max(0, gamma - sqrt(Var + eps)) (eq. 1, 2)."""
    return F.relu(gamma - (z.var(0) + eps).sqrt()).mean()


@full_precision
def covariance(z: Tensor) -> Tensor:
    """c(Z): sum of the squared covariances of different columns of (M, E), divided by E (eq. 3, 4)."""
    z = z - z.mean(0)
    c = z.T @ z / (len(z) - 1)  # (E, E)
    return (c.square().sum() - torch.diagonal(c).square().sum()) / z.shape[1]
