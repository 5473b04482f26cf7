"""The mean of two recognizers' weights: half of the way, character by character, and nothing else changes."""

import json

import pytest
import torch
from random_models import CHARACTERS, random_model

from htr_ssl import model_file
from htr_ssl.errors import UserError
from htr_ssl.recognizers import averaging


@pytest.fixture
def two(tmp_path):
    """A recognizer, and another one of the same encoder that knows the same characters mixed and one more."""
    before = random_model(tmp_path / "before.safetensors")
    header, state = model_file.read(before)
    torch.manual_seed(1)
    other = {
        name: value + torch.randn_like(value) if value.is_floating_point() else value for name, value in state.items()
    }
    for name in ("head", "shortcut"):
        other[f"{name}.weight"] = torch.randn(len(CHARACTERS) + 2, state[f"{name}.weight"].shape[1])
        other[f"{name}.bias"] = torch.randn(len(CHARACTERS) + 2)
    other["language_model.table"] = torch.rand(3)
    after = tmp_path / "after.safetensors"
    mixed = [*reversed(CHARACTERS), "ß"]
    model_file.save(
        after, other, {**header, "charset": json.dumps(mixed), "labels": 7, "val_cer": 0.1, "calibration": [1.0, 0.0]}
    )
    return before, after


def test_every_weight_is_half_of_the_way_and_a_character_stays_itself(two, tmp_path):
    before, after = two
    averaging.save(before, after, tmp_path / "mean.safetensors")
    old, new = model_file.read(before)[1], model_file.read(after)[1]
    header, mean = model_file.read(tmp_path / "mean.safetensors")
    assert header["labels"] == 7
    assert header["val_cer"] is None, "that is the score of other weights"
    assert "calibration" not in header
    assert header["charset"] == model_file.read_header(after)["charset"]
    assert mean.keys() == new.keys()
    assert torch.equal(mean["language_model.table"], new["language_model.table"])
    for name in (name for name in mean if name.startswith("encoder.") and mean[name].is_floating_point()):
        assert torch.allclose(mean[name], (old[name] + new[name]) / 2, atol=1e-5)
    classes = {"blank": (0, 0)} | {
        c: (CHARACTERS.index(c) + 1, len(CHARACTERS) - CHARACTERS.index(c)) for c in CHARACTERS
    }
    for name in ("head.weight", "head.bias", "shortcut.weight", "shortcut.bias"):
        for before_place, after_place in classes.values():
            wanted = (old[name][before_place] + new[name][after_place]) / 2
            assert torch.allclose(mean[name][after_place], wanted, atol=1e-5)
        assert torch.equal(mean[name][-1], new[name][-1]), "nobody but the second knows this character"


def test_the_mean_of_a_model_and_itself_is_the_model(two, tmp_path):
    _, after = two
    averaging.save(after, after, tmp_path / "mean.safetensors")
    new, mean = model_file.read(after)[1], model_file.read(tmp_path / "mean.safetensors")[1]
    assert all(torch.equal(new[name], mean[name]) for name in new)


def test_another_encoder_is_refused(two, tmp_path):
    other = random_model(tmp_path / "vit.safetensors", "vit_strips")
    with pytest.raises(UserError, match="encoder"):
        averaging.save(other, two[1], tmp_path / "mean.safetensors")
