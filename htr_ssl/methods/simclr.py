"""SimCLR on parts of a line: the same place in two views attracts, everything else in the batch repels.

Sources: Chen et al. 2020, "A simple framework for contrastive learning of visual representations", arXiv 2002.05709;
Aberdam et al. 2021, "Sequence-to-sequence contrastive learning for text recognition" (SeqCLR), arXiv 2012.10873,
whose instance mappings say what one instance is: the image (all), a window of frames, or a frame.

Differs from the papers: both views of an image are stretched alike, so that they have the same frames for any width;
windows have a fixed number of frames rather than their number being fixed per image.

Letters: N batch, T frames, D features, M instances, E projection size.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor, nn, unflatten
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.augment import TextAugment
from htr_ssl.data.batch import Images
from htr_ssl.encoders._contract import EncoderModule


class Config(BaseModel):
    """Options of SimCLR."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    instance: Literal["all", "window", "frame"] = "window"
    """What is compared: whole images, windows of frames, or single frames."""
    window: int = Field(5, ge=1)
    """Frames per window."""
    temperature: float = Field(0.1, gt=0)
    """Divisor of the similarities."""
    hidden: int = Field(256, ge=1)
    """Width of the projector's hidden layer."""
    projection: int = Field(128, ge=1)
    """Width of the projections."""
    instances: int = Field(1024, ge=2)
    """Most instances of a view compared at once; more are drawn from."""
    shift: float = Field(0.06, ge=0, le=0.5)
    """Largest horizontal shift between the views [share of the height]."""
    augment: AugmentConfig = AugmentConfig(slant=0.35, scale=0.15, contrast=0.5, noise=0.08, blur=0.6)
    """Random changes of each view."""


class Method(nn.Module):
    """Encoder and projector."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.augment = TextAugment(config.augment, shift_x=config.shift)
        self.projector = nn.Sequential(
            nn.Linear(encoder.out_dim, config.hidden),
            nn.ReLU(),
            nn.Linear(config.hidden, config.projection),
        )

    def views(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """Two copies, changed independently but for their width."""
        stretch = self.augment.draw_stretch(images.pixels.shape[0], generator)
        return self.augment(images, generator, stretch), self.augment(images, generator, stretch)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor]:
        """NT-Xent between the instances of two views."""
        x1, x2 = self.views(images, generator)
        z1, z2 = self._instances(x1), self._instances(x2)  # (M, E) each
        if len(z1) > self.config.instances:
            chosen = torch.randperm(len(z1), generator=generator)[: self.config.instances].to(z1.device)
            z1, z2 = z1[chosen], z2[chosen]
        return {"loss": nt_xent(z1, z2, self.config.temperature), "spread": z1.detach().std(0).mean()}

    def _instances(self, images: Images) -> Tensor:
        """Normalised projections of all instances in the batch, (M, E)."""
        frames = self.encoder(images.pixels, images.widths)
        z = self.projector(frames.features).float()  # (N, T, E)
        mask = frames.mask()
        if self.config.instance != "frame":
            size = self.config.window if self.config.instance == "window" else z.shape[1]
            z, mask = pooled(z, mask, size)
        return F.normalize(z[mask], dim=1)


def pooled(z: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Means over windows of `size` frames: (N, T, E), (N, T) -> (N, T', E), (N, T').

    A window counts if at least half of it is valid; the first of an image always does.
    """
    short = -z.shape[1] % size
    z, mask = F.pad(z, (0, 0, 0, short)), F.pad(mask, (0, short))
    weight = unflatten(mask, 1, (-1, size)).float()  # (N, T', size)
    valid = weight.sum(2)
    means = (unflatten(z, 1, (-1, size)) * weight[..., None]).sum(2) / valid.clamp(min=1)[..., None]
    keep = valid * 2 >= size
    keep[:, 0] = True
    return means, keep


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
