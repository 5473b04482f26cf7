"""Every command of the pages on one's own data is run, in their order, on small copies of the layouts.

Only what makes them short is added: trainings have few steps, and a published split is taken in part.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import types
from pathlib import Path

import miniatures
import pytest
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.data.reading import read

ROOT = Path(__file__).parent.parent


pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

TRAIN = ["steps=2", "check_every=2", "batch_size=2", "threads=1", "device=cpu", "precision=32", "workers=0"]
SHORT = [*(f"train.{value}" for value in TRAIN), "data.height=32"]
ADDED = {
    "pretrain": [*SHORT, "--quiet"],
    "finetune": [*SHORT, "--quiet"],
    "table": [*SHORT, "rows={supervised: []}", "seeds=[0]", "--quiet"],
    "words": ["--confidence", "0"],
    "stackmix": ["--confidence", "0"],
}


def commands(page: str) -> list[list[str]]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = [shlex.split(line) for block in blocks for line in block.splitlines() if line.startswith("htr-ssl ")]
    assert len(found) == len(re.findall(r"^htr-ssl ", text, re.MULTILINE)) >= 10
    return found


def run_page(page: str) -> None:
    for _, *arguments in commands(page):
        added = [value for name in arguments[:2] for value in ADDED.get(name, [])]
        added += ["--partial"] if "--splits" in arguments else []
        result = CliRunner().invoke(app, [*arguments, *added])
        if arguments[:2] == ["data", "check"] and "not sound: " in result.output:
            continue  # the miniatures repeat one image, which the check rightly calls unsound
        assert result.exit_code == 0, shlex.join(arguments) + result.output + repr(result.exception)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    return tmp_path


def iam(root: Path) -> None:
    """Two forms of each part of the RWTH partition with two lines of two words, the images beside the lists."""
    (root / "ascii").mkdir(parents=True)
    words, lines = [], []
    for form in ("a01-000u", "a01-003", "c04-156", "c06-083", "c04-110", "c04-116"):
        for number, text in (("00", "put down"), ("01", "a stop")):
            name = f"{form}-{number}"
            miniatures.save(root / "lines" / form[:3] / form / f"{name}.png", text)
            lines.append(f"{name} ok 154 19 35 35 300 40 {text.replace(' ', '|')}")
            for place, word in enumerate(text.split()):
                miniatures.save(root / "words" / form[:3] / form / f"{name}-{place:02d}.png", word)
                words.append(f"{name}-{place:02d} ok 154 35 35 130 40 NN {word}")
    (root / "ascii/words.txt").write_text("\n".join(words) + "\n")
    (root / "ascii/lines.txt").write_text("\n".join(lines) + "\n")


def export(root: Path, pages: int = 6) -> None:
    """PAGE files and images as Transkribus and eScriptorium export them."""
    (root / "page").mkdir(parents=True)
    for number in range(pages):
        name = f"{number:04d}"
        miniatures.page(root / f"{name}.jpg", height=200 + number)
        text = miniatures._page_xml("2019-07-15").replace("0001.jpg", f"{name}.jpg")
        text = text.replace('imageHeight="200"', f'imageHeight="{200 + number}"')
        (root / f"page/{name}.xml").write_text(text, encoding="utf-8")


def test_researchers(here, monkeypatch):
    iam(here / "IAM")
    for name, build in (("RIMES", miniatures.rimes_lines), ("RIMES-words", miniatures.rimes_words),
                        ("CVL", miniatures.cvl_words), ("hub", miniatures.hub)):  # fmt: skip
        (here / name).mkdir()
        build(here / name)
    library = types.SimpleNamespace(snapshot_download=lambda name, **options: str(here / "hub"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    # the second way to apply a split knows no part of one: a list of the miniature's own pages under that name
    monkeypatch.setattr("htr_ssl.data.splits.named_splits.FOLDER", _lists(here / "lists"))
    run_page("data-researchers.md")
    samples = read("iam-lines.parquet")
    assert samples.column("split") == ["train"] * 4 + ["validation"] * 4 + ["test"] * 4
    assert samples.facts["splits"] == "iam-rwth"
    assert read("iam-words.parquet", level="word").facts["splits"] == "iam-rwth-words (6 of 1199 pages)"
    assert sorted(read("rimes-words.parquet", level="word").column("split")) == ["test", "train", "validation"]
    assert read("cvl-words.parquet", level="word").facts["splits"] == "cvl (2 of 310 writers)"
    assert len(read("iam-hub.parquet")) == 3
    assert "published split iam-rwth (SHA-256" in Path("runs/iam/table.md").read_text(encoding="utf-8")
    assert '"splits": "iam-rwth"' in Path("runs/iam-5/result.json").read_text(encoding="utf-8")


def _lists(folder: Path) -> Path:
    """The package's lists, `iam-rwth` cut down to the pages of the miniature."""
    from htr_ssl.data.splits import named_splits

    named_splits.load.cache_clear()
    shutil.copytree(named_splits.FOLDER, folder)
    parts = {"train": ["a01-000u", "a01-003"], "validation": ["c04-156", "c06-083"], "test": ["c04-110", "c04-116"]}
    whole = named_splits.load("iam-rwth")
    assert all(set(ids) <= set(whole.parts()[part]) for part, ids in parts.items())
    text = named_splits.listed(parts, whole.dataset, whole.about, whole.source, whole.unit)
    (folder / "iam-rwth.yaml").write_text(text, encoding="utf-8")
    named_splits.load.cache_clear()
    return folder


@pytest.fixture(autouse=True)
def _fresh():
    from htr_ssl.data.splits import named_splits

    yield
    named_splits.load.cache_clear()


def test_archives(here):
    export(here / "export")
    (here / "scans").mkdir()
    miniatures.scans(here / "scans")
    (here / "clone").mkdir()
    miniatures.htr_united(here / "clone")
    run_page("data-archives.md")
    lines = read("lines.parquet")
    assert lines.column("text") == ["Premier mot", "troisième mot"] * 6
    divided = read("divided.parquet")
    where = dict(zip(divided.column("page"), divided.column("split"), strict=True))
    assert [where[page] for page in divided.column("page")] == divided.column("split")
    assert sorted(where.values()) == ["test", "train", "train", "train", "train", "validation"]
    assert set(read("unlabelled.parquet").column("text")) == {None}
    assert set(read("words.parquet", level="word").column("text")) == {"Premier", "troisième", "mot"}
    assert read("corpus.parquet").facts["licence"] == "CC-BY 4.0"
    for picture in ("export.png", "unlabelled.png", "words.png"):
        assert Path(picture).stat().st_size > 1000


def test_a_command_that_fails_is_noticed(here, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "commands", lambda page: [["htr-ssl", "data", "stats", "nowhere"]])
    with pytest.raises(AssertionError, match="nowhere"):
        run_page("data-archives.md")
