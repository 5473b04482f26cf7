"""Masked autoencoder: drop most strips of a line, encode the rest, let a light decoder paint what was dropped.

Source: He et al. 2021, "Masked autoencoders are scalable vision learners", arXiv 2111.06377.

Differs from the paper: tokens are vertical strips of free number, each line drops its own share; positions are rotary;
the loss is on pixels standardised per image, not per token, because most strips of a line are nearly all paper.

Letters: N batch, C channels, H height, W width, T tokens, K visible tokens, D features, S pixels per token.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor, nn

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images
from htr_ssl.encoders.vit_strips import Encoder
from htr_ssl.errors import UserError
from htr_ssl.layers.attention import Blocks, places
from htr_ssl.layers.frames import valid
from htr_ssl.methods._pixels import covered, painted, standardised, strips
from htr_ssl.objective import Objective
from htr_ssl.views.augment import TextAugment

ENCODERS = ("vit_strips",)
"""Encoders whose tokens can be dropped."""


class Config(BaseModel):
    """Options of the masked autoencoder."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    ratio: float = Field(0.75, gt=0, lt=1)
    """Share of the strips that is dropped; what is left is all the encoder computes."""
    decoder_width: int = Field(96, ge=16, multiple_of=16)
    """Features of the decoder."""
    decoder_depth: int = Field(2, ge=1)
    """Transformer blocks of the decoder."""
    augment: AugmentConfig = AugmentConfig(mask=0, noise=0.02, blur=0.2)
    """Random changes of the image before a part of it is dropped."""


class Method(Objective):
    """Encoder of the visible strips and decoder of all.

    Raises:
        UserError: the encoder has no tokens that could be dropped.
    """

    encoder: Encoder

    def __init__(self, config: Config, encoder: Encoder) -> None:
        super().__init__()
        if not hasattr(encoder, "embed"):
            raise UserError(
                f"method.name=mae: it drops tokens, which this encoder does not have; use "
                f"encoder.name={ENCODERS[0]} and scope=encoder, or method.name=masked_image"
            )
        self.config, self.encoder = config, encoder
        self.augment = TextAugment(config.augment)
        width = config.decoder_width
        self.enter = nn.Linear(encoder.out_dim, width)
        self.dropped = nn.Parameter(torch.zeros(width))
        self.decoder = Blocks(config.decoder_depth, width, width // 16, dropout=0.0)
        self.leave = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, encoder.stride * encoder.height * encoder.in_channels)
        )

    def views(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """The whole image and the one without the dropped strips."""
        whole = self.augment(images, generator)
        return whole, covered(whole, self._hide(whole, generator), self.encoder.stride)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor]:
        """Squared error on the dropped strips' pixels."""
        whole = self.augment(images, generator)
        hidden = self._hide(whole, generator)
        error = (self._paint(whole, hidden).float() - strips(standardised(whole), self.encoder.stride)).square().mean(2)
        count = hidden.sum().clamp(min=1)
        return {"loss": (error * hidden).sum() / count, "weight": count}

    @torch.no_grad()
    def reconstruct(self, images: Images, generator: Generator) -> tuple[Images, Images, Images]:
        """Whole, masked and repainted images, for a person to look at."""
        whole = self.augment(images, generator)
        hidden = self._hide(whole, generator)
        pixels, stride = painted(self._paint(whole, hidden), whole), self.encoder.stride
        return whole, covered(whole, hidden, stride), covered(whole, hidden, stride, pixels)

    def _hide(self, images: Images, generator: Generator) -> Tensor:
        """(N, T) bool, True = dropped; every line keeps at least one strip."""
        counts = self.encoder.frames(images.widths)
        noise = torch.rand(len(counts), -(-images.pixels.shape[3] // self.encoder.stride), generator=generator)
        inside = valid(counts, noise.shape[1])
        ranks = noise.to(counts.device).masked_fill(~inside, 2.0).argsort(1).argsort(1)
        return inside & (ranks >= self._kept(counts)[:, None])

    def _kept(self, counts: Tensor) -> Tensor:
        """(N,) numbers of visible strips."""
        return (counts * (1 - self.config.ratio)).round().long().clamp(min=1)

    def _paint(self, whole: Images, hidden: Tensor) -> Tensor:
        """Pixels of all strips, (N, T, S*H*C), from those that are not hidden."""
        tokens = self.encoder.embed(whole.pixels, whole.widths)
        inside = tokens.mask()
        kept = self._kept(tokens.lengths)
        # (N, K): positions of the visible strips in reading order, then some of the others as padding.
        positions = (hidden | ~inside).byte().argsort(dim=1, stable=True)[:, : int(kept.max())]
        visible = valid(kept, positions.shape[1])
        seen = tokens.features.gather(1, positions[..., None].expand(-1, -1, tokens.features.shape[2]))
        seen = self.enter(self.encoder.encode(seen, positions, visible))
        x = self.dropped.to(seen.dtype).expand(*hidden.shape, -1)
        index = positions[..., None].expand_as(seen)
        x = x.scatter(1, index, torch.where(visible[..., None], seen, x.gather(1, index)))
        pixels: Tensor = self.leave(self.decoder(x, places(x), inside))
        return pixels
