"""The Python interface: names are there without torch, values are checked at once, results hold paths and figures."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from random_models import IMAGES, random_model

import htr_ssl
from htr_ssl.folders import RUN
from htr_ssl.recognizers.aligned import read_aligned
from htr_ssl.recognizers.reader import Reader

ROOT = Path(__file__).parent.parent
DATA = {"height": 24, "synthetic": {"samples": 40, "characters": [1, 4]}}
TRAIN = {"steps": 2, "batch_size": 4, "threads": 1, "check_every": 2}


def python(code, *arguments):
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_takes_no_heavy_library():
    code = (
        "import sys, htr_ssl; dir(htr_ssl); htr_ssl.UserError; print({'torch', 'cv2', 'lightning'} & set(sys.modules))"
    )
    assert python(code).strip() == "set()"


def test_every_public_name_is_there():
    for name in htr_ssl.__all__:
        assert getattr(htr_ssl, name).__doc__, name
    assert set(htr_ssl.__all__) <= set(dir(htr_ssl))
    with pytest.raises(AttributeError, match="no attribute 'pretrian'"):
        htr_ssl.pretrian  # noqa: B018


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    pretrained = htr_ssl.pretrain(data=DATA, method="simclr", train=TRAIN, out=folder / "p", progress=False)
    finetuned = htr_ssl.finetune(data=DATA, init=pretrained, train=TRAIN, out=folder / "f", progress=False)
    return pretrained, finetuned


def test_runs_have_paths_and_figures(runs):
    pretrained, finetuned = runs
    assert pretrained.path.is_file()
    assert pretrained.summary["steps"] == 2
    assert finetuned.config.init == str(pretrained.path)
    assert finetuned.cer > 0
    assert (finetuned.folder / "metrics.csv").is_file()
    for run in runs:
        assert str(run.path) in run._repr_html_()
        assert len(repr(run)) < 4000


def test_the_same_call_continues_the_run(runs):
    before = runs[1].path.stat().st_mtime_ns
    again = htr_ssl.finetune(runs[1].config, out=runs[1].folder, progress=False)
    assert again == runs[1]
    assert again.path.stat().st_mtime_ns == before


def test_evaluation(runs, tmp_path):
    scores = htr_ssl.evaluate(runs[1], out=tmp_path)
    assert scores.n == len(scores.predictions) > 0
    assert scores.cer_ci[0] <= scores.cer <= scores.cer_ci[1]
    assert "CER" in str(scores)
    assert "WAcc" in scores._repr_html_()
    assert {path.name for path in tmp_path.iterdir()} == {"result.json", "predictions.csv", RUN}
    other = htr_ssl.evaluate(runs[1].path, {"synthetic": {"samples": 20, "characters": [1, 4]}}, "validation")
    assert other.result["split"] == other.split == "validation"
    assert other.predictions[0].id not in {item.id for item in scores.predictions}


def test_table(tmp_path):
    result = htr_ssl.table(
        data=DATA, rows={"supervised": []}, fractions=[1.0], seeds=[0], train=TRAIN, out=tmp_path / "t", progress=False
    )
    assert not result.failed
    assert result.figure.is_file()
    assert any("supervised" in row.values() for row in result.rows)
    assert "supervised" in result.markdown == str(result)
    assert "<table>" in result._repr_html_()


def test_images_of_every_kind_are_read_alike(tmp_path):
    path = random_model(tmp_path / "model.safetensors")
    model, image = htr_ssl.load(path, "cpu"), IMAGES[0]
    wanted = [one[:2] for one in read_aligned(Reader.load(path, "cpu"), [image])]
    Image.fromarray(image).save(tmp_path / "a.png")
    for given in (image, Image.fromarray(image), tmp_path / "a.png", str(tmp_path / "a.png"), [image]):
        assert model.read(given) == wanted
    assert [item.text for item in model.read([image, tmp_path / "a.png"])] == [wanted[0][0]] * 2
    assert model.read([]) == []
    assert model.read(Image.fromarray(image).convert("RGBA"))[0].text == wanted[0][0]
    assert model.characters == "abcdefgh é"
    assert "10 characters" in repr(model)


@pytest.mark.parametrize("image", [None, 3, [None], [["a"]], np.zeros((2, 2, 7), np.uint8), np.zeros((4, 4))])
def test_what_is_no_image_is_said(tmp_path, image):
    model = htr_ssl.load(random_model(tmp_path / "model.safetensors"), "cpu")
    with pytest.raises((htr_ssl.UserError, TypeError)):
        model.read(image)


def test_a_page_is_found_and_read(tmp_path):
    path = random_model(tmp_path / "model.safetensors")
    page = np.full((400, 900), 255, np.uint8)
    for row, image in enumerate(IMAGES[:3]):
        small = image[:, :800]
        page[40 + 110 * row : 40 + 110 * row + small.shape[0], 40 : 40 + small.shape[1]] = small
    Image.fromarray(page).save(tmp_path / "page.png")
    found = htr_ssl.transcribe(tmp_path / "page.png", path, device="cpu")
    assert (found.width, found.height, found.image.name) == (900, 400, "page.png")
    assert len(found.lines) >= 2
    assert all(line.text is not None and 0 <= line.confidence <= 1 for line in found.lines)
    again = htr_ssl.load(path, "cpu").transcribe(page)
    assert [line.text for line in again.lines] == [line.text for line in found.lines]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: htr_ssl.finetune(encoder="crnnn"), "htr_ssl.finetune: encoder.name: .* did you mean 'crnn'"),
        (lambda: htr_ssl.finetune(train={"stepz": 3}), "train.stepz: there is no such key; did you mean train.steps"),
        (lambda: htr_ssl.finetune(fraction=3), "fraction: expected a number of at most 1"),
        (lambda: htr_ssl.pretrain(metod="simclr"), "metod: there is no such key; did you mean method"),
        (lambda: htr_ssl.pretrain(htr_ssl.FinetuneConfig()), "expected a PretrainConfig or a YAML file"),
        (lambda: htr_ssl.pretrain("none.yaml"), "none.yaml: there is no such file"),
        (lambda: htr_ssl.table(seeds=object()), "htr_ssl.table: .*give plain values"),
        (lambda: htr_ssl.load("none.safetensors"), "none.safetensors: there is no such model file"),
        (lambda: htr_ssl.transcribe("page.jpg"), "transcribe needs a model"),
    ],
)
def test_bad_values_are_one_sentence_before_anything_runs(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("htr_ssl.models.shelf.SHIPPED", tmp_path)
    monkeypatch.setenv("HTR_SSL_MODELS", str(tmp_path))
    with pytest.raises(htr_ssl.UserError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_values_replace_those_of_a_configuration(tmp_path):
    from htr_ssl.api import _configured

    config = htr_ssl.FinetuneConfig(encoder={"name": "crnn", "preset": "base"}, train=htr_ssl.TrainConfig(steps=7))
    whole = _configured(htr_ssl.FinetuneConfig, config, {"train": {"lr": 0.5}, "data": Path("lines")}, "finetune")
    assert (whole.train.steps, whole.train.lr, whole.data.source) == (7, 0.5, "lines")
    assert whole.encoder.options()["preset"] == "base"
    other = _configured(htr_ssl.FinetuneConfig, config, {"encoder": {"name": "resnet29"}}, "finetune")
    assert other.encoder.options()["preset"] == "small", "another encoder keeps no options"


def test_the_tutorial(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "tutorial.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    for wanted in ("encoder.safetensors", "validation CER", "written", "Reading(text=", "0 lines", "| supervised"):
        assert wanted in done.stdout, wanted
