"""What encoders of strips share: a backbone, a context model, and four pixels of width per frame."""

from __future__ import annotations

from torch import Tensor, nn

from htr_ssl.layers.frames import Frames, halved


class StripEncoder(nn.Module):
    """Images to frames, through `backbone` (images, widths -> frames) and `context` (frames -> frames).

    Attributes:
        stride: pixels of width per frame.
        out_dim: D, features per frame.
        backbone_dim: features per frame of the backbone.
        height, in_channels: of the images it takes.
    """

    stride = 4
    out_dim: int
    backbone_dim: int
    height: int
    in_channels: int
    backbone: nn.Module
    context: nn.Module

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
