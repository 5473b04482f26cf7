"""The commands lm and models, and transcribe and evaluate with names of models and language models."""

import json
import os
import sys

import pytest
from PIL import Image
from random_models import random_model

from htr_ssl.cli import main
from htr_ssl.handwriting.page import page
from htr_ssl.models import shelf
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import lm


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setattr(shelf, "SHIPPED", shipped)
    monkeypatch.setenv(shelf.VARIABLE, str(tmp_path / "own"))

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["htr-ssl", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        return (caught.value.code or 0, *capsys.readouterr())

    return call


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("abc def\nhed bag\nface a bee\n" * 3, encoding="utf-8")
    return path


def test_train_writes_both_formats(run, text, tmp_path):
    for name in ("x.safetensors", "x.arpa"):
        code, _, err = run("lm", "train", text, "--out", tmp_path / name, "--order", 3)
        assert code == 0
        assert "3 characters from 9 lines" in err
        assert lm.load(tmp_path / name)[0].order == 3
    assert run("lm", "train", text, "--out", tmp_path / "x.txt")[0] == 2
    code, _, err = run("lm", "train", tmp_path / "none.txt", "--out", tmp_path / "y.arpa")
    assert (code, "none.txt" in err) == (2, True)


def test_files_older_than_a_correction_are_named(run, tmp_path):
    model = random_model(tmp_path / "model.safetensors")
    Image.fromarray(page(seed=0, lines=3)[0]).save(tmp_path / "page.png")
    command = ("transcribe", model, tmp_path / "page.png", "--out", tmp_path / "out", "-q", "--format", "txt,pdf")
    assert "still has" not in run(*command)[2]
    text, pdf = tmp_path / "out/page.txt", tmp_path / "out/page.pdf"
    text.write_text(text.read_text("utf-8").replace("\n", " corrected\n", 1), "utf-8")
    os.utime(pdf, (1, 1))
    assert "page.pdf: it still has the text from before your change" in " ".join(run(*command)[2].split())
    pdf.unlink()
    err = run(*command)[2]
    assert pdf.exists()
    assert "still has" not in err
    assert "still has" not in run(*command)[2]


def test_list_card_and_a_page_read_by_name(run, text, tmp_path):
    assert run("models", "list")[0] == 0
    random_model(shelf.SHIPPED / "base.safetensors")
    code, out, err = run("models", "list")
    assert "base" in out
    assert str(tmp_path / "own") in err.replace("\n", "")
    code, out, _ = run("models", "card", "base")
    assert (code, out.startswith("---\n")) == (0, True)
    assert run("models", "card", "base", "--out", tmp_path / "card.md")[0] == 0
    code, _, err = run("models", "card", "base", "--out", tmp_path / "card.md")
    assert (code, "there already" in err) == (2, True)
    Image.fromarray(page(seed=0, lines=3)[0]).save(tmp_path / "page.png")
    for given in ((), ("base",), (shelf.SHIPPED / "base.safetensors",)):
        code, _, err = run("transcribe", *given, tmp_path / "page.png", "--out", tmp_path / "out", "-q")
        assert code == 0, err
    assert "1 skipped" in err  # all three are one model
    run("lm", "train", text, "--out", tmp_path / "x.safetensors", "--order", 3)
    arguments = ("transcribe", tmp_path / "page.png", "--out", tmp_path / "out", "-q")
    for language_model in (tmp_path / "x.safetensors", "none"):
        code, _, err = run(*arguments, "--lm", language_model)
        assert (code, "1 page(s) transcribed" in err) == (0, True)


def test_get_refuses_what_is_not_https(run):
    code, _, err = run("models", "get", "http://example.org/a.safetensors")
    assert (code, "https" in err) == (2, True)


def test_attach_and_evaluate(run, text, tmp_path):
    import subprocess

    data = tmp_path / "words.parquet"
    arguments = ["data", "synth", str(data), "--level", "word", "--samples", "40", "hands=10"]
    subprocess.run([sys.executable, "-m", "htr_ssl", *arguments], check=True)
    tiny = ["train.steps=2", "train.batch_size=4", "train.threads=1", "train.device=cpu", "train.precision=32"]
    config = tmp_path / "c.yaml"
    config.write_text("{}\n")
    source = [f"data.source={data}", "data.level=word", "data.height=24"]
    assert run("finetune", config, *source, *tiny, "--out", tmp_path / "run", "-q")[0] == 0
    model = tmp_path / "run" / "model.safetensors"
    run("lm", "train", text, "--out", tmp_path / "x.safetensors", "--order", 3)
    code, _, err = run("lm", "attach", model, tmp_path / "x.safetensors", "--out", tmp_path / "with.safetensors")
    assert code == 0, err
    assert "validation images" in err
    assert Reader.load(tmp_path / "with.safetensors", "cpu").language.model.order == 3
    code, out, err = run("evaluate", tmp_path / "with.safetensors", "--out", tmp_path / "eval")
    assert code == 0, err
    assert "without language model" in out
    assert "greedy" in json.loads((tmp_path / "eval" / "result.json").read_text())
    code, out, _ = run("evaluate", tmp_path / "with.safetensors", "--lm", "none")
    assert (code, "language model" in out) == (0, False)


@pytest.mark.parametrize("command", ["words", "stackmix"])
def test_lines_are_cut_by_a_model_of_a_name(run, tmp_path, command):
    random_model(shelf.SHIPPED / "base.safetensors")
    code, _, err = run("data", command, "base", tmp_path / "none", tmp_path / "out.parquet")
    assert code == 2
    assert str(tmp_path / "none") in err, "the model is found, the data is not"
    code, _, err = run("data", command, "bass", tmp_path / "none", tmp_path / "out.parquet")
    assert code == 2
    assert "did you mean 'base'?" in err
