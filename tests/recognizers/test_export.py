"""ONNX export: the file alone reads what the model reads; what is wrong with a file is said."""

import json
import shutil
import sys

import cv2
import numpy as np
import pytest
from random_models import IMAGES, random_model

from htr_ssl import plugins
from htr_ssl.cli import main
from htr_ssl.cli.export import export as cli_export
from htr_ssl.errors import UserError
from htr_ssl.recognizers import export as exporting
from htr_ssl.recognizers.reader import Reader

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


@pytest.mark.parametrize("encoder", plugins.names("htr_ssl.encoders"))
def test_the_onnx_file_reads_what_the_model_reads(tmp_path, encoder):
    model = random_model(tmp_path / "model.safetensors", encoder)
    check = exporting.export(model, tmp_path / "model.onnx")
    assert check.images >= 10
    assert check.widths[1] > 2 * check.widths[0]
    assert check.difference < 1e-4
    wanted = Reader.load(model, "cpu").read(IMAGES)
    model.unlink()
    found = Reader.load(tmp_path / "model.onnx").read(IMAGES)
    assert [text for text, _ in found] == [text for text, _ in wanted]
    assert [value for _, value in found] == pytest.approx([value for _, value in wanted], abs=1e-4)


def test_another_program_finds_everything_in_the_file(tmp_path):
    exporting.export(random_model(tmp_path / "model.safetensors"), tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["charset"]) == list("abcdefgh é")
    assert (metadata["height"], metadata["channels"]) == ("32", "1")
    assert json.loads(metadata["htr_ssl"])["encoder"]["name"] == "crnn"
    images = np.ones((3, 1, 32, 57), np.float32)
    logits, lengths = session.run(None, {"images": images, "widths": np.array([57, 56, 8])})
    assert logits.shape == (15, 3, 11)
    assert lengths.tolist() == [15, 14, 2]


@pytest.mark.parametrize("encoder", plugins.names("htr_ssl.encoders"))
def test_eight_bits_are_a_smaller_file_of_nearly_the_same_logits(tmp_path, monkeypatch, encoder):
    model = random_model(tmp_path / "model.safetensors", encoder)
    monkeypatch.setattr(exporting, "INT8_TOLERANCE", 99.0)  # what is random has no winner that 8 bits leave in place
    exporting.export(model, tmp_path / "whole.onnx")
    check = exporting.export(model, tmp_path / "small.onnx", int8=True)
    assert check.difference > 1e-3
    sizes = [(tmp_path / name).stat().st_size for name in ("small.onnx", "whole.onnx")]
    assert sizes[0] < 0.5 * sizes[1]
    small, whole = (Reader.load(tmp_path / name) for name in ("small.onnx", "whole.onnx"))
    assert small.header == whole.header
    for image in IMAGES:
        a, b = small.posteriors(image), whole.posteriors(image)
        assert a.shape == b.shape
        assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.95
    assert not list(tmp_path.glob("*.tmp"))


def test_eight_bits_are_measured_and_compared_on_given_lines(tmp_path, monkeypatch):
    for i in range(6):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((32, 60 + 10 * i), 255 - i, np.uint8))
    model = random_model(tmp_path / "model.safetensors")
    check = exporting.export(model, tmp_path / "model.onnx", int8=True, lines=str(tmp_path))
    assert (check.images, check.widths) == (3, (70, 110))
    monkeypatch.setattr(exporting, "INT8_TOLERANCE", -1.0)
    with pytest.raises(UserError, match=r"other\.onnx: not written, .* leave --int8 out"):
        exporting.export(model, tmp_path / "other.onnx", int8=True)
    assert not (tmp_path / "other.onnx").exists()


def test_eight_bits_never_see_test_images(tmp_path, monkeypatch):
    for split, height in (("train", 40), ("test", 90)):
        (tmp_path / "lines" / split).mkdir(parents=True)
        for i in range(4):
            cv2.imwrite(str(tmp_path / "lines" / split / f"{i}.png"), np.full((32, height + i), 255 - i, np.uint8))
    model = random_model(tmp_path / "model.safetensors")
    seen = []
    quantise = exporting.quantise
    monkeypatch.setattr(exporting, "quantise", lambda path, batches: (seen.extend(batches), quantise(path, batches)))
    check = exporting.export(model, tmp_path / "model.onnx", int8=True, lines=str(tmp_path / "lines"))
    assert sorted(width for batch in seen for width in batch.widths.tolist()) == [40, 42]
    assert (check.images, check.widths) == (2, (41, 43))
    shutil.rmtree(tmp_path / "lines" / "train")
    with pytest.raises(UserError, match=r"lines.*: all its images are test images"):
        exporting.export(model, tmp_path / "b.onnx", int8=True, lines=str(tmp_path / "lines"))


def test_a_file_that_reads_differently_is_not_written(tmp_path, monkeypatch):
    model = random_model(tmp_path / "model.safetensors")
    monkeypatch.setattr(exporting, "TOLERANCE", -1.0)
    with pytest.raises(UserError, match="differently"):
        exporting.export(model, tmp_path / "model.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_errors_name_the_file_and_the_way_out(tmp_path, monkeypatch):
    model = random_model(tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"end with \.onnx"):
        exporting.export(model, tmp_path / "model.pt")
    with pytest.raises(UserError, match=r"htr-ssl export MODEL\.safetensors .*none\.onnx"):
        Reader.load(tmp_path / "none.onnx")
    (tmp_path / "cut.onnx").write_bytes(b"\x08\x08")
    with pytest.raises(UserError, match=r"cut\.onnx: .*export it again"):
        Reader.load(tmp_path / "cut.onnx")
    exporting.export(model, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="device=cpu"):
        Reader.load(tmp_path / "model.onnx", "cuda")
    content = onnx.load(tmp_path / "model.onnx")
    del content.metadata_props[:]
    onnx.save(content, tmp_path / "foreign.onnx")
    with pytest.raises(UserError, match=r"foreign\.onnx: .*header"):
        Reader.load(tmp_path / "foreign.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for call in (lambda: Reader.load(tmp_path / "model.onnx"), lambda: exporting.export(model, tmp_path / "b.onnx")):
        with pytest.raises(UserError, match=r"pip install 'htr-ssl\[onnx\]'"):
            call()
    assert not (tmp_path / "b.onnx").exists()


def test_export_and_transcribe_commands(tmp_path, monkeypatch, capsys):
    model, file = random_model(tmp_path / "model.safetensors"), tmp_path / "model.onnx"
    page = np.full((120, 400), 255, np.uint8)
    cv2.putText(page, "aeae bcbc", (40, 70), cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, 1.5, 0, 2)
    (tmp_path / "scans").mkdir()
    cv2.imwrite(str(tmp_path / "scans" / "page.png"), page)
    for arguments in (["export", model, file], ["transcribe", file, tmp_path / "scans", "--out", tmp_path / "text"]):
        monkeypatch.setattr(sys, "argv", ["htr-ssl", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert not caught.value.code
    assert "same texts" in capsys.readouterr().err
    assert (tmp_path / "text" / "page.txt").is_file()


def test_it_is_said_that_the_language_model_stays_behind(tmp_path, capsys, monkeypatch):
    model = random_model(tmp_path / "model.safetensors")
    cli_export(model, tmp_path / "plain.onnx")
    assert "language model" not in capsys.readouterr().err
    monkeypatch.setattr(exporting.model_file, "read_header", lambda path: {exporting.language.KEY: {}})
    cli_export(model, tmp_path / "without.onnx")
    assert "reads without the language model" in " ".join(capsys.readouterr().err.split())
