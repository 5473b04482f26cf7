"""Every page of every file, bad ones named one by one, and a summary of all."""

import csv
import io
from pathlib import Path

import numpy as np
import pikepdf
import pytest
from PIL import Image, ImageDraw
from random_models import random_model
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.data.page_images import MAX_PIXELS
from htr_ssl.layout.document import Line, Page
from htr_ssl.pages.formats import alto
from htr_ssl.pages.one_page import Options
from htr_ssl.pages.transcribe import transcribe
from htr_ssl.recognizers.aligned import Reading


def picture(seed=0, size=(400, 300)):
    image = Image.new("L", size, 250)
    for row in range(3):
        for x in range(40, size[0] - 60 - 10 * seed, 14):
            ImageDraw.Draw(image).line([x, 60 + 70 * row, x + 8, 80 + 70 * row], fill=20, width=4)
    return image


def read_lines(images):
    return [(f"width {image.shape[1]}", 0.9 - 0.1 * number) for number, image in enumerate(images)]


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    images = [picture(seed) for seed in range(3)]
    images[0].save(folder / "single.png")
    images[0].save(folder / "three pages.tif", save_all=True, append_images=images[1:])
    images[0].save(folder / "book.pdf", save_all=True, append_images=images[1:])
    return folder


def test_every_page_is_read_and_named_and_volumes_are_joined(tmp_path, folder):
    outcome = transcribe(read_lines, [folder], tmp_path / "out", ["txt", "pdf", "alto"], jobs=2)
    assert len(outcome.done) == 7
    texts = [(tmp_path / "out" / f"book#{number:03d}.txt").read_text() for number in (1, 2, 3)]
    assert len(set(texts)) == 3
    whole = (tmp_path / "out" / "book.txt").read_text()
    assert whole == "\n".join(f"=== book#{n:03d} ===\n{text}" for n, text in enumerate(texts, 1))
    with pikepdf.open(tmp_path / "out" / "three pages.pdf") as document:
        assert len(document.pages) == 3
    assert (tmp_path / "out" / "three pages#002.jpg").is_file()
    assert "three pages#002.jpg" in (tmp_path / "out" / "three pages#002.alto.xml").read_text()
    assert len(transcribe(read_lines, [folder], tmp_path / "out", ["txt", "pdf", "alto"]).skipped) == 7


def test_a_corrected_page_goes_into_the_volume(tmp_path, folder):
    transcribe(read_lines, [folder], tmp_path / "out", ["txt"])
    (tmp_path / "out" / "book#002.txt").write_text("mine\n")
    transcribe(read_lines, [folder], tmp_path / "out", ["txt"])
    assert "=== book#002 ===\nmine\n" in (tmp_path / "out" / "book.txt").read_text()


def test_bad_files_are_named_one_by_one_and_the_rest_is_done(tmp_path, folder):
    data = (folder / "single.png").read_bytes()
    (folder / "cut.png").write_bytes(data[: len(data) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    with pikepdf.open(folder / "book.pdf") as document:
        document.save(folder / "locked.pdf", encryption=pikepdf.Encryption(owner="a", user="b"))
    side = int(MAX_PIXELS**0.5) + 10
    Image.new("1", (side, side)).save(folder / "bomb.png")
    (folder / "away.xml").write_text(
        '<PcGts><Page imageFilename="../../etc/x.png" imageWidth="9" imageHeight="9"/></PcGts>'
    )
    seen = []
    outcome = transcribe(
        read_lines, [folder], tmp_path / "out", ["txt"], progress=lambda *state: seen.append(state), jobs=2
    )
    assert len(outcome.done) == 7
    assert [done for done, _, _ in seen] == list(range(1, 14))
    names = sorted(path.name for path, _ in outcome.failed)
    assert names == ["away.xml", "bomb.png", "broken.pdf", "cut.png", "empty.jpg", "locked.pdf"]
    assert all("\n" not in message and path.stem in message for path, message in outcome.failed)
    messages = {path.name: message for path, message in outcome.failed}
    assert messages["locked.pdf"].endswith(": the PDF is locked with a password; export it again without one")
    assert messages["broken.pdf"].endswith(": the PDF is damaged and cannot be opened; copy it again or leave it out")


@pytest.mark.parametrize("name", ["locked.pdf", "empty.jpg", "broken.tif", "cut.zip"])
def test_a_bad_file_alone_is_named_as_among_others(tmp_path, folder, name):
    with pikepdf.open(folder / "book.pdf") as document:
        document.save(tmp_path / "locked.pdf", encryption=pikepdf.Encryption(owner="a", user="b"))
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "broken.tif").write_bytes((folder / "three pages.tif").read_bytes()[:6])
    (tmp_path / "cut.zip").write_bytes(b"PK")
    model = random_model(tmp_path / "model.safetensors")
    asked = ["transcribe", str(model), str(tmp_path / name), "--out", str(tmp_path / "out"), "--device", "cpu"]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 1
    *_, line, count = said.stderr.splitlines()
    assert line.startswith(f"{tmp_path / name}: ")
    assert count == "1 of 1 failed"


def test_a_summary_has_the_pages_in_doubt_first(tmp_path, folder):
    (folder / "empty.jpg").write_bytes(b"")

    def unsure(images):
        return [(text, 0.3 if images[0].shape[1] < 310 else 0.9) for text, _ in read_lines(images)]

    transcribe(unsure, [folder], tmp_path / "out", ["txt"], summary=True, model="m.safetensors", reader="x")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "summary.csv").read_text())))
    assert rows[0]["status"] == "failed"
    known = [float(row["confidence"]) for row in rows[1:]]
    assert known == sorted(known)
    assert len(rows) == 8
    page = (tmp_path / "out" / "summary.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 7
    assert "m.safetensors" in page
    assert 'href="single.txt" title="single.txt">txt</a>' in page
    assert page.count("empty.jpg") == 1  # its message does not begin with its name again
    assert "7 page(s) transcribed, 0 done before, 1 failed" in (tmp_path / "out" / "summary.txt").read_text()


def test_it_is_said_of_which_pages_the_lines_were_given(tmp_path, folder):
    line = Line("l1", np.array([[50.0, 10], [150, 10], [150, 40], [50, 40]]), text="known")
    alto.write(Page(Path("single.png"), 400, 300, [line]), folder / "single.xml")
    for _ in range(2):  # a page that is skipped has them too
        outcome = transcribe(read_lines, [folder], tmp_path / "out", ["txt"], summary=True)
        assert [result.given for result in outcome.results if result.given] == ["single.xml"]
        assert (tmp_path / "out" / "summary.txt").read_text().count("lines of single.xml") == 1
        assert (tmp_path / "out" / "summary.html").read_text().count("lines of single.xml") == 1
    model = random_model(tmp_path / "model.safetensors")
    asked = ["transcribe", str(model), str(folder), "--out", str(tmp_path / "cli"), "--device", "cpu"]
    said = CliRunner().invoke(app, [*asked, "--segmenter", "projection", "--jobs", "1"])
    assert "1 page(s) have the lines of their PAGE or ALTO file; --lines found finds new ones" in said.stderr


def test_a_dry_run_of_the_command_says_what_it_would_read(tmp_path, folder):
    model = random_model(tmp_path / "model.safetensors")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7 nothing")
    asked = ["transcribe", str(model), str(folder), "--out", str(tmp_path / "out"), "--dry-run", "--device", "cpu"]
    said = CliRunner().invoke(app, asked)
    lines = said.stderr.splitlines()
    assert lines[0] == f"1/8 failed {folder / 'broken.pdf'}"
    assert lines[1:8] == [
        f"{number}/8 to read {folder / name}"
        for number, name in enumerate(
            (
                *(f"book.pdf#00{page}" for page in (1, 2, 3)),
                "single.png",
                *(f"three pages.tif#00{page}" for page in (1, 2, 3)),
            ),
            2,
        )
    ]
    assert said.exit_code == 1


def test_a_dry_run_writes_nothing(tmp_path, folder):
    outcome = transcribe(read_lines, [folder], tmp_path / "out", ["txt"], dry_run=True, reader="x")
    assert len(outcome.done) == 7
    assert not (tmp_path / "out").exists()


def test_unsure_lines_are_left_out_and_counted(tmp_path, folder):
    def junk(images):
        return [("", 0.9), ("x", 0.01), ("text", 0.4)][: len(images)]

    inputs = [folder / "single.png"]
    counts = []
    for number, options in enumerate((Options(), Options(keep_junk=True), Options(min_confidence=0.5))):
        outcome = transcribe(junk, inputs, tmp_path / f"out{number}", ["txt"], options=options)
        counts.append((outcome.results[0].lines, outcome.results[0].left_out))
    assert counts == [(1, 2), (3, 0), (0, 3)]


def test_stains_are_known_by_the_network_s_own_confidence_whatever_the_calibration(tmp_path, folder):
    def read(images):
        spans = [np.linspace([0, 0.5], [0.5, 1], 2)] * len(images)
        seen = [Reading("ab", 0.7, spans[i], np.full(2, 0.7), ink) for i, ink in enumerate((0.05, 0.3, 0.9))]
        return seen[: len(images)]

    outcome = transcribe(read, [folder / "single.png"], tmp_path / "out", ["txt"])
    assert (outcome.results[0].lines, outcome.results[0].left_out) == (2, 1)
