"""Heads of joint-embedding methods, and the moving average of a network.

Letters: M instances, D features, E projection size.
"""

from __future__ import annotations

import copy
import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from htr_ssl.layers.collective import BatchNorm


def mlp(
    inputs: int, hidden: int, outputs: int, layers: int = 2, norm: bool = True, last_norm: bool = False
) -> nn.Module:
    """(M, inputs) -> (M, outputs): linear layers with ReLU between them.

    Args:
        inputs, hidden, outputs: widths.
        layers: linear layers, 1 at least.
        norm: batch norm before each ReLU.
        last_norm: batch norm without scale and shift behind the last layer (SimSiam's projector).
    """
    widths = [inputs, *[hidden] * (layers - 1), outputs]
    parts: list[nn.Module] = []
    for place, (a, b) in enumerate(pairwise(widths)):
        last = place == layers - 1
        # A bias in front of a batch norm has no effect.
        parts.append(nn.Linear(a, b, bias=not (last_norm if last else norm)))
        if not last:
            parts += [*([BatchNorm(b)] if norm else []), nn.ReLU()]
    if last_norm:
        parts.append(BatchNorm(outputs, affine=False))
    return nn.Sequential(*parts)


class Target(nn.Module):
    """Moving average of online networks; no gradient reaches it.

    Args:
        online: networks that are copied, in order.
    """

    def __init__(self, *online: nn.Module) -> None:
        super().__init__()
        self.networks = nn.ModuleList(copy.deepcopy(network) for network in online).requires_grad_(False)

    def __getitem__(self, place: int) -> nn.Module:
        return self.networks[place]

    @torch.no_grad()
    def follow(self, *online: nn.Module, decay: float) -> None:
        """target <- decay * target + (1 - decay) * online for parameters; buffers are the target's own."""
        for mine, other in zip(self.networks, online, strict=True):
            torch._foreach_lerp_(list(mine.parameters()), list(other.parameters()), 1 - decay)


def rising(base: float, progress: float) -> float:
    """Decay of a moving average that rises from `base` to 1 along a cosine (BYOL, section 3.3).

    Args:
        base: decay at the start.
        progress: share of the training that is done, in [0, 1].
    """
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


def agreement(p1: Tensor, p2: Tensor, z1: Tensor, z2: Tensor) -> Tensor:
    """Loss of BYOL and SimSiam: each prediction against the other view's projection; in [-1, 1], -1 = they agree.

    No gradient reaches the projections; without this stop everything becomes one point.

    Args:
        p1, p2: (M, E) predictions from the two views.
        z1, z2: (M, E) projections of the two views, which are to be predicted.
    """
    return 0.5 * (negative_cosine(p1, z2.detach()) + negative_cosine(p2, z1.detach()))


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """-mean cosine similarity of the rows of (M, E); in [-1, 1]."""
    return -nn.functional.cosine_similarity(p, z, dim=1).mean()
