"""Jigsaw for lines: pieces along the line change places, and the encoder says where each piece was.

Source: Noroozi & Favaro 2016, "Unsupervised learning of visual representations by solving jigsaw puzzles",
arXiv 1603.09246.

Differs from the paper: pieces lie along the line (with `halves` also above each other). The encoder reads the shuffled
line as one image, and its context model compares the pieces; the paper encodes the pieces one by one and joins their
features.

`form: permutation` is the paper's task: a crop has a fixed number of pieces, and the answer is one class for the
permutation. `form: position` sorts: `pieces` neighbours are shuffled among themselves, and each piece says its place.
This form takes lines of any width and keeps the features local.

Shortcuts, and what is done about each:

- Strokes continue in the next piece. A cell is wider than its piece by `gap`; the piece is drawn from a random place
  in the cell, and a strip of paper separates the pieces. With a gap of 0 neighbours match at their edges. Even with a
  gap, height of letters, tone and slope tell something (benchmarks/diary.md).
- A line that rises or fades shows the order by height and tone. The random place is drawn in both directions, and each
  piece has its own contrast and paper tone (`tone`). `augment` changes no contrast here, because an even fading along
  the line would show the order.
- The place where a piece is shown tells nothing: places are drawn evenly.

Cells are narrower in images that do not hold `pieces` of them. If there are fewer frames than pieces, the position form
takes every frame as a piece, and the permutation form leaves the image out.

Letters: N batch, C channels, H height, W width, T frames, K cells along the line, P cells shuffled together, R rows of
cells, D features. A group of P columns numbers its P * R cells from left to right, top before bottom.
"""

from __future__ import annotations

import math
from typing import Literal, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Generator, Tensor, nn, unflatten
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.frames import valid
from htr_ssl.methods._pieces import Plan, distant_permutations
from htr_ssl.objective import Objective
from htr_ssl.views.augment import TextAugment


class Config(BaseModel):
    """Options of the jigsaw pretext task."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    form: Literal["position", "permutation"] = "position"
    """What is predicted: the place of each piece, for any width; or which permutation it was, the classic form."""
    pieces: int = Field(4, ge=2, le=16)
    """Neighbouring pieces along the line that are shuffled among themselves."""
    halves: bool = False
    """Cut every piece into an upper and a lower half, which are shuffled too."""
    width: float = Field(1.0, gt=0)
    """Width of a cell [image heights]; about two letters. Narrower where the image does not hold all pieces."""
    gap: float = Field(0.125, ge=0, lt=0.5)
    """Mean width lost between two pieces [image heights]; 0 leaves strokes that cross the cut."""
    tone: float = Field(0.2, ge=0, lt=1)
    """Largest relative change of the contrast of each piece, and four times that of its paper."""
    permutations: int = Field(24, ge=2, le=1000)
    """Number of permutations, as far from each other as possible (permutation form)."""
    augment: AugmentConfig = AugmentConfig(slant=0.15, contrast=0, mask=0)
    """Random changes of the image before it is cut."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        cells = self.pieces * (2 if self.halves else 1)
        if self.form == "permutation" and (cells > 8 or self.permutations > math.factorial(cells)):
            raise ValueError(
                f"{self.permutations} permutations of {cells} pieces cannot be chosen; form=permutation takes at most "
                "8 pieces (halves count) and as many permutations as there are, e.g. pieces=4 and permutations=24"
            )
        return self


class Method(Objective):
    """Encoder and a linear classifier of pieces or permutations."""

    table: Tensor

    def __init__(self, config: Config, encoder: EncoderModule) -> None:
        super().__init__()
        self.config, self.encoder = config, encoder
        self.augment = TextAugment(config.augment)
        self.rows = 2 if config.halves else 1
        self.group = config.pieces * self.rows
        self.frames = max(1, round(config.width * encoder.height / encoder.stride))
        self.margin = round(config.gap * encoder.height / 2)  # [px], painted on each side of a piece
        if config.form == "permutation":
            table = distant_permutations(self.group, config.permutations)
            self.classifier = nn.Linear(config.pieces * encoder.out_dim, config.permutations)
        else:
            table = np.arange(self.group)[None]
            self.classifier = nn.Linear(encoder.out_dim, self.rows * self.group)
        self.register_buffer("table", torch.from_numpy(table).long(), persistent=False)

    def views(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """The pieces in their order, and shuffled."""
        images = self._cropped(self.augment(images, generator), generator)
        plan = self._plan(images, generator)
        ordered = torch.arange(self.group, device=plan.order.device).expand_as(plan.order)
        return plan.paste(images, ordered), plan.paste(images, plan.order)

    def forward(self, images: Images, generator: Generator) -> dict[str, Tensor]:
        """Cross entropy of the pieces' places or of the permutations."""
        images = self._cropped(self.augment(images, generator), generator)
        plan = self._plan(images, generator)
        shuffled = plan.paste(images, plan.order)
        pooled = self._pooled(self.encoder(shuffled.pixels, shuffled.widths).features, plan)  # (N, K, D)
        if self.config.form == "permutation":
            counted = plan.counted[:, 0]
            logits = self.classifier(pooled[counted, : self.config.pieces].flatten(1))
            wanted = plan.classes[counted]
        else:
            logits = self.classifier(pooled[plan.counted]).view(-1, self.group)
            wanted = plan.order.view(*plan.counted.shape, self.rows)[plan.counted].flatten()
        count = max(len(wanted), 1)
        loss = F.cross_entropy(logits.float(), wanted, reduction="sum") / count
        return {
            "loss": loss,
            "accuracy": (logits.argmax(1) == wanted).sum() / count,
            "weight": torch.tensor(len(wanted)),
        }

    def _cropped(self, images: Images, generator: Generator) -> Images:
        """A random part of each image that holds the pieces of a permutation; whole images for the position form."""
        if self.config.form == "position":
            return images
        pieces, stride, pixels = self.config.pieces, self.encoder.stride, images.pixels
        whole = images.widths // stride
        kept = torch.minimum(pieces * (whole // pieces).clamp(1, self.frames), whole)  # (N,) frames
        start = (torch.rand(len(whole), generator=generator).to(whole.device) * (whole - kept + 1)).long() * stride
        column = torch.arange(min(pieces * self.frames * stride, pixels.shape[3]), device=whole.device)
        index = (start[:, None] + column).clamp(max=pixels.shape[3] - 1)[:, None, None]
        part = pixels.gather(3, index.expand(*pixels.shape[:3], -1))
        return Images(torch.where(valid(kept * stride, len(column))[:, None, None], part, 1.0), kept * stride)

    def _plan(self, images: Images, generator: Generator) -> Plan:
        """Draws how each image is cut and shuffled."""
        n, pieces, device = len(images.widths), self.config.pieces, images.widths.device
        whole = images.widths // self.encoder.stride  # (N,) whole frames
        frames = (whole // pieces).clamp(1, self.frames)
        cells = whole // frames
        # A narrower cell occurs only where there are fewer than 2 P of them.
        most = max(images.pixels.shape[3] // (self.encoder.stride * self.frames), 2 * pieces - 1)
        groups = 1 if self.config.form == "permutation" else -(-most // pieces)
        columns = groups * pieces
        draws = torch.rand(n, columns * self.rows, 5, generator=generator).to(device)
        chosen = torch.randint(len(self.table), (n,), generator=generator).to(device)
        inside = valid(cells, columns)  # (N, K)
        if self.config.form == "permutation":
            counted = (whole >= pieces)[:, None].expand(n, columns)
            order = torch.where(counted[:, :1, None], self.table[chosen][:, None], self.table[:1])
        else:
            keys = draws[..., 0].masked_fill(~inside.repeat_interleave(self.rows, 1), 2.0)
            order = unflatten(keys, 1, (groups, self.group)).argsort(dim=2, stable=True)
            several = unflatten(inside, 1, (groups, pieces)).sum(2, keepdim=True) * self.rows > 1
            counted = inside & several.expand(-1, -1, pieces).flatten(1)
        size = frames * self.encoder.stride
        margin = torch.minimum(torch.full_like(size, self.margin), size // 4)
        shift = ((2 * draws[..., 1:3] - 1) * (margin[:, None, None] + 0.499)).round().long()
        contrast, paper = 1 + self.config.tone * (2 * draws[..., 3] - 1), self.config.tone / 4 * draws[..., 4]
        tone = torch.stack((contrast, paper), 2)
        return Plan(pieces, self.rows, size, margin, cells, order, chosen, counted, shift, tone)

    def _pooled(self, features: Tensor, plan: Plan) -> Tensor:
        """(N, T, D) frames -> (N, K, D), the mean of the frames of each place."""
        frames = (plan.size // self.encoder.stride)[:, None]  # (N, 1) of a cell
        place = torch.arange(features.shape[1], device=features.device) // frames  # (N, T)
        places = torch.arange(plan.counted.shape[1], device=features.device)
        member = (place[:, None] == places[:, None]) & (place < plan.cells[:, None])[:, None]  # (N, K, T)
        return member.to(features.dtype) @ features / frames[..., None]
