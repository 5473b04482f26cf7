"""CRNN: a small residual convolutional backbone and a bidirectional LSTM (Shi et al. 2015, arXiv 1507.05717).

Differs from the paper: strided and residual 3x3 convolutions instead of max-pooled VGG ones, for less work
on a CPU; four pixels per frame at every height; masked convolutions and LSTMs, so that a sample's frames are the
same alone and padded in a batch.

Letters: N batch, C channels, H height, W width, T frames, D features.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from htr_ssl.layers.convolutions import Backbone
from htr_ssl.layers.lstm import Context
from htr_ssl.layers.strip_encoder import StripEncoder


class Config(BaseModel):
    """Options of the CRNN."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    preset: Literal["small", "medium", "base"] = "small"
    """small: 1 M parameters, for two CPU cores; medium: 2 M, that of the shipped recognizer; base: 6 M, for many
    labels or a GPU."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the frames before and between the LSTM layers."""


_PRESETS = {
    # widths of the four stages, residual blocks in the last three, LSTM units per direction
    "small": ((16, 32, 64, 128), (1, 1, 0), 128),
    "medium": ((16, 32, 64, 128), (1, 1, 1), 192),
    "base": ((32, 64, 128, 256), (1, 2, 1), 256),
}


class Encoder(StripEncoder):
    """Backbone and context model: images to frames."""

    def __init__(self, config: Config, height: int, in_channels: int = 1) -> None:
        super().__init__()
        widths, blocks, units = _PRESETS[config.preset]
        self.height, self.in_channels = height, in_channels
        self.out_dim = 2 * units
        self.backbone_dim = 2 * units if config.preset == "base" else units
        self.backbone = Backbone(height, in_channels, widths, blocks, self.backbone_dim)
        self.context = Context(self.backbone_dim, units, config.dropout)
