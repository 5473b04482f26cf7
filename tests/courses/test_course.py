"""`learn`: the plan fits the time, the course goes on after any stop, and what it leaves is complete."""

import csv
import json
import signal
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import small_lines
import torch
from children import Child
from hypothesis import given
from hypothesis import strategies as st
from random_models import random_model

from htr_ssl import model_file
from htr_ssl.config import DataConfig, FinetuneConfig, TrainConfig
from htr_ssl.config.yaml_files import load_config
from htr_ssl.courses import course, schedule
from htr_ssl.data.loading import Strips, read_samples
from htr_ssl.errors import UserError
from htr_ssl.experiments.evaluate import evaluate
from htr_ssl.files import sha256
from htr_ssl.folders import begin_run, files
from htr_ssl.recognizers.reader import Reader
from htr_ssl.training import finetune

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
TRAIN = TrainConfig(device="cpu", threads=1, precision="32")


@given(st.integers(1, 20_000), st.integers(0, 50_000), st.floats(1, 500), st.floats(0.05, 24), st.booleans())
def test_a_plan_fits_the_time(labels, unlabelled, speed, hours, known):
    made = schedule.plan(labels, unlabelled, speed, hours, known)
    reading = unlabelled / (schedule.READING * speed)
    least = 20 * schedule.BATCH / speed + reading  # so much is done in any case
    assert made.seconds <= max(3600 * hours, least) + 1e-6
    assert 20 <= made.first <= schedule.first_steps(labels, known) or made.first == 20
    assert len(made.rounds) <= schedule.MOST_ROUNDS
    if unlabelled < schedule.FEWEST:
        assert not made.rounds
    assert all(steps >= 20 for steps in made.rounds)


def test_more_time_never_shortens_a_stage():
    plans = [schedule.plan(282, 5000, 40, hours) for hours in (0.1, 0.3, 0.5, 1, 2, 4)]
    assert [one.first for one in plans] == sorted(one.first for one in plans)
    assert [sum(one.rounds) for one in plans] == sorted(sum(one.rounds) for one in plans)
    assert len(plans[-1].rounds) == schedule.MOST_ROUNDS


@pytest.mark.parametrize("hours", [1.0, 2.0, 3.0])
def test_the_hours_that_are_given_are_used(hours):
    made = schedule.plan(282, 5356, 32, hours)
    assert schedule.SHARE * 3600 * hours * 0.97 <= made.seconds <= schedule.SHARE * 3600 * hours
    assert made.rounds == [made.rounds[0]] * len(made.rounds)
    wanted = schedule.round_steps(282 + int(schedule.KEEP * 5356))
    assert 0.7 * wanted <= made.rounds[0] <= schedule.LONGEST * wanted


def test_without_a_score_there_are_few_rounds():
    assert len(schedule.plan(10, 5000, 40, 8, scored=False).rounds) == schedule.MOST_UNSCORED < schedule.MOST_ROUNDS
    assert schedule.plan(10, 5000, 40, 0.5, scored=False) == schedule.plan(10, 5000, 40, 0.5)


def test_a_large_archive_does_not_take_the_time_for_learning():
    """Of ten thousand pages a part is read, or nothing would be left for training."""
    made = schedule.plan(20, 300_000, 40, 1.0)
    assert made.first == schedule.first_steps(20, known=True)
    assert made.rounds
    assert not made.rest
    assert 1000 < made.pool <= schedule.MOST
    assert made.seconds <= 3600
    small = schedule.plan(20, 5000, 40, 1.0)
    assert small.rest
    assert small.pool == 5000


def test_a_round_has_the_time_before_the_last_language_model():
    """A reading more instead of updates costs a short round more than it gives."""
    short, long = (schedule.plan(20, 5618, 33, hours) for hours in (1 / 6, 1.0))
    assert short.rounds
    assert not short.language
    assert long.language
    none = schedule.plan(282, 5356, 33, 1 / 6)
    assert not none.rounds
    assert none.language, "no round fits, but a language model of the readings does"


@pytest.mark.parametrize(("labels", "held"), [(1, 0), (19, 0), (20, 5), (100, 15), (5000, 100)])
def test_lines_are_held_out_where_there_are_enough(labels, held):
    assert schedule.held_out(labels) == held


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """60 small images, 30 of them with a text, on six pages."""
    path = tmp_path_factory.mktemp("lines") / "lines.parquet"
    return write(path)


def write(path, labelled=30):
    return small_lines.write(path, labelled, page=[f"p{row % 6}" for row in range(60)])


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return str(random_model(tmp_path_factory.mktemp("start") / "start.safetensors"))


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(schedule, "FEWEST", 10)
    monkeypatch.setattr(schedule, "first_steps", lambda labels, known: 20)
    monkeypatch.setattr(schedule, "round_steps", lambda images: 20)
    monkeypatch.setattr(schedule, "MOST_ROUNDS", 2)
    monkeypatch.setattr(course, "_speed", lambda config: 100.0)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def learn(lines, out, start, **values):
    said = []
    data = DataConfig(source=str(lines), height=32)
    made = course.run(data, out, 0.1, start, train=TRAIN, say=said.append, progress=False, **values)
    return made, said


def test_a_course_leaves_a_model_a_score_readings_and_what_to_transcribe_next(lines, start, short, tmp_path):
    made, said = learn(lines, tmp_path / "out", start)
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert len(plan["budget"]["rounds"]) == 2
    assert plan["labels"] + plan["held_out"] == 30
    assert plan["unlabelled"] == 30
    assert Reader.load(made.model, "cpu").language is not None
    trainings = [name for name in ("first", "round1/run", "round2/run") if (tmp_path / "out" / name).exists()]
    stages = ["start", "language", *trainings, *(f"{name}/averaged" for name in trainings)]
    scores = [json.loads((tmp_path / "out" / name / "result.json").read_text())["cer"] for name in stages]
    assert made.score["course"]["models"] == len(scores) >= 6
    assert made.score["cer"] == min(scores)
    heard = json.loads((tmp_path / "out" / "language" / "pseudo.json").read_text())
    last = Reader.load(tmp_path / "out" / "language" / "model.safetensors", "cpu").language
    assert last.facts["read"] == len(heard["labels"]) > 0
    assert made.score["n"] == plan["held_out"] >= 5
    readings = rows(made.readings)
    assert {row["id"] for row in readings} == {f"{row:03d}.png" for row in range(30, 60)}
    wanted = rows(made.next)
    assert len(wanted) <= 20
    assert {row["id"] for row in wanted} <= {row["id"] for row in readings}
    assert len(said) == len([*filter(None, said)]) > 4
    again, told = learn(lines, tmp_path / "out", start)
    assert again == made
    assert "goes on with the plan" in told[0]


def test_a_round_goes_on_from_the_model_that_has_read(start, short, tmp_path):
    """Its weights are those that read, its language model is made from that of the start again."""
    few = write(tmp_path / "few.parquet", labelled=8)  # none is held out, so that no round is the last for its score
    learn(few, tmp_path / "out", start)
    for number in (1, 2):
        folder = tmp_path / "out" / f"round{number}"
        config = load_config(folder / "run" / "config.yaml", [], FinetuneConfig)
        reader = Path(config.continue_from)
        heard = json.loads((folder / "pseudo.json").read_text())
        assert heard["model_sha256"] == sha256(reader.read_bytes())
        assert reader.is_relative_to(tmp_path / "out")
        assert config.init == start
        parts = Reader.load(folder / "run" / "model.safetensors", "cpu").language.facts["mixture"]
        assert "start" not in parts, "the start has no language model, and that of the reader is no part of it"


def test_the_mean_of_the_weights_before_and_after_a_training_is_a_candidate(lines, start, short, tmp_path):
    learn(lines, tmp_path / "out", start)
    made = [("start", "first", "first/averaged")]
    config = load_config(tmp_path / "out" / "round1" / "run" / "config.yaml", [], FinetuneConfig)
    made.append((Path(config.continue_from).parent, "round1/run", "round1/run/averaged"))
    for three in made:
        before, after, mean = (model_file.read(tmp_path / "out" / name / "model.safetensors")[1] for name in three)
        networks = [name for name in mean if name.startswith("encoder.") and mean[name].is_floating_point()]
        assert len(networks) > 10
        for name in networks:
            assert torch.allclose(mean[name], (before[name] + after[name]) / 2, atol=1e-6)
        known = Reader.load(tmp_path / "out" / three[1] / "model.safetensors", "cpu").language.facts
        own = Reader.load(tmp_path / "out" / three[2] / "model.safetensors", "cpu").language.facts
        assert (known["labels"], known.get("read", 0)) == (own["labels"], own.get("read", 0))


def test_without_a_score_the_mean_follows_the_labels_and_no_round(start, short, tmp_path):
    """Some labels pull a start further than they tell; what is read of thousands of lines does not."""
    learn(write(tmp_path / "few.parquet", labelled=8), tmp_path / "out", start)
    heard = json.loads((tmp_path / "out" / "round1" / "pseudo.json").read_text())
    mean = tmp_path / "out" / "first" / "averaged" / "model.safetensors"
    assert heard["model_sha256"] == sha256(mean.read_bytes())
    assert not list((tmp_path / "out").glob("round*/run/averaged"))


def test_a_part_of_a_large_archive_is_read_and_that_is_said(lines, start, short, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "MOST", 12)
    monkeypatch.setattr(schedule, "LAST_READING", 1e-6)
    made, said = learn(lines, tmp_path / "out", start)
    heard = json.loads((tmp_path / "out" / "round1" / "pseudo.json").read_text())
    assert heard["images"] == len(rows(made.readings)) == 12
    assert any("learns from 12 of the lines" in sentence for sentence in said)
    assert any("reads 12 of the lines" in sentence for sentence in said)


def test_scoring_and_reading_keep_to_the_hardware_that_was_asked_for(lines, start, short, tmp_path, monkeypatch):
    seen = []
    load = Reader.load.__func__

    def noted(cls, path, device="auto", threads=0, *rest, **more):
        seen.append((Path(path).parent.name, device, threads))
        return load(cls, path, device, threads, *rest, **more)

    monkeypatch.setattr(Reader, "load", classmethod(noted))
    monkeypatch.setattr(schedule, "FEWEST", 1000)  # no rounds
    learn(lines, tmp_path / "out", start)
    assert {("first", "cpu", 1), ("out", "cpu", 1)} <= set(seen)
    assert {device for _, device, _ in seen} == {"cpu"}


def test_few_labels_are_all_learnt_from_and_that_there_is_no_score_is_said(start, short, tmp_path):
    made, said = learn(write(tmp_path / "few.parquet", labelled=8), tmp_path / "out", start)
    assert made.score is None
    assert any("no score" in sentence for sentence in said)


def test_a_script_that_the_start_does_not_know_begins_from_nothing(start, short, tmp_path):
    path = write(tmp_path / "greek.parquet")
    table = pq.read_table(path)
    texts = [None if text is None else "αβγ" for text in table["text"].to_pylist()]
    pq.write_table(table.set_column(1, "text", pa.array(texts, pa.string())), path)
    _, said = learn(path, tmp_path / "out", start)
    assert any("from nothing" in sentence for sentence in said)


def test_what_is_made_may_lie_in_the_folder_of_the_data(lines, start, short, tmp_path, monkeypatch):
    """`learn .` writes into ./runs; its tables, texts and pictures are no data of the next reading."""
    for row in pq.read_table(lines).to_pylist():
        name = row["image"]["path"]
        (tmp_path / name).write_bytes(row["image"]["bytes"])
        if row["text"]:
            (tmp_path / name).with_suffix(".gt.txt").write_text(row["text"], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    first, said = learn(".", Path("runs/learn"), start)
    assert len(rows(first.readings)) == 30
    again, _ = learn(".", Path("runs/learn"), start)
    assert again.score == first.score
    evaluate(first.model, DataConfig(source=".", height=32), "all", Path("runs/evaluate"), "cpu", 1)
    finetune.run(FinetuneConfig(data={"source": ".", "height": 32}, train={"steps": 2, "batch_size": 4}), Path("fine"))
    _, later = learn(".", Path("runs/second"), start)
    plan = [sentence for sentence in said if "lines with a text to learn from" in sentence]
    assert plan == [sentence for sentence in later if "lines with a text to learn from" in sentence]
    assert len(read_samples(DataConfig(source="."))) == 60


@pytest.mark.parametrize("name", ["a.png", "train/a.png"])
def test_a_folder_of_images_is_never_taken_for_a_run(tmp_path, name):
    image = tmp_path / "box" / name
    image.parent.mkdir(parents=True)
    image.touch()
    begin_run(tmp_path / "box")
    assert list(files(tmp_path)) == [image]


def test_another_course_in_the_folder_is_refused(lines, start, short, tmp_path, monkeypatch):
    monkeypatch.setattr(finetune, "begun", lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):  # the plan is there by then
        learn(lines, tmp_path / "out", start)
    with pytest.raises(UserError, match="another fraction"):
        learn(lines, tmp_path / "out", start, fraction=0.5)


def test_the_start_stays_where_learning_makes_it_worse(start, short, tmp_path, monkeypatch):
    """What a user gets never reads the held-out lines worse than what was there before."""
    path = write(tmp_path / "lines.parquet", labelled=60)
    data = DataConfig(source=str(path), height=32)
    strips = Strips(read_samples(data), range(60), data)
    read = Reader.load(Path(start), "cpu").read_strips([strips.strip(i) for i in range(60)], 8)
    texts = [text.strip() or None for text, _ in read[:40]] + 20 * [None]  # the start reads them without a mistake
    table = pq.read_table(path)
    pq.write_table(table.set_column(1, "text", pa.array(texts, pa.string())), path)
    for rate in ("RATE", "FIRST_RATE"):
        monkeypatch.setattr(schedule, rate, 1.0)
    monkeypatch.setattr(schedule, "MOST_ROUNDS", 3)
    made, said = learn(path, tmp_path / "out", start)
    assert made.score["course"]["chosen"] == "start"
    assert made.score["greedy"]["cer"] == 0
    assert any("the start is kept" in sentence for sentence in said)
    kept = sha256((tmp_path / "out" / "start" / "model.safetensors").read_bytes())
    for stage in ("round1", "language"):  # the best reader so far is the one that is learnt from
        assert json.loads((tmp_path / "out" / stage / "pseudo.json").read_text())["model_sha256"] == kept
    assert sum("that start has read" in sentence for sentence in said) == 1
    missed = sha256((tmp_path / "out" / "round1" / "run" / "averaged" / "model.safetensors").read_bytes())
    again = json.loads((tmp_path / "out" / "round2" / "pseudo.json").read_text())
    assert again["model_sha256"] == missed, "from the start it would be the first round again"
    assert any("it is the last" in sentence for sentence in said)
    assert not (tmp_path / "out" / "round3").exists()
    before, after = Reader.load(Path(start), "cpu").recognizer, Reader.load(made.model, "cpu").recognizer
    assert all(torch.equal(one, other) for one, other in zip(before.parameters(), after.parameters(), strict=True))


def test_without_any_text_it_learns_from_what_the_start_reads(start, short, tmp_path):
    lines = write(tmp_path / "none.parquet", labelled=0)
    made, said = learn(lines, tmp_path / "out", start)
    assert made.score is None
    assert any("no line to learn from has a text" in sentence for sentence in said)
    assert not [sentence for sentence in said if "error" in sentence]
    assert not (tmp_path / "out" / "first").exists()
    heard = json.loads((tmp_path / "out" / "round1" / "pseudo.json").read_text())
    assert heard["labels"]
    language = Reader.load(made.model, "cpu").language
    assert language.facts["labels"] == 0 < language.facts["read"]
    assert len(rows(made.readings)) == 60
    assert learn(lines, tmp_path / "out", start)[0] == made


def test_without_any_text_there_must_be_lines_and_a_start(start, short, tmp_path, monkeypatch):
    lines = write(tmp_path / "none.parquet", labelled=0)
    with pytest.raises(UserError, match="transcribe some first"):
        learn(lines, tmp_path / "out", "none")
    monkeypatch.setattr(schedule, "FEWEST", 61)
    with pytest.raises(UserError, match="transcribe some first"):
        learn(lines, tmp_path / "out", start)


def test_the_smallest_share_of_some_labels_is_one(lines, start, short, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "FEWEST", 1000)  # no rounds
    learn(lines, tmp_path / "out", start, fraction=0.001)
    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["labels"] == 1
    assert (tmp_path / "out" / "first" / "model.safetensors").exists()


def test_updates_are_timed_without_any_text(start, tmp_path):
    data = DataConfig(source=str(write(tmp_path / "none.parquet", labelled=0)), height=32)
    train = TRAIN.model_copy(update={"batch_size": 8})
    config = FinetuneConfig(data=data, init=start, select="last", train=train)
    assert course._speed(config) > 0


def short_course(lines, out, start):
    """Two rounds, each stage of 20 updates."""
    schedule.FEWEST, schedule.MOST_ROUNDS = 10, 2
    schedule.first_steps = lambda labels, known: 20
    schedule.round_steps = lambda images: 20
    course._speed = lambda config: 100.0
    course.run(DataConfig(source=str(lines), height=32), out, 0.1, start, train=TRAIN, progress=False)


def content(out):
    names = ("model.safetensors", "result.json", "readings.csv", "next.csv", "plan.json")
    found = {name: (out / name).read_bytes() for name in names}
    score = json.loads(found.pop("result.json"))
    return found, {key: value for key, value in score.items() if key != "seconds"}


@pytest.mark.slow
def test_a_course_that_was_killed_ends_the_same(lines, start, tmp_path):
    def begun(out):
        return Child(out.with_suffix(".log"), short_course, lines, out, start)

    process = begun(tmp_path / "whole")
    assert process.wait() == 0, process.errors
    out = tmp_path / "killed"
    for moment in ("plan.json", "first/checkpoints/last.ckpt", "round1/pseudo.json", "model.safetensors"):
        process = begun(out)
        deadline = time.monotonic() + 300
        while process.poll() is None and not (out / moment).exists() and time.monotonic() < deadline:
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
    process = begun(out)
    assert process.wait() == 0, process.errors
    assert content(out) == content(tmp_path / "whole")
