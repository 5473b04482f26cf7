"""Model files: what was saved comes back; foreign and damaged files are one clear sentence."""

import pytest
import torch
from safetensors.torch import save_file

from htr_ssl import model_file
from htr_ssl.errors import UserError


def test_round_trip(tmp_path):
    state = {"encoder.a": torch.randn(2, 3), "head": torch.arange(3)}
    header = {"kind": "encoder", "data": {"source": "Päge"}, "n": 3}
    model_file.save(tmp_path / "sub" / "m.safetensors", state, header)
    read, loaded = model_file.read(tmp_path / "sub" / "m.safetensors")
    assert {key: read[key] for key in header} == header
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    assert model_file.read_header(tmp_path / "sub" / "m.safetensors") == read
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["m.safetensors"]


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "m.safetensors"
    model_file.save(path, {"a": torch.randn(50)}, {"kind": "encoder"})
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"m\.safetensors: this is not a whole model file"):
            model_file.read(path)


def test_foreign_files(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "foreign.safetensors")
    with pytest.raises(UserError, match=r"foreign\.safetensors: its header is not of htr-ssl"):
        model_file.read(tmp_path / "foreign.safetensors")
    torch.save({"a": torch.ones(1)}, tmp_path / "pickle.pt")
    with pytest.raises(UserError, match=r"pickle\.pt: this is not a whole model file"):
        model_file.read(tmp_path / "pickle.pt")
    save_file({"a": torch.ones(1)}, tmp_path / "new.safetensors", {"htr_ssl": '{"format": 99}'})
    with pytest.raises(UserError, match="format 99"):
        model_file.read(tmp_path / "new.safetensors")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(tmp_path, value):
    path = tmp_path / "m.safetensors"
    model_file.save(path, {"a": torch.tensor([1.0, value]), "b": torch.arange(3)}, {"kind": "encoder"})
    with pytest.raises(UserError, match=r"m\.safetensors: some of its weights are no numbers"):
        model_file.read(path)
    assert model_file.read_header(path)["kind"] == "encoder"


def test_unknown_device():
    with pytest.raises(UserError, match="device=cpu"):
        model_file.resolve_device("cuda:77")
    with pytest.raises(UserError, match="device=cpu"):
        model_file.resolve_device("toaster")
