"""What an encoder costs is counted, and measured when asked for."""

import pytest
import torch

from htr_ssl.training.cost import cost, presets

CPU = torch.device("cpu")


def count(encoder, width, batch_size=1, seconds=0.0):
    return cost(encoder, "small", 32, width, CPU, batch_size, seconds)


def test_operations_of_a_perceptron_and_an_lstm_are_those_of_the_formulas():
    frames, d = 160 // 4, 160
    # vit_strips: strips to tokens, in 6 blocks 12 d^2 for the linear layers and 2 T d for attention, the head.
    linear = 4 * 32 * d + 6 * 12 * d * d + 6 * 2 * frames * d + d * 100
    assert count("vit_strips", 160).flops == pytest.approx(2 * frames * linear, rel=0.01)
    # The LSTMs of crnn, 128 units in two directions and two layers, are more than half of these frames' cost.
    lstm = 2 * frames * 2 * 4 * 128 * ((128 + 128) + (256 + 128))
    assert lstm < count("crnn", 160).flops < 6 * lstm


def test_a_line_costs_the_same_in_every_batch_and_twice_when_twice_as_wide():
    assert count("crnn", 160, batch_size=3).flops == count("crnn", 160).flops
    assert count("crnn", 320).flops == pytest.approx(2 * count("crnn", 160).flops, rel=0.02)


def test_speed_is_measured_when_asked_for():
    found = count("crnn", 64, batch_size=2, seconds=0.01)
    assert found.train > 0
    assert found.read > 0
    assert count("crnn", 64).train is None


def test_presets_are_those_of_the_options():
    assert presets("crnn") == ["small", "medium", "base"]
