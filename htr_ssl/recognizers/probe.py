"""Probe: what a frozen encoder's frames tell; only what stands on them learns.

Sources: Zhang et al. 2016, "Colorful image colorization", arXiv 1603.08511, for linear classifiers on frozen features
as a measure of self-supervision; Aberdam et al. 2021 (SeqCLR), arXiv 2012.10873, for text recognition.

Frozen means: no gradient, no graph, evaluation mode whatever the rest is in (no dropout, fixed statistics of batch
norms). Two heads:

- linear: CTC logits straight from the frames;
- bilstm: two bidirectional LSTM layers first, of the same size for every encoder, so that encoders can be compared.

Which frames: the encoder's, context included. If only the backbone was pretrained (`scope: backbone`), the context
model would be random and hide it; then the backbone's frames are probed. Without any pretraining all of the encoder is
random and all of it is probed: the random frozen encoder, which every pretrained one has to beat. Its batch norms keep
the statistics they are made with (mean 0, variance 1).

Letters: N batch, T frames, K classes (0 = blank).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from htr_ssl.config import Probe, Scope
from htr_ssl.data.batch import Batch, Images
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.frames import Frames
from htr_ssl.layers.lstm import Context
from htr_ssl.recognizers.recognizer import Recognizer, padded_targets
from htr_ssl.text import ctc

UNITS = 128
"""LSTM units per direction of the bilstm probe."""
DROPOUT = 0.1
"""Dropout before each of its layers."""


class ProbeRecognizer(nn.Module):
    """Images to CTC logits through a frozen encoder; there is no shortcut, for it would have nothing to teach."""

    def __init__(self, encoder: EncoderModule, classes: int, probe: Probe, scope: Scope = "encoder") -> None:
        super().__init__()
        self.encoder = encoder
        self.scope = scope
        size = encoder.out_dim if scope == "encoder" else encoder.backbone_dim
        self.context = Context(size, UNITS, DROPOUT) if probe == "bilstm" else nn.Identity()
        self.head = nn.Linear(2 * UNITS if probe == "bilstm" else size, classes)
        self.encoder.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> ProbeRecognizer:
        """Training or evaluation mode of all but the encoder."""
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, images: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) in [0, 1], (N,) -> logits (T, N, K), lengths (N,)."""
        with torch.no_grad():
            frames = (self.encoder if self.scope == "encoder" else self.encoder.backbone)(images, widths)
        read: Frames = self.context(frames)
        return self.head(read.features).transpose(0, 1), read.lengths

    def loss(self, images: Images, batch: Batch, freeze_encoder: bool = True) -> dict[str, Tensor | float]:
        """CTC loss [nats per character]; the encoder is frozen in any case."""
        logits, lengths = self(images.pixels, images.widths)
        targets = padded_targets(batch.targets, batch.target_lengths)
        loss, infeasible = ctc.loss(logits, lengths, targets, batch.target_lengths)
        return {"loss": loss, "ctc": loss.detach(), "infeasible": float(infeasible)}


def recognizer(
    encoder: EncoderModule, classes: int, probe: Probe = "none", scope: Scope = "encoder"
) -> Recognizer | ProbeRecognizer:
    """Recognizer in which everything learns, or one whose encoder is frozen.

    Args:
        encoder: of which a probe takes hold: it stays frozen.
        classes: K.
        probe: what stands on the encoder; none = nothing is frozen.
        scope: part of the encoder whose frames are probed.
    """
    return Recognizer(encoder, classes) if probe == "none" else ProbeRecognizer(encoder, classes, probe, scope)
