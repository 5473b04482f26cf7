"""What methods and recognizers may ask of an encoder; every ``Encoder`` of the folder `encoders` has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from torch import Tensor, nn

from htr_ssl.layers.frames import Frames


class EncoderModule(nn.Module):
    """Images to frames, through `backbone` and `context`.

    Attributes:
        stride: pixels of width per frame.
        out_dim: D, features per frame.
        backbone_dim: features per frame of the backbone.
        height, in_channels: of the images it takes.
        backbone: images (N, C, H, W) and widths (N,) to frames of `backbone_dim` features that see their surroundings.
        context: frames to frames of `out_dim` features that see the whole line.
    """

    stride: int
    out_dim: int
    backbone_dim: int
    height: int
    in_channels: int
    backbone: Callable[[Tensor, Tensor], Frames]
    context: Callable[[Frames], Frames]

    def frames(self, widths: Tensor) -> Tensor:
        """(N,) widths [px] -> (N,) numbers of frames, without running the network."""
        raise NotImplementedError

    def forward(self, images: Tensor, widths: Tensor) -> Frames:
        """Images to context frames.

        Args:
            images: (N, C, H, W) in [0, 1], 1 = white paper; what lies right of a sample's width is ignored.
            widths: (N,) valid width of each image [px].

        Returns:
            (N, T, D) features and (N,) lengths.
        """
        return self.context(self.backbone(images, widths))

    if TYPE_CHECKING:

        def __call__(self, images: Tensor, widths: Tensor) -> Frames:
            """See `forward`."""
