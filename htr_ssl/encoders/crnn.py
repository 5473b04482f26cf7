"""CRNN: a small residual convolutional backbone and a bidirectional LSTM (Shi et al. 2015, arXiv 1507.05717).

Differs from the paper: strided and residual 3x3 convolutions instead of max-pooled VGG ones, for less work
on a CPU; four pixels per frame at every height; masked convolutions and LSTMs, so that a sample's frames are the
same alone and padded in a batch.

Letters: N batch, C channels, H height, W width, T frames, D features.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from htr_ssl.layers.convolutions import Backbone
from htr_ssl.layers.frames import Frames, halved
from htr_ssl.layers.lstm import Context


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


class Encoder(nn.Module):
    """Backbone and context model: images to frames.

    Attributes:
        stride: pixels of width per frame.
        out_dim: D, features per frame.
        height, in_channels: of the images it takes.
    """

    stride = 4

    def __init__(self, config: Config, height: int, in_channels: int = 1) -> None:
        super().__init__()
        widths, blocks, units = _PRESETS[config.preset]
        self.height, self.in_channels = height, in_channels
        self.out_dim = 2 * units
        self.backbone_dim = 2 * units if config.preset == "base" else units
        self.backbone = Backbone(height, in_channels, widths, blocks, self.backbone_dim)
        self.context = Context(self.backbone_dim, units, config.dropout)

    def frames(self, widths: Tensor) -> Tensor:
        """(N,) widths [px] -> (N,) numbers of frames, without running the network."""
        return halved(halved(widths))

    def forward(self, images: Tensor, widths: Tensor) -> Frames:
        """Images to context frames.

        Args:
            images: (N, C, H, W) in [0, 1], 1 = white paper; what lies right of a sample's width is ignored.
            widths: (N,) valid width of each image [px].

        Returns:
            (N, T, D) features and (N,) lengths.
        """
        frames: Frames = self.context(self.backbone(images, widths))
        return frames
