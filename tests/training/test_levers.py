"""The levers of benchmarks/few_labels/levers.py: what their terms are, and that a training with each of them runs."""

import sys
from pathlib import Path

import matplotlib
import pytest
import torch

from htr_ssl import model_file
from htr_ssl.config import DataConfig, FinetuneConfig
from htr_ssl.data import synthetic
from htr_ssl.data.batch import Batch
from htr_ssl.data.loading import Strips
from htr_ssl.training import finetune

DATA = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 60, "hands": 12}}
TRAIN = {"steps": 2, "batch_size": 4, "check_every": 2, "threads": 1, "precision": "32", "device": "cpu"}


@pytest.fixture(scope="module")
def levers():
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks/few_labels"))
    import levers

    yield levers
    sys.path.pop(0)


def labels(*words):
    return Batch(
        torch.zeros(len(words), 1, 1, 1),
        torch.ones(len(words), dtype=torch.int64),
        torch.arange(len(words)),
        torch.tensor([k for word in words for k in word]),
        torch.tensor([len(word) for word in words]),
    )


def test_views_that_agree_cost_nothing_and_frames_behind_the_end_are_not_looked_at(levers):
    logits = torch.randn(6, 2, 5, generator=torch.manual_seed(0))
    twice = torch.cat([logits, logits], 1)
    lengths = torch.tensor([6, 3, 6, 3])
    assert levers.disagreement(twice, lengths).abs() < 1e-6
    twice[3:, 3] += torch.randn(3, 5)
    assert levers.disagreement(twice, lengths).abs() < 1e-6
    twice[2, 3] += torch.tensor([3.0, 0, 0, 0, 0])
    assert levers.disagreement(twice, lengths) > 0.01


def test_the_likeliest_class_of_frames_spells_the_label(levers):
    logits = 0.1 * torch.randn(9, 2, 5, generator=torch.manual_seed(1))
    logits[:, 0, 1] += torch.tensor([0.0, 4, 4, 0, 0, 0, 0, 0, 0])
    logits[:, 0, 3] += torch.tensor([0.0, 0, 0, 0, 0, 4, 0, 0, 0])
    logits[:, 0, 4] += torch.tensor([0.0, 0, 0, 9, 0, 0, 0, 0, 0])  # stands out, but is not in the label
    found = levers.likeliest(logits, torch.tensor([9, 7]), labels([1, 3], [2])).T.tolist()
    assert found[0][1] == 1
    assert found[0][5] == 3
    assert 4 not in found[0]


@pytest.mark.parametrize("row", ["none", "cr_ctc", "cr_ctc_unlabelled", "dctc", "ngram_heads"])
def test_each_lever_trains_and_saves_the_recognizer_alone(levers, tmp_path, row):
    terms = []

    def seen(usual, train):
        lever = levers.lever_of(row, DataConfig(**DATA), tmp_path / "none")
        task = lever(usual, train) if lever else usual
        task.register_forward_hook(lambda module, given, found: terms.append(dict(found)))
        return task

    config = FinetuneConfig(data=DATA, train=TRAIN, select="last", fraction=0.5)
    found = finetune.run(config, tmp_path, progress=False, lever=seen)
    plain = {name for name, _ in model_file.build_encoder("crnn", config.encoder.options(), 32, 1).named_parameters()}
    saved = {name.removeprefix("encoder.") for name in model_file.read(found)[1]}
    assert plain <= saved
    assert not any("pairs" in name for name in saved)
    assert all(torch.isfinite(torch.as_tensor(one["loss"])) for one in terms)
    assert all(("extra" in one) == (row != "none") for one in terms)
    if row != "none":
        assert all(one["extra"] > 0 for one in terms)


def test_half_of_each_batch_is_other_lines_in_the_characters_of_the_first(levers, tmp_path):
    seen = []

    def lever(usual, train):
        other = Strips(train.samples, train.rows[:3], train.config)
        task = levers.Mixed(usual, train, other)
        assert other.labels == train.labels[:3]
        plain = usual.model.loss
        task.model.loss = lambda images, batch, **options: (seen.append(batch), plain(images, batch, **options))[1]
        return task

    config = FinetuneConfig(data=DATA, train=TRAIN, select="last")
    finetune.run(config, tmp_path, progress=False, lever=lever)
    assert [len(batch.target_lengths) for batch in seen] == [4, 4]


@pytest.mark.parametrize("row", ["strokes", "own_paper", "fonts"])
def test_half_of_each_batch_may_be_synthetic_handwriting(levers, tmp_path, monkeypatch, row):
    monkeypatch.setattr(levers, "MIXED", 20)
    fonts = str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSerif-Italic.ttf")
    mixed = []
    source = tmp_path / "lines.parquet"
    synthetic.write_parquet(synthetic.samples(synthetic.Config(samples=8), "line", 0), source)

    def lever(usual, train):
        task = levers.lever_of(row, DataConfig(**{**DATA, "source": str(source)}), tmp_path / "none", fonts)(
            usual, train
        )
        mixed.append((set("".join(train.texts())), task.other))
        return task

    finetune.run(FinetuneConfig(data=DATA, train=TRAIN, select="last"), tmp_path, progress=False, lever=lever)
    known, other = mixed[0]
    assert len(other) == 20
    assert set("".join(other.texts())) <= known | {" "}
    assert bool(other.samples._pens) == (row == "fonts")
    assert (other.samples._scans is not None) == (row == "own_paper")


def test_without_the_usual_row_there_is_no_stackmix(levers, tmp_path):
    with pytest.raises(SystemExit, match="run the row none first"):
        levers.lever_of("stackmix", DataConfig(**DATA), tmp_path / "none/model.safetensors")
