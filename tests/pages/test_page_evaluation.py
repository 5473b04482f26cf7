"""Whole pages with known text: what the recognizer, finding lines and their order each cost."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from random_models import random_model
from typer.testing import CliRunner

import htr_ssl
from htr_ssl.cli import app
from htr_ssl.errors import UserError
from htr_ssl.layout.document import Line, Page
from htr_ssl.pages.formats import page as page_format
from htr_ssl.pages.page_evaluation import evaluate_pages

TEXTS = {60: "aaa bbb", 120: "cc dd", 180: "ee"}
"""Text of the line of each gray."""


def line(name, top, text=None):
    box = np.array([[20, top], [320, top], [320, top + 30], [20, top + 30]], float)
    return Line(name, box, np.array([[20, top + 24], [320, top + 24]], float), text=text)


def write(folder, name="p", silent=False):
    folder.mkdir(exist_ok=True)
    pixels = np.full((400, 420), 255, np.uint8)
    for gray in TEXTS:
        pixels[gray : gray + 30, 10:330] = gray
    Image.fromarray(pixels).save(folder / f"{name}.png")
    lines = [line(f"l{gray}", gray, text) for gray, text in TEXTS.items()] + ([line("silent", 300)] if silent else [])
    (folder / f"{name}.xml").write_bytes(page_format.render(Page(folder / f"{name}.png", 420, 400, lines), folder))


def read_lines(images):
    """Reads by gray; white is noise."""
    grays = [float(np.median(image)) for image in images]
    return [(next((text for own, text in TEXTS.items() if abs(gray - own) < 9), "noise"), 0.9) for gray in grays]


def finder(*found):
    return lambda image: list(found)


GOOD = [line("a", 60), line("b", 120), line("c", 180)]


def test_all_right_costs_nothing(tmp_path):
    write(tmp_path / "in")
    result = evaluate_pages([tmp_path / "in"], finder(*GOOD), read_lines)
    assert [result.scores(way).cer for way in ("given", "marked", "found", "in_order")] == [0, 0, 0, 0]
    assert (result.lines.true, result.lines.half, result.lines.ordered) == (3, 3, 3)


def test_what_is_missed_stands_apart_from_what_is_put_in_and_from_the_order(tmp_path):
    write(tmp_path / "in")
    characters = sum(map(len, TEXTS.values()))
    missed = evaluate_pages([tmp_path / "in"], finder(*GOOD[:2]), read_lines)
    assert missed.scores("given").cer == 0
    assert missed.scores("found").cer == pytest.approx(len(TEXTS[180]) / characters)
    more = evaluate_pages([tmp_path / "in"], finder(*GOOD, line("x", 350)), read_lines)
    assert more.scores("marked").cer == 0
    assert more.scores("found").cer == pytest.approx(len("noise") / characters)
    turned = evaluate_pages([tmp_path / "in"], finder(*GOOD[::-1]), read_lines)
    assert turned.scores("found").cer == 0
    assert turned.scores("in_order").cer > 0.3
    assert turned.lines.ordered == 1


def test_lines_marked_without_text_are_left_aside(tmp_path):
    write(tmp_path / "in", silent=True)
    result = evaluate_pages([tmp_path / "in"], finder(*GOOD, line("s", 300)), read_lines)
    assert [result.scores(way).cer for way in ("given", "marked", "found", "in_order")] == [0, 0, 0, 0]


def test_a_bad_page_is_named_and_the_others_are_scored(tmp_path):
    write(tmp_path / "in", "good")
    write(tmp_path / "in", "broken")
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    result = evaluate_pages([tmp_path / "in"], finder(*GOOD), read_lines)
    assert [page.name for page in result.pages] == ["good"]
    ((path, reason),) = result.failed
    assert path.name == "broken.xml"
    assert "broken.png" in reason
    (tmp_path / "in" / "good.png").unlink()
    with pytest.raises(UserError, match="no page with text"):
        evaluate_pages([tmp_path / "in"], finder(*GOOD), read_lines)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_command_and_the_function_write_a_row_a_page(tmp_path):
    for name in ("one", "two"):
        write(tmp_path / "in", name)
    model = random_model(tmp_path / "model.safetensors")
    given = ["evaluate", str(model), str(tmp_path / "in"), "--pages", "--segmenter", "projection", "--device", "cpu"]
    answer = CliRunner().invoke(app, [*given, "--out", str(tmp_path / "out")])
    assert answer.exit_code == 0, answer.output
    assert "finding lines costs" in answer.output
    stored = json.loads((tmp_path / "out" / "pages.json").read_text())
    assert stored["given"]["units"] == stored["pages"] == 2
    assert stored["given"]["unit"] == "page"
    with open(tmp_path / "out" / "pages.csv", newline="") as file:
        assert [row["page"] for row in csv.DictReader(file)] == ["one", "two"]
    result = htr_ssl.evaluate_pages(model, tmp_path / "in", "projection", device="cpu")
    assert result.scores("given").cer == pytest.approx(stored["given"]["cer"])
    (tmp_path / "in" / "one.png").write_bytes(b"")
    answer = CliRunner().invoke(app, [*given, "--out", str(tmp_path / "out")])
    assert answer.exit_code == 1
    assert "one.png" in answer.output
    assert "[" not in answer.output.partition("| --- |")[2].partition("finding lines costs")[0]
    assert not [name for name in json.loads((tmp_path / "out" / "pages.json").read_text())["given"] if "_ci" in name]
