"""The backbone of an encoder as an encoder of its own: what `scope: backbone` pretrains."""

from __future__ import annotations

from torch import Tensor

from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.frames import Frames


class BackboneAlone(EncoderModule):
    """An encoder without its context model: its frames see their surroundings and not the whole line.

    Args:
        encoder: whose backbone it is; the two share their weights.
    """

    def __init__(self, encoder: EncoderModule) -> None:
        super().__init__()
        self.stride, self.height, self.in_channels = encoder.stride, encoder.height, encoder.in_channels
        self.out_dim = self.backbone_dim = encoder.backbone_dim
        self.backbone = encoder.backbone
        self._frames = encoder.frames

    def frames(self, widths: Tensor) -> Tensor:
        """Those of the encoder."""
        return self._frames(widths)

    @staticmethod
    def context(frames: Frames) -> Frames:
        """The frames as they are."""
        return frames
