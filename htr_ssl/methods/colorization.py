"""Colorization: the encoder sees how light each pixel is and says which colour the ink and the paper have.

Source: Zhang et al. 2016, "Colorful image colorization", arXiv 1603.08511.

Differs from the paper: colours are predicted for coarse cells, `rows` for each frame, because a frame joins all rows of
its columns. Bins farther from gray than `reach` are left out, because scans have no such colours. The distribution for
the rebalancing is a running average. `target: regression` is the paper's baseline, the squared error of a and b.

The images must have colour (`data.channels=3`). The encoder gets the lightness in all three channels; it can be
fine-tuned on colour or gray images afterwards. Lightness alone says little about colour. Most of the rest is the tone
of the page, which follows from the kind of paper and pen, and the encoder learns more about material than about
letters. The package's synthetic handwriting draws tints at random and has nothing to learn.

On images without chroma the training stops with a message.

`target: ink` is a substitute for gray images and no colorization: the encoder sees a damaged image and says which cells
hold ink in the image as it is (threshold of Otsu). The damage fades and blurs the ink and shades the paper, because on
the plain image a comparison of each pixel with a number would be enough. benchmarks/diary.md has the figures behind
these choices.

Letters: N batch, H height, W width, T frames, R rows of cells, M valid cells, Q classes, D features.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images
from htr_ssl.errors import UserError
from htr_ssl.layers.collective import processes, total
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.frames import valid
from htr_ssl.methods._damage import binarised, degraded
from htr_ssl.methods._lab import Rebalanced, gamut, lab, rgb, soft_labels
from htr_ssl.objective import Objective
from htr_ssl.views.augment import TextAugment

CHANNELS = 3
"""Channels of the images it takes."""
SIZE = 10.0
"""Width of a bin of a and b."""
LEAST_CHROMA = 0.5
"""Mean chroma of the first batches below which images are gray."""
LOOKED_AT = 4
"""Number of these batches."""
INK = 0.25
"""Share of ink from which on a cell is ink; a stroke that crosses the cell has more."""
UNIT = 20.0
"""Chroma that is 1 in the regression; about that of yellowed paper."""


class Config(BaseModel):
    """Options of the colorization pretext task."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    target: Literal["bins", "regression", "ink"] = "bins"
    """What is predicted: bins of chroma, chroma itself, or, where there is none, ink and paper."""
    rows: int = Field(6, ge=1)
    """Cells above each other in one frame."""
    reach: float = Field(60.0, gt=10)
    """Largest chroma of a bin; from 150 on all of sRGB is there, and the head is 2.4 times as large (bins)."""
    uniform: float = Field(0.5, gt=0, le=1)
    """Share of a uniform distribution in the weights of the classes: 1 = all weigh the same (bins, ink)."""
    damage: float = Field(1.0, ge=0, le=2)
    """Strength of fading, blur, shadows and noise over the ink to find (ink)."""
    augment: AugmentConfig = AugmentConfig(mask=0, noise=0)
    """Random changes of the image before its colours are taken; noise would be in the colours too."""


class Method(Objective):
    """Encoder and a linear classifier or regressor of the cells of each frame.

    Raises:
        UserError: the encoder takes gray images, or the images have no colours.
    """

    centres: Tensor

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        if config.target != "ink" and encoder.in_channels != CHANNELS:
            raise UserError(
                f"method.name=colorization: it predicts colours, and data.channels={encoder.in_channels} reads gray "
                "images; set data.channels=3 if the scans are in colour, or method.target=ink if they are not"
            )
        self.config, self.encoder = config, encoder
        self.augment = TextAugment(config.augment)
        centres = torch.zeros(2, 0) if config.target == "ink" else gamut(SIZE, config.reach)
        self.register_buffer("centres", centres, persistent=False)
        self.classes = 2 if config.target == "regression" else len(centres)
        self.balance = Rebalanced(centres, config.uniform)
        self.decoder = nn.Linear(encoder.out_dim, config.rows * self.classes)
        self._chroma: list[Tensor] = []  # of the first batches

    def views(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """The image with its colours and what the encoder sees of it, or the ink to find and the damaged image."""
        whole, seen, ink = self._views(images, generator)
        return (whole if ink is None else Images(1 - ink, whole.widths)), seen

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor]:
        """Cross entropy of the cells' bins, or squared error of their chroma."""
        whole, seen, ink = self._views(images, generator)
        frames = self.encoder(seen.pixels, seen.widths)
        cells = self.decoder(frames.features).view(*frames.features.shape[:2], self.config.rows, self.classes)
        predicted = cells[frames.mask()].flatten(0, 1).float()  # (M, Q)
        with torch.autocast(predicted.device.type, enabled=False):
            wanted = self._cells(whole, lab(whole.pixels)[:, 1:] if ink is None else ink)[frames.mask()].flatten(0, 1)
            if ink is None and self.training:
                self._look(wanted)
            if self.config.target == "regression":
                terms = _regression(predicted, wanted / UNIT)
            else:
                terms = self._classification(predicted, wanted)
        return terms | {"weight": torch.tensor(len(wanted))}

    @torch.no_grad()
    def reconstruct(self, images: Images, generator: Generator) -> tuple[Images, Images, Images]:
        """Whole images, what the encoder sees of them, and the predicted colours or ink, for a person to look at.

        Of bins, the mean of the distribution sharpened at a temperature of 0.38, as in the paper.
        """
        whole, seen, ink = self._views(images, generator)
        features = self.encoder(seen.pixels, seen.widths).features
        cells = self.decoder(features).view(*features.shape[:2], self.config.rows, self.classes).float()
        if self.config.target == "regression":
            cells = cells * UNIT
        elif ink is None:
            cells = torch.softmax(cells / 0.38, 3) @ self.centres
        else:
            cells = torch.softmax(cells, 3)[..., 1:]
        height, width = whole.pixels.shape[2:]
        size = (height, features.shape[1] * self.encoder.stride)
        painted = F.interpolate(cells.permute(0, 3, 2, 1), size, mode="bilinear")[..., :width]  # (N, 2 or 1, H, W)
        painted = 1 - painted if ink is not None else rgb(torch.cat((100 * seen.pixels[:, :1], painted), 1))
        inside = valid(whole.widths, width)[:, None, None, :]
        return whole, seen, Images(torch.where(inside, painted, 1.0), whole.widths)

    def _views(self, images: Images, generator: Generator) -> tuple[Images, Images, Tensor | None]:
        """The changed image, what the encoder sees, and for `target: ink` the ink (N, 1, H, W), 1 = ink."""
        whole = self.augment(images, generator)
        if self.config.target == "ink":
            return whole, degraded(whole, self.config.damage, generator), binarised(whole).float()
        with torch.autocast(whole.pixels.device.type, enabled=False):
            light = lab(whole.pixels)[:, :1].clamp(0, 100) / 100
        return whole, Images(light.expand_as(whole.pixels).contiguous(), whole.widths), None

    def _cells(self, images: Images, values: Tensor) -> Tensor:
        """Means (N, T, R, 2 or 1) of values (N, 2 or 1, H, W) over the valid pixels of each cell."""
        stride = self.encoder.stride
        weight = valid(images.widths, values.shape[3])[:, None, None, :].float()
        weight, values = (F.pad(x, (0, -x.shape[3] % stride)) for x in (weight, values * weight))
        size = (self.config.rows, values.shape[3] // stride)
        means = F.adaptive_avg_pool2d(values, size) / F.adaptive_avg_pool2d(weight, (1, size[1])).clamp(min=1e-6)
        return means.permute(0, 3, 2, 1)

    def _classification(self, predicted: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """Cross entropy with soft labels, each cell weighted by the rarity of its class (equation 2 of the paper)."""
        if self.config.target == "ink":
            labels = F.one_hot((wanted[:, 0] >= INK).long(), 2).float()
        else:
            labels = soft_labels(wanted, self.centres)
        classes = labels.argmax(1)
        if self.training:
            self.balance.update(classes)
        entropy = -(labels * F.log_softmax(predicted, 1)).sum(1)
        hits = (predicted.argmax(1) == classes).float().mean()
        constant = torch.bincount(classes, minlength=self.classes).max() / len(classes)
        return {"loss": (self.balance.weights()[classes] * entropy).mean(), "accuracy": hits, "constant": constant}

    def _look(self, chroma: Tensor) -> None:
        """Stops if the first batches have no colours; of several processes all or none."""
        if len(self._chroma) >= LOOKED_AT:
            return
        self._chroma.append(total(chroma.norm(dim=1).mean().detach()) / processes())
        mean = float(torch.stack(self._chroma).mean())
        if len(self._chroma) == LOOKED_AT and mean < LEAST_CHROMA:
            raise UserError(
                f"method.name=colorization: the images of the first {LOOKED_AT} batches are gray (mean chroma "
                f"{mean:.2f}, expected at least {LEAST_CHROMA}); use colour scans, or set method.target=ink, which "
                "predicts ink and paper instead of colours"
            )


def _regression(predicted: Tensor, wanted: Tensor) -> dict[str, Tensor]:
    """Half the squared error, and the share of the batch's variance that is predicted (0 = no better than its mean)."""
    error = (predicted - wanted).square().sum(1).mean()
    spread = (wanted - wanted.mean(0)).square().sum(1).mean()
    return {"loss": error / 2, "explained": 1 - (error / spread.clamp(min=1e-9)).detach()}
