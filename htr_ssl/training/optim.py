"""Muon on the encoder's matrices with AdamW on the rest, or AdamW on all; linear warm-up, then a cosine to zero."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from htr_ssl.config import TrainConfig

MATRIX_RATE = 10.0
"""Learning rate of Muon's matrices over `train.lr`: its author's 0.02 beside 2e-3."""
MOMENTUM = 0.95
_QUINTIC = (3.4445, -4.7750, 2.0315)  # of x, x^3 and x^5: five times in a row they bring (0, 1] near 1


class Muon(AdamW):
    """AdamW, in which the groups marked `orthogonal` take Muon's steps instead.

    A step is the matrix's momentum with all its singular values brought near 1: directions that few samples ask for go
    as far as those that all ask for. Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural
    networks", https://kellerjordan.github.io/posts/muon. A kernel is the matrix outputs × (inputs, height, width).

    Differs from the source: matrices of one shape are treated together, and in float32.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["orthogonal"]:
                self._orthogonal_step(group)
        super().step()
        return loss

    def _orthogonal_step(self, group: dict[str, Any]) -> None:
        shapes: dict[tuple[int, ...], list[nn.Parameter]] = defaultdict(list)
        for parameter in group["params"]:
            if parameter.grad is not None:
                shapes[tuple(parameter.flatten(1).shape)].append(parameter)
        for (rows, columns), same in shapes.items():
            steps = orthogonal(torch.stack([self._nesterov(parameter).flatten(1) for parameter in same]))
            rate = group["lr"] * max(1.0, rows / columns) ** 0.5
            for parameter, step in zip(same, steps, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(step.view(parameter.shape), alpha=rate)
                parameter.grad = None  # AdamW has nothing to do with it

    def _nesterov(self, parameter: nn.Parameter) -> Tensor:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:  # AdamW asks every state that it loads for its step
            state |= {"step": torch.zeros(()), "momentum": torch.zeros_like(gradient)}
        momentum: Tensor = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        return gradient.lerp(momentum, MOMENTUM)


def orthogonal(matrices: Tensor) -> Tensor:
    """(K, M, N) -> roughly the nearest matrices with orthonormal rows or columns: singular values of 0.7 to 1.2.

    Five Newton-Schulz steps, each of which multiplies by a polynomial of the Gram matrix; the polynomials are
    multiplied with each other first, which for a long matrix is less work. Singular values below a hundredth of a
    matrix's norm stay smaller.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).float()
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    gram = x @ x.mT
    total = step = _polynomial(gram)
    for _ in range(4):
        gram = step @ gram @ step
        step = _polynomial(gram)
        total = step @ total
    x = total @ x
    result: Tensor = (x.mT if tall else x).to(matrices.dtype)
    return result


def _polynomial(gram: Tensor) -> Tensor:
    """a + b G + c G^2 of (K, M, M)."""
    a, b, c = _QUINTIC
    result: Tensor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
    result.diagonal(dim1=1, dim2=2).add_(a)
    return result


def optimiser(module: nn.Module, config: TrainConfig) -> AdamW:
    """The configured optimiser on all trainable parameters; weight decay on matrices and kernels only."""
    matrices = _matrices(module) if config.optimiser == "muon" else []
    chosen = {id(parameter) for parameter in matrices}
    rest = [p for p in module.parameters() if p.requires_grad and id(p) not in chosen]
    groups = [
        {"params": [p for p in rest if p.ndim >= 2], "weight_decay": config.weight_decay, "orthogonal": False},
        {"params": [p for p in rest if p.ndim < 2], "weight_decay": 0.0, "orthogonal": False},
    ]
    if not matrices:
        return AdamW(groups, lr=config.lr, fused=True)
    muon = {"lr": MATRIX_RATE * config.lr, "weight_decay": config.weight_decay, "orthogonal": True}
    return Muon([*groups, {"params": matrices, **muon}], lr=config.lr, fused=True)


def _matrices(module: nn.Module) -> list[nn.Parameter]:
    """Matrices and kernels that learn of every encoder inside the module."""
    named = module.named_parameters()
    return [p for name, p in named if "encoder" in name.split(".") and p.ndim >= 2 and p.requires_grad]


def factor(step: int, steps: int, warmup: float) -> float:
    """Learning rate at an update, as a share of its peak."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def schedule(optimizer: AdamW, config: TrainConfig) -> LambdaLR:
    """The factor for every update."""
    return LambdaLR(optimizer, lambda step: factor(step, config.steps, config.warmup))
