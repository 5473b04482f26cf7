"""Trains the net of the learned line finder on pages with known lines.

Every step draws its crops from the seed and its own number, so that a run that was killed goes on to the same result.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from htr_ssl import seeds
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path
from htr_ssl.pages.finder.crops import Crop, draw
from htr_ssl.pages.finder.net import ABOVE, BASELINE, BELOW, ENDS, TEXT, FinderNet, fast_half, scaled
from htr_ssl.pages.finder.truth import TruePage

LOSSES = ("baseline", "ends", "text", "heights", "turn")
"""Terms of the loss, as the learning curve names them."""
_TURNED = 0.2, 0.35  # shares of the crops that lie turned, early and late
_TURN_WEIGHT = 0.2, 0.6  # of the loss of the orientation, early and late
_CLASS_WEIGHT = (1.0, 1.0, 1.0, 1.0), (0.5, 1.3, 1.2, 1.3)  # of upright and turned text in it


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast the net learns.

    Attributes:
        steps: of the optimiser.
        batch: crops per step.
        rate: highest learning rate.
        warm: steps until it is reached.
        decay: last share of the steps, in which it falls to nothing.
        seed: of everything drawn.
        every: steps between two checkpoints.
        late: step from which more crops are turned and their orientation weighs more: lines come first.
    """

    steps: int = 2400
    batch: int = 8
    rate: float = 2e-3
    warm: int = 100
    decay: float = 0.4
    seed: int = 0
    every: int = 100
    late: int = 500

    def rate_at(self, step: int) -> float:
        """Learning rate of a step."""
        left = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.rate * min(1.0, (step + 1) / max(1, self.warm), max(left, 0.01))


def train(
    pages: Sequence[TruePage],
    out: Path,
    plan: Plan,
    start: FinderNet | None = None,
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> FinderNet:
    """The net, trained; `out` holds `finder.ckpt` (the whole state) and `curve.csv` while it learns.

    The same call goes on where a killed one stopped.

    Args:
        pages: what crops are drawn from; a page with more lines is drawn more often.
        out: folder of the run.
        plan: length and learning rates.
        start: weights to begin with; drawn at random if None.
        progress: called after each checkpoint with the steps done and the mean loss terms since the last one.

    Raises:
        UserError: no pages.
    """
    if not pages:
        raise UserError("no page to train on: give PAGE or ALTO files with their images")
    torch.manual_seed(seeds.derive(plan.seed, "finder"))
    net = FinderNet() if start is None else start
    net = net.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(net.parameters(), lr=plan.rate, weight_decay=0.01)
    state = out / "finder.ckpt"
    first, spent = _resume(state, net, optimizer)
    weights = np.sqrt([max(1, len(page.base)) for page in pages])
    weights /= weights.sum()
    net.train(start is None)  # a few pages are too few to measure means and variances anew
    sums, begin = np.zeros(len(LOSSES)), time.monotonic()
    for step in range(first, plan.steps):
        rng = seeds.rng(plan.seed, "batch", step)
        late = step >= plan.late
        share = _TURNED[late]
        crops = [draw(pages, int(page), rng, share) for page in rng.choice(len(pages), plan.batch, p=weights)]
        for group in optimizer.param_groups:
            group["lr"] = plan.rate_at(step)
        terms = losses(net, crops, late)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(terms).sum().backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        sums += [float(term.detach()) for term in terms]
        if (step + 1) % plan.every == 0 or step + 1 == plan.steps:
            means = dict(zip(LOSSES, (sums / (step % plan.every + 1)).tolist(), strict=True))
            sums[:] = 0
            seconds = spent + time.monotonic() - begin
            _keep(state, net, optimizer, step + 1, seconds)
            _note(out / "curve.csv", step + 1, seconds, means)
            if progress is not None:
                progress(step + 1, means)
    return net


def losses(net: FinderNet, crops: Sequence[Crop], late: bool = True) -> list[Tensor]:
    """Weighted terms of the loss, in the order of `LOSSES`."""
    images, classes, heights, weight, turn = batch_of(crops)
    with torch.autocast("cpu", torch.bfloat16, enabled=fast_half()):
        maps, turns = net(images)
    maps, turns = maps.float(), turns.float()
    logit = maps[:, BASELINE]
    truth = classes[:, 0]
    entropy = functional.binary_cross_entropy_with_logits(logit, truth, weight * (1 + 2 * classes[:, 1]))
    guess = torch.sigmoid(logit) * weight
    dice = 1 - 2 * (guess * truth).sum() / ((guess + truth * weight).sum() + 1)
    ends = functional.binary_cross_entropy_with_logits(
        maps[:, ENDS], classes[:, 1], weight, pos_weight=torch.tensor(3.0)
    )
    text = functional.binary_cross_entropy_with_logits(maps[:, TEXT], classes[:, 2], weight.clamp(min=0.1))
    there = truth * (weight > 0)
    error = (maps[:, [ABOVE, BELOW]] - heights).abs().mean(1)
    reach = (error * there).sum() / (there.sum() + 1)
    weights = torch.tensor(_CLASS_WEIGHT[late])
    known = (weights[turn.clamp(min=0)] * (turn >= 0)).sum()
    way = functional.cross_entropy(turns, turn, weights, ignore_index=-1, reduction="sum") / (known + 1)
    return [2 * entropy + 0.5 * dice, 2 * ends, 0.5 * text, 0.4 * reach, _TURN_WEIGHT[late] * way]


def batch_of(crops: Sequence[Crop]) -> tuple[Tensor, ...]:
    """Images (N, 2, S, S), classes (N, 3, S / 2, S / 2), heights, weights and turns of crops."""
    images = torch.from_numpy(np.stack([np.stack((crop.image, crop.inside)) for crop in crops])).float()
    images[:, 0] = scaled(images[:, 0], images[:, 1])
    return (
        images.contiguous(memory_format=torch.channels_last),
        torch.from_numpy(np.stack([crop.classes for crop in crops])).float(),
        torch.from_numpy(np.stack([crop.heights for crop in crops])),
        torch.from_numpy(np.stack([crop.weight for crop in crops])),
        torch.from_numpy(np.stack([crop.turn for crop in crops])).long(),
    )


def _resume(state: Path, net: FinderNet, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Steps done and seconds spent before, 0 without a checkpoint."""
    if not state.is_file():
        return 0, 0.0
    try:
        kept = torch.load(state, map_location="cpu", weights_only=True)
        net.load_state_dict(kept["net"])
        optimizer.load_state_dict(kept["optimizer"])
    except Exception as error:
        raise UserError(f"{state}: not a checkpoint of this training; remove it to begin anew") from error
    return int(kept["step"]), float(kept["seconds"])


def _keep(state: Path, net: FinderNet, optimizer: torch.optim.Optimizer, step: int, seconds: float) -> None:
    with atomic_path(state) as temporary:
        torch.save(
            {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds}, temporary
        )


def _note(path: Path, step: int, seconds: float, means: dict[str, float]) -> None:
    """Adds a row to the learning curve; rows of steps that are done again are replaced."""
    rows: list[list[str]] = []
    if path.is_file():
        with open(path, newline="", encoding="utf-8") as handle:
            rows = [row for row in list(csv.reader(handle))[1:] if int(row[0]) < step]
    rows.append([str(step), f"{seconds:.0f}", *(f"{means[name]:.4f}" for name in LOSSES)])
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([["step", "seconds", *LOSSES], *rows])
