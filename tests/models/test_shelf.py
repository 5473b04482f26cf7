"""Models by name: the package's, the user's, unknown and damaged ones; what a command line takes for a model."""

import json
from pathlib import Path

import pytest
import torch
from random_models import random_model

from htr_ssl import model_file
from htr_ssl.config import FinetuneConfig
from htr_ssl.errors import UserError
from htr_ssl.models import card, shelf
from htr_ssl.training import finetune


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An empty folder of the package and one of the user."""
    shipped, own = tmp_path / "shipped", tmp_path / "own"
    shipped.mkdir()
    monkeypatch.setattr(shelf, "SHIPPED", shipped)
    monkeypatch.setenv(shelf.VARIABLE, str(own))
    monkeypatch.chdir(tmp_path)
    return shipped, own


def test_names_are_found_in_both_places_and_the_package_comes_first(places):
    shipped, own = places
    own.mkdir()
    random_model(shipped / "base.safetensors")
    random_model(own / "base.safetensors")
    random_model(own / "mine.safetensors")
    assert shelf.find("base") == shipped / "base.safetensors" == shelf.default()
    assert shelf.find("mine") == own / "mine.safetensors"
    assert [entry.name for entry in shelf.entries()] == ["base", "mine"]


def test_a_file_is_itself(places, tmp_path):
    for path in ("base.safetensors", "runs/model.safetensors", "./base", "model.onnx"):
        assert shelf.find(path) == Path(path)
    (tmp_path / "base").mkdir()
    assert shelf.find("base") == Path("base")


def test_an_unknown_name_gets_a_hint(places):
    random_model(places[0] / "base.safetensors")
    with pytest.raises(UserError, match="did you mean 'base'"):
        shelf.find("bass")
    with pytest.raises(UserError, match="known are: base"):
        shelf.find("zzzzz")


def test_without_a_model_of_the_package_it_says_how_to_get_one(places):
    with pytest.raises(UserError, match="transcribe needs a model"):
        shelf.default()


def test_pages_are_not_taken_for_models(places, tmp_path):
    random_model(places[0] / "base.safetensors")
    assert shelf.is_name("base")
    assert shelf.is_name("other.safetensors")
    assert not shelf.is_name("page.jpg")
    assert not shelf.is_name("scans")
    assert not shelf.is_name("pages/base")
    (tmp_path / "base").mkdir()  # a folder of pages that is there
    assert not shelf.is_name("base")


def test_a_damaged_model_is_listed_with_its_fault(places):
    (places[0] / "base.safetensors").write_bytes(b"no model")
    (entry,) = shelf.entries()
    assert "not a whole model file" in entry.fault


def test_the_users_folder_is_that_of_the_system(monkeypatch):
    monkeypatch.delenv(shelf.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    monkeypatch.setattr("sys.platform", "linux")
    assert shelf.folder() == Path("/data/htr-ssl/models")


def test_a_card_has_front_matter_facts_and_todos(places, tmp_path):
    import yaml

    path = random_model(tmp_path / "letters.safetensors")
    text = card.card(path)
    _, front, body = text.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert {"summary", "authors", "license", "language", "script", "software_name", "model_type", "tags"} <= set(facts)
    assert facts["model_type"] == ["recognition"]
    assert "TODO" in facts["license"]
    assert "abcdefgh é" in body
    assert "metrics" not in facts
    scores = dict.fromkeys(("cer", "wer", "wacc"), 0.25) | {f"{n}_ci": [0.2, 0.3] for n in ("cer", "wer", "wacc")}
    result = tmp_path / "result.json"
    import json

    result.write_text(json.dumps({**scores, "n": 7, "data": "lines", "split": "test"}))
    facts = yaml.safe_load(card.card(path).split("---\n", 2)[1])
    assert facts["metrics"] == {"cer": 25.0, "wer": 25.0}


def test_a_card_beside_the_model_is_that_model_s(tmp_path):
    path = random_model(tmp_path / "base.safetensors")
    (tmp_path / "base.md").write_text("the card\n", encoding="utf-8")
    assert card.card(path) == "the card\n"


def test_every_model_of_the_package_is_whole_and_has_a_card():
    for path in sorted(shelf.SHIPPED.glob("*.safetensors")):
        header = model_file.read_header(path)
        assert header["kind"] == "recognizer"
        text = path.with_suffix(".md").read_text(encoding="utf-8")
        assert "TODO" not in text
        assert text.startswith("---\n")


def test_a_fine_tuning_starts_from_the_shipped_model(tmp_path):
    train = {"steps": 1, "batch_size": 2, "check_every": 1, "device": "cpu", "threads": 1, "precision": "32"}
    data = {"source": "synthetic", "synthetic": {"samples": 12, "hands": 2}}
    config = FinetuneConfig(data=data, init=shelf.DEFAULT, train=train)
    path = finetune.run(config, tmp_path / "run", progress=False)
    header, state = model_file.read(path)
    shipped = model_file.read_header(shelf.default())
    assert header["encoder"] == shipped["encoder"]
    assert set(json.loads(shipped["charset"])) <= set(json.loads(header["charset"]))
    assert all(tensor.dtype != torch.bfloat16 for tensor in state.values())
