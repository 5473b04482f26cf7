"""CRNN: a small residual convolutional backbone and a bidirectional LSTM (Shi et al. 2015, arXiv 1507.05717).

Differs from the paper: strided and residual 3x3 convolutions instead of max-pooled VGG ones, for less work
on a CPU; four pixels per frame at every height; masked convolutions and LSTMs, so that a sample's frames are the
same alone and padded in a batch.

Letters: N batch, C channels, H height, W width, T frames, D features.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from htr_ssl.encoders._frames import Frames, halved, valid


class Config(BaseModel):
    """Options of the CRNN."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    preset: Literal["small", "base"] = "small"
    """small: 1 M parameters, for two CPU cores; base: 6 M, for many labels or a GPU."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Dropout on the frames before and between the LSTM layers."""


_PRESETS = {
    # widths of the four stages, residual blocks in the last three, LSTM units per direction
    "small": ((16, 32, 64, 128), (1, 1, 0), 128),
    "base": ((32, 64, 128, 256), (1, 2, 1), 256),
}


class MaskedConv(nn.Module):
    """3x3 (or 5x5) convolution, batch norm and ReLU that leaves zeros right of each sample's width."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], kernel: int = 3) -> None:
        super().__init__()
        self.stride = stride
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, lengths: Tensor, add: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, C, H, W), (N,) -> the same after the stride; `add` is summed before the ReLU."""
        if self.stride[1] == 2:
            lengths = halved(lengths)
        x = self.norm(self.convolution(x))
        if add is not None:
            x = x + add
        x = torch.relu_(x)
        return x * valid(lengths, x.shape[3])[:, None, None, :].to(x.dtype), lengths


class Residual(nn.Module):
    """x + f(x), where f is two masked convolutions (He et al. 2015, arXiv 1512.03385)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = MaskedConv(width, width, (1, 1))
        self.second = MaskedConv(width, width, (1, 1))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Same shape in and out."""
        y, _ = self.first(x, lengths)
        z: Tensor = self.second(y, lengths, add=x)[0]
        return z


class Stage(nn.ModuleList):
    """A strided convolution and residual blocks."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], blocks: int) -> None:
        super().__init__([MaskedConv(inputs, outputs, stride), *(Residual(outputs) for _ in range(blocks))])

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W), (N,) -> the same after the stride."""
        x, lengths = self[0](x, lengths)
        for block in list(self)[1:]:
            x = block(x, lengths)
        return x, lengths


class Backbone(nn.Module):
    """Convolutions over the image, then all rows of a column joined into one frame."""

    def __init__(
        self, height: int, in_channels: int, widths: tuple[int, ...], blocks: tuple[int, ...], out: int
    ) -> None:
        super().__init__()
        strides = ((2, 2), (2, 1), (2, 1))  # after a stem of (2, 2): height / 16, width / 4
        self.stem = MaskedConv(in_channels, widths[0], (2, 2), kernel=5)
        rows = (height + 1) // 2
        self.stages = nn.ModuleList()
        for i, (stride, count) in enumerate(zip(strides, blocks, strict=True)):
            self.stages.append(Stage(widths[i], widths[i + 1], stride, count))
            rows = (rows + 1) // 2
        self.project = nn.Linear(widths[-1] * rows, out)
        self.norm = nn.LayerNorm(out)

    def forward(self, images: Tensor, widths: Tensor) -> Frames:
        """(N, C, H, W) in [0, 1], (N,) -> frames of 4 px."""
        # Ink becomes 1 and paper 0, so that zero padding is paper.
        x = (1 - images) * valid(widths, images.shape[3])[:, None, None, :].to(images.dtype)
        x, lengths = self.stem(x, widths)
        for stage in self.stages:
            x, lengths = stage(x, lengths)
        x = x.permute(0, 3, 2, 1).flatten(2)  # (N, T, rows * C)
        x = torch.relu(self.norm(self.project(x)))
        return Frames(x * valid(lengths, x.shape[1])[..., None].to(x.dtype), lengths)


class Context(nn.Module):
    """Two bidirectional LSTM layers over the frames.

    Each direction is an LSTM of its own on dense tensors: the backward one reads every sequence from its own last
    frame, so that padding comes after the text in both. Packed sequences do the same 2.4 times slower on a CPU.
    """

    def __init__(self, inputs: int, units: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        sizes = (inputs, 2 * units)
        self.forwards = nn.ModuleList(nn.LSTM(size, units, batch_first=True) for size in sizes)
        self.backwards = nn.ModuleList(nn.LSTM(size, units, batch_first=True) for size in sizes)

    def forward(self, frames: Frames) -> Frames:
        """(N, T, D) -> (N, T, 2 * units)."""
        x, mask = frames.features.float(), frames.mask()[..., None]
        time = torch.arange(x.shape[1], device=x.device)
        last = frames.lengths[:, None] - 1
        # (N, T): positions of the frames in reverse; padding stays where it is.
        reverse = torch.where(time <= last, last - time, time)[..., None]
        # float32: not every device has a low-precision LSTM.
        with torch.autocast(x.device.type, enabled=False):
            for ahead, back in zip(self.forwards, self.backwards, strict=True):
                x = self.dropout(x)
                y, _ = ahead(x)
                z, _ = back(x.gather(1, reverse.expand_as(x)))
                x = torch.cat((y, z.gather(1, reverse.expand_as(z))), 2) * mask
        return Frames(x, frames.lengths)


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
