"""Transformer over sequences of free length. Some of its heads look at near frames, others far.

Sources:

- Transformer: Vaswani et al. 2017, arXiv 1706.03762, with the norm before each part (Xiong et al. 2020, arXiv
  2002.04745).
- Rotary positions: Su et al. 2021, "RoFormer", arXiv 2104.09864. Attention depends on distances only, and lines may be
  longer than those of the training.
- Bias against distance: Press et al. 2021, "ALiBi", arXiv 2108.12409. A letter is a few frames wide; a head that looks
  that far from the start learns to read sooner (benchmarks/results/recipe.md).

Differs from ALiBi: the bias works in both directions, because rotary positions already tell left from right. The last
head has no bias.

Letters: N batch, T tokens, D features, E features per head, H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from htr_ssl.layers.frames import Frames


def rotations(positions: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines, (N, 1, T, size / 2), of positions (N, T) for heads of `size` features."""
    rates = 10000 ** (-torch.arange(0, size, 2, device=positions.device, dtype=torch.float32) / size)
    angles = positions[:, None, :, None].float() * rates
    return angles.cos(), angles.sin()


def nearness(positions: Tensor, slopes: Tensor) -> Tensor:
    """(N, H, T, T) bias of tokens at positions (N, T): minus their distance times the slope (H,) of the head."""
    distance = (positions[:, None, :, None] - positions[:, None, None, :]).abs()
    return distance * -slopes[:, None, None]


def rotate(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """Turns pairs of features, (N, heads, T, E), by the angles of their token's position."""
    cos, sin = (part.to(x.dtype) for part in turns)
    first, second = x.chunk(2, 3)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), 3)


class Block(nn.Module):
    """Self-attention and a two-layer perceptron, each added to what came in.

    Args:
        width: D.
        heads: D / heads features each, an even number.
        dropout: on what is added, while training.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.shrink = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, turns: tuple[Tensor, Tensor], bias: Tensor) -> Tensor:
        """(N, T, D) -> (N, T, D); `bias` (N, H, T, T) is added to what a token (row) makes of another one (column)."""
        n, count, width = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(n, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(rotate(q, turns), rotate(k, turns), v, attn_mask=bias)
        x = x + self.dropout(self.out(y.transpose(1, 2).reshape(n, count, width)))
        y = self.shrink(F.gelu(self.expand(self.norm2(x))))
        return x + self.dropout(y)  # type: ignore[no-any-return]


class Blocks(nn.ModuleList):
    """Blocks one after the other; their heads look about 1, 2, 4, 8 … tokens far, the last one as far as it likes.

    Args:
        depth: number of blocks.
        width, heads, dropout: see `Block`.
    """

    slopes: Tensor

    def __init__(self, depth: int, width: int, heads: int, dropout: float) -> None:
        super().__init__(Block(width, heads, dropout) for _ in range(depth))
        self.size = width // heads
        # Kept with the weights, which mean nothing without it.
        self.register_buffer("slopes", torch.tensor([*(2.0**-head for head in range(heads - 1)), 0.0]))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Tokens that know of each other.

        Args:
            x: (N, T, D).
            positions: (N, T) of the tokens in their line [frames].
            mask: (N, T) bool, False = padding, which nobody looks at.
        """
        turns = rotations(positions, self.size)
        bias = nearness(positions, self.slopes).masked_fill(~mask[:, None, None, :], float("-inf"))
        for block in self:
            x = block(x, turns, bias)
        return x


def places(x: Tensor) -> Tensor:
    """(N, T) positions 0, 1, 2, … of the tokens of (N, T, D)."""
    return torch.arange(x.shape[1], device=x.device).expand(x.shape[:2])


class TransformerContext(nn.Module):
    """Context of the frames of a line by attention: blocks, then a layer norm."""

    def __init__(self, depth: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.blocks = Blocks(depth, width, heads, dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: Frames) -> Frames:
        """(N, T, D) -> (N, T, D)."""
        mask = frames.mask()
        x = self.norm(self.blocks(frames.features, places(frames.features), mask))
        return Frames(x * mask[..., None].to(x.dtype), frames.lengths)
