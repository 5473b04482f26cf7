"""What methods and recognizers may ask of an encoder; every ``Encoder`` of this folder, an ``nn.Module``, has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from htr_ssl.layers.frames import Frames


class EncoderModule(Protocol):
    """Images to frames.

    Attributes:
        stride: pixels of width per frame.
        out_dim: features per frame.
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
        ...

    def __call__(self, images: Tensor, widths: Tensor) -> Frames:
        """Context of the backbone's frames."""
        ...
