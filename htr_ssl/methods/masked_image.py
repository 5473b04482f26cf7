"""Masked image modelling on columns: hide spans of the line, paint what was there.

Source: Xie et al. 2021, "SimMIM: A simple framework for masked image modeling", arXiv 2111.09886.

Differs from the paper: what is hidden are spans of whole columns, because a convolutional frame sees all rows of its
columns; hidden pixels become mid-grey, which neither paper nor ink is; the loss is on pixels standardised per image.

Letters: N batch, C channels, H height, W width, T frames, D features, S pixels per frame.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.methods._pixels import covered, painted, standardised, strips
from htr_ssl.objective import Objective
from htr_ssl.views.augment import TextAugment


class Config(BaseModel):
    """Options of masked image modelling."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    ratio: float = Field(0.4, gt=0, lt=1)
    """Share of the frames that is hidden."""
    span: int = Field(4, ge=1)
    """Neighbouring frames hidden together."""
    augment: AugmentConfig = AugmentConfig(mask=0, noise=0.02, blur=0.2)
    """Random changes of the image before a part of it is hidden."""


class Method(Objective):
    """Encoder and a linear decoder from each frame to its pixels."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.augment = TextAugment(config.augment)
        strip = encoder.stride * encoder.height * encoder.in_channels
        self.decoder = nn.Linear(encoder.out_dim, strip)

    def views(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """The whole image and the one with hidden columns."""
        return self._hide(images, generator)[:2]

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor]:
        """Squared error on the hidden frames' pixels."""
        whole, masked, hidden = self._hide(images, generator)
        predicted = self.decoder(self.encoder(masked.pixels, masked.widths).features)  # (N, T, S*H*C)
        wanted = strips(standardised(whole), self.encoder.stride)  # (N, T, S*H*C)
        error = (predicted.float() - wanted).square().mean(2)
        count = hidden.sum().clamp(min=1)
        return {"loss": (error * hidden).sum() / count, "weight": count}

    @torch.no_grad()
    def reconstruct(self, images: Images, generator: Generator) -> tuple[Images, Images, Images]:
        """Whole, masked and repainted images, for a person to look at."""
        whole, masked, hidden = self._hide(images, generator)
        predicted = self.decoder(self.encoder(masked.pixels, masked.widths).features)
        return whole, masked, covered(whole, hidden, self.encoder.stride, painted(predicted, whole))

    def _hide(self, images: Images, generator: Generator) -> tuple[Images, Images, Tensor]:
        """Whole and masked images, and the hidden frames: (N, T) bool, True = hidden."""
        whole = self.augment(images, generator)
        frames = self.encoder.frames(whole.widths)
        n, count = frames.shape[0], -(-whole.pixels.shape[3] // self.encoder.stride)
        # Starts of spans come with the probability that leaves 1 - ratio of the frames uncovered.
        start = 1 - (1 - self.config.ratio) ** (1 / self.config.span)
        starts = (torch.rand(n, count, generator=generator) < start).float()
        hidden = F.max_pool1d(F.pad(starts[:, None], (self.config.span - 1, 0)), self.config.span, 1)[:, 0] > 0
        hidden = hidden.to(frames.device) & (torch.arange(count, device=frames.device) < frames[:, None])
        return whole, covered(whole, hidden, self.encoder.stride), hidden
