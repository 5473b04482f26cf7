"""How many images a training sends through its encoder: the compute that methods are compared at."""

from __future__ import annotations

from torch import Tensor, nn

from htr_ssl.layers.contract import EncoderModule


class Passes:
    """Counts the images that go through an encoder and the moving averages beside it, in training steps alone.

    Attributes:
        all: through any of them.
        views: through the encoder itself: every view of an image counts.
        active: whether a training step is going on.
    """

    def __init__(self, task: nn.Module, encoder: EncoderModule) -> None:
        """Listens to every backbone in `task`; `encoder` is the one that learns."""
        self.all = self.views = self._before = 0
        self.active = False
        for name, module in task.named_modules():
            if name.rpartition(".")[2] == "backbone":
                module.register_forward_pre_hook(self._own if module is encoder.backbone else self._other)

    def start(self) -> None:
        """Begins a training step."""
        self.active, self._before = True, self.views

    def stop(self, images: int) -> None:
        """Ends a training step of `images`; those that took another way than through the whole backbone count once."""
        self.active = False
        if self.views == self._before:
            self.all, self.views = self.all + images, self.views + images

    def taken(self) -> tuple[int, int]:
        """Passes and views since the last call."""
        found, self.all, self.views = (self.all, self.views), 0, 0
        return found

    def _own(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self._other(module, arguments)
        self.views += len(arguments[0]) if self.active else 0

    def _other(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        self.all += len(arguments[0]) if self.active else 0
