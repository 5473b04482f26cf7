"""Tables with probes, with stages in any order, and with pseudo-labels."""

import csv
import json

import pytest
from handmade import write_words
from test_table import METHOD, SYNTHETIC, TRAIN, make

from htr_ssl import model_file
from htr_ssl.config import FinetuneConfig, Pseudo
from htr_ssl.config.yaml_files import load_config
from htr_ssl.data.splits import subsets
from htr_ssl.errors import UserError
from htr_ssl.experiments import plan, table
from htr_ssl.training import pseudo

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

# Untrained heads read something; after a few steps they would read nothing.
PSEUDO = {"pseudo": {"keep": 0.5}, "train": {**TRAIN, "lr": 1e-9}}
ROWS = {
    "supervised": [],
    "ssl": [METHOD],
    "synthetic": [SYNTHETIC],
    "ssl+synthetic": [METHOD, SYNTHETIC],
    "synthetic+ssl": [SYNTHETIC, METHOD],
    "pseudo": [METHOD, PSEUDO],
}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    return write_words(tmp_path_factory.mktemp("words") / "words.parquet")


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """A finished table of all orders of stages, fine-tuned and probed."""
    out = tmp_path_factory.mktemp("whole")
    config = make(words, rows=ROWS, probes=["none", "linear"], probe_train={**TRAIN, "lr": 0.01})
    return table.run(config, out, progress=False)


def test_every_row_has_a_cell_for_each_probe(whole):
    assert not whole.failed
    assert [(cell.row, cell.probe) for cell in whole.cells] == [(row, p) for row in ROWS for p in ("none", "linear")]
    for cell in whole.cells:
        assert cell.result["probe"] == cell.probe
        header = model_file.read_header(cell.folder / "finetune" / "model.safetensors")
        assert header["probe"] == cell.probe
        config = (cell.folder / "finetune" / "config.yaml").read_text()
        assert ("lr: 0.01" in config) == (cell.probe == "linear")


def test_stages_are_run_once_for_all_rows_and_probes_that_need_them(whole):
    out = whole.out
    runs = sorted(str(path.parent.relative_to(out)) for path in out.rglob("summary.json"))
    stages = [name for name in runs if name.startswith(("pretrain", "stages"))]
    assert stages == [
        "pretrain/ssl_0",
        "stages/pseudo_1/f050_s0/finetune",
        "stages/ssl+synthetic_1/f050_s0/finetune",
        "stages/synthetic+ssl_1/f050_s0/pretrain",
        "stages/synthetic_0/f050_s0/finetune",
    ]
    assert len(runs) == len(stages) + len(whole.cells)
    starts = {
        "supervised": None,
        "ssl": "pretrain/ssl_0/encoder.safetensors",
        "synthetic": "stages/synthetic_0/f050_s0/finetune/model.safetensors",
        "ssl+synthetic": "stages/ssl+synthetic_1/f050_s0/finetune/model.safetensors",
        "synthetic+ssl": "stages/synthetic+ssl_1/f050_s0/pretrain/encoder.safetensors",
        "pseudo": "pretrain/ssl_0/encoder.safetensors",
    }
    for cell in whole.cells:
        start = starts[cell.row]
        assert cell.result["init"] == (str(out / start) if start else None)


def test_probes_keep_the_weights_they_start_from(whole):
    for row, start in (("ssl", "pretrain/ssl_0/encoder"), ("synthetic", "stages/synthetic_0/f050_s0/finetune/model")):
        first = model_file.read(whole.out / f"{start}.safetensors")[1]
        for probe, same in (("", False), ("_linear", True)):
            last = model_file.read(whole.out / row / f"f050_s0{probe}" / "finetune" / "model.safetensors")[1]
            names = [name for name in first if name.startswith("encoder.")]
            assert all(last[name].equal(first[name]) for name in names) == same


def test_parts_of_the_table(whole):
    text = (whole.out / "table.md").read_text()
    full, probed = text.split("## Frozen encoder, linear probe")
    assert "## Full fine-tuning" in full
    assert probed.count("| supervised (random frozen encoder) |") == 3
    assert "random frozen" not in full
    assert text.count("\n| Δ |") == 2 * 3 * (len(ROWS) - 1)
    assert "lr: 0.01" not in text
    assert "at most 2 steps of 4 images, AdamW, peak learning rate 0.01, no early stopping" in probed
    latex = (whole.out / "table.tex").read_text()
    assert latex.count(r"\multicolumn{2}{l}{\emph{Frozen encoder, linear probe}} \\") == 1
    for name, count in (("table.csv", 3), ("cells.csv", 1)):
        with open(whole.out / name, encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert [row["probe"] for row in rows].count("linear") == count * len(ROWS) == len(rows) / 2


def test_the_baseline_of_a_part_is_its_own(whole):
    for (row, fraction, probe), summary in whole.summaries.items():
        for metric, rate in summary.rates.items():
            assert (rate.comparison is None) == (row == "supervised")
            if rate.comparison is not None:
                base = whole.summary("supervised", fraction, probe).rates[metric]
                assert rate.comparison.difference == pytest.approx(rate.mean - base.mean)


def test_only_the_probes_run_again_if_their_schedule_changes(whole):
    probes = {cell.folder for cell in whole.cells if cell.probe == "linear"}
    config = whole.config.model_copy(update={"probe_train": None})
    for old, new in zip(whole.cells, plan.plan(config, whole.out), strict=True):
        changed = plan.cell_hash(config, new) != plan.cell_hash(whole.config, old)
        assert changed == (new.folder in probes)
        for index in range(len(config.rows[new.row])):
            assert plan.stage_hash(config, new, index) == plan.stage_hash(whole.config, old, index)


def test_pseudo_labels_are_of_unlabelled_train_images_alone(whole, words):
    import pyarrow.parquet as pq

    splits = {row["image"]["path"]: row["split"] for row in pq.read_table(words).to_pylist()}
    path = whole.out / "stages" / "pseudo_1" / "f050_s0" / "pseudo.json"
    content = json.loads(path.read_text())
    known = subsets.read(path.with_name("finetune") / "subset.txt")
    unlabelled = {name for name, split in splits.items() if split == "train"} - set(known)
    found = [item["id"] for item in content["labels"]]
    assert content["images"] == len(unlabelled) == 9
    assert 0 < len(found) <= 5
    assert unlabelled.issuperset(found)
    sure = [item["confidence"] for item in content["labels"]]
    assert sure == sorted(sure, reverse=True)
    for cell in whole.cells:
        header = model_file.read_header(cell.folder / "finetune" / "model.safetensors")
        if cell.row == "pseudo":
            assert cell.result["pseudo_sha256"] == content["sha256"] == header["pseudo_sha256"]
            assert header["labels"] == cell.result["labels"] + len(found)
            assert cell.result["method"] == "masked_image+pseudo"
        else:
            assert cell.result["pseudo_sha256"] is None


def test_pseudo_labels_are_the_same_again_and_guarded(whole, tmp_path):
    folder = whole.out / "stages" / "pseudo_1" / "f050_s0"
    cell = next(cell for cell in whole.cells if cell.row == "pseudo")
    from htr_ssl.experiments.stages import final

    config = final(whole.config, cell, None, None)
    model = folder / "finetune" / "model.safetensors"
    again = pseudo.make(model, config, Pseudo(keep=0.5), tmp_path)
    assert again.read_bytes() == (folder / "pseudo.json").read_bytes()
    everything = pseudo.make(model, config, Pseudo(keep=1.0), tmp_path / "all")
    assert pseudo.read(everything).items() > pseudo.read(again).items()
    again.write_text(again.read_text().replace('"text": "', '"text": "x'))
    with pytest.raises(UserError, match="not those of its sha256"):
        pseudo.read(again)
    with pytest.raises(UserError, match="not a file of pseudo-labels"):
        pseudo.read(model.with_name("config.yaml"))


def test_their_own_texts_are_never_what_unlabelled_images_are_trained_with(whole):
    from htr_ssl.data.loading import read_samples, rows_of

    data = whole.config.data
    samples = read_samples(data)
    path = whole.out / "stages" / "pseudo_1" / "f050_s0" / "pseudo.json"
    labels = pseudo.read(path)
    ids = samples.column("id")
    known = [ids.index(name) for name in subsets.read(path.with_name("finetune") / "subset.txt")]
    more, rows = pseudo.added(samples, path, known, data)
    assert {more.column("id")[row]: more.column("text")[row] for row in rows} == labels
    assert [more.column("text")[row] for row in known] == [samples.column("text")[row] for row in known]
    with pytest.raises(UserError, match="not unlabelled train images"):
        pseudo.added(samples, path, rows_of(samples, "train", labelled=True), data)


def test_stopped_pseudo_labels_go_on_and_with_all_labels_there_are_none(words, tmp_path):
    config = make(words, rows={"pseudo": [PSEUDO]}, fractions=[0.5, 1.0])
    first = table.run(config, tmp_path, progress=False)
    assert not first.failed
    half, whole = (tmp_path / "stages" / "pseudo_0" / name for name in ("f050_s0", "f100_s0"))
    assert json.loads((whole / "pseudo.json").read_text())["images"] == 0
    assert [cell.result["labels"] for cell in first.cells] == [9, 18]
    teacher, labels = half / "finetune" / "model.safetensors", (half / "pseudo.json").read_bytes()
    before = teacher.stat().st_mtime_ns
    (half / "pseudo.json").unlink()
    (first.cells[0].folder / "result.json").unlink()
    again = table.run(config, tmp_path, progress=False)
    assert (half / "pseudo.json").read_bytes() == labels
    assert teacher.stat().st_mtime_ns == before
    assert again.cells[0].result["pseudo_sha256"] == first.cells[0].result["pseudo_sha256"]


def test_an_objective_beside_synthetic_handwriting_sees_the_tables_images(words, tmp_path):
    beside = {"method": {"name": "rotation"}, "weight": 0.5, "batch_size": 3}
    rows = {"supervised": [], "synthetic": [SYNTHETIC], "joint": [{**SYNTHETIC, "joint": beside}]}
    config = make(words, rows=rows)
    done = table.run(config, tmp_path, progress=False)
    assert not done.failed
    folder = tmp_path / "stages" / "joint_0" / "f050_s0" / "finetune"
    run = load_config(folder / "config.yaml", [], FinetuneConfig)
    assert run.data.source == "synthetic"
    assert run.joint.data.source == config.data.source
    header = model_file.read_header(folder / "model.safetensors")
    assert header["method"] == "supervised+joint rotation"
    with open(folder / "metrics.csv", encoding="utf-8", newline="") as handle:
        assert all(float(row["method.loss"]) > 0 for row in csv.DictReader(handle))
    alone, beside_it = (
        model_file.read(tmp_path / "stages" / f"{name}_0" / "f050_s0" / "finetune" / "model.safetensors")[1]
        for name in ("synthetic", "joint")
    )
    assert alone.keys() == beside_it.keys()
    assert not alone["head.weight"].equal(beside_it["head.weight"])
    caption = (tmp_path / "table.md").read_text()
    assert "beside it rotation, weight 0.5, images 3 per step" in caption
    assert "sees the train images of words.parquet without text, in the same updates" in caption
    # The row without it is the one of a table from before there was such a thing.
    old, new = plan.stage_hash(config, done.cells[1], 0), plan.stage_hash(config, done.cells[2], 0)
    assert (
        old == plan.stage_hash(make(words, rows={"supervised": [], "synthetic": [SYNTHETIC]}), done.cells[1], 0) != new
    )


@pytest.mark.parametrize(
    ("stage", "own"), [(METHOD, {}), (PSEUDO, {}), (SYNTHETIC, {"data": {"source": "others.parquet"}})]
)
def test_an_objective_stands_beside_synthetic_handwriting_only(words, tmp_path, stage, own):
    stage = {**stage, "joint": {"method": {"name": "rotation"}, **own}}
    with pytest.raises(UserError, match=r"rows\.joint\.0\.joint: an objective stands beside synthetic handwriting"):
        table.run(make(words, rows={"supervised": [], "joint": [stage]}), tmp_path, progress=False)


def test_groups_of_like_width_keep_their_share_each(whole, tmp_path):
    from htr_ssl.data.loading import Strips, read_samples
    from htr_ssl.experiments.stages import final

    folder = whole.out / "stages" / "pseudo_1" / "f050_s0"
    cell = next(cell for cell in whole.cells if cell.row == "pseudo")
    config = final(whole.config, cell, None, None)
    model = folder / "finetune" / "model.safetensors"
    everything = pseudo.read(pseudo.make(model, config, Pseudo(keep=1.0), tmp_path / "all"))
    chosen = json.loads(pseudo.make(model, config, Pseudo(keep=0.34, width_groups=3), tmp_path / "some").read_text())
    assert (chosen["keep"], chosen["width_groups"], chosen["images"]) == (0.34, 3, 9)
    samples = read_samples(config.data)
    strips = Strips(samples, list(range(len(samples))), config.data)
    widths = dict(zip(strips.ids(), strips.widths, strict=True))
    order = sorted(everything, key=lambda name: widths[name])
    assert len(order) == 9, "a reading is empty: the groups below are other ones"
    assert sorted(order.index(item["id"]) // 3 for item in chosen["labels"]) == [0, 0, 1, 1, 2, 2]
    assert {item["id"]: item["text"] for item in chosen["labels"]}.items() <= everything.items()
