"""What a training asks of a self-supervised method; every ``Method`` of the folder `methods` has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Generator, Tensor, nn

from htr_ssl.data.batch import Images
from htr_ssl.layers.contract import EncoderModule

Terms = Mapping[str, Tensor | float]
"""``loss``, what it is a mean over as ``weight`` (images, if it is missing), and further scalars worth a look."""


class Objective(nn.Module):
    """A loss on images without text, by which an encoder learns.

    Two more methods are optional: ``after_step(progress)`` is called after every update, and
    ``reconstruct(images, generator)`` gives the whole, the masked and the repainted images.

    Attributes:
        encoder: that learns; what pretraining saves.
    """

    encoder: EncoderModule

    def views(self, images: Images, generator: Generator) -> tuple[Images, ...]:
        """What the method makes of a batch; every random draw comes from `generator`."""
        raise NotImplementedError

    def forward(self, images: Images, generator: Generator) -> Terms:
        """The loss of a batch and its terms; every random draw comes from `generator`."""
        raise NotImplementedError

    if TYPE_CHECKING:

        def __call__(self, images: Images, generator: Generator) -> Terms:
            """See `forward`."""
