"""Batch norms folded into the convolutions before them, for reading: the same function with less to compute.

Source: Jacob et al. 2017, arXiv 1712.05877, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(network: nn.Module) -> int:
    """Folds batch norms into convolutions, in place, and returns how many; outputs stay the same up to rounding.

    A pair is a module's `convolution` and `norm`, or two neighbours of an ``nn.Sequential``. Other batch norms stay.

    Args:
        network: in evaluation mode; it can no longer be trained afterwards.
    """
    pairs = [pair for module in network.modules() for pair in _pairs(module)]
    for module, before, after in pairs:
        convolution, norm = getattr(module, before), getattr(module, after)
        setattr(module, before, fuse_conv_bn_eval(convolution, norm))
        setattr(module, after, nn.Identity())
    return len(pairs)


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """The module and the names of its children that are a convolution and the norm of its output."""
    if isinstance(module, nn.Sequential):
        names = list(pairwise(name for name, _ in module.named_children()))
    else:
        names = [("convolution", "norm")]
    for before, after in names:
        convolution, norm = getattr(module, before, None), getattr(module, after, None)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield module, before, after
