"""Convolutions that leave zeros right of each sample's width, so that padding does not matter.

Letters: N batch, C channels, H height, W width, T frames, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from htr_ssl.layers.frames import Frames, halved, valid


def ink(images: Tensor, widths: Tensor) -> Tensor:
    """(N, C, H, W) with paper = 1 -> ink = 1 and paper = 0, so that zero padding is paper."""
    return (1 - images) * valid(widths, images.shape[3])[:, None, None, :].to(images.dtype)


class MaskedConv(nn.Module):
    """Convolution, batch norm and ReLU that leaves zeros right of each sample's width.

    Args:
        kernel: odd width; an odd height is padded to keep the rows, an even one is not.
    """

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int], kernel: int | tuple[int, int] = 3) -> None:
        super().__init__()
        self.stride = stride
        rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (rows // 2 if rows % 2 else 0, columns // 2)
        self.convolution = nn.Conv2d(inputs, outputs, (rows, columns), stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor, lengths: Tensor, add: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(N, C, H, W), (N,) -> the same after the stride; `add` is summed before the ReLU."""
        if self.stride[1] == 2:
            lengths = halved(lengths)
        # In place, and masked before the ReLU: no gradient needs what the sum, the mask or the ReLU overwrite.
        x = self.norm(self.convolution(x))
        if add is not None:
            x = x.add_(add)
        x = x.mul_(valid(lengths, x.shape[3])[:, None, None, :].to(x.dtype))
        return x.relu_(), lengths


class Residual(nn.Module):
    """x + f(x), where f is two masked convolutions (He et al. 2015, arXiv 1512.03385).

    Args:
        inputs: channels; where they differ from `width`, a 1x1 convolution brings x to it.
    """

    def __init__(self, width: int, inputs: int | None = None) -> None:
        super().__init__()
        inputs = width if inputs is None else inputs
        self.first = MaskedConv(inputs, width, (1, 1))
        self.second = MaskedConv(width, width, (1, 1))
        self.match = None
        if inputs != width:
            self.match = nn.Sequential(nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(N, C, H, W) -> the same with `width` channels."""
        y, _ = self.first(x, lengths)
        z: Tensor = self.second(y, lengths, add=x if self.match is None else self.match(x))[0]
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
        x, lengths = self.stem(ink(images, widths), widths)
        for stage in self.stages:
            x, lengths = stage(x, lengths)
        x = x.permute(0, 3, 2, 1).flatten(2)  # (N, T, rows * C)
        x = torch.relu(self.norm(self.project(x)))
        return Frames(x * valid(lengths, x.shape[1])[..., None].to(x.dtype), lengths)
