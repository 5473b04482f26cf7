"""Recognizer: an encoder and a linear CTC head; a second head on the backbone helps while training.

Source of the shortcut: Retsinas et al. 2022, "Best practices for a handwritten text recognition system",
arXiv 2404.11339: with it the convolutions learn letters directly and the LSTM does not stall on blanks.

Letters: N batch, T frames, K classes (0 = blank).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from htr_ssl.data.batch import Batch, Images
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.text import ctc

SHORTCUT = 1.0
"""Weight of the shortcut's loss."""


class Recognizer(nn.Module):
    """Images to CTC logits."""

    def __init__(self, encoder: EncoderModule, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.out_dim, classes)
        self.shortcut = nn.Linear(encoder.backbone_dim, classes)

    def forward(self, images: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) in [0, 1], (N,) -> logits (T, N, K), lengths (N,)."""
        frames = self.encoder(images, widths)
        return self.head(frames.features).transpose(0, 1), frames.lengths

    def loss(self, images: Images, batch: Batch, freeze_encoder: bool = False) -> dict[str, Tensor | float]:
        """CTC loss [nats per character] of the head plus the weighted one of the shortcut.

        Args:
            images: pixels, possibly augmented.
            batch: their labels.
            freeze_encoder: let only the heads learn.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not freeze_encoder):
            short = self.encoder.backbone(images.pixels, images.widths)
            frames = self.encoder.context(short)
        targets = padded_targets(batch.targets, batch.target_lengths)
        loss, infeasible = ctc.loss(
            self.head(frames.features).transpose(0, 1), frames.lengths, targets, batch.target_lengths
        )
        side, _ = ctc.loss(self.shortcut(short.features).transpose(0, 1), short.lengths, targets, batch.target_lengths)
        return {"loss": loss + SHORTCUT * side, "ctc": loss.detach(), "infeasible": float(infeasible)}


def move_head(head: nn.Linear, old: dict[str, Tensor], name: str, mapping: list[int | None]) -> None:
    """Copies the rows of an old head into a new one: class k inherits old class mapping[k], or keeps its start."""
    weight, bias = old.get(f"{name}.weight"), old.get(f"{name}.bias")
    if weight is None or bias is None:
        return
    new = [k for k, source in enumerate(mapping) if source is not None]
    sources = [source for source in mapping if source is not None]
    with torch.no_grad():
        head.weight[new] = weight[sources]
        head.bias[new] = bias[sources]


def padded_targets(targets: Tensor, lengths: Tensor) -> Tensor:
    """Joined labels -> (N, L), zeros behind each label."""
    return nn.utils.rnn.pad_sequence(list(torch.split(targets, lengths.tolist())), batch_first=True)
