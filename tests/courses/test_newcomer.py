"""The two commands of the front page, as they stand there and in docs/learn.md, from a folder of lines to text."""

import csv
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.courses import course, schedule
from htr_ssl.data import synthetic
from htr_ssl.data.reading import read
from htr_ssl.data.splits import subsets
from htr_ssl.handwriting.page import page

ROOT = Path(__file__).parents[2]


def commands(text: str, around: str) -> list[list[str]]:
    """Arguments of the commands in the block of a page that has the words."""
    block = next(block for block in re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if around in block)
    return [shlex.split(line)[1:] for line in block.splitlines()]


def shorten(monkeypatch):
    """Makes of the hour 30 updates."""
    monkeypatch.setattr(schedule, "first_steps", lambda labels, known: 30)
    monkeypatch.setattr(course, "_speed", lambda config: 50.0)


def fill_in(form: Path) -> None:
    """Two texts go into next.csv, and by the commands of docs/archive.md into a Parquet file of the same lines."""
    with form.open(encoding="utf-8", newline="") as file:
        wanted = list(csv.DictReader(file))
    assert wanted
    assert list(wanted[0]) == ["id", "page", "read", "confidence", "text"]
    assert all(row["read"] and not row["text"] for row in wanted)
    wanted[0]["text"] = "filled in"
    with form.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(wanted[0]))
        writer.writeheader()
        writer.writerows(wanted)
    assert CliRunner().invoke(app, ["data", "import", "auto", "lines", "lines.parquet"]).exit_code == 0
    show, fill, learn = commands((ROOT / "docs/archive.md").read_text(encoding="utf-8"), "htr-ssl data fill")
    for command in (show, fill):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    before, after = (
        dict(zip(s.column("id"), s.column("text"), strict=True)) for s in (read("lines.parquet"), read(learn[1]))
    )
    assert after == before | {wanted[0]["id"]: "filled in"}
    assert Path("next.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_learn_and_transcribe_on_a_folder(tmp_path, monkeypatch):
    """With the recognizer that comes with the package; only the hour is shortened, to 30 updates."""
    shorten(monkeypatch)
    front = commands((ROOT / "README.md").read_text(encoding="utf-8"), "htr-ssl learn lines")
    guide = commands((ROOT / "docs/learn.md").read_text(encoding="utf-8"), "htr-ssl learn lines")
    assert front[0] == guide[0]
    assert [command[0] for command in front] == [command[0] for command in guide] == ["learn", "transcribe"]
    (tmp_path / "lines").mkdir()
    (tmp_path / "scans").mkdir()
    for number, sample in enumerate(synthetic.samples(synthetic.Config(samples=14, characters=(6, 12)), "line", 0)):
        Image.fromarray(sample.load()).save(tmp_path / f"lines/{number + 1:04d}.png")
        if number < 8:
            (tmp_path / f"lines/{number + 1:04d}.gt.txt").write_text(f"{sample.text}\n", encoding="utf-8")
    Image.fromarray(page(1, lines=3, width=700)[0]).save(tmp_path / "scans/001.jpg")
    monkeypatch.chdir(tmp_path)

    learnt = CliRunner().invoke(app, [*front[0], "--threads", "1", "--device", "cpu", "-q"])
    assert learnt.exit_code == 0, learnt.output
    out = tmp_path / "runs/learn"
    named = re.findall(r"`(\w+\.(?:json|csv|safetensors))`", (ROOT / "docs/learn.md").read_text(encoding="utf-8"))
    expected = {name for name in named if name != "result.json"}  # 8 labels are too few for a score
    assert expected >= {"model.safetensors", "readings.csv", "next.csv", "plan.json", "check.json"}
    assert {path.name for path in out.iterdir()} >= expected
    with (out / "readings.csv").open(encoding="utf-8", newline="") as file:
        assert {row["id"] for row in csv.DictReader(file)} == {f"{number:04d}.png" for number in range(9, 15)}

    fill_in(out / "next.csv")

    for place, command in enumerate((front[1], guide[1])):
        target = command[command.index("--out") + 1]
        command[command.index("--out") + 1] = f"{target}{place}"
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        kinds = {"txt": ".txt", "alto": ".xml", "pdf": ".pdf"}
        wanted = {kinds[name] for name in command[command.index("--format") + 1].split(",")}
        written = {path.suffix for path in (tmp_path / f"{target}{place}").rglob("001*") if path.stat().st_size}
        assert wanted <= written, written
    assert (tmp_path / "text0/001.txt").read_text(encoding="utf-8") == (tmp_path / "text1/001.txt").read_text("utf-8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_learn_from_pages_that_were_corrected(tmp_path, monkeypatch):
    """Scans alone: read, correct one page, learn, read again; what was corrected stays."""
    shorten(monkeypatch)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first, *again = commands(text, "htr-ssl learn text")
    assert [first, *again] == commands((ROOT / "docs/learn.md").read_text(encoding="utf-8"), "htr-ssl learn text")
    (tmp_path / "scans").mkdir()
    for number in (1, 2, 3):
        Image.fromarray(page(number, lines=4, width=700)[0]).save(tmp_path / f"scans/{number}.jpg")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, first)
    assert done.exit_code == 0, done.output
    path = tmp_path / "text/2.txt"
    mine = "".join(f"{line} mein\n" for line in path.read_text(encoding="utf-8").splitlines())
    path.write_text(mine, encoding="utf-8")
    for command in again:
        options = ["--threads", "1", "--device", "cpu", "-q"] if command[0] == "learn" else []
        if command[0] == "transcribe":  # what it has learnt by heart is no new reading unless the text differs
            path.write_text(mine := mine.replace("mein", "dein"), encoding="utf-8")
        done = CliRunner().invoke(app, [*command, *options])
        assert done.exit_code == 0, done.output
    learnt = subsets.read(tmp_path / "runs/learn/subset.txt")
    assert len(learnt) == len(mine.splitlines())
    assert {name.partition("/")[0] for name in learnt} == {"2"}
    with (tmp_path / "runs/learn/readings.csv").open(encoding="utf-8", newline="") as file:
        assert {row["page"] for row in csv.DictReader(file)} == {"1", "3"}
    assert path.read_text(encoding="utf-8") == mine
    assert (tmp_path / "text/2.new.txt").exists()
