"""Rotation: windows of the line are turned or mirrored in place, or the whole image is turned; the encoder says how.

Source: Gidaris et al. 2018, "Unsupervised representation learning by predicting image rotations", arXiv 1803.07728;
`form: image` as Baek et al. 2021, arXiv 2103.04400, used it on words.

Differs from the paper (`form: window`): a line that is turned by 90 degrees has another shape. The four classes are
therefore: as it is, mirrored left to right, mirrored and turned by 180 degrees, and turned by 180 degrees. Every window
of the line is a sample of its own, which keeps the features local.

Shortcuts, and what is done about each:

- Strokes that cross the border of two windows continue only if both windows are as they were. `gap` columns between
  windows are therefore painted over with paper.
- Edges and padding could show the class. Turning only permutes pixels, the painted columns lie symmetrically in their
  window, and windows that reach beyond the image are left out. Blocks of compressed scans are scaled, slanted and
  shifted before the turn.
- Shading in one direction, descenders of the line above, and the slant of the writing do tell something. `augment`
  fades the ink unevenly and slants at random.

`form: image` turns by 0, 90, 180 and 270 degrees and scales each copy to one box. A line at 90 degrees is then
stretched across and squeezed along, and the shape of the strokes gives half of the answer away. The form is here to
reproduce the literature on words; long lines become unreadable in the box.

Letters: N batch, C channels, H height, W width, K windows, B width of the box, D features.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor, nn, unflatten
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.objective import Objective
from htr_ssl.views.augment import TextAugment

CLASSES = 4
"""Windows: bit 0 = columns in reverse, bit 1 = rows in reverse. Images: quarter turns, counter-clockwise."""


class Config(BaseModel):
    """Options of the rotation pretext task."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    form: Literal["window", "image"] = "window"
    """What is turned: each window of the line, one class each; or the whole image, the classic form."""
    window: float = Field(1.5, gt=0)
    """Width of a window [image heights]; about three letters (window form)."""
    gap: float = Field(0.125, ge=0, lt=1)
    """Width painted over between two windows [image heights] (window form)."""
    box: float = Field(3.125, gt=0)
    """Width that turned images are brought to [image heights]; the default is 100 x 32 (image form)."""
    augment: AugmentConfig = AugmentConfig(slant=0.15)
    """Random changes of the image before it is turned."""


class Method(Objective):
    """Encoder and a linear classifier of windows or images."""

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.augment = TextAugment(config.augment)
        self.frames = max(1, round(config.window * encoder.height / encoder.stride))
        self.width = self.frames * encoder.stride  # [px]
        self.margin = min(round(config.gap * encoder.height / 2), (self.width - 1) // 2)  # [px], on both sides
        self.classifier = nn.Linear(encoder.out_dim, CLASSES)

    def views(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """The image with some windows turned or mirrored, or the whole image in its four directions."""
        if self.config.form == "image":
            return self._directions(images, generator)
        return (self._turn(images, generator)[0],)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor]:
        """Cross entropy of the classes of windows or images."""
        logits, classes = (self._images if self.config.form == "image" else self._windows)(images, generator)
        count = max(len(classes), 1)
        loss = F.cross_entropy(logits.float(), classes, reduction="sum") / count
        hits = (logits.argmax(1) == classes).sum() / count
        return {"loss": loss, "accuracy": hits, "weight": torch.tensor(len(classes))}

    def _windows(self, images: Images, generator: Generator) -> tuple[Tensor, Tensor]:
        """Logits and classes of the windows that are whole."""
        view, classes, whole = self._turn(images, generator)
        features = self.encoder(view.pixels, view.widths).features
        features = F.pad(features, (0, 0, 0, classes.shape[1] * self.frames - features.shape[1]))
        return self.classifier(unflatten(features, 1, (-1, self.frames)).mean(2)[whole]), classes[whole]

    def _images(self, images: Images, generator: Generator) -> tuple[Tensor, Tensor]:
        """Logits and classes of all images in all directions, as in the paper."""
        turned = self._directions(images, generator)
        pixels, widths = torch.cat([view.pixels for view in turned]), torch.cat([view.widths for view in turned])
        classes = torch.arange(CLASSES, device=widths.device).repeat_interleave(len(images.widths))
        return self.classifier(self.encoder(pixels, widths).features.mean(1)), classes

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
        column = torch.arange(self.width, device=whole.device)
        shown = (column >= self.margin) & (column < self.width - self.margin)
        windows = torch.where(shown, windows, 1.0)
        return Images(windows.flatten(3)[..., :width], images.widths), classes, whole

    def _directions(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """The images turned by 0, 90, 180 and 270 degrees, each copy brought to the box."""
        images = self.augment(images, generator)
        height, width = images.pixels.shape[2:]
        columns = round(self.config.box * height)
        heights = torch.full_like(images.widths, height)
        with torch.autocast(images.pixels.device.type, enabled=False):
            along = resampling(images.widths, width, columns)[:, None]  # (N, 1, B, W)
            upright = images.pixels @ along.mT  # (N, C, H, B)
            down = resampling(images.widths, width, height)[:, None]  # (N, 1, H, W)
            across = resampling(heights, height, columns)[:, None]  # (N, 1, B, H)
            transposed = down @ images.pixels.mT @ across.mT  # (N, C, H, B)
        # A resampling that is symmetric commutes with turning: no direction was interpolated in another way.
        copies = (upright, transposed.flip(2), upright.flip(2, 3), transposed.flip(3))
        return tuple(Images(copy, torch.full_like(images.widths, columns)) for copy in copies)


def resampling(lengths: Tensor, size: int, out: int) -> Tensor:
    """Weights (N, out, size) that bring the first `lengths` of `size` pixels to `out`: linear, averaging if smaller."""
    scale = (lengths / out)[:, None, None]
    centre = (torch.arange(out, device=lengths.device)[:, None] + 0.5) * scale
    pixel = torch.arange(size, device=lengths.device)
    weights = (1 - (pixel + 0.5 - centre).abs() / scale.clamp(min=1)).clamp(min=0) * (pixel < lengths[:, None, None])
    return weights / weights.sum(2, keepdim=True)
