"""MoCo v3 on parts of a line: a prediction from one view finds the same place in the target's other view.

Source: Chen, Xie, He 2021, "An empirical study of training self-supervised vision transformers", arXiv 2104.02057
(algorithm 1): no queue, a predictor on the online side, the target is a moving average, the loss is symmetric.

Differs from the paper: instances are images, windows or frames of a line (arXiv 2012.10873), so that the batch has
enough negatives at a size a CPU can do; smaller heads, without the batch norm behind their last layers.

Letters: M instances, E projection size.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from htr_ssl.data.batch import Images
from htr_ssl.layers.collective import full_precision, gather
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.methods._heads import Target, mlp, rising
from htr_ssl.methods._pair import Pair, PairConfig, View


class Config(PairConfig):
    """Options of MoCo v3."""

    temperature: float = Field(0.2, gt=0)
    """Divisor of the similarities."""
    ema_decay: float = Field(0.99, ge=0, le=1)
    """Decay of the target at the start; it rises to 1."""
    hidden: int = Field(512, ge=1)
    """Width of the hidden layers of projector and predictor."""
    projection: int = Field(128, ge=1)
    """Width of projections and predictions."""


class Method(nn.Module):
    """Encoder, projector, predictor, and the moving average of the first two."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.pair = Pair(config)
        self.projector = mlp(encoder.out_dim, config.hidden, config.projection)
        self.predictor = mlp(config.projection, config.hidden, config.projection)
        self.target = Target(encoder, self.projector)  # type: ignore[arg-type]

    def views(self, images: Images, generator: Generator) -> tuple[View, View]:
        """Two copies, changed independently but for their scale along the line; each has other paper at its ends."""
        return self.pair.views(images, self.encoder, generator)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor | float]:
        """Cross entropy of finding each prediction's partner among the target's projections, both ways."""
        x1, x2 = self.views(images, generator)
        online = self.pair.instances(*self.pair.frames(self.encoder, x1, x2))
        with torch.no_grad():
            target = self.pair.instances(*self.pair.frames(self.target[0], x1, x2))  # type: ignore[arg-type]
        h1, h2, t1, t2 = self.pair.some(generator, *online, *target)  # (M, D)
        q1, q2 = (gather(self.predictor(self.projector(h)).float()) for h in (h1, h2))  # (M, E)
        with torch.no_grad():
            k1, k2 = (gather(self.target[1](t).float()) for t in (t1, t2))
        loss = info_nce(q1, k2, self.config.temperature) + info_nce(q2, k1, self.config.temperature)
        return {"loss": loss, "weight": 1.0}

    def after_step(self, progress: float) -> None:
        """Moves the target."""
        self.target.follow(self.encoder, self.projector, decay=rising(self.config.ema_decay, progress))  # type: ignore[arg-type]


@full_precision
def info_nce(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """2 * temperature * cross entropy of q's partner among all of k (`ctr` of algorithm 1).

    Args:
        q, k: (M, E) of any length; row i of one belongs to row i of the other.
        temperature: divisor of the cosine similarities.
    """
    similarity = F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / temperature  # (M, M)
    return 2 * temperature * F.cross_entropy(similarity, torch.arange(len(q), device=q.device))
