"""A fine-tuning that learns a language model too: from its own labels, texts, and its start; stored, used, compared."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from random_models import random_model

from htr_ssl.config import FinetuneConfig, LanguageConfig, Pseudo, TableConfig
from htr_ssl.errors import UserError
from htr_ssl.experiments import render, table
from htr_ssl.experiments.evaluate import evaluate
from htr_ssl.models import shelf
from htr_ssl.recognizers import language
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import kneser_ney
from htr_ssl.text.beam import Options
from htr_ssl.training import equip, finetune, pseudo

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
DATA = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 80, "hands": 10}}
TRAIN = {"steps": 3, "batch_size": 8, "check_every": 3, "threads": 1, "precision": "32", "device": "cpu"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    (folder / "more.txt").write_text("quelques mots\nde plus\n", encoding="utf-8")
    config = FinetuneConfig(data=DATA, train=TRAIN, lm={"order": 4, "text": [str(folder / "more.txt")]}, fraction=0.5)
    return finetune.run(config, folder / "run", progress=False), config


def test_the_language_model_is_in_the_file_and_a_second_run_gives_the_same(run, tmp_path):
    path, config = run
    reader = Reader.load(path, "cpu")
    facts = reader.language.facts
    assert facts["labels"] == len((path.parent / "subset.txt").read_text().split()) or facts["labels"] > 0
    assert set(facts["mixture"]) == {"labels", "text"}
    assert "validation images" in facts["chosen_on"]
    assert "q" in reader.language.model.symbols
    again = finetune.run(config, tmp_path / "again", progress=False)
    assert again.read_bytes() == path.read_bytes()


def test_the_start_s_language_model_is_a_part_of_the_new_one(run, tmp_path):
    path, config = run
    values = config.model_dump() | {"init": str(path), "lm": {"order": 3}}
    made = finetune.run(FinetuneConfig(**values), tmp_path / "next", progress=False)
    assert set(Reader.load(made, "cpu").language.facts["mixture"]) == {"labels", "start"}
    without = finetune.run(FinetuneConfig(**values | {"lm": None}), tmp_path / "none", progress=False)
    assert Reader.load(without, "cpu").language is None


def test_evaluation_says_both_and_predictions_are_those_with_the_language_model(run, tmp_path):
    path, _ = run
    both = evaluate(path, out=tmp_path / "both", device="cpu")
    none = evaluate(path, out=tmp_path / "none", device="cpu", lm="none")
    assert both["greedy"] == {name: none[name] for name in both["greedy"]}
    assert {"cer", "wer", "wacc"} <= set(both["greedy"])
    assert both["language_model"]["order"] == 4
    assert "greedy" not in none
    assert "language_model" not in none
    other = kneser_ney.train(["aaa bbb"], 2)
    other.save(tmp_path / "other.safetensors")
    beside = evaluate(path, device="cpu", lm=tmp_path / "other.safetensors")
    assert beside["language_model"]["file"].endswith("other.safetensors")
    assert "validation images" in beside["language_model"]["chosen_on"]
    own = evaluate(path, split="validation", device="cpu", lm=tmp_path / "other.safetensors")
    assert "chosen_on" not in own["language_model"]  # never on what is scored


def test_a_table_says_what_is_read_with_and_without(tmp_path):
    config = TableConfig(data=DATA, rows={"supervised": []}, seeds=[0], train=TRAIN, fractions=[0.5], lm={"order": 3})
    made = table.run(config, tmp_path / "table", progress=False)
    (cell,) = made.cells
    assert not cell.error
    stored = json.loads((cell.folder / "result.json").read_text())
    assert "language_model" not in stored
    assert stored["with_lm"]["language_model"]["order"] == 3
    head, rows = render.grid(made, "cer")
    assert head == ["CER [%]", "50 %", "50 %, with LM"]
    assert rows[0][2].text == f"{100 * stored['with_lm']['cer']:.1f}"
    text = (tmp_path / "table" / "table.md").read_text(encoding="utf-8")
    assert "own labels" in text
    summary = json.loads((cell.folder / "finetune" / "summary.json").read_text())
    assert (stored["labels_selection"], stored["labels_lm"]) == (0, summary["labels_lm"])  # select=last
    assert f"{stored['labels_lm']} of validation for the language model" in text
    assert render.latex(made).count(r"\begin{tabular}{lrr}") == 1
    assert render.cells_csv(made).splitlines()[0].endswith("cer with LM,wer with LM,error")


def test_the_start_may_be_a_name(run, tmp_path, monkeypatch):
    path, config = run
    monkeypatch.setattr(shelf, "SHIPPED", tmp_path)
    (tmp_path / "base.safetensors").write_bytes(path.read_bytes())
    values = config.model_dump() | {"init": "base", "lm": None}
    made = finetune.run(FinetuneConfig(**values), tmp_path / "run", progress=False)
    header = Reader.load(made, "cpu").header
    assert header["init"] == "base"
    assert header["method"] == "synthetic"
    with pytest.raises(UserError, match="no model of this name"):
        finetune.run(FinetuneConfig(**values | {"init": "bose2"}), tmp_path / "bad", progress=False)


def test_texts_come_from_files_and_from_train_labels(tmp_path):
    from handmade import write_words

    (tmp_path / "a.txt").write_bytes("\ufeffété\nhiver".encode())
    assert equip.texts_of(tmp_path / "a.txt") == ["été", "hiver"]
    labels = equip.texts_of(write_words(tmp_path / "words.parquet"))
    assert labels
    assert all(labels)
    (tmp_path / "latin.txt").write_bytes("été".encode("latin-1"))
    (tmp_path / "empty.txt").write_text("\n \n")
    for name in ("latin.txt", "empty.txt", "none.txt", "none"):
        with pytest.raises(UserError, match=name):
            equip.texts_of(tmp_path / name)


def test_labels_alone_need_no_mixture():
    model, facts = equip.build(LanguageConfig(order=3), ["abc", "abd"], ["abc"], None)
    assert model.order == 3
    assert facts == {"labels": 2}
    turned, _ = equip.build(LanguageConfig(order=3), ["abc", "abd"], ["abc"], None, lambda text: text[::-1])
    assert turned.perplexity(["cba"]) < turned.perplexity(["abc"])


def test_storing_in_place_is_whole(tmp_path):
    path = random_model(tmp_path / "model.safetensors")
    language.store(path, language.of(kneser_ney.train(["abc"], 2), Options(), {}), path)
    assert Reader.load(path, "cpu").language.model.order == 2
    assert list(tmp_path.iterdir()) == [path]


def test_few_validation_images_choose_no_weights(run, tmp_path, monkeypatch):
    """With select=last a share of them as small as that of the labels is asked, and fewer than `FEW` are not."""
    path, config = run
    known = Reader.load(path, "cpu").language
    assert known.facts["chosen_on"].startswith("none")
    values = config.model_dump() | {"init": str(path), "select": "last", "lm": {"order": 3}}
    made = Reader.load(finetune.run(FinetuneConfig(**values), tmp_path / "few", progress=False), "cpu").language
    assert made.facts["chosen_on"].startswith("none")
    assert made.options == known.options
    monkeypatch.setattr(equip, "FEW", 2)
    seen = []
    tuned = language.tuned
    monkeypatch.setattr(language, "tuned", lambda *args: seen.append(len(args[2])) or tuned(*args))
    monkeypatch.setattr(language, "ALPHAS", (0.3,))
    finetune.run(FinetuneConfig(**values), tmp_path / "half", progress=False)
    finetune.run(FinetuneConfig(**values | {"select": "validation"}), tmp_path / "whole", progress=False)
    assert seen[1] >= 2 * seen[0] - 1 > 1


def test_a_training_without_validation_labels_has_a_language_model_too(run, tmp_path):
    path, config = run
    buffer = io.BytesIO()
    Image.new("L", (64, 32), 255).save(buffer, "PNG")
    images = [{"bytes": buffer.getvalue(), "path": f"{row}.png"} for row in range(6)]
    table = pa.table({"image": images, "text": ["le mot"] * 6, "split": ["train"] * 6})
    pq.write_table(table, tmp_path / "train.parquet")
    data = {"source": str(tmp_path / "train.parquet"), "level": "word", "height": 32}
    values = config.model_dump() | {"data": data, "init": str(path), "select": "last", "fraction": 1.0}
    made = Reader.load(finetune.run(FinetuneConfig(**values), tmp_path / "run", progress=False), "cpu").language
    assert set(made.facts["mixture"]) == {"labels", "text", "start"}
    assert made.options == Reader.load(path, "cpu").language.options


def test_images_are_read_again_with_the_readings_of_the_others(run, tmp_path, monkeypatch):
    """An image's own reading would be found again, mistakes included. The next training's model has all of them."""
    path, config = run
    events = []

    def read(reader, strips, batch_size=32):
        texts = [f"mot {int(strip.sum())}" for strip in strips]
        events.append(("read", set(texts), reader.language.options))
        return [(text, 0.5) for text in texts]

    def train(texts, *rest):
        texts = list(texts)
        events.append(("train", set(texts), None))
        return learn(texts, *rest)

    learn = kneser_ney.train
    monkeypatch.setattr(Reader, "read_strips", read)
    monkeypatch.setattr(kneser_ney, "train", train)
    once = pseudo.make(path, config, Pseudo(keep=1.0), tmp_path / "once")
    ((_, everything, own),) = events
    events.clear()
    twice = pseudo.make(path, config, Pseudo(keep=1.0, parts=3), tmp_path / "twice")
    assert pseudo.read(once) == pseudo.read(twice)
    first, *rest = events
    assert first == ("read", everything, own)
    assert [kind for kind, *_ in rest] == ["train", "read"] * 3
    for (_, heard, _), (_, mine, options) in zip(rest[::2], rest[1::2], strict=True):
        assert mine
        assert not heard & mine
        assert heard | mine == everything
        assert own.alpha < options.alpha <= language.ARCHIVE.alpha
        assert own.beta < options.beta <= language.ARCHIVE.beta
    monkeypatch.undo()
    values = config.model_dump() | {"init": str(path), "pseudo": str(twice), "select": "last"}
    made = Reader.load(finetune.run(FinetuneConfig(**values), tmp_path / "next", progress=False), "cpu").language
    assert set(made.facts["mixture"]) == {"labels", "text", "read", "start"}
    assert made.facts["read"] == len(pseudo.read(twice))
    assert own.alpha < made.options.alpha <= language.ARCHIVE.alpha, "too few validation images choose"
    assert made.model.perplexity(list(everything)) < Reader.load(path, "cpu").language.model.perplexity(
        list(everything)
    )


def test_a_recognizer_without_a_language_model_reads_once_and_that_is_said(run, tmp_path, monkeypatch):
    _, config = run
    monkeypatch.setattr(Reader, "read_strips", lambda reader, strips, batch_size=32: [("mot", 0.5)] * len(strips))
    alone = finetune.run(config.model_copy(update={"lm": None}), tmp_path / "alone", progress=False)
    with pytest.warns(UserWarning, match="no language model"):
        made = pseudo.make(alone, config, Pseudo(keep=1.0, parts=3), tmp_path / "read")
    assert pseudo.read(made)
