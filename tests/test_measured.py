"""The number format is the one that was measured to be faster, once, and a run keeps it."""

import json

import pytest
import torch

from htr_ssl import environment, measured, model_file
from htr_ssl.config import FinetuneConfig
from htr_ssl.training import finetune

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
HEADER = {"encoder": {"name": "crnn", "preset": "small", "dropout": 0.1}, "height": 32, "channels": 1}
CPU = torch.device("cpu")
FAST, SLOW = {"32": 20.0, "bf16": 40.0}, {"32": 40.0, "bf16": 42.0}


@pytest.fixture(autouse=True)
def measuring(monkeypatch, tmp_path):
    monkeypatch.setenv("HTR_SSL_MEASURE", "1")
    monkeypatch.setenv("HTR_SSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(environment, "isa", lambda: ["avx2", "avx512", "avx512_bf16"])


@pytest.fixture
def asked(monkeypatch):
    """What is measured, and how often."""
    speeds, calls = dict(FAST), []
    monkeypatch.setattr(measured, "_measure", lambda network, training: calls.append(training) or dict(speeds))
    return speeds, calls


@pytest.mark.parametrize(("speeds", "number"), [(FAST, "bf16"), (SLOW, "32"), ({"32": 32.0, "bf16": 45.0}, "bf16")])
def test_bfloat16_must_be_clearly_faster(asked, speeds, number):
    asked[0].update(speeds)
    chosen, why = measured.precision(HEADER, CPU, True)
    assert chosen == number
    assert f"{speeds[number]:.0f} against" in why


def test_it_is_measured_once_for_training_and_once_for_reading(asked):
    speeds, calls = asked
    for _ in range(3):
        assert measured.precision(HEADER, CPU, True)[0] == "bf16"
    speeds.update(SLOW)  # a busy moment later changes nothing
    assert measured.precision(HEADER, CPU, True)[0] == "bf16"
    assert measured.precision(HEADER, CPU, False)[0] == "32"
    assert measured.precision(HEADER | {"height": 40}, CPU, True)[0] == "32"
    assert calls == [True, False, True]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"a": 3}'])
def test_a_damaged_cache_is_measured_anew(asked, damage, tmp_path):
    measured.precision(HEADER, CPU, True)
    (tmp_path / "cache" / "precision.json").write_bytes(damage)
    assert measured.precision(HEADER, CPU, True)[0] == "bf16"
    assert len(asked[1]) == 2


def test_without_a_place_to_remember_it_is_measured_all_the_same(asked, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HTR_SSL_CACHE", str(tmp_path / "file"))
    assert measured.precision(HEADER, CPU, True)[0] == "bf16"


def test_a_processor_without_the_instructions_is_not_measured(asked, monkeypatch):
    monkeypatch.setattr(environment, "isa", lambda: ["avx2"])
    assert measured.precision(HEADER, CPU, True)[0] == "32"
    assert not asked[1]


@pytest.mark.parametrize("training", [True, False])
def test_the_network_itself_is_timed_and_random_numbers_stay_as_they_were(training):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    speeds = measured._measure(HEADER, training)
    assert speeds.keys() == {"32", "bf16"}
    assert min(speeds.values()) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_keeps_its_number_format(asked, tmp_path):
    speeds, _ = asked
    speeds.update(SLOW)
    data = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 40, "hands": 5}}
    train = {"steps": 4, "batch_size": 8, "check_every": 2, "threads": 1, "device": "cpu"}

    def run(out):
        path = finetune.run(FinetuneConfig(data=data, train=train), out, progress=False)
        return model_file.read(path)[1], json.loads((out / "summary.json").read_text())["choices"]["precision"]

    first, said = run(tmp_path / "a")
    assert said.startswith("32: measured 40 against 42")
    speeds.update(FAST)
    (tmp_path / "cache" / "precision.json").unlink()
    (tmp_path / "a" / "summary.json").unlink()
    (tmp_path / "a" / "model.safetensors").unlink()
    again, said = run(tmp_path / "a")
    assert said.startswith("32: measured 40 against 42")
    assert all(torch.equal(first[name], again[name]) for name in first)
    _, said = run(tmp_path / "b")
    assert said.startswith("bf16: measured 40 against 20")
