"""AdamW without decay on biases and norms; linear warm-up, then a cosine to zero."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from htr_ssl.config import TrainConfig


def optimiser(module: nn.Module, config: TrainConfig) -> AdamW:
    """AdamW on all trainable parameters; weight decay on matrices and kernels only."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=config.lr, fused=True)


def factor(step: int, steps: int, warmup: float) -> float:
    """Learning rate at an update, as a share of its peak."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def schedule(optimizer: AdamW, config: TrainConfig) -> LambdaLR:
    """The factor for every update."""
    return LambdaLR(optimizer, lambda step: factor(step, config.steps, config.warmup))
