"""Muon: orthogonal steps for the encoder's matrices and for nothing else, in place of AdamW's, resumable like them."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from htr_ssl import model_file, plugins
from htr_ssl.config import TrainConfig
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.training.optim import MATRIX_RATE, optimiser, orthogonal


def recognizer(encoder="crnn"):
    torch.manual_seed(0)
    return Recognizer(model_file.build_encoder(encoder, {}, 32, 1), 12)


def with_gradients(module, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return module


@given(
    count=st.integers(1, 3), rows=st.integers(1, 40), columns=st.integers(1, 40), scale=st.sampled_from([1e-6, 1, 1e4])
)
def test_steps_have_equal_singular_values_whatever_the_gradient(count, rows, columns, scale):
    generator = torch.Generator().manual_seed(rows + 64 * columns)
    ranks = min(rows, columns)
    left = torch.linalg.qr(torch.randn(count, rows, ranks, generator=generator))[0]
    right = torch.linalg.qr(torch.randn(count, columns, ranks, generator=generator))[0]
    values = torch.rand(count, ranks, generator=generator) + 0.2
    step = orthogonal(scale * (left * values[:, None]) @ right.mT)
    nearest = left @ right.mT  # U V^T
    assert step.shape == (count, rows, columns)
    assert torch.linalg.svdvals(step).sub(1).abs().max() < 0.35
    assert (step * nearest).sum((1, 2)).div(ranks).min() > 0.65


@pytest.mark.parametrize("encoder", plugins.names("htr_ssl.encoders"))
def test_only_matrices_of_the_encoder_take_orthogonal_steps(encoder):
    model = recognizer(encoder)
    groups = optimiser(model, TrainConfig(lr=1e-3)).param_groups
    assert [group["lr"] for group in groups] == [1e-3, 1e-3, MATRIX_RATE * 1e-3]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = [{names[id(parameter)] for parameter in group["params"]} for group in groups]
    assert set().union(*found) == set(names.values())
    assert sum(map(len, found)) == len(names)
    assert {"head.weight", "shortcut.weight"} <= found[0]
    assert all(name.startswith("encoder.") and "bias" not in name and "norm" not in name for name in found[2])
    share = sum(p.numel() for p in groups[2]["params"]) / sum(p.numel() for p in model.encoder.parameters())
    assert share > 0.95


def test_a_step_is_orthogonal_and_the_rest_is_adamw():
    model = with_gradients(recognizer())
    plain = copy.deepcopy(model)
    for mine, theirs in zip(plain.parameters(), model.parameters(), strict=True):
        mine.grad = theirs.grad.clone()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for module, name in ((model, "muon"), (plain, "adamw")):
        optimiser(module, TrainConfig(lr=1e-3, optimiser=name)).step()
    matrix = "encoder.context.forwards.0.weight_hh_l0"
    after = dict(model.named_parameters())
    kept = 1 - 0.01 * 1e-2
    steps = (kept * before[matrix] - after[matrix]).detach()
    rows, columns = steps.shape
    values = torch.linalg.svdvals(steps) / (MATRIX_RATE * 1e-3 * (rows / columns) ** 0.5)
    assert values.min() > 0.6
    assert values.max() < 1.3
    for name, theirs in plain.named_parameters():
        if not name.startswith("encoder.") or theirs.ndim < 2:
            assert torch.equal(after[name], theirs), name


def test_what_has_no_gradient_stays():
    model = with_gradients(recognizer())
    chosen = optimiser(model, TrainConfig())
    for parameter in model.encoder.parameters():
        parameter.grad = None
    before = copy.deepcopy(model.state_dict())
    chosen.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias", "shortcut.weight", "shortcut.bias"}


def test_a_frozen_encoder_leaves_adamw_alone():
    model = recognizer()
    model.encoder.requires_grad_(False)
    assert type(optimiser(model, TrainConfig())) is torch.optim.AdamW


def test_a_saved_state_goes_on_to_the_same_weights():
    model = recognizer()
    chosen = optimiser(model, TrainConfig())
    for seed in range(3):
        with_gradients(model, seed)
        chosen.step()
    twin = copy.deepcopy(model)
    again = optimiser(twin, TrainConfig())
    again.load_state_dict(copy.deepcopy(chosen.state_dict()))
    for module, mine in ((model, chosen), (twin, again)):
        with_gradients(module, 3)
        mine.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_badly_scaled_problems_end_sooner_than_with_adamw():
    """A linear map is learnt from inputs of which few directions are strong: the case that Muon is for."""

    def error(name):
        torch.manual_seed(1)
        inputs = torch.randn(256, 32) * torch.logspace(0, -2, 32)
        wanted = inputs @ (torch.randn(32, 32) / torch.logspace(0, -2, 32)[:, None] / 6)
        model = nn.Module()
        model.encoder = nn.Linear(32, 32, bias=False)
        chosen = optimiser(model, TrainConfig(lr=2e-3, weight_decay=0, optimiser=name))
        for step in range(300):
            for group in chosen.param_groups:
                group["lr"] = (MATRIX_RATE if group["orthogonal"] else 1) * 1e-2 * (1 - step / 300)
            chosen.zero_grad()
            loss = (model.encoder(inputs) - wanted).square().mean()
            loss.backward()
            chosen.step()
        return loss.item()

    assert error("muon") < 0.7 * error("adamw")
