"""Two views of a batch and the instances in them that belong together, shared by all joint-embedding methods.

Letters: N batch, T frames, T' windows, D features, M instances.
"""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Generator, Tensor, nn, unflatten
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.augment import VIEWS, TextAugment
from htr_ssl.data.batch import Images
from htr_ssl.encoders._frames import Frames
from htr_ssl.errors import UserError
from htr_ssl.methods._joined import processes


class PairConfig(BaseModel):
    """Options that all joint-embedding methods have."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    instance: Literal["all", "window", "frame"] = "window"
    """What is compared: whole images, windows of frames, or single frames."""
    window: int = Field(5, ge=1)
    """Frames per window."""
    instances: int = Field(1024, ge=2)
    """Most instances of a view compared at once, of all processes; more are drawn from."""
    shift: float = Field(0.06, ge=0, le=0.5)
    """Largest horizontal shift between the views [share of the height]; without one, features may say where they are
    in the line instead of what is there (arXiv 2405.00420)."""
    augment: AugmentConfig = VIEWS
    """Random changes of each view."""


class Pair(nn.Module):
    """Draws two views of a batch and cuts their frames into matching instances.

    A module, though it has no weights: the profile finds augmentations in the modules of a task.
    """

    def __init__(self, config: PairConfig) -> None:
        super().__init__()
        self.config = config
        self.augment = TextAugment(config.augment, shift_x=config.shift)

    def views(self, images: Images, generator: Generator) -> tuple[Images, Images]:
        """Two copies, changed independently but for their width, so that their frames belong together."""
        stretch = self.augment.draw_stretch(images.pixels.shape[0], generator)
        return self.augment(images, generator, stretch), self.augment(images, generator, stretch)

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
