"""BYOL on parts of a line: predict the target's projection of the other view; no negatives.

Source: Grill et al. 2020, "Bootstrap your own latent", arXiv 2006.07733.

Differs from the paper: instances are images, windows or frames of a line; smaller heads; the target moves faster at
first (0.996 there, for ten thousands of updates). The loss is half the sum of both directions' negative cosines, in
[-1, 1]: the paper's 2 - 2 cos, summed over both directions, is 4 + 4 times it.

Letters: M instances, E projection size.
"""

from __future__ import annotations

from torch import Generator, Tensor

from htr_ssl.data.batch import Images
from htr_ssl.methods._heads import agreement
from htr_ssl.methods._momentum import Momentum, MomentumConfig


class Config(MomentumConfig):
    """Options of BYOL."""


class Method(Momentum):
    """Encoder, projector, predictor, and the moving average of the first two."""

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor | float]:
        """Negative cosine between prediction and the target's projection of the other view."""
        p1, p2, z1, z2 = self.predictions(images, generator)  # (M, E)
        return {"loss": agreement(p1, p2, z1, z2), "weight": float(len(p1))}
