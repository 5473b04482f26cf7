"""SimCLR on parts of a line: the same place in two views attracts, everything else in the batch repels.

Sources: Chen et al. 2020, "A simple framework for contrastive learning of visual representations", arXiv 2002.05709;
Aberdam et al. 2021, "Sequence-to-sequence contrastive learning for text recognition" (SeqCLR), arXiv 2012.10873,
whose instance mappings say what one instance is: the image (all), a window of frames, or a frame.

Differs from the papers: both views of an image are stretched alike, so that they have the same frames for any width;
windows have a fixed number of frames rather than their number being fixed per image.

Letters: N batch, T frames, D features, M instances, E projection size.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional as F

from htr_ssl.data.batch import Images
from htr_ssl.layers.collective import full_precision, gather
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.frames import Frames
from htr_ssl.methods._heads import mlp
from htr_ssl.methods._pair import Pair, PairConfig, View
from htr_ssl.objective import Objective


class Config(PairConfig):
    """Options of SimCLR."""

    temperature: float = Field(0.1, gt=0)
    """Divisor of the similarities."""
    hidden: int = Field(256, ge=1)
    """Width of the projector's hidden layer."""
    projection: int = Field(128, ge=1)
    """Width of the projections."""


class Method(Objective):
    """Encoder and projector."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.pair = Pair(config)
        self.projector = mlp(encoder.out_dim, config.hidden, config.projection, norm=False)

    def views(self, images: Images, generator: Generator) -> tuple[View, View]:
        """Two copies, changed independently but for their scale along the line; each has other paper at its ends."""
        return self.pair.views(images, self.encoder, generator)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor | float]:
        """NT-Xent between the instances of two views."""
        h1, h2 = self.pair.frames(self.encoder, *self.views(images, generator))  # (N, T, D)
        z1, z2 = self.pair.instances(self._projected(h1), self._projected(h2))  # (M, E)
        z1, z2 = (gather(F.normalize(z, dim=1)) for z in self.pair.some(generator, z1, z2))
        loss = nt_xent(z1, z2, self.config.temperature)
        return {"loss": loss, "weight": 1.0, "spread": z1.detach().std(0).mean()}

    def _projected(self, frames: Frames) -> Frames:
        """Projections of the frames, before they are pooled to instances as in SeqCLR."""
        return Frames(self.projector(frames.features).float(), frames.lengths)


@full_precision
def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy, the mean over both directions (eq. 1 of SimCLR).

    Args:
        z1, z2: (M, E) of length 1; row i of one belongs to row i of the other.
        temperature: divisor of the cosine similarities.
    """
    z = torch.cat((z1, z2))  # (2M, E)
    similarity = z @ z.T / temperature
    similarity.fill_diagonal_(-torch.inf)
    partner = torch.arange(2 * len(z1), device=z.device).roll(len(z1))
    return F.cross_entropy(similarity, partner)
