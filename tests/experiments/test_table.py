import csv
import json
from collections import Counter

import pytest
from handmade import write_words

from htr_ssl import model_file
from htr_ssl.config import TableConfig
from htr_ssl.config.yaml_files import dump_config
from htr_ssl.data.sample import Sample
from htr_ssl.data.splits import subsets
from htr_ssl.errors import UserError
from htr_ssl.experiments import plan, table
from htr_ssl.files import write_text
from htr_ssl.folders import RUN

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TRAIN = {"steps": 2, "batch_size": 4, "check_every": 2, "threads": 1, "precision": "32", "device": "cpu"}
METHOD = {"method": {"name": "masked_image"}, "train": TRAIN}
SYNTHETIC = {"synthetic": {"samples": 30, "hands": 20}, "train": TRAIN}
ROWS = {"supervised": [], "masked": [METHOD]}


def make(source="words.parquet", **changes):
    value = {
        "data": {"source": str(source), "level": "word", "height": 24},
        "rows": ROWS,
        "fractions": [0.5],
        "seeds": [0],
        "train": TRAIN,
        "matched": False,
    }
    return TableConfig.model_validate(value | changes)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return write_words(tmp_path_factory.mktemp("words") / "words.parquet")


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """A finished table of three rows."""
    out = tmp_path_factory.mktemp("whole")
    rows = {**ROWS, "both": [METHOD, SYNTHETIC]}
    config = make(words, rows=rows, fractions=[1.0, 0.2], seeds={0.2: [1, 0], 1.0: [0]})
    return table.run(config, out, progress=False)


def test_with_data_cache_every_image_is_decoded_once_and_the_scores_are_the_same(words, tmp_path, monkeypatch):
    decoded, load = Counter(), Sample.load
    monkeypatch.setattr(Sample, "load", lambda sample: decoded.update([sample.id]) or load(sample))
    found = []
    for name, cache in (("plain", None), ("cached", str(tmp_path / "cache"))):
        config = make(words, rows={"supervised": []})
        config = config.model_copy(update={"data": config.data.model_copy(update={"cache": cache})})
        decoded.clear()
        (cell,) = table.run(config, tmp_path / name, progress=False).cells
        found.append((cell.result["cer"], (cell.folder / "predictions.csv").read_bytes()))
    assert found[0] == found[1]
    assert set(decoded.values()) == {1}


def test_every_cell_is_there(whole):
    assert [(cell.seed, cell.fraction, cell.row) for cell in whole.cells] == [
        *[(0, 0.2, row) for row in whole.config.rows],
        *[(0, 1.0, row) for row in whole.config.rows],
        *[(1, 0.2, row) for row in whole.config.rows],
    ]
    assert not whole.failed
    assert not whole.missing
    assert {cell.result["labels"] for cell in whole.cells if cell.fraction == 0.2} == {4}
    assert {cell.result["n"] for cell in whole.cells} == {18}
    assert (whole.out / "both" / "f020_s1" / "predictions.csv").exists()


def test_rows_of_a_fraction_and_seed_have_the_same_labels(whole):
    hashes = {}
    for cell in whole.cells:
        hashes.setdefault((cell.fraction, cell.seed), set()).add(cell.result["subset_sha256"])
    assert all(len(values) == 1 for values in hashes.values())
    assert len(set.union(*hashes.values())) == 3


def test_pretraining_is_run_once_and_shared_by_rows_that_begin_alike(whole):
    assert [path.name for path in (whole.out / "pretrain").iterdir()] == ["masked_0"]
    inits = {cell.result["init"] for cell in whole.cells if cell.row == "masked"}
    assert inits == {str(whole.out / "pretrain" / "masked_0" / "encoder.safetensors")}
    assert {cell.result["init"] for cell in whole.cells if cell.row == "supervised"} == {None}


def test_synthetic_texts_are_those_of_the_labelled_subset(whole):
    import pyarrow.parquet as pq

    known = {row["image"]["path"]: row["text"] for row in pq.read_table(whole.config.data.source).to_pylist()}
    for cell in whole.cells:
        if cell.row == "both":
            ids = subsets.read(cell.folder / "finetune" / "subset.txt")
            stage = whole.out / "stages" / "both_1" / cell.folder.name
            assert (stage / "texts.txt").read_text().split("\n")[:-1] == [known[name] for name in ids]
            assert cell.result["init"] == str(stage / "finetune" / "model.safetensors")


def test_files_of_the_table(whole):
    names = {path.name for path in whole.out.iterdir() if path.is_file()}
    assert names == {"config.yaml", "table.md", "table.csv", "table.tex", "cells.csv", "curve.png", "inputs.json", RUN}
    with open(whole.out / "cells.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 9
    assert {row["state"] for row in rows} == {"done"}
    assert (whole.out / "curve.png").read_bytes().startswith(b"\x89PNG")


def times(out):
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}


def test_a_second_run_trains_nothing_and_collect_says_the_same(whole):
    before = times(whole.out)
    again = table.run(whole.config, whole.out, progress=False)
    assert times(whole.out) == before
    assert again.summaries == whole.summaries == table.collect(whole.out).summaries


def test_only_what_a_change_touches_runs_again_and_the_old_comes_back(words, tmp_path):
    table.run(make(words), tmp_path, progress=False)
    before = times(tmp_path)
    changed = {**METHOD, "train": {**TRAIN, "lr": 0.01}}
    table.run(make(words, rows={**ROWS, "masked": [changed]}), tmp_path, progress=False)
    after = times(tmp_path)
    supervised = tmp_path / "supervised" / "f050_s0" / "finetune" / "model.safetensors"
    pretrained = tmp_path / "pretrain" / "masked_0" / "encoder.safetensors"
    assert after[supervised] == before[supervised]
    assert after[pretrained] != before[pretrained]
    table.run(make(words), tmp_path, progress=False)
    assert {path: at for path, at in times(tmp_path).items() if "replaced" not in path.parts} == before


def test_hardware_and_name_change_no_hash(words):
    config, cell = make(words), plan.plan(make(words), words.parent)[1]
    other = make(words, name="x", train={**TRAIN, "device": "cuda", "threads": 7})
    assert plan.cell_hash(other, cell) == plan.cell_hash(config, cell)
    cached = config.model_copy(update={"data": config.data.model_copy(update={"cache": "cache"})})
    assert plan.cell_hash(cached, cell) == plan.cell_hash(config, cell)
    for change in ({"train": {**TRAIN, "steps": 3}}, {"augment": {"slant": 0.1}}, {"seeds": [0, -1]}):
        assert plan.cell_hash(make(words, **change), cell) != plan.cell_hash(config, cell)


def test_hashes_of_tables_on_somebodys_disk_stay_as_they_are(tmp_path):
    then = TRAIN | {"optimiser": "adamw", "lr": 1e-3}  # the defaults of then
    before = {"select": "validation", "report": "test"}
    rows = {"supervised": [], "both": [stage | {"train": then} for stage in (METHOD, SYNTHETIC)]}
    config = make(rows=rows, train=then, **before)
    supervised, both = plan.plan(config, tmp_path)
    assert [plan.cell_hash(config, cell) for cell in (supervised, both)] == [
        "0f63604092138090733c8df61751f77a749437f233c9c0db6aabce2a70df5f33",
        "5ec0fe87796f70e0533668a5a23102d43b6ef2c977d3b4282b9d216cbd4ed0ef",
    ]
    assert plan.stage_hash(config, both, 0) == "7e5d4f8e6046bcc6e0e1f8f4eef7cd903dd11754be56d9de78a35125ae6b754a"
    read = make(rows={"read": [{"pseudo": {"keep": 0.5}, "train": then}]}, train=then, **before)
    (cell,) = plan.plan(read, tmp_path)
    assert plan.cell_hash(read, cell) == "9cd635858974c85f23e0244b9107fcfab6ac03af27e1eb3ecc62e28d59212272"
    with_probes = make(rows=config.rows, train=then, **before, probes=["linear", "none"], probe_train=TRAIN)
    assert plan.cell_hash(with_probes, supervised) == plan.cell_hash(config, supervised)
    assert supervised.folder == plan.plan(with_probes, tmp_path)[1].folder == tmp_path / "supervised" / "f050_s0"


def test_a_failing_cell_is_recorded_and_the_rest_goes_on(words, tmp_path):
    bad = {"method": {"name": "masked_image"}, "train": {**TRAIN, "device": "cuda:99"}}
    rows = {"broken": [bad], "supervised": []}
    result = table.run(make(words, rows=rows, seeds=[0, 1]), tmp_path, progress=False)
    assert [(cell.row, cell.seed) for cell in result.failed] == [("broken", 0), ("broken", 1)]
    assert "cuda:99" in result.failed[0].error
    assert "Traceback" in (tmp_path / "broken" / "f050_s0" / "error.txt").read_text()
    assert result.summary("supervised", 0.5)
    text = (tmp_path / "table.md").read_text()
    assert "| broken | ! |" in text
    assert "Failed cells" in text
    # Repaired, the same folder is completed.
    repaired = table.run(
        make(words, seeds=[0, 1], rows={"broken": [METHOD], "supervised": []}), tmp_path, progress=False
    )
    assert not repaired.failed
    assert not list(tmp_path.rglob("*_s0/error.txt"))


def test_a_table_without_test_labels_fails_before_any_training(tmp_path):
    source = write_words(tmp_path / "few.parquet", pages=2)
    with pytest.raises(UserError, match="no labelled sample in split 'test'"):
        table.run(make(source, report="test"), tmp_path / "out", progress=False)
    assert not (tmp_path / "out" / "supervised").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": {}}, "empty"),
        ({"rows": {"../up": []}}, "folder"),
        ({"rows": {"pretrain": []}}, "folder"),
        ({"rows": {"a": [{"train": TRAIN}]}}, "exactly one"),
        ({"rows": {"a": [{**METHOD, **SYNTHETIC}]}}, "exactly one"),
        ({"rows": {"a": [{"synthetic": {"text": "other.txt"}}]}}, "labelled subset"),
        ({"fractions": [0.5, 0.5]}, "fractions"),
        ({"fractions": [1.5]}, "fractions"),
        ({"seeds": {0.1: [0]}}, "none for fraction 0.5"),
        ({"seeds": []}, "empty"),
        ({"probes": []}, "probes: the list is empty"),
        ({"probes": ["linear", "linear"]}, "names one twice"),
        ({"rows": {"stages": []}}, "folder"),
        ({"rows": {"a": [{**METHOD, "pseudo": {}}]}}, "exactly one"),
        ({"rows": {"a": [{"pseudo": {}}, METHOD]}}, "last stage"),
        ({"baseline": "other"}, "no row 'other'"),
        ({"unlabelled": {"source": "nowhere.parquet", "height": 24}}, "nowhere.parquet"),
        ({"unlabelled": {"source": "more.parquet", "height": 32}}, "another height"),
    ],
)
def test_impossible_tables(words, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        table.run(make(words, **changes), tmp_path, progress=False)


def test_folders_of_fractions(tmp_path):
    config = make(fractions=[0.05, 0.015, 1.0])
    assert [cell.folder.name for cell in plan.plan(config, tmp_path) if cell.row == "masked"] == [
        "f001.5_s0",
        "f005_s0",
        "f100_s0",
    ]


def test_a_pretraining_behind_synthetic_texts_belongs_to_its_cell(words, tmp_path):
    result = table.run(make(words, rows={"back": [SYNTHETIC, METHOD]}), tmp_path, progress=False)
    assert not result.failed
    pretraining = tmp_path / "stages" / "back_1" / "f050_s0" / "pretrain"
    assert result.cells[0].result["init"] == str(pretraining / "encoder.safetensors")
    synthetic = tmp_path / "stages" / "back_0" / "f050_s0" / "finetune" / "model.safetensors"
    assert str(synthetic) in (pretraining / "config.yaml").read_text()
    assert not (tmp_path / "pretrain").exists()


def test_any_row_can_be_what_the_others_are_compared_with(words, tmp_path):
    own = table.run(make(words), tmp_path, progress=False)
    before = times(tmp_path)
    other = table.run(make(words, baseline="masked"), tmp_path, progress=False)
    assert times(tmp_path) == before
    first, second = (found.summary(row, 0.5).rates["cer"] for found, row in ((own, "masked"), (other, "supervised")))
    assert first.comparison.difference == pytest.approx(-second.comparison.difference)
    assert other.summary("masked", 0.5).rates["cer"].comparison is None
    assert "difference to masked" in (tmp_path / "table.md").read_text()


def test_methods_can_see_other_images_than_the_tables(words, tmp_path):
    more = write_words(tmp_path / "more.parquet", pages=12, pen=1)
    seen = {"source": str(more), "level": "line", "height": 24}
    rows = {**ROWS, "back": [SYNTHETIC, METHOD]}
    config = make(words, rows=rows, unlabelled=seen)
    result = table.run(config, tmp_path / "out", progress=False)
    assert not result.failed
    for path in ("pretrain/masked_0", "stages/back_1/f050_s0/pretrain"):
        header = model_file.read_header(tmp_path / "out" / path / "encoder.safetensors")
        assert (header["data"]["source"], header["level"]) == (str(more), "line")
    assert "the train images of more.parquet" in (tmp_path / "out" / "table.md").read_text()
    supervised, masked, back = plan.plan(config, tmp_path)
    own = make(words, rows=rows)
    assert plan.cell_hash(own, supervised) == plan.cell_hash(config, supervised)
    for cell in (masked, back):
        assert plan.cell_hash(own, cell) != plan.cell_hash(config, cell)
    other = make(tmp_path / "other.parquet", rows=rows, unlabelled=seen)
    assert plan.stage_hash(other, masked, 0) == plan.stage_hash(config, masked, 0), "so tables can share it"


def test_a_cell_without_its_predictions_is_run_again(words, tmp_path):
    config = make(words, rows={"supervised": []})
    first = table.run(config, tmp_path, progress=False)
    (first.cells[0].folder / "predictions.csv").unlink()
    assert table.collect(tmp_path).missing
    before = times(tmp_path)
    assert not table.run(config, tmp_path, progress=False).missing
    assert times(tmp_path) == before
    assert json.loads((first.cells[0].folder / "result.json").read_text())["row"] == "supervised"


def test_two_tables_of_one_folder_do_not_disturb_each_other(words, tmp_path, monkeypatch):
    """Another process with other rows of the same folder replaces its config.yaml at any moment."""
    other = make(words, rows={"synthetic": [SYNTHETIC]})
    finetuned = table._Runner._finetune

    def replaced(self, *arguments):
        write_text(tmp_path / "config.yaml", dump_config(other) + "unknown_to_this_version: 1\n")
        return finetuned(self, *arguments)

    monkeypatch.setattr(table._Runner, "_finetune", replaced)
    done = table.run(make(words, rows={"supervised": [], "ssl": [METHOD]}), tmp_path, progress=False)
    assert [(cell.row, bool(cell.result)) for cell in done.cells] == [("supervised", True), ("ssl", True)]
    assert "| ssl |" in (tmp_path / "table.md").read_text()


def test_a_table_that_is_done_refuses_data_that_changed_since(tmp_path):
    source = write_words(tmp_path / "words.parquet")
    out = tmp_path / "table"
    config = make(source, rows={"supervised": []})
    before = table.run(config, out, progress=False).summaries
    held = source.read_bytes()
    write_words(source, pen=3)
    with pytest.raises(UserError, match=r"words\.parquet have changed"):
        table.run(config, out, progress=False)
    assert table.collect(out).summaries == before
    source.write_bytes(held)
    with pytest.raises(UserError, match="sizes or times"):
        table.run(config, out, progress=False)
    (out / "inputs.json").unlink()
    assert table.run(config, out, progress=False).summaries == before
