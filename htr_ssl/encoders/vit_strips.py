"""Vision transformer on vertical strips: a token is a strip of 4 px of the full height of the line.

Source: Dosovitskiy et al. 2020, "An image is worth 16x16 words", arXiv 2010.11929; strips as tokens and masked
autoencoding (`method.name: mae`) as in He et al. 2021, arXiv 2111.06377.

Differs from the papers: rotary positions, so that the width is free, and heads that look near and far; no class token.

Letters: N batch, C channels, H height, W width, T tokens = frames, D features.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from htr_ssl.layers.attention import Blocks, TransformerContext, places
from htr_ssl.layers.convolutions import ink
from htr_ssl.layers.frames import Frames, halved
from htr_ssl.layers.strip_encoder import StripEncoder


class Config(BaseModel):
    """Options of the vision transformer."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    preset: Literal["small", "base"] = "small"
    """small: 2 M parameters, for two CPU cores; base: 11 M, for many labels or a GPU."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on what each block adds."""


_PRESETS = {"small": (6, 160, 5), "base": (6, 384, 6)}  # blocks, D, heads


class Backbone(nn.Module):
    """Strips to tokens, and the first half of the blocks."""

    def __init__(self, strip: int, depth: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Linear(strip, width)
        self.blocks = Blocks(depth, width, heads, dropout)

    def embed(self, images: Tensor, widths: Tensor) -> Frames:
        """(N, C, H, W) in [0, 1], (N,) -> one token per strip, which sees that strip alone."""
        x = ink(images, widths)
        x = F.pad(x, (0, -x.shape[3] % 4))
        n, c, h, w = x.shape
        strips = x.view(n, c, h, w // 4, 4).permute(0, 3, 1, 2, 4).flatten(2)  # (N, T, C*H*4)
        return Frames(self.embedding(strips), halved(halved(widths)))

    def forward(self, images: Tensor, widths: Tensor) -> Frames:
        """(N, C, H, W) in [0, 1], (N,) -> frames of 4 px."""
        frames = self.embed(images, widths)
        mask = frames.mask()
        x = self.blocks(frames.features, places(frames.features), mask)
        return Frames(x * mask[..., None].to(x.dtype), frames.lengths)


class Encoder(StripEncoder):
    """Backbone and context model: images to frames."""

    backbone: Backbone
    context: TransformerContext

    def __init__(self, config: Config, height: int, in_channels: int = 1) -> None:
        super().__init__()
        depth, width, heads = _PRESETS[config.preset]
        self.height, self.in_channels = height, in_channels
        self.out_dim = self.backbone_dim = width
        self.backbone = Backbone(4 * height * in_channels, depth // 2, width, heads, config.dropout)
        self.context = TransformerContext(depth - depth // 2, width, heads, config.dropout)

    def embed(self, images: Tensor, widths: Tensor) -> Frames:
        """One token per strip, which sees that strip alone; what masked autoencoding drops tokens from."""
        return self.backbone.embed(images, widths)

    def encode(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Some tokens of a line through all blocks.

        Args:
            tokens: (N, T, D), a part of what `embed` gave.
            positions: (N, T) of the tokens in their line.
            mask: (N, T) bool, False = padding.

        Returns:
            (N, T, D).
        """
        tokens = self.backbone.blocks(tokens, positions, mask)
        x: Tensor = self.context.norm(self.context.blocks(tokens, positions, mask))
        return x
