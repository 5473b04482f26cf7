"""ResNet29 and a bidirectional LSTM, the encoder of the published tables on single words.

Source: Baek et al. 2019, "What is wrong with scene text recognition model comparisons?", arXiv 1904.01906 (the network
of Cheng et al. 2017, FAN); used in Aberdam et al. 2021, "SeqCLR", arXiv 2012.10873, on words of 32x100.

Differs from the papers: masked convolutions and LSTMs, so that words and lines of any width can share a batch; the
last two poolings touch rows only and keep exactly 4 px per frame (the papers' 2x2 kernels with stride (2, 1) give 26
instead of 25 frames for 100 px); remaining rows are averaged, so that any height works; the preset small has a quarter
of the channels.

Letters: N batch, C channels, H height, W width, T frames, D features.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional as F

from htr_ssl.layers.convolutions import MaskedConv, Residual, ink
from htr_ssl.layers.frames import Frames, halved, valid
from htr_ssl.layers.lstm import Context
from htr_ssl.layers.strip_encoder import StripEncoder


class Config(BaseModel):
    """Options of ResNet29 with BiLSTM."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    preset: Literal["small", "base"] = "small"
    """small: 3 M parameters, a quarter of the papers' channels; base: 46 M, the papers' network."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the frames before and between the LSTM layers."""


_PRESETS = {"small": (128, 128), "base": (512, 256)}  # channels of the last stage, LSTM units per direction
_STAGES = (  # share of the channels, residual blocks, pooling before the stage: (rows, columns)
    (4, 1, (2, 2)),
    (2, 2, (2, 2)),
    (1, 5, (2, 1)),
    (1, 3, None),
)


class Backbone(nn.Module):
    """29 convolutions: two, then four stages of residual blocks with one more after each, and two that join rows."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.stem = nn.ModuleList(
            [MaskedConv(in_channels, width // 16, (1, 1)), MaskedConv(width // 16, width // 8, (1, 1))]
        )
        self.stages = nn.ModuleList()
        inputs = width // 8
        for share, blocks, _ in _STAGES:
            outputs = width // share
            layers: list[nn.Module] = [Residual(outputs, inputs if i == 0 else outputs) for i in range(blocks)]
            inputs = outputs
            self.stages.append(nn.ModuleList(layers))
        self.after = nn.ModuleList(MaskedConv(width // share, width // share, (1, 1)) for share, _, _ in _STAGES[:3])
        self.join = nn.ModuleList(
            [MaskedConv(width, width, (2, 1), kernel=(2, 1)), MaskedConv(width, width, (1, 1), kernel=(2, 1))]
        )

    def forward(self, images: Tensor, widths: Tensor) -> Frames:
        """(N, C, H, W) in [0, 1], (N,) -> frames of 4 px."""
        x, lengths = ink(images, widths), widths
        for layer in self.stem:
            x, lengths = layer(x, lengths)
        for i, (blocks, (_, _, pool)) in enumerate(zip(self.stages, _STAGES, strict=True)):
            if pool is not None:
                # Values are not negative after a ReLU, so that zeros of the padding never win.
                x = F.max_pool2d(x, pool, pool, ceil_mode=True)
                lengths = halved(lengths) if pool[1] == 2 else lengths
            for block in blocks.children():
                x = block(x, lengths)
            if i < len(self.after):
                x, lengths = self.after[i](x, lengths)
        for layer in self.join:
            x, lengths = layer(x, lengths)
        x = x.mean(2).transpose(1, 2)  # (N, T, D)
        return Frames(x * valid(lengths, x.shape[1])[..., None].to(x.dtype), lengths)


class Encoder(StripEncoder):
    """Backbone and context model: images to frames."""

    def __init__(self, config: Config, height: int, in_channels: int = 1) -> None:
        super().__init__()
        width, units = _PRESETS[config.preset]
        self.height, self.in_channels = height, in_channels
        self.out_dim, self.backbone_dim = 2 * units, width
        self.backbone = Backbone(in_channels, width)
        self.context = Context(width, units, config.dropout)
