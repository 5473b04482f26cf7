"""CTC: frames a label needs, loss, greedy decoding. T frames, N samples, K classes, L characters; blank = 0.

Source: Graves et al., "Connectionist Temporal Classification", ICML 2006.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from htr_ssl.text.charset import BLANK
from htr_ssl.text.charset import frames_needed as frames_needed  # the rule without PyTorch


def infeasible(labels: Sequence[Sequence[int]], frames: Sequence[int]) -> list[int]:
    """Positions of the samples whose label needs more frames than its image has: they cannot be learnt.

    Args:
        labels: character indices of each sample.
        frames: number of frames of each sample.
    """
    return [i for i, (label, have) in enumerate(zip(labels, frames, strict=True)) if frames_needed(label) > have]


def loss(logits: Tensor, lengths: Tensor, targets: Tensor, target_lengths: Tensor) -> tuple[Tensor, int]:
    """CTC loss [nats per character] over a batch, always computed in float32.

    The negative log-likelihoods are summed and divided by the number of characters, so that a character weighs the
    same in a short and in a long label. Infeasible samples (infinite loss) are left out of both sums, without gradient.

    Args:
        logits: (T, N, K).
        lengths: (N,), valid frames of each sample.
        targets: (N, L) character indices; what lies behind a label's length is ignored.
        target_lengths: (N,), characters of each label.

    Returns:
        Scalar loss (zero, without gradient, if no sample is feasible) and the number of infeasible samples.
    """
    with torch.autocast(logits.device.type, enabled=False):
        log_posteriors = logits.float().log_softmax(2)
        losses = functional.ctc_loss(  # (N,)
            log_posteriors, targets, lengths, target_lengths, blank=BLANK, reduction="none", zero_infinity=True
        )
    lengths, target_lengths = lengths.to(targets.device), target_lengths.to(targets.device)
    inside = torch.arange(1, targets.shape[1], device=targets.device) < target_lengths[:, None]  # (N, L-1)
    repeats = ((targets[:, 1:] == targets[:, :-1]) & inside).sum(1) if targets.shape[1] > 1 else 0
    feasible = target_lengths + repeats <= lengths
    characters = target_lengths[feasible].sum().clamp(min=1).to(losses.device)
    return losses.sum() / characters, int((~feasible).sum())


def greedy(logits: Tensor, lengths: Tensor) -> list[tuple[list[int], float]]:
    """Best path of each sample: the likeliest class per frame, repeats collapsed, blanks removed.

    Args:
        logits: (T, N, K).
        lengths: (N,), valid frames of each sample.

    Returns:
        For each sample its character indices and a confidence in [0, 1]: the geometric mean over the emitted
        characters of the highest posterior that each reaches in its run of frames. An empty reading has the
        geometric mean of the blank's posteriors, and 0 if it has no frames.
    """
    frames, count, _ = logits.shape
    if not frames or not count:
        return [([], 0.0) for _ in range(count)]
    peak, best = logits.detach().float().log_softmax(2).max(2)  # (T, N) each
    lengths = lengths.to(best.device)
    valid = torch.arange(frames, device=best.device)[:, None] < lengths
    best = best.where(valid, best.new_tensor(BLANK))
    before = torch.cat([best.new_full((1, count), BLANK), best[:-1]])
    ink = best != BLANK
    starts = ink & (best != before)
    # Slot 0 collects what belongs to no character; the runs of a sample have slots 1, 2, …
    slots = (starts.cumsum(0) * ink).long()
    peaks = peak.new_full((frames + 1, count), -torch.inf).scatter_reduce(0, slots, peak, "amax")
    emitted = starts.sum(0)
    inside = torch.arange(frames + 1, device=best.device)[:, None] <= emitted
    inside[0] = False
    spoken = peaks.where(inside, peaks.new_zeros(())).sum(0) / emitted.clamp(min=1)
    silent = peak.where(valid, peak.new_zeros(())).sum(0) / lengths.clamp(min=1)
    confidence = torch.where(emitted > 0, spoken, silent).exp() * (lengths > 0)
    # Row-major order of the transpose lists the characters sample by sample.
    characters = best.T[starts.T].tolist()
    ends = emitted.cumsum(0).tolist()
    sizes = emitted.tolist()
    return [
        (characters[end - size : end], value) for end, size, value in zip(ends, sizes, confidence.tolist(), strict=True)
    ]


def align(log_posteriors: np.ndarray, label: Sequence[int]) -> tuple[np.ndarray, float]:
    """Likeliest frames of each character of a known label (forced alignment, Viterbi).

    Args:
        log_posteriors: (T, K).
        label: L character indices, at least one.

    Returns:
        First and last frame of each character, (L, 2), and the path's mean log-posterior per frame.

    Raises:
        ValueError: the label is empty or needs more frames than there are.
    """
    frames = len(log_posteriors)
    if not label or frames_needed(label) > frames:
        raise ValueError(f"a label of {len(label)} characters does not fit into {frames} frames")
    states = np.full(2 * len(label) + 1, BLANK)  # blank, character, blank, …
    states[1::2] = label
    emit = log_posteriors[:, states]  # (T, S)
    skip = np.zeros(len(states), bool)  # from the character before, without a blank between
    skip[3::2] = states[3::2] != states[1:-2:2]
    score = np.full(len(states), -np.inf)
    score[:2] = emit[0, :2]
    steps = np.zeros((frames, len(states)), np.int8)  # how many states back the best path comes from
    for frame in range(1, frames):
        one = np.concatenate([[-np.inf], score[:-1]])
        two = np.where(skip, np.concatenate([[-np.inf, -np.inf], score[:-2]]), -np.inf)
        choices = np.stack([score, one, two])
        steps[frame] = choices.argmax(0)
        score = choices.max(0) + emit[frame]
    state = len(states) - 1 if score[-1] >= score[-2] else len(states) - 2
    best = float(score[state])
    path = np.empty(frames, int)
    for frame in range(frames - 1, -1, -1):
        path[frame] = state
        state -= int(steps[frame, state])
    spans = np.array([np.flatnonzero(path == 2 * i + 1)[[0, -1]] for i in range(len(label))])
    return spans, best / frames
