"""What a reviewer asks of a table: who saw which image, how many labels chose, what was read when, at what cost."""

import csv
import io
import json
import shutil
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from handmade import draw, write_words
from PIL import Image

from htr_ssl import model_file
from htr_ssl.config import DataConfig, FinetuneConfig, PluginConfig, PretrainConfig, Stage, TableConfig
from htr_ssl.data.splits import subsets
from htr_ssl.errors import UserError
from htr_ssl.experiments import budget, final_runs, plan, render, report, table
from htr_ssl.experiments.rows import MATCHED
from htr_ssl.training import engine, finetune, pretrain

TRAIN = {"steps": 2, "batch_size": 4, "check_every": 1, "threads": 1, "precision": "32", "device": "cpu"}
METHOD = {"method": {"name": "masked_image"}, "train": TRAIN}
quiet = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Words of which train, validation and test images differ: each split has a pen of its own."""
    path = write_words(tmp_path_factory.mktemp("words") / "words.parquet")
    found = pq.read_table(path)
    rows = found.to_pylist()
    for number, row in enumerate(rows):
        pen = {"train": 1, "validation": 2, "test": 3}[row["split"]]
        row["image"]["bytes"] = draw(row["text"] + str(number), pen)
        row["writer"] = f"w{number % 7}"
    pq.write_table(pa.Table.from_pylist(rows, found.schema), path)
    return path


@pytest.fixture(scope="module")
def leaky(words, tmp_path_factory):
    """An archive: other words, and all images of `words` but the train images; 18 of validation, 18 of test."""
    path = write_words(tmp_path_factory.mktemp("archive") / "archive.parquet", pages=5, pen=4)
    found = pq.read_table(path)
    rows = [row for row in pq.read_table(words).to_pylist() if row["split"] != "train"] + found.to_pylist()
    for number, row in enumerate(rows):
        row["split"], row["text"], row["image"]["path"] = "train", None, f"a{number}.png"
    pq.write_table(pa.Table.from_pylist(rows, found.schema), path)
    return path


def data(path):
    return {"source": str(path), "level": "word", "height": 24}


def make(words, **changes):
    value = {"data": data(words), "rows": {"supervised": [], "masked": [METHOD]}, "fractions": [0.5], "seeds": [0]}
    return TableConfig.model_validate(value | {"train": TRAIN, "matched": False} | changes)


# Transductive leaks


def test_copies_of_validation_and_test_images_are_left_out_of_unlabelled_sources(words, leaky, tmp_path):
    with pytest.warns(UserWarning, match=r"36 of 66 unlabelled images are validation or test images .* left out"):
        done = table.run(make(words, unlabelled=data(leaky)), tmp_path, progress=False)
    assert not done.failed
    header = model_file.read_header(tmp_path / "pretrain" / "masked_0" / "encoder.safetensors")
    assert (header["transductive"], header["copies"]) == (False, 36)
    assert json.loads((tmp_path / "pretrain" / "masked_0" / "summary.json").read_text())["images"] == 30
    cell = next(cell for cell in done.cells if cell.row == "masked")
    assert (cell.result["transductive"], cell.result["copies"]) == (False, 36)
    text = render.markdown(done)
    assert "36 of the unlabelled images are validation or test images and were left out" in text
    assert "TRANSDUCTIVE" not in text


def test_transductive_keeps_them_and_says_so(words, leaky, tmp_path):
    config = make(words, unlabelled=data(leaky), transductive=True)
    with pytest.warns(UserWarning, match=r"36 of 66 unlabelled images .* they are kept"):
        done = table.run(config, tmp_path, progress=False)
    assert json.loads((tmp_path / "pretrain" / "masked_0" / "summary.json").read_text())["images"] == 66
    model = next(cell for cell in done.cells if cell.row == "masked").folder / "finetune" / "model.safetensors"
    assert model_file.read_header(model)["transductive"] is True
    assert "TRANSDUCTIVE: 36 of the unlabelled images" in render.markdown(done)
    other = make(words, unlabelled=data(leaky))
    supervised, masked = plan.plan(config, tmp_path)
    assert plan.cell_hash(config, masked) != plan.cell_hash(other, masked)
    assert plan.cell_hash(config, supervised) == plan.cell_hash(other, supervised)


@quiet
@pytest.mark.parametrize("kept", [False, True])
def test_copies_are_counted_behind_synthetic_handwriting_too(words, leaky, tmp_path, kept):
    joint = {"method": {"name": "rotation"}, "batch_size": 3}
    rows = {"behind": [METHOD, {"synthetic": {"samples": 9, "hands": 3}, "train": TRAIN, "joint": joint}]}
    config = make(words, rows=rows, unlabelled=data(leaky), transductive=kept)
    done = table.run(config, tmp_path, progress=False)
    assert not done.failed
    assert (done.cells[0].result["transductive"], done.cells[0].result["copies"]) == (kept, 36)
    fate = "kept" if kept else "left out"
    assert f"36 of the unlabelled images are validation or test images and were {fate}" in render.markdown(done)


@quiet
def test_a_pretraining_is_shared_only_by_tables_that_leave_out_the_same_copies(words, leaky, tmp_path):
    rows = pq.read_table(words).to_pylist()
    swapped = {"train": "test", "test": "train", "validation": "validation"}
    path = tmp_path / "swapped.parquet"
    moved = [{**row, "split": swapped[row["split"]]} for row in rows]
    pq.write_table(pa.Table.from_pylist(moved, pq.read_schema(words)), path)
    encoder, seen = tmp_path / "a" / "pretrain" / "masked_0" / "encoder.safetensors", []
    for source in (words, path, words):
        shutil.rmtree(tmp_path / "a" / "masked", ignore_errors=True)
        (tmp_path / "a" / "inputs.json").unlink(missing_ok=True)
        done = table.run(make(source, rows={"masked": [METHOD]}, unlabelled=data(leaky)), tmp_path / "a", False)
        assert not done.failed
        seen.append((model_file.read_header(encoder)["copies"], encoder.stat().st_mtime_ns))
    assert [copies for copies, _ in seen] == [36, 18, 36]
    assert seen[0] == seen[2] != seen[1]


@quiet
def test_what_stands_beside_ctc_sees_no_copies(words, leaky, tmp_path):
    joint = {"method": {"name": "rotation"}, "batch_size": 3, "data": data(leaky)}
    value = {"data": data(words), "joint": joint, "train": TRAIN}
    header = model_file.read_header(finetune.run(FinetuneConfig.model_validate(value), tmp_path / "a", False))
    assert (header["transductive"], header["copies"]) == (False, 36)
    kept = FinetuneConfig.model_validate({**value, "transductive": True})
    header = model_file.read_header(finetune.run(kept, tmp_path / "b", False))
    assert (header["transductive"], header["copies"]) == (True, 36)


def test_an_encoder_that_saw_the_test_images_is_found_out(words, leaky, tmp_path):
    """Pretraining on a whole archive, then fine-tuning on its transcribed part, as two commands."""
    config = PretrainConfig.model_validate({"data": data(leaky), "train": TRAIN})
    encoder = pretrain.run(config, tmp_path / "pretrain", progress=False)
    value = {"data": data(words), "init": str(encoder), "train": TRAIN}
    with pytest.warns(UserWarning, match="its pretraining saw 36 validation or test images"):
        model = finetune.run(FinetuneConfig.model_validate(value), tmp_path / "finetune", progress=False)
    header = model_file.read_header(model)
    assert (header["transductive"], header["copies"]) == (True, 36)


@quiet
def test_a_pretraining_that_knows_what_is_evaluated_is_clean(words, leaky, tmp_path):
    value = {"data": data(leaky), "evaluated": data(words), "train": TRAIN}
    encoder = pretrain.run(PretrainConfig.model_validate(value), tmp_path / "pretrain", progress=False)
    value = {"data": data(words), "init": str(encoder), "train": TRAIN}
    header = model_file.read_header(finetune.run(FinetuneConfig.model_validate(value), tmp_path / "f", progress=False))
    assert (header["transductive"], header["copies"]) == (False, 36)


@quiet
def test_a_source_of_nothing_but_copies_is_refused(words, tmp_path):
    rows = [row for row in pq.read_table(words).to_pylist() if row["split"] == "test"]
    path = tmp_path / "copies.parquet"
    pq.write_table(pa.Table.from_pylist([{**row, "split": "train"} for row in rows], pq.read_schema(words)), path)
    value = {"data": data(path), "evaluated": data(words), "train": TRAIN}
    with pytest.raises(UserError, match=r"all images are validation or test images .* transductive=true"):
        pretrain.run(PretrainConfig.model_validate(value), tmp_path / "run", progress=False)


# Labels that choose


def tuned(words, out, **changes):
    value = {"data": data(words), "train": {**TRAIN, "steps": 4, "lr": 0.05}, "fraction": 0.25, **changes}
    model = finetune.run(FinetuneConfig.model_validate(value), out, progress=False)
    return model_file.read(model), json.loads((out / "summary.json").read_text())


@quiet
def test_last_asks_no_validation_label(words, tmp_path, monkeypatch):
    (header, last), summary = tuned(words, tmp_path / "a", select="last")
    assert (summary["labels"], summary["labels_selection"], header["select"]) == (5, 0, "last")
    monkeypatch.setattr(engine, "sorted_batches", None)  # a validation would need it
    rows = [row for row in pq.read_table(words).to_pylist() if row["split"] != "validation"]
    path = tmp_path / "none.parquet"
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(words)), path)
    changed = {**data(path), "validation": 0.0}
    (header, other), _ = tuned(words, tmp_path / "b", select="last", data=changed)
    assert header["val_cer"] is None
    assert all(last[name].equal(other[name]) for name in last), "the weights after the last step"


@quiet
def test_proportional_chooses_on_a_nested_share_of_the_validation_labels(words, tmp_path):
    chosen = {}
    for fraction in (0.25, 0.5):
        out = tmp_path / str(fraction)
        (header, _), summary = tuned(words, out, select="proportional", fraction=fraction)
        chosen[fraction] = set(subsets.read(out / "selection.txt"))
        assert (
            summary["labels_selection"] == header["labels_selection"] == len(chosen[fraction]) == -(-18 * fraction // 1)
        )
    assert chosen[0.25] < chosen[0.5]
    _, summary = tuned(words, tmp_path / "all", select="validation")
    assert summary["labels_selection"] == 18
    assert not (tmp_path / "all" / "selection.txt").exists()


@quiet
def test_a_table_counts_labels_of_training_and_of_selection(words, tmp_path):
    rows = {"supervised": []}
    for select, expected in (("last", "0"), ("proportional", "9"), ("validation", "18")):
        done = table.run(make(words, rows=rows, select=select), tmp_path / select, progress=False)
        (cell,) = csv.DictReader(io.StringIO(render.cells_csv(done)))
        assert (cell["labels"], cell["labels_selection"], cell["split"]) == ("9", expected, "validation")
        assert f"50 %: 9 labels, {expected} of validation, seeds 0" in render.markdown(done)
    assert "also chose the checkpoint: too good a score" in render.markdown(done)
    assert TableConfig().select == "last"


def test_last_and_early_stopping_exclude_each_other(words, tmp_path):
    with pytest.raises(UserError, match=r"train\.patience cannot stop early"):
        tuned(words, tmp_path, select="last", train={**TRAIN, "patience": 1})


STOPS = {**TRAIN, "patience": 1}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"train": STOPS}, r"train\.patience=1"),
        ({"probes": ["linear"], "probe_train": STOPS}, r"probe_train\.patience=1"),
        ({"rows": {"a": [METHOD, {"pseudo": {}, "train": STOPS}]}}, r"rows\.a\.1\.train\.patience=1"),
    ],
)
def test_a_table_that_cannot_stop_early_is_refused_before_anything_runs(words, tmp_path, changes, key):
    with pytest.raises(UserError, match=f"{key}: select=last asks no validation label"):
        table.run(make(words, **changes), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())
    plan.check(make(words, **changes, select="proportional"))
    synthetic = {"synthetic": {"samples": 9}, "train": STOPS}  # stops on synthetic validation images
    plan.check(make(words, rows={"a": [synthetic], "b": [{**METHOD, "train": STOPS}]}))


@quiet
def test_labels_that_cannot_be_learnt_are_not_counted(words, tmp_path):
    rows = pq.read_table(words).to_pylist()
    first = next(row for row in rows if row["split"] == "train")
    first["text"] = "much too long a text for so short an image of a single word"
    path = tmp_path / "long.parquet"
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(words)), path)
    done = table.run(make(path, rows={"supervised": []}, fractions=[1.0]), tmp_path / "out", progress=False)
    assert (done.cells[0].result["labels"], done.cells[0].result["labels_drawn"]) == (17, 18)
    assert "17 labels (of 18 drawn; the others cannot be learnt)" in render.markdown(done)


# What was read when


@quiet
def test_development_reads_validation_and_a_final_run_test(words, tmp_path, monkeypatch):
    out, rows = tmp_path / "a", {"supervised": []}
    done = table.run(make(words, rows=rows), out, progress=False)
    assert done.cells[0].result["split"] == "validation"
    assert "validation split" in (out / "table.md").read_text()
    assert not (tmp_path / final_runs.LEDGER).exists()
    model = (out / "supervised" / "f050_s0" / "finetune" / "model.safetensors").stat().st_mtime_ns
    validation = (out / "supervised" / "f050_s0" / "predictions.csv").read_bytes()
    final = table.run(make(words, rows=rows, report="test"), out, progress=False)
    assert final.cells[0].result["split"] == "test"
    assert (out / "supervised" / "f050_s0" / "finetune" / "model.safetensors").stat().st_mtime_ns == model
    when = json.loads((out / final_runs.OWN).read_text())["when"]
    assert f"in a final run of {when[:16].replace('T', ' ')} UTC" in (out / "table.md").read_text()
    # The other split's scores come back, and nothing is read again.
    monkeypatch.setattr(table, "evaluate", None)
    table.run(make(words, rows=rows), out, progress=False)
    assert (out / "supervised" / "f050_s0" / "predictions.csv").read_bytes() == validation
    again = table.run(make(words, rows=rows, report="test"), out, progress=False)
    assert again.cells[0].result["split"] == "test"
    assert json.loads((out / final_runs.OWN).read_text())["when"] == when


@quiet
def test_a_second_final_run_of_another_configuration_says_so(words, tmp_path):
    rows = {"supervised": []}
    first = table.run(make(words, rows=rows, report="test"), tmp_path / "first", progress=False)
    assert "had been read before" not in render.markdown(first)
    repeated = table.run(make(words, rows=rows, report="test"), tmp_path / "repeated", progress=False)
    assert "had been read before" not in render.markdown(repeated)
    other = make(words, rows=rows, report="test", train={**TRAIN, "lr": 0.02})
    text = render.markdown(table.run(other, tmp_path / "other", progress=False))
    assert "had been read before by 2 final run(s) of other configurations: first (" in text


def clock(monkeypatch):
    """Final runs are a day apart, from the first of November on."""
    days = iter(range(1, 30))

    class Clock:
        def now(_self, zone):
            return datetime(2026, 11, next(days), 10, tzinfo=zone)

    monkeypatch.setattr(final_runs, "datetime", Clock())


def test_the_ledger_counts_no_run_that_has_all_cells_of_this_one(tmp_path, monkeypatch):
    clock(monkeypatch)
    samples = [("a", "x"), ("b", "y")]
    whole = final_runs.note(tmp_path / "one", samples, ["c1", "c2"])
    assert final_runs.note(tmp_path / "one", samples, ["c2", "c1"]) == whole, "gone on with"
    part = final_runs.note(tmp_path / "part", samples, ["c1"])
    assert (part["others"], part["cells"]) == ([], {whole["when"]: 1}), "its cell was read with the whole"
    assert [run["table"] for run in final_runs.note(tmp_path / "two", samples, ["c3"])["others"]] == ["one", "part"]
    assert final_runs.note(tmp_path / "three", [("a", "z")], ["c4"])["others"] == []
    (tmp_path / final_runs.LEDGER).write_text("{")
    with pytest.raises(UserError, match="record of final runs is damaged"):
        final_runs.note(tmp_path / "four", samples, ["c5"])


def test_the_ledger_counts_a_run_that_had_fewer_cells(tmp_path, monkeypatch):
    """Rows or seeds were added when the test split had been read."""
    clock(monkeypatch)
    samples = [("a", "x")]
    first = final_runs.note(tmp_path / "one", samples, ["c1"])
    more = final_runs.note(tmp_path / "one", samples, ["c1", "c2", "c3"])
    assert more["others"] == [{"table": "one", "when": first["when"]}]
    assert more["cells"] == {first["when"]: 1, more["when"]: 2}


@quiet
def test_a_row_added_after_the_final_run_is_said(words, tmp_path, monkeypatch):
    clock(monkeypatch)
    other = {"other": [{"synthetic": {"samples": 9, "hands": 3}, "train": TRAIN}]}
    table.run(make(words, rows={"supervised": []}, report="test"), tmp_path / "a", progress=False)
    done = table.run(make(words, rows={"supervised": [], **other}, report="test"), tmp_path / "a", progress=False)
    text = render.markdown(done)
    assert "of these 2 cells were first read 1 on 2026-11-01 10:00 UTC, 1 on 2026-11-02 10:00 UTC" in text
    assert "had been read before by 1 final run(s) of other configurations: a (2026-11-01 10:00 UTC)" in text


@quiet
def test_a_table_from_before_is_one_of_the_test_split(words, tmp_path):
    table.run(make(words, rows={"supervised": []}, report="test", select="validation"), tmp_path, progress=False)
    path = tmp_path / "config.yaml"
    younger = ("report", "select", "matched", "subset_by", "pretrain_seeds", "transductive", "pairs", "interval_unit")
    path.write_text(
        "".join(line for line in path.read_text().splitlines(True) if line.partition(":")[0] not in younger)
    )
    found = table.collect(tmp_path)
    assert (found.config.report, found.config.select, found.config.matched) == ("test", "validation", False)
    assert not found.missing


# Seeds of pretraining, and compute


@quiet
def test_every_seed_can_have_a_pretraining_of_its_own(words, tmp_path):
    shared = make(words, seeds=[0, 1])
    own = make(words, seeds=[0, 1], pretrain_seeds="own")
    done = table.run(own, tmp_path, progress=False)
    assert sorted(path.name for path in (tmp_path / "pretrain").iterdir()) == ["masked_0", "masked_0_s1"]
    inits = {cell.seed: cell.result["init"] for cell in done.cells if cell.row == "masked"}
    seeds = {seed: model_file.read_header(init)["seed"] for seed, init in inits.items()}
    assert seeds == {0: 0, 1: 1}
    assert "every seed has a pretraining of its own (seeds 0, 1)" in render.markdown(done)
    cells = {cell.seed: cell for cell in plan.plan(own, tmp_path) if cell.row == "masked"}
    assert plan.stage_hash(own, cells[0], 0) == plan.stage_hash(shared, cells[0], 0), "the first serves both"
    assert plan.cell_hash(own, cells[1]) != plan.cell_hash(shared, cells[1])


PASSES = {
    "masked_image": (1, 1),
    "rotation": (1, 1),
    "simclr": (2, 2),
    "simsiam": (2, 2),
    "byol": (4, 2),
    "moco": (4, 2),
}


@pytest.mark.parametrize("name", PASSES)
def test_passes_of_a_method_are_counted_and_known_before(words, tmp_path, name):
    """All networks' passes, and views of the encoder that learns."""
    stage = Stage.model_validate({"method": {"name": name}, "train": TRAIN})
    every, views = PASSES[name]
    assert budget.passes([stage], PluginConfig(name="crnn"), DataConfig(height=24)) == 2 * 4 * every
    config = PretrainConfig.model_validate({"data": data(words), "method": {"name": name}, "train": TRAIN})
    pretrain.run(config, tmp_path, progress=False)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["encoder_passes"], summary["views"]) == (2 * 4 * every, 2 * 4 * views)


@quiet
def test_a_resumed_training_is_counted_whole(words, tmp_path):
    from lightning.pytorch import Callback

    class Stop(Callback):
        def on_train_epoch_end(self, trainer, module):
            if trainer.global_step == 2:
                raise KeyboardInterrupt

    value = {"data": data(words), "train": {**TRAIN, "steps": 5}}
    config = FinetuneConfig.model_validate(value)
    with pytest.raises(KeyboardInterrupt):
        finetune.run(config, tmp_path, False, [Stop()])
    finetune.run(config, tmp_path, progress=False)
    summary = json.loads((tmp_path / "summary.json").read_text())
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert (summary["encoder_passes"], summary["views"]) == (20, 20)
    assert len(rows) == 5
    assert summary["device_seconds"] == pytest.approx(sum(float(row["seconds"]) for row in rows), abs=0.02)


@quiet
def test_a_supervised_row_of_the_same_compute_stands_beside_methods(words, tmp_path):
    rows = {"supervised": [], "masked": [METHOD], "byol": [{"method": {"name": "byol"}, "train": TRAIN}]}
    config = make(words, rows=rows, matched=True)
    done = table.run(config, tmp_path, progress=False)
    assert not done.failed
    cost = {cell.row: cell.result["cost"]["encoder_passes"] for cell in done.cells}
    assert cost == {"supervised": 8, "masked": 16, "byol": 40, MATCHED: 40}
    text = render.markdown(done)
    said = f"row {MATCHED} sends as much image (passes × mean width) through the encoder as the most expensive row"
    assert said.replace("_", "\\_") in text
    assert "no stages, 10 steps of fine-tuning" in text
    assert "| per cell | encoder passes | images seen | device seconds |" in text
    assert "device seconds" in report.table(done)
    assert "| byol | 40 | 24 | " in text
    for row in csv.DictReader(io.StringIO(render.csv_text(done))):
        assert float(row["encoder_passes"]) == cost[row["row"]]
    assert TableConfig().matched
    for without in ({"rows": {"supervised": []}}, {"probes": ["linear"]}, {"matched": False}):
        cells = plan.plan(make(words, **({"rows": rows, "matched": True} | without)), tmp_path)
        assert MATCHED not in {cell.row for cell in cells}


@quiet
def test_the_matched_row_counts_how_wide_images_are(words, tmp_path):
    """Images twice as wide are twice the work; the steps are written down, so that later no data is needed."""
    found = pq.read_table(words).to_pylist()
    for number, row in enumerate(found):
        with Image.open(io.BytesIO(row["image"]["bytes"])) as image:
            pair = Image.new("L", (2 * image.width, image.height))
            pair.paste(image, (0, 0))
            pair.paste(image, (image.width, 0))
        buffer = io.BytesIO()
        pair.save(buffer, "PNG")
        row |= {"image": {"bytes": buffer.getvalue(), "path": f"wide{number}.png"}, "text": None, "split": "train"}
    wide = tmp_path / "wide.parquet"
    pq.write_table(pa.Table.from_pylist(found, pq.read_schema(words)), wide)
    config = make(words, matched=True, unlabelled=data(wide))
    narrow = plan.matched_steps(make(words, matched=True))
    assert narrow == TRAIN["steps"] + 2
    assert plan.matched_steps(config) in (TRAIN["steps"] + 4, TRAIN["steps"] + 5)
    done = table.run(config, tmp_path / "table", progress=False)
    assert not done.failed
    assert done.config.matched_steps == plan.matched_steps(config)
    wide.unlink()
    assert len(table.collect(tmp_path / "table").summaries) == 3
    with pytest.raises(UserError, match=r"matched_steps: .* leave it out"):
        table.run(make(words, matched=True, matched_steps=77), tmp_path / "other", progress=False)


def test_the_matched_row_is_fine_tuned_only(words, tmp_path):
    cells = plan.plan(make(words, matched=True, probes=["none", "linear"]), tmp_path)
    assert [cell.probe for cell in cells if cell.row == MATCHED] == ["none"]


# Whole pages


@quiet
def test_subsets_of_whole_pages_and_writers(words, tmp_path):
    known = {row["image"]["path"]: row for row in pq.read_table(words).to_pylist() if row["split"] == "train"}
    for by in ("page", "writer"):
        _, summary = tuned(words, tmp_path / by, subset_by=by, fraction=0.3)
        drawn = subsets.read(tmp_path / by / "subset.txt")
        groups = {known[name][by] for name in drawn}
        assert set(drawn) == {name for name, row in known.items() if row[by] in groups}
        assert summary["labels"] == len(drawn) >= 6
    done = table.run(make(words, rows={"supervised": []}, subset_by="page"), tmp_path / "t", progress=False)
    assert "Labels of whole pages that were learnt" in render.markdown(done)
    path = write_words(tmp_path / "plain.parquet")  # no writers
    with pytest.raises(UserError, match=r"18 train labels .* have no writer"):
        table.run(make(path, subset_by="writer"), tmp_path / "u", progress=False)
    rows = pq.read_table(words).to_pylist()
    next(row for row in rows if row["split"] == "validation")["writer"] = None
    path = tmp_path / "unnamed.parquet"
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(words)), path)
    with pytest.raises(UserError, match=r"1 validation labels .* have no writer"):
        table.run(make(path, subset_by="writer"), tmp_path / "w", progress=False)
    path = tmp_path / "plain.parquet"
    with pytest.raises(UserError, match="writer is not known"):
        table.run(make(path, interval_unit="writer"), tmp_path / "v", progress=False)


def test_subsets_of_pages_are_nested_whatever_their_order():
    random = np.random.default_rng(0)
    ids = [f"i{number}" for number in range(300)]
    pages = [f"p{int(page)}" for page in random.integers(0, 30, 300)]
    order = random.permutation(300)
    before: set[str] = set()
    for fraction in (0.01, 0.05, 0.1, 0.5, 0.999, 1.0):
        chosen = {ids[i] for i in subsets.subset(ids, fraction, 3, pages)}
        shuffled = subsets.subset([ids[i] for i in order], fraction, 3, [pages[i] for i in order])
        assert {ids[order[i]] for i in shuffled} == chosen
        assert before <= chosen
        assert len(chosen) >= fraction * 300
        drawn = {pages[int(name[1:])] for name in chosen}
        assert chosen == {ids[i] for i, page in enumerate(pages) if page in drawn}
        before = chosen
    with pytest.raises(UserError, match=r"the page of 'i1' is not known"):
        subsets.subset(["i0", "i1"], 0.5, 0, ["p", None])
