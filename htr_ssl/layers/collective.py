"""The batch of all processes: what looks across the batch sees the instances of every process, with gradient.

In a single process these functions return what they are given. In several, the loss over the joined instances is the
same in each of them; a gradient that arrives at a gathered instance is summed over the processes, so that the mean over
processes, which the engine takes, is the gradient of one process on the joined batch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import torch
from torch import Tensor, nn
from torch import distributed as group

P = ParamSpec("P")


def several() -> bool:
    """Whether more than one process trains."""
    return group.is_available() and group.is_initialized() and group.get_world_size() > 1


def processes() -> int:
    """Number of processes that train."""
    return group.get_world_size() if several() else 1


def gather(x: Tensor) -> Tensor:
    """(M, E) of this process -> (sum of M, E) of all, in the order of the processes; M may differ."""
    return _Gather.apply(x) if several() else x


def total(x: Tensor) -> Tensor:
    """Sum of a tensor of one shape over the processes."""
    return _Sum.apply(x) if several() else x


def share(weight: Tensor | float, device: torch.device) -> Tensor | float:
    """Factor of this process's loss: its share of the weight × the number of processes.

    Mean gradients of the scaled losses are then the gradient of the loss over the joined batch.

    Args:
        weight: what the loss was divided by (characters, images, …).
        device: of the messages.
    """
    if not several():
        return 1.0
    own = torch.as_tensor(weight, dtype=torch.float32, device=device).clone()
    joined = own.clone()
    group.all_reduce(joined)
    return own * group.get_world_size() / joined.clamp(min=1e-9)


class BatchNorm(nn.BatchNorm1d):
    """Batch norm over the rows of all processes; PyTorch's own synchronised one needs a GPU."""

    def forward(self, x: Tensor) -> Tensor:
        """(M, D) -> (M, D)."""
        if not (self.training and several()):
            # A single row has no variance: it is passed on as it would be outside of training.
            if self.training and len(x) == 1:
                return nn.functional.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)
            return super().forward(x)
        rows = float(total(torch.tensor(float(len(x)), device=x.device)))
        mean = total(x.float().sum(0)) / rows
        variance = total((x.float() - mean).square().sum(0)) / rows
        with torch.no_grad():
            assert self.running_mean is not None
            assert self.running_var is not None
            assert self.momentum is not None
            assert self.num_batches_tracked is not None
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_(variance.to(self.running_var) * rows / max(rows - 1, 1), self.momentum)
        y = (x - mean) * (variance + self.eps).rsqrt()
        return y if self.weight is None else y * self.weight + self.bias


def full_precision(loss: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Keeps matrix products of a loss out of bf16 autocast, which has two or three decimals."""

    @wraps(loss)
    def exact(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        first = args[0]
        assert isinstance(first, Tensor)
        with torch.autocast(first.device.type, enabled=False):
            return loss(*args, **kwargs)

    return exact


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        counts = [torch.zeros((), dtype=torch.int64, device=x.device) for _ in range(group.get_world_size())]
        group.all_gather(counts, torch.tensor(len(x), device=x.device))
        sizes = [int(count) for count in counts]
        rows = x.new_zeros(max(sizes), *x.shape[1:])
        rows[: len(x)] = x
        parts = [torch.empty_like(rows) for _ in sizes]
        group.all_gather(parts, rows)
        ctx.start = sum(sizes[: group.get_rank()])
        ctx.stop = ctx.start + len(x)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        group.all_reduce(gradient)
        return gradient[ctx.start : ctx.stop]


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clone(memory_format=torch.contiguous_format)
        group.all_reduce(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone(memory_format=torch.contiguous_format)
        group.all_reduce(gradient)
        return gradient
