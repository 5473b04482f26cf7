"""The net of the learned line finder: a small U-Net over a gray page.

Dimensions: N images of H x W pixels, both multiples of `STEP`. Maps have half the side of the image.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.fusion import fuse_conv_bn_eval

STEP = 32
"""Sides of the images are multiples of this [px]."""
GRID = 2
"""Pixels of the image per cell of the maps, along each side."""
HEIGHT = 24.0
"""Usual height of a line of text, from top to bottom of its outline, on the images that the net sees [px]."""
COARSE = 16
"""Pixels of the image per cell of the orientation map, along each side."""
UNIT = 16.0
"""Heights above and below the baseline are predicted as the logarithm of their share of this [px]."""
BASELINE, ENDS, TEXT, ABOVE, BELOW = range(5)
"""Channels of the maps: logits of the baseline, of the ends of lines and of text, logarithms of two heights."""
TURNS = 4
"""Classes of the orientation map: text that lies turned to the right by 0, 90, 180, 270 degrees."""

_WIDTHS = (32, 56, 80, 104, 112)


class FinderNet(nn.Module):
    """Maps of baselines, line ends, text, heights and orientation of a page.

    Skip connections as in U-Net (arXiv 1505.04597); baselines, heights and ends are predicted together as in
    arXiv 2102.11838.
    """

    def __init__(self, widths: tuple[int, ...] = _WIDTHS) -> None:
        super().__init__()
        first, *deeper = widths
        self.stem = nn.Sequential(nn.PixelUnshuffle(GRID), _Conv(2 * GRID * GRID, first))
        self.down = nn.ModuleList(
            nn.Sequential(_Conv(a, b, 2), _Residual(b)) for a, b in zip(widths[:-1], deeper, strict=True)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(widths[:-1], deeper, strict=True))
        self.up = nn.ModuleList(_Conv(a, a) for a in widths[:-1])
        self.maps = nn.Conv2d(first, 5, 1)
        self.turn = nn.Sequential(_Conv(widths[3], 48), nn.Conv2d(48, TURNS, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (N, 5, H / 2, W / 2) and orientation logits (N, 4, H / 16, W / 16).

        Args:
            images: (N, 2, H, W): brightness, about -2 to 2, and 1 inside of the page, 0 outside.
        """
        steps = [self.stem(images)]
        for down in self.down:
            steps.append(down(steps[-1]))
        x = steps.pop()
        turn: Tensor | None = None
        for level in reversed(range(len(steps))):
            x = interpolate(self.lateral[level](x), scale_factor=2.0, mode="nearest")
            x = self.up[level](x + steps[level])
            if turn is None:
                turn = self.turn(x)
        return self.maps(x), cast(Tensor, turn)

    def fused(self) -> FinderNet:
        """The net with its normalisations folded into the convolutions, for inference."""
        self.eval()
        for module in list(self.modules()):
            if isinstance(module, _Conv) and isinstance(module.norm, nn.BatchNorm2d):
                module.conv = fuse_conv_bn_eval(module.conv, module.norm)
                module.norm = nn.Identity()
        return self


def scaled(gray: Tensor, inside: Tensor) -> Tensor:
    """Brightness as the net sees it: 0 outside of the page."""
    return (gray / 64 - 2) * inside


def fast_half() -> bool:
    """Whether this processor multiplies bfloat16 faster than float32."""
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check and check())


class _Conv(nn.Module):
    """3x3 convolution, normalisation, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, act: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU() if act else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.norm(self.conv(x))))


class _Residual(nn.Module):
    """Two convolutions beside an identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_Conv(width, width), _Conv(width, width, act=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + cast(Tensor, self.layers(x)))
