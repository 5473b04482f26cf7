import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htr_ssl.text import ctc

labels = st.lists(st.integers(1, 3), max_size=4)


def collapse(path):
    """Graves' B: merge repeats, then drop blanks."""
    return [k for k, _ in itertools.groupby(path) if k]


def brute_force(posteriors, label):
    """Probability of a label: the sum over every path of T frames that collapses to it."""
    frames, classes = posteriors.shape
    return sum(
        math.prod(float(posteriors[t, k]) for t, k in enumerate(path))
        for path in itertools.product(range(classes), repeat=frames)
        if collapse(path) == label
    )


def make(seed, frames, count, classes=4):
    return torch.randn(frames, count, classes, generator=torch.Generator().manual_seed(seed)) * 2


def targets_of(values):
    lengths = torch.tensor([len(value) for value in values])
    return torch.nn.utils.rnn.pad_sequence(
        [torch.tensor(v, dtype=torch.long) for v in values], batch_first=True
    ), lengths


@given(st.lists(st.integers(1, 2), max_size=4))
def test_frames_needed_is_the_shortest_path_that_collapses_to_the_label(label):
    shortest = next(
        frames
        for frames in range(9)
        if any(collapse(path) == label for path in itertools.product(range(3), repeat=frames))
    )
    assert ctc.frames_needed(label) == shortest


def test_infeasible_names_positions():
    assert ctc.infeasible([[1, 1], [1, 2], [], [3]], [2, 2, 0, 0]) == [0, 3]


@settings(deadline=None, max_examples=25)
@given(st.lists(labels.filter(bool), min_size=1, max_size=3), st.integers(0, 99))
def test_loss_is_that_of_all_paths(values, seed):
    frames = 5
    logits = make(seed, frames, len(values))
    lengths = torch.tensor([frames - i % 2 for i in range(len(values))])
    posteriors = logits.double().softmax(2)
    feasible = [i for i, v in enumerate(values) if ctc.frames_needed(v) <= int(lengths[i])]
    expected = -sum(math.log(brute_force(posteriors[: int(lengths[i]), i], values[i])) for i in feasible)
    expected /= max(1, sum(len(values[i]) for i in feasible))
    loss, infeasible = ctc.loss(logits, lengths, *targets_of(values))
    assert float(loss) == pytest.approx(expected, abs=1e-4)
    assert infeasible == len(values) - len(feasible)


def test_infeasible_samples_give_no_gradient():
    logits = make(0, 3, 2).requires_grad_()
    loss, infeasible = ctc.loss(logits, torch.tensor([3, 3]), *targets_of([[1, 1, 1], [2]]))
    loss.backward()
    assert infeasible == 1
    assert logits.grad[:, 0].abs().sum() == 0
    assert logits.grad[:, 1].abs().sum() > 0
    assert torch.isfinite(logits.grad).all()


def test_loss_of_nothing_feasible_is_zero():
    logits = make(0, 1, 1).requires_grad_()
    loss, infeasible = ctc.loss(logits, torch.tensor([1]), *targets_of([[1, 2]]))
    loss.backward()
    assert (float(loss.detach()), infeasible) == (0.0, 1)
    assert logits.grad.abs().sum() == 0


def test_loss_is_computed_in_float32_under_autocast():
    logits = make(1, 6, 2)
    arguments = torch.tensor([6, 5]), *targets_of([[1, 2], [3]])
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = ctc.loss(logits, *arguments)
    assert inside.dtype == torch.float32
    assert float(inside) == float(ctc.loss(logits, *arguments)[0])


def test_label_padding_does_not_matter():
    logits, lengths = make(2, 6, 1), torch.tensor([6])
    plain = ctc.loss(logits, lengths, torch.tensor([[1, 1]]), torch.tensor([2]))
    padded = ctc.loss(logits, lengths, torch.tensor([[1, 1, 1, 1, 3]]), torch.tensor([2]))
    assert plain[0] == padded[0]
    assert plain[1] == padded[1] == 0


def greedy_reference(logits):
    """One sample, frame by frame."""
    posteriors = logits.softmax(1).tolist()
    label, peaks, before = [], [], 0
    for frame in posteriors:
        best = max(range(len(frame)), key=frame.__getitem__)
        if best and best != before:
            label.append(best)
            peaks.append(frame[best])
        elif best:
            peaks[-1] = max(peaks[-1], frame[best])
        before = best
    values = peaks or [max(frame) for frame in posteriors]
    return label, math.prod(values) ** (1 / len(values)) if values else 0.0


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=5), st.integers(0, 999))
def test_greedy_is_the_collapsed_best_path_whatever_the_padding(lengths, seed):
    logits = make(seed, 8, len(lengths), classes=3)
    for (label, confidence), length, sample in zip(
        ctc.greedy(logits, torch.tensor(lengths)), lengths, logits.unbind(1), strict=True
    ):
        expected, certainty = greedy_reference(sample[:length])
        assert label == expected
        assert confidence == pytest.approx(certainty, abs=1e-5)
        assert 0 <= confidence <= 1 + 1e-6


def test_greedy_of_nothing():
    assert ctc.greedy(torch.zeros(0, 2, 3), torch.tensor([0, 0])) == [([], 0.0)] * 2
    assert ctc.greedy(torch.zeros(4, 0, 3), torch.tensor([], dtype=torch.long)) == []
