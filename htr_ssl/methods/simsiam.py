"""SimSiam on parts of a line: predict the projection of the other view, which gets no gradient; no target network.

Source: Chen and He 2021, "Exploring simple Siamese representation learning", arXiv 2011.10566 (algorithm 1).

Differs from the paper: instances are images, windows or frames of a line; smaller heads; the predictor has the
learning rate of all. On a whole encoder, whose LSTM knows the place in the line, it collapsed in every longer training
tried here; with `scope: backbone` it did not (benchmarks/diary.md).

Letters: M instances, D features, E projection size.
"""

from __future__ import annotations

from pydantic import Field
from torch import Generator, Tensor

from htr_ssl.data.batch import Images
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.methods._heads import agreement, mlp
from htr_ssl.methods._pair import Pair, PairConfig, View
from htr_ssl.objective import Objective


class Config(PairConfig):
    """Options of SimSiam."""

    hidden: int = Field(512, ge=1)
    """Width of the projector's hidden layers."""
    projection: int = Field(256, ge=1)
    """Width of projections and predictions."""
    bottleneck: int = Field(64, ge=1)
    """Width of the predictor's hidden layer; a quarter of the projection in the paper."""


class Method(Objective):
    """Encoder, projector and predictor."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.pair = Pair(config)
        self.projector = mlp(encoder.out_dim, config.hidden, config.projection, layers=3, last_norm=True)
        self.predictor = mlp(config.projection, config.bottleneck, config.projection)

    def views(self, images: Images, generator: Generator) -> tuple[View, View]:
        """Two copies, changed independently but for their scale along the line; each has other paper at its ends."""
        return self.pair.views(images, self.encoder, generator)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor | float]:
        """Negative cosine between each view's prediction and the other's projection."""
        h1, h2 = self.pair.instances(*self.pair.frames(self.encoder, *self.views(images, generator)))
        h1, h2 = self.pair.some(generator, h1, h2)  # (M, D)
        z1, z2 = (self.projector(h).float() for h in (h1, h2))  # (M, E)
        p1, p2 = (self.predictor(z).float() for z in (z1, z2))
        return {"loss": agreement(p1, p2, z1, z2), "weight": float(len(p1))}
