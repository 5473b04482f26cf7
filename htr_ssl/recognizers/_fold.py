"""Batch norms folded into the convolutions before them, for reading: the same function with less to compute.

Source: Jacob et al. 2017, arXiv 1712.05877, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(network: nn.Module) -> int:
    """Folds batch norms into convolutions, in place, and returns how many; outputs stay the same up to rounding.

    A pair is a module's `convolution` and `norm`, two neighbours of an ``nn.Sequential``, or two neighbours of a graph.
    Other batch norms stay.

    Args:
        network: in evaluation mode; it can no longer be trained afterwards.
    """
    pairs = [pair for module in network.modules() for pair in _pairs(module)]
    for module, before, after in pairs:
        convolution, norm = module.get_submodule(before), module.get_submodule(after)
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        module.set_submodule(before, fuse_conv_bn_eval(convolution, norm))
        module.set_submodule(after, nn.Identity())
    return len(pairs)


def _pairs(module: nn.Module) -> Iterator[tuple[nn.Module, str, str]]:
    """The module and the names below it of a convolution and the norm of its output."""
    parts = dict(module.named_children())
    if isinstance(module, fx.GraphModule):
        parts = dict(module.named_modules())
        layers = [node for node in module.graph.nodes if node.op == "call_module"]
        sources = [(node.args[0], node) for node in layers if isinstance(node.args[0], fx.Node)]
        names = [(str(a.target), str(b.target)) for a, b in sources if a.op == "call_module" and len(a.users) == 1]
    elif isinstance(module, nn.Sequential):
        names = list(pairwise(parts))
    else:
        names = [("convolution", "norm")]
    for before, after in names:
        if isinstance(parts.get(before), nn.Conv2d) and isinstance(parts.get(after), nn.BatchNorm2d):
            yield module, before, after
