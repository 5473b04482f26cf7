"""Rotation for lines: windows of the line are turned or mirrored in place, the encoder says how.

Source: Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations", arXiv 1803.07728.

Differs from the paper: a line cannot be turned by 90 degrees without changing its shape, so the four classes are as it
is, mirrored left to right, upside down mirrored, and turned by 180 degrees; and every window of the line is a sample
of its own, so that features stay local instead of one answer for the whole image.

Letters: N batch, C channels, H height, W width, K windows, D features.
"""

from __future__ import annotations

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor, nn, unflatten
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.augment import TextAugment
from htr_ssl.data.batch import Images
from htr_ssl.encoders._contract import EncoderModule

CLASSES = 4
"""Bit 0: columns in reverse; bit 1: rows in reverse."""


class Config(BaseModel):
    """Options of the rotation pretext task."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    window: float = Field(1.5, gt=0)
    """Width of a window [image heights]; about three letters."""
    augment: AugmentConfig = AugmentConfig(slant=0.15)
    """Random changes of the image before its windows are turned."""


class Method(nn.Module):
    """Encoder and a linear classifier of windows."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.encoder = encoder
        self.augment = TextAugment(config.augment)
        self.frames = max(1, round(config.window * encoder.height / encoder.stride))
        self.width = self.frames * encoder.stride  # [px]
        self.classifier = nn.Linear(encoder.out_dim, CLASSES)

    def views(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """The image with some windows turned or mirrored."""
        return (self._turn(images, generator)[0],)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor]:
        """Cross entropy of the windows' classes."""
        view, classes, whole = self._turn(images, generator)
        features = self.encoder(view.pixels, view.widths).features
        features = F.pad(features, (0, 0, 0, classes.shape[1] * self.frames - features.shape[1]))
        logits = self.classifier(unflatten(features, 1, (-1, self.frames)).mean(2))[whole]  # (valid windows, 4)
        loss = F.cross_entropy(logits, classes[whole], reduction="sum") / whole.sum().clamp(min=1)
        hits = (logits.argmax(1) == classes[whole]).sum() / whole.sum().clamp(min=1)
        return {"loss": loss, "accuracy": hits}

    def _turn(self, images: Images, generator: Generator) -> tuple[Images, Tensor, Tensor]:
        """Changed images, (N, K) classes, and (N, K) bool, True = the window lies wholly inside the image."""
        images = self.augment(images, generator)
        n, _, _, width = images.pixels.shape
        pixels = F.pad(images.pixels, (0, -width % self.width), value=1.0)
        windows = unflatten(pixels, 3, (-1, self.width))  # (N, C, H, K, width)
        count = windows.shape[3]
        whole = (torch.arange(count, device=images.widths.device) + 1) * self.width <= images.widths[:, None]
        classes = torch.randint(CLASSES, (n, count), generator=generator).to(whole.device) * whole
        pick = classes[:, None, None, :, None]
        windows = torch.where(pick % 2 == 1, windows.flip(4), windows)
        windows = torch.where(pick >= 2, windows.flip(2), windows)
        return Images(windows.flatten(3)[..., :width], images.widths), classes, whole
