"""What encoders of strips share: a backbone, a context model, and four pixels of width per frame."""

from __future__ import annotations

from torch import Tensor

from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.frames import halved


class StripEncoder(EncoderModule):
    """An encoder whose frames are of four pixels."""

    stride = 4

    def frames(self, widths: Tensor) -> Tensor:
        """(N,) widths [px] -> (N,) numbers of frames, without running the network."""
        return halved(halved(widths))
