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
from torch import Generator, Tensor
from torch.nn import functional as F

from htr_ssl.data.batch import Images
from htr_ssl.layers.collective import full_precision, gather
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.methods._momentum import Momentum, MomentumConfig


class Config(MomentumConfig):
    """Options of MoCo v3."""

    temperature: float = Field(0.2, gt=0)
    """Divisor of the similarities."""


class Method(Momentum):
    """Encoder, projector, predictor, and the moving average of the first two."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__(config, encoder)
        self.temperature = config.temperature

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor | float]:
        """Cross entropy of finding each prediction's partner among the target's projections, both ways."""
        q1, q2, k1, k2 = map(gather, self.predictions(images, generator))  # (M, E)
        loss = info_nce(q1, k2, self.temperature) + info_nce(q2, k1, self.temperature)
        return {"loss": loss, "weight": 1.0}


@full_precision
def info_nce(q: Tensor, k: Tensor, temperature: float) -> Tensor:
    """2 * temperature * cross entropy of q's partner among all of k (`ctr` of algorithm 1).

    Args:
        q, k: (M, E) of any length; row i of one belongs to row i of the other.
        temperature: divisor of the cosine similarities.
    """
    similarity = F.normalize(q, dim=1) @ F.normalize(k, dim=1).T / temperature  # (M, M)
    return 2 * temperature * F.cross_entropy(similarity, torch.arange(len(q), device=q.device))
