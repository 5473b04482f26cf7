"""Two views of a batch and the instances in them that belong together, shared by all joint-embedding methods.

Letters: N batch, T frames, T' windows, D features, M instances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor, nn, unflatten
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images
from htr_ssl.errors import UserError
from htr_ssl.layers.collective import processes
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.frames import Frames, valid
from htr_ssl.views.augment import VIEWS, TextAugment


class PairConfig(BaseModel):
    """Options that all joint-embedding methods have."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    instance: Literal["all", "window", "frame"] = "window"
    """What is compared: whole images, windows of frames, or single frames."""
    window: int = Field(5, ge=1)
    """Frames per window."""
    instances: int = Field(1024, ge=2)
    """Most instances of a view that are compared at once, over all processes; of more, a random choice is taken."""
    shift: float = Field(0.06, ge=0, le=0.5)
    """Largest horizontal shift between the views [share of the height]; without one, features may say where they are
    in the line instead of what is there (arXiv 2405.00420)."""
    margin: float = Field(0.75, ge=0, le=8)
    """Most paper before and after each view [share of the height], in whole frames. Each view draws its own: the same
    letters stand at different places in the two views."""
    cut: float = Field(0.2, ge=0, le=0.4)
    """Largest share of the width cut from each end of a view, in whole frames. Only what both show is compared."""
    augment: AugmentConfig = VIEWS
    """Random changes of each view."""


@dataclass(slots=True)
class View(Images):
    """A changed copy, and which of its frames the other view has too.

    Attributes:
        start: (N,) number of the first such frame in this view, int64.
        common: (N,) number of such frames, int64.
    """

    start: Tensor
    common: Tensor


class Pair(nn.Module):
    """Draws two views of a batch and cuts their frames into matching instances.

    A module, though it has no weights: the profile finds augmentations in the modules of a task.
    """

    def __init__(self, config: PairConfig) -> None:
        super().__init__()
        self.config = config
        self.augment = TextAugment(config.augment, shift_x=config.shift)

    def views(self, images: Images, encoder: EncoderModule, generator: Generator) -> tuple[View, View]:
        """Two copies, changed independently but for their scale along the line: their frames show the same places."""
        count, device = len(images.widths), images.widths.device
        stretch = self.augment.draw_stretch(count, generator)
        frames = encoder.frames(self.augment.stretched(images.widths, stretch))  # (N,) of the image itself
        most = torch.full_like(frames, int(self.config.margin * encoder.height / encoder.stride))
        least = -(self.config.cut * frames).long()
        # (2 views, before and after, N): frames of paper, or of the image cut off where negative.
        ends = torch.zeros(2, 2, count, dtype=torch.long, device=device)
        if self.config.margin or self.config.cut:
            draw = torch.rand(2, 2, count, generator=generator).to(device)
            ends = (least + draw * (most - least + 1)).floor().long()
        first = (-ends[:, 0]).clamp(min=0).amax(0)  # of the image's frames that both views have
        common = frames - first - (-ends[:, 1]).clamp(min=0).amax(0)
        x1, x2 = (self._view(images, encoder.stride, generator, stretch, *end) for end in ends)
        return View(*x1, ends[0, 0] + first, common), View(*x2, ends[1, 0] + first, common)

    def _view(
        self, images: Images, stride: int, generator: Generator, stretch: Tensor, before: Tensor, after: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Pixels and widths of a changed copy with frames of paper, or without frames of the image, at its ends."""
        changed = self.augment(images, generator, stretch, (before * stride, after * stride))
        return changed.pixels, changed.widths

    def frames(self, encoder: EncoderModule, *views: View) -> tuple[Frames, ...]:
        """The frames that the views have in common: frame j of one shows the same place as frame j of the others."""
        return tuple(_common(encoder(view.pixels, view.widths), view) for view in views)

    def instances(self, *frames: Frames) -> tuple[Tensor, ...]:
        """(M, D) of each of the frames, which have the same lengths; row i of one belongs to row i of the others."""
        return tuple(instances(part.features, part.mask(), self.config.instance, self.config.window) for part in frames)

    def some(self, generator: Generator, *rows: Tensor) -> tuple[Tensor, ...]:
        """The same random rows of each (M, D), at most `instances` over all processes.

        Raises:
            UserError: there is a single one, which has nothing to differ from.
        """
        if len(rows[0]) * processes() < 2:
            raise UserError(
                f"train.batch_size: a batch has one {self.config.instance} alone to compare; make it larger"
            )
        most = max(2, self.config.instances // processes())
        if len(rows[0]) <= most:
            return rows
        chosen = torch.randperm(len(rows[0]), generator=generator)[:most].to(rows[0].device)
        return tuple(part[chosen] for part in rows)


def _common(frames: Frames, view: View) -> Frames:
    places = torch.arange(int(view.common.max()), device=view.start.device)
    places = (view.start[:, None] + places).clamp(max=frames.features.shape[1] - 1)  # (N, T)
    features = frames.features.gather(1, places[:, :, None].expand(-1, -1, frames.features.shape[2]))
    return Frames(features * valid(view.common, features.shape[1])[:, :, None], view.common)


def instances(features: Tensor, mask: Tensor, kind: str, window: int) -> Tensor:
    """(N, T, D), (N, T) bool -> (M, D): means over images (all) or windows, or the frames as they are."""
    if kind != "frame":
        features, mask = pooled(features, mask, window if kind == "window" else features.shape[1])
    return features[mask]


def pooled(features: Tensor, mask: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Means over windows of `size` frames: (N, T, D), (N, T) -> (N, T', D), (N, T').

    A window counts if at least half of it is valid; the first of an image always does.
    """
    short = -features.shape[1] % size
    features, mask = F.pad(features, (0, 0, 0, short)), F.pad(mask, (0, short))
    weight = unflatten(mask, 1, (-1, size)).to(features.dtype)  # (N, T', size)
    valid = weight.sum(2)
    means = (unflatten(features, 1, (-1, size)) * weight[..., None]).sum(2) / valid.clamp(min=1)[..., None]
    keep = valid * 2 >= size
    keep[:, 0] = True
    return means, keep
