"""`continue_from`: the weights of an earlier training, with the language model of the start."""

import pytest
import small_lines
import torch
from random_models import random_model

from htr_ssl import model_file
from htr_ssl.config import DataConfig, FinetuneConfig, LanguageConfig, TrainConfig
from htr_ssl.errors import UserError
from htr_ssl.recognizers.reader import Reader
from htr_ssl.training import finetune

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def config(lines, start, lr, **values):
    train = TrainConfig(steps=2, check_every=2, batch_size=8, lr=lr, device="cpu", threads=1, precision="32")
    data = DataConfig(source=str(lines), height=32)
    return FinetuneConfig(data=data, init=str(start), select="last", lm=LanguageConfig(), train=train, **values)


def test_a_training_goes_on_from_the_weights_of_another_and_keeps_the_language_of_the_start(tmp_path):
    lines = small_lines.write(tmp_path / "lines.parquet")
    start = random_model(tmp_path / "start.safetensors")
    first = finetune.run(config(lines, start, 1e-2), tmp_path / "first", progress=False)
    again = finetune.run(config(lines, start, 1e-12, continue_from=str(first)), tmp_path / "again", progress=False)
    _, begun = model_file.read(start)
    _, learnt = model_file.read(first)
    _, kept = model_file.read(again)
    trained = [key for key in begun if key.endswith("weight") and not torch.equal(begun[key], learnt[key])]
    assert trained
    assert all(torch.allclose(learnt[key], kept[key], atol=1e-6) for key in trained)
    assert Reader.load(again, "cpu").language.facts.get("mixture") is None, "the language model of `first` is no part"


def test_that_a_model_is_transductive_is_carried_on(tmp_path):
    lines = small_lines.write(tmp_path / "lines.parquet")
    start = random_model(tmp_path / "start.safetensors")
    header, state = model_file.read(start)
    model_file.save(tmp_path / "seen.safetensors", state, header | {"transductive": True, "copies": 3})
    path = config(lines, start, 1e-3, continue_from=str(tmp_path / "seen.safetensors"))
    made = model_file.read_header(finetune.run(path, tmp_path / "run", progress=False))
    assert (made["transductive"], made["copies"]) == (True, 3)


def test_a_file_that_is_not_there_is_named(tmp_path):
    lines = small_lines.write(tmp_path / "lines.parquet")
    start = random_model(tmp_path / "start.safetensors")
    with pytest.raises(UserError, match=r"nowhere\.safetensors"):
        finetune.run(config(lines, start, 1e-3, continue_from="nowhere.safetensors"), tmp_path / "run", progress=False)
