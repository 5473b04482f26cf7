"""Convolutions and a transformer over their frames.

Source: Barrere et al. 2022, "A light transformer-based architecture for handwritten text recognition",
HAL hal-03685976, and Li et al. 2025, "HTR-VT", arXiv 2409.08573, for a convolutional stem in front of a small
transformer, with which it learns from few lines.

Differs from the papers: rotary positions allow any width, some heads look near and others far, and the convolutions are
the same as in `crnn`.

Letters: N batch, C channels, H height, W width, T frames, D features.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from htr_ssl.layers.attention import TransformerContext
from htr_ssl.layers.convolutions import Backbone
from htr_ssl.layers.strip_encoder import StripEncoder


class Config(BaseModel):
    """Options of the convolutional transformer."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    preset: Literal["small", "base"] = "small"
    """small: 1.5 M parameters, for two CPU cores; base: 12 M, for many labels or a GPU."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on what each block adds."""


_PRESETS = {
    # widths of the four convolutional stages, their residual blocks, transformer blocks, D, heads
    "small": ((16, 32, 64, 128), (1, 1, 0), 4, 160, 5),
    "base": ((32, 64, 128, 256), (1, 2, 1), 6, 352, 8),
}


class Encoder(StripEncoder):
    """Backbone and context model: images to frames."""

    def __init__(self, config: Config, height: int, in_channels: int = 1) -> None:
        super().__init__()
        widths, residuals, depth, width, heads = _PRESETS[config.preset]
        self.height, self.in_channels = height, in_channels
        self.out_dim = self.backbone_dim = width
        self.backbone = Backbone(height, in_channels, widths, residuals, width)
        self.context = TransformerContext(depth, width, heads, config.dropout)
