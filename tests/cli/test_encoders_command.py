"""`htr-ssl encoders` counts at once, and measures when it is asked to."""

import sys

import pytest

from htr_ssl import plugins
from htr_ssl.cli import main
from htr_ssl.training import cost


def run(capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["htr-ssl", *map(str, arguments)])
    try:
        main()
        code = 0
    except SystemExit as error:
        code = error.code or 0
    return code, *capsys.readouterr()


def measured(*_, **__):
    raise AssertionError("measured without being asked")


def test_counting_needs_no_measuring(capsys, monkeypatch):
    monkeypatch.setattr(cost, "_speeds", measured)
    monkeypatch.setattr(plugins, "names", lambda _: ["crnn"])
    code, out, err = run(capsys, monkeypatch, "encoders")
    assert code == 0
    assert "GFLOP/line" in out
    assert "lines/s" not in out
    assert "lines of 40x544 px" in err


def test_measuring_is_an_option(capsys, monkeypatch):
    monkeypatch.setattr(cost, "_speeds", lambda *_: (12.34, 3.21))
    monkeypatch.setattr(plugins, "names", lambda _: ["crnn"])
    code, out, _ = run(capsys, monkeypatch, "encoders", "--measure", "--batch-size", 2)
    assert code == 0
    assert out.splitlines()[-1].split()[-2:] == ["12", "3.2"]


def test_an_encoder_whose_extra_is_missing_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setattr(plugins, "names", lambda _: ["torchvision_backbone", "crnn"])
    code, out, err = run(capsys, monkeypatch, "encoders")
    assert code == 0
    assert "pip install 'htr-ssl[torchvision]'" in err
    assert "crnn" in out


@pytest.mark.parametrize("given", [["page.jpg"], ["page.jpg", "scans"], ["scans"]])
def test_without_a_model_transcribe_says_how_to_get_one(capsys, monkeypatch, given, tmp_path):
    monkeypatch.setattr("htr_ssl.models.shelf.SHIPPED", tmp_path)
    monkeypatch.setenv("HTR_SSL_MODELS", str(tmp_path))
    code, _, err = run(capsys, monkeypatch, "transcribe", *given, "--out", tmp_path / "text")
    assert code == 2
    assert "transcribe needs a model" in err
    assert "htr-ssl finetune" in err


def test_a_model_without_pages_is_said(capsys, monkeypatch, tmp_path):
    code, _, err = run(capsys, monkeypatch, "transcribe", "model.safetensors", "--out", tmp_path / "text")
    assert (code, "this is the model; name the page images" in err) == (2, True)


def test_a_page_that_fails_is_named_once(capsys, monkeypatch, tmp_path):
    from random_models import random_model

    model = random_model(tmp_path / "model.safetensors")
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    code, _, err = run(capsys, monkeypatch, "transcribe", model, bad, "--out", tmp_path / "text", "--quiet")
    assert code == 1
    assert err.count(str(bad)) == 1
