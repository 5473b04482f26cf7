"""A published split is named wherever a score is, and two of them never meet in one table or model."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from handmade import write_words

from htr_ssl.cli.commands import _data
from htr_ssl.config import DataConfig, FinetuneConfig, PretrainConfig, TableConfig, TrainConfig
from htr_ssl.data.samples import Samples
from htr_ssl.data.splits import named_splits, subset_lists
from htr_ssl.data.splits.subsets import digest, subset
from htr_ssl.errors import UserError
from htr_ssl.experiments import plan, table
from htr_ssl.experiments.caption import caption
from htr_ssl.experiments.evaluate import evaluate
from htr_ssl.training import finetune, pretrain

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TRAIN = {"steps": 2, "batch_size": 4, "check_every": 2, "threads": 1, "precision": "32", "device": "cpu"}
ENCODER = {"name": "crnn"}


def write_list(path, test, rest="w{0..17}"):
    """A list over the images of `write_words`."""
    parts = {"train": rest, "validation": "w{18..35}", "test": test}
    ids = {part: list(named_splits._expanded(text)) for part, text in parts.items()}
    head = {"dataset": "Words", "about": "x", "source": "y", "unit": "word"}
    counts = {part: len(names) for part, names in ids.items()}
    path.write_text(yaml.safe_dump({**head, "counts": counts, "sha256": named_splits.checksum(ids), **parts}))
    named_splits.load.cache_clear()
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    write_words(folder / "words.parquet", splits=False)
    write_list(folder / "one.yaml", "w{36..53}")
    write_list(folder / "two.yaml", "w{0..17}", rest="w{36..53}")
    return folder


def data(folder, name):
    return {"source": str(folder / "words.parquet"), "level": "word", "height": 24, "splits": str(folder / name)}


@pytest.fixture(scope="module")
def made(folder):
    config = {
        "data": data(folder, "one.yaml"),
        "rows": {"supervised": []},
        "fractions": [0.5],
        "seeds": [0],
        "train": TRAIN,
        "encoder": ENCODER,
        "report": "test",
    }
    return table.run(TableConfig.model_validate(config), folder / "table", progress=False)


def test_the_split_is_in_results_and_caption(made, folder):
    assert not made.failed
    (cell,) = made.cells
    mark = named_splits.load(str(folder / "one.yaml")).sha256
    result = json.loads((cell.folder / "result.json").read_text())
    assert (result["splits"], result["splits_sha256"], result["split"]) == ("one", mark, "test")
    assert result["n"] == 18
    assert f"published split one (SHA-256 {mark[:12]}…), test split" in (made.out / "table.md").read_text()


def test_the_caption_names_the_lists_of_subsets(made):
    cell = replace(made.cells[0], result={**made.cells[0].result, "subset_list": "iam-rwth-lines"})
    assert "of the same seed, as listed in iam-rwth-lines." in caption(replace(made, cells=[cell]))
    assert "as listed in" not in caption(replace(made, cells=[cell, made.cells[0]]))


def test_a_table_is_not_continued_on_another_split(made, folder):
    before = (folder / "one.yaml").read_text()
    write_list(folder / "one.yaml", "w{36..50}")
    try:
        with pytest.raises(UserError, match=r"splits of .*words\.parquet have changed"):
            table.run(made.config, made.out, progress=False)
    finally:
        (folder / "one.yaml").write_text(before)
        named_splits.load.cache_clear()


def test_models_are_not_scored_or_continued_on_another_split(made, folder):
    model = made.cells[0].folder / "finetune/model.safetensors"
    other = data(folder, "two.yaml")
    with pytest.raises(UserError, match=r"is divided as two .* but .*model\.safetensors as one"):
        evaluate(model, DataConfig(**other))
    config = {"data": other, "init": str(model), "train": TRAIN, "encoder": ENCODER}
    for kind, run in ((FinetuneConfig, finetune.run), (PretrainConfig, pretrain.run)):
        with pytest.raises(UserError, match="two named splits must not be mixed"):
            run(kind.model_validate(config), folder / kind.__name__, progress=False)
    plain = {**other, "splits": None}
    assert evaluate(model, DataConfig(**plain), split="all")["splits"] is None


def test_other_data_is_not_divided_by_the_split_of_the_model(made, folder):
    model, own = made.cells[0].folder / "finetune/model.safetensors", str(folder / "words.parquet")
    assert _data(model, own, "auto").splits == str(folder / "one.yaml")
    assert _data(model, "elsewhere.parquet", "auto").splits is None
    assert _data(model, "elsewhere.parquet", "auto", "iam-rwth").splits == "iam-rwth"
    with pytest.raises(UserError, match="--splits divides DATA"):
        _data(model, None, "auto", "iam-rwth")


def test_older_tables_stay_valid():
    """Without a named split a cell has the hash it had before there were any, so that its result still counts."""
    train = {"optimiser": "adamw", "steps": 2000, "batch_size": 32, "lr": 1e-3}
    config = TableConfig(
        data=DataConfig(height=48), rows={"supervised": []}, seeds=[0], train=train, select="validation"
    )
    cell = plan.plan(config, Path("x"))[0]
    assert plan.cell_hash(config, cell) == "1f74e0e4865598b824eefbc6bb90a905b14f306086661aa4993bdd62aac7d084"
    named = config.model_copy(update={"data": DataConfig(height=48, splits="iam-rwth")})
    for other in (named, config.model_copy(update={"train": TrainConfig()})):
        assert plan.cell_hash(other, cell) != plan.cell_hash(config, cell)


class Named(Samples):
    def image(self, index):
        raise NotImplementedError


def test_committed_subsets_are_used_and_named(tmp_path, monkeypatch):
    """Where there is a list for exactly these train ids, its ids are those that are learnt from."""
    ids = [f"w{number}-{number:02d}" for number in range(40)]
    other = subset_lists.drawn([name.replace("w", "q") for name in ids], "one", "word").replace("q", "w")
    lists = yaml.safe_load(other)
    read = subset_lists.SubsetLists.model_validate(lists)
    lists["train_sha256"] = digest(ids)
    lists["sha256"] = {seed: [digest(read.ids(seed, part)) for part in read.fractions] for seed in read.seeds}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(lists))
    monkeypatch.setattr(subset_lists, "FOLDER", tmp_path)
    subset_lists.load.cache_clear()
    samples = Named({"id": ids, "text": ["a"] * 40, "split": ["train"] * 40}, "word")
    rows, mark, name = finetune.rows_to_train(samples, FinetuneConfig(fraction=0.25, seed=1), tmp_path)
    assert name == "mine"
    assert {ids[row] for row in rows} == set(read.ids(1, 0.25)) != {ids[row] for row in subset(ids, 0.25, 1)}
    assert mark == lists["sha256"][1][2]
    assert finetune.rows_to_train(samples, FinetuneConfig(fraction=0.25, seed=5), tmp_path)[2] is None
