"""Texts written into a table join the data that they belong to: `data fill`, and `data show --only`."""

import hashlib

import numpy as np
import pytest
import small_lines
from PIL import Image
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError


@pytest.fixture
def lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return small_lines.write(tmp_path / "lines.parquet", labelled=2, count=6, split=["train"] * 5 + ["test"])


def fill(table, *more):
    return CliRunner().invoke(app, ["data", "fill", "lines.parquet", table, "more.parquet", "-q", *more])


def content(samples):
    return [hashlib.sha256(samples.image(i)).hexdigest() for i in range(len(samples))]


FORMS = {
    "as learn writes it": 'id,page,read,confidence,text\n003.png,,x,0.1,"Été, 1858"\n005.png,,y,0.2,\n',
    "saved by a spreadsheet": "\ufeffid;page;read;confidence;text\r\n003.png;;x;0,1;Été, 1858\r\n005.png;;y;0,2;\r\n",
    "typed by hand": "id\ttext\n003.png\tÉté, 1858\n005.png\t\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_texts_go_to_their_ids_and_all_else_stays(lines, form):
    (lines.parent / "next.csv").write_text(FORMS[form], encoding="utf-8", newline="")
    answer = fill("next.csv")
    assert answer.exit_code == 0, answer.output
    before, after = read(lines), read("more.parquet")
    assert after.column("text") == [*before.column("text")[:3], "Été, 1858", None, None]
    assert (after.column("id"), after.column("split")) == (before.column("id"), before.column("split"))
    assert content(after) == content(before)
    assert "6 lines, 3 with text; 1 are from next.csv" in answer.output
    assert "1 row(s) of next.csv have no text yet" in answer.output


def test_what_does_not_fit_is_named(lines):
    rows = "id,text\n003.png,one\n003.png,two\nelsewhere.png,three\n000.png,four\n"
    (lines.parent / "next.csv").write_text(rows, encoding="utf-8")
    answer = fill("next.csv", "--strict")
    assert answer.exit_code == 1, answer.output
    assert "1 of them had another text before" in answer.output
    problems = (lines.parent / "more.parquet.problems.txt").read_text(encoding="utf-8")
    assert "next.csv:3: 003.png has another text further up" in problems
    assert "next.csv:4: there is no line 'elsewhere.png' in the data" in problems
    assert [read("more.parquet").cell("text", row) for row in (0, 3)] == ["four", "one"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("id,text\n003.png,\n", "no text is filled in"),
        ("id,text\nelsewhere.png,a\n", "it has no id of a line of the data"),
        ("id,read\n003.png,a\n", "no text is filled in"),
    ],
)
def test_tables_that_cannot_be_used(lines, rows, message):
    (lines.parent / "next.csv").write_text(rows, encoding="utf-8")
    answer = fill("next.csv")
    assert isinstance(answer.exception, UserError)
    assert message in str(answer.exception)
    assert not (lines.parent / "more.parquet").exists()


def test_the_source_is_not_overwritten(lines):
    (lines.parent / "next.csv").write_text("id,text\n003.png,a\n", encoding="utf-8")
    command = ["data", "fill", "lines.parquet", "next.csv", "lines.parquet"]
    assert "this is the source" in str(CliRunner().invoke(app, command).exception)


def test_lines_of_a_table_are_shown_large(lines):
    (lines.parent / "next.csv").write_text("id,text\n005.png,\n003.png,\n", encoding="utf-8")
    command = ["data", "show", "lines.parquet", "--only", "next.csv", "--out", "next.png"]
    assert CliRunner().invoke(app, command).exit_code == 0
    picture = np.asarray(Image.open("next.png").convert("L"))
    samples = read(lines)
    height = (picture.shape[0] - 8) // 2
    for place, row in enumerate((5, 3)):
        image = np.asarray(Image.fromarray(samples[row].load()).resize((360, 96)))
        shown = picture[8 + place * height :][:96, 8:368]
        assert np.corrcoef(image.ravel(), shown.ravel())[0, 1] > 0.8, row
