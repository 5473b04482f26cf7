"""What BYOL and MoCo v3 share: a predictor on the online side, and a target that is its moving average.

Letters: M instances, D features, E projection size.
"""

from __future__ import annotations

from typing import cast

import torch
from pydantic import Field
from torch import Generator, Tensor

from htr_ssl.data.batch import Images
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.methods._heads import Target, mlp, rising
from htr_ssl.methods._pair import Pair, PairConfig, View
from htr_ssl.objective import Objective


class MomentumConfig(PairConfig):
    """Options of the target and the heads."""

    ema_decay: float = Field(0.99, ge=0, le=1)
    """Decay of the target at the start; it rises to 1."""
    hidden: int = Field(512, ge=1)
    """Width of the hidden layers of projector and predictor."""
    projection: int = Field(128, ge=1)
    """Width of projections and predictions."""


class Momentum(Objective):
    """Encoder, projector, predictor, and the moving average of the first two."""

    def __init__(self, config: MomentumConfig, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.pair = Pair(config)
        self.projector = mlp(encoder.out_dim, config.hidden, config.projection)
        self.predictor = mlp(config.projection, config.hidden, config.projection)
        self.target = Target(encoder, self.projector)

    def views(self, images: Images, generator: Generator) -> tuple[View, View]:
        """Two copies, changed independently but for their scale along the line; each has other paper at its ends."""
        return self.pair.views(images, self.encoder, generator)

    def predictions(self, images: Images, generator: Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Predictions of both views, and the target's projections of the same places in both, (M, E) each."""
        x1, x2 = self.views(images, generator)
        online = self.pair.instances(*self.pair.frames(self.encoder, x1, x2))
        with torch.no_grad():
            target = self.pair.instances(*self.pair.frames(cast(EncoderModule, self.target[0]), x1, x2))
        h1, h2, t1, t2 = self.pair.some(generator, *online, *target)  # (M, D)
        p1, p2 = (self.predictor(self.projector(h)).float() for h in (h1, h2))
        with torch.no_grad():
            z1, z2 = (self.target[1](t).float() for t in (t1, t2))
        return p1, p2, z1, z2

    def after_step(self, progress: float) -> None:
        """Moves the target."""
        self.target.follow(self.encoder, self.projector, decay=rising(self.config.ema_decay, progress))
