"""Published splits: the lists are whole, and data is divided by them or refused."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from miniatures import cvl_words, iam_lines, iam_words, page_xml, rimes_lines
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.config import DataConfig
from htr_ssl.data.loading import read_samples
from htr_ssl.data.reading import read
from htr_ssl.data.samples import Samples
from htr_ssl.data.splits import named_splits
from htr_ssl.data.splits.splitting import MARK, NAME, divide, refuse_mixed
from htr_ssl.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore:.*published are", "ignore:.*too few for")

PUBLISHED = {
    "iam-rwth": (747, 116, 336),
    "iam-rwth-words": (747, 116, 336),
    "iam-lwitlrt-val1": (6161, 900, 1861),
    "iam-lwitlrt-val2": (6161, 940, 1861),
    "iam-puigcerver": (6161, 966, 2915),
    "rimes-2011": (1400, 100, 1),
    "read-2016": (1, 1, 1),
    "cvl": (27, 0, 283),
}


class Named(Samples):
    """Samples without images that matter."""

    def image(self, index):
        return np.full((20, 60), 255, np.uint8)


def named(ids, level="line", **columns):
    pages = [name.rpartition("-")[0] for name in ids]
    return Named({"id": list(ids), "page": pages, **columns}, level)


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def forms(ids):
    return {name.rpartition("-")[0] for name in ids}


@pytest.fixture
def own(tmp_path):
    """A list of one's own over the lines of the IAM miniature."""
    parts = {"train": ["a01-000u-00"], "validation": ["a01-000u-01"], "test": ["a01-003"]}
    lists = {part: " ".join(ids) for part, ids in parts.items()}
    head = {"dataset": "IAM Handwriting Database 3.0", "about": "x", "source": "y", "unit": "line"}
    counts = {part: len(ids) for part, ids in parts.items()}
    text = yaml.safe_dump({**head, "counts": counts, "sha256": named_splits.checksum(parts), **lists})
    (tmp_path / "mine.yaml").write_text(text)
    return tmp_path / "mine.yaml"


@pytest.fixture
def lines(tmp_path):
    iam_lines(tmp_path / "iam")
    return tmp_path / "iam"


@pytest.fixture(autouse=True)
def fresh(tmp_path):
    (tmp_path / "iam").mkdir()
    named_splits.load.cache_clear()


def test_every_list_has_its_published_counts():
    counts = {}
    for name in named_splits.names():
        split = named_splits.load(name)
        counts[name] = tuple(split.counts.get(part, 0) for part in ("train", "validation", "test"))
    assert counts == PUBLISHED


def test_the_lists_of_iam_agree():
    rwth, task = (named_splits.load(name).parts() for name in ("iam-rwth", "iam-lwitlrt-val1"))
    other, puigcerver = (named_splits.load(name).parts() for name in ("iam-lwitlrt-val2", "iam-puigcerver"))
    assert named_splits.load("iam-rwth-words").parts() == rwth
    assert forms(task["train"]) == set(rwth["train"])
    assert (other["train"], other["test"]) == (task["train"], task["test"])
    rest = forms([*task["validation"], *other["validation"], *task["test"]])
    assert rest == {*rwth["validation"], *rwth["test"]}
    assert len({*task["validation"]} | {*other["validation"]} | {*task["test"]}) == 900 + 940 + 1861
    assert puigcerver["train"] == task["train"]
    assert forms(puigcerver["validation"]) == set(rwth["validation"]) - {"c04-160"}
    assert forms(puigcerver["test"]) == set(rwth["test"])


def test_all_lines_of_the_task_are_divided_and_others_left_out():
    parts = named_splits.load("iam-lwitlrt-val2").parts()
    ids = sorted({name for part in parts.values() for name in part} | {"a01-003-10", "g06-089-00"})
    divided = divide(named(ids), "iam-lwitlrt-val2")
    assert len(divided) == 6161 + 940 + 1861
    where = dict(zip(divided.column("id"), divided.column("split"), strict=True))
    assert where == {name: part for part, names in parts.items() for name in names}
    assert divided.facts[NAME] == "iam-lwitlrt-val2"
    assert divided.facts[MARK] == named_splits.load("iam-lwitlrt-val2").sha256


def test_words_belong_to_their_line_or_page():
    parts = named_splits.load("iam-rwth").parts()
    ids = [f"{form}-00-{word:02d}" for part in parts.values() for form in part for word in (0, 1)]
    divided = divide(named(ids, "word"), "iam-rwth")
    assert [divided.column("split").count(part) for part in parts] == [2 * 747, 2 * 116, 2 * 336]
    lines = named([f"lines/a01/{form}/{form}-00.png" for part in parts.values() for form in part])
    with pytest.warns(UserWarning, match="train has 747 lines, published are 6482"):
        assert divide(lines, "iam-rwth").column("split").count("validation") == 116


def test_a_source_is_checked_as_a_split_divides_it(lines, tmp_path):
    """The image outside is not judged, and the name of the split is said."""
    own = tmp_path / "mine.yaml"
    own.write_text(named_splits.listed({"train": ["a01-000u-00"], "test": ["a01-003"]}, "mine", "x", "y", "line"))
    result = run("data", "check", lines, "--splits", own)
    counts = [line.split()[:2] for line in result.stdout.splitlines() if line.startswith(("train", "valid", "test"))]
    assert counts == [["train", "1"], ["test", "1"]]
    assert re.search(r"^splits +mine", result.stdout, re.MULTILINE)
    found = json.loads(run("data", "check", lines, "--splits", own, "--json").stdout)
    assert {split: row["images"] for split, row in found["splits"].items()} == {"train": 1, "test": 1}


def test_missing_ids_are_named(lines):
    with pytest.raises(UserError) as caught:
        divide(read(lines), "iam-rwth")
    text = str(caught.value)
    assert "the data has 2 of 747 train pages, 0 of 116 validation pages, 0 of 336 test pages" in text
    assert "missing are 1197, e.g. a01-000x, a01-003u, a01-003x" in text
    assert "--partial" in text
    with pytest.raises(UserError, match=r"none of its pages \(such as a01-000u\), its ids are like x1"):
        divide(named(["x1", "x2"]), "iam-rwth")
    with pytest.raises(UserError, match=r"1 images are in none of its parts \(e\.g\. zz-00\)"):
        divide(named(["a01-003-00", "zz-00"]), "iam-rwth")


def test_a_part_says_that_it_is_one(lines):
    divided = divide(read(lines), "iam-rwth", partial=True)
    assert divided.facts[NAME] == "iam-rwth (2 of 1199 pages)"
    assert divided.facts[MARK] != named_splits.load("iam-rwth").sha256
    assert set(divided.column("split")) == {"train"}
    assert divided[1].load().shape == read(lines)[1].load().shape


def test_badly_segmented_words_are_left_out(tmp_path):
    iam_words(tmp_path / "iam")
    samples = read(tmp_path / "iam", level="word")
    assert samples.doubtful == {"a01-000u-00-01"}
    divided = divide(samples, "iam-rwth-words", partial=True)
    assert divided.column("id") == ["a01-000u-00-00", "a01-000u-01-00", "a01-003-00-00"]
    assert divided.facts["segmentation err"] == "0"
    assert divide(samples, "iam-rwth", partial=True).facts["segmentation err"] == "1"
    run("data", "import", "iam", tmp_path / "iam", tmp_path / "all.parquet", "--level", "word")
    with pytest.raises(UserError, match="apply it when importing"):
        divide(read(tmp_path / "all.parquet", level="word"), "iam-rwth-words", partial=True)


def test_a_list_of_ones_own_by_command(lines, own, tmp_path):
    result = run("data", "import", "iam", lines, tmp_path / "a.parquet", "--splits", own)
    assert "mine (SHA-256 " in result.output
    samples = read(tmp_path / "a.parquet")
    assert samples.column("split") == ["train", "validation", "test"]
    assert samples.facts[NAME] == "mine"
    run("data", "split", lines, tmp_path / "b.parquet", "--splits", own)
    assert read(tmp_path / "b.parquet").column("split") == samples.column("split")
    for source in (lines, tmp_path / "a.parquet"):
        assert read_samples(DataConfig(source=str(source), splits=str(own))).facts[NAME] == "mine"
    run(
        "data",
        "split",
        tmp_path / "a.parquet",
        tmp_path / "c.parquet",
        "--by",
        "page",
        "--validation",
        0,
        "--test",
        0.4,
    )
    assert MARK not in read(tmp_path / "c.parquet").facts
    result = run("data", "import", "iam", lines, tmp_path / "d.parquet", "--partial", code=1)
    assert "name it with --splits" in str(result.exception)


def test_two_splits_are_not_mixed(lines, own, tmp_path):
    run("data", "import", "iam", lines, tmp_path / "a.parquet", "--splits", own)
    run("data", "import", "iam", lines, tmp_path / "b.parquet", "--splits", "iam-rwth", "--partial")
    result = run("data", "split", tmp_path / "a.parquet", tmp_path / "c.parquet", "--splits", "iam-rwth", code=1)
    assert "already divided as mine" in str(result.exception)
    with pytest.raises(UserError, match="must not be mixed"):
        read_samples(DataConfig(source=str(tmp_path / "b.parquet"), splits=str(own)))
    first, second = (read(tmp_path / f"{name}.parquet").facts for name in "ab")
    with pytest.raises(UserError, match=r"one is divided as mine .* but two as iam-rwth"):
        refuse_mixed(first, second, ("one", "two"))
    refuse_mixed(first, first, ("one", "two"))
    refuse_mixed(first, {}, ("one", "two"))
    refuse_mixed(first, {**second, "splits_of": "another data set"}, ("one", "two"))


def test_changed_lists_are_refused(own):
    text = own.read_text()
    for change, reason in (
        (("a01-000u-01", "a01-000u-02"), "not those of its counts and sha256"),
        (("a01-000u-01", "a01-000u-00"), "listed twice"),
        (("unit: line", "unit: lines"), "this is no list of a split"),
        (("unit: line", "reader: cvl\nunit: line"), "give either ids or the reader"),
        (("a01-000u-01", "a-{0..999999999}"), "stands for more than 100000 ids"),
        ((text, "- a\n- b"), "this is no list of a split"),
        ((text, "a: " + "[" * 5000), "this is no list of a split"),
        ((text, "\x00"), "this is no list of a split"),
    ):
        own.write_text(text.replace(*change))
        named_splits.load.cache_clear()
        with pytest.raises(UserError, match=reason):
            named_splits.load(str(own))
    with pytest.raises(UserError, match=r"there is no file lists/mine\.yaml; check the path"):
        named_splits.load("lists/mine.yaml")
    with pytest.raises(UserError, match=r"there is no 'iam-rwht'; did you mean 'iam-rwth'\?"):
        named_splits.load("iam-rwht")


def test_cvl_is_divided_as_distributed(tmp_path):
    cvl_words(tmp_path / "cvl")
    with pytest.raises(UserError, match="the data has 1 of 27 train writers, 1 of 283 test writers"):
        divide(read(tmp_path / "cvl", level="word"), "cvl")
    divided = divide(read(tmp_path / "cvl", level="word"), "cvl", partial=True)
    assert divided.facts[NAME] == "cvl (2 of 310 writers)"
    writers = [f"{number:04d}" for number in range(310)]
    splits = ["train"] * 27 + ["test"] * 283
    whole = named([f"{name}-1-0-0-x" for name in writers], "word", writer=writers, split=splits, page=writers)
    with pytest.raises(UserError, match="only the reader cvl knows"):
        divide(whole, "cvl")
    whole.facts["format"] = "cvl"
    with pytest.warns(UserWarning, match="test has 283 pages, published are 1415"):
        assert divide(whole, "cvl").facts[NAME] == "cvl"


def test_read_2016_in_its_own_folders(tmp_path):
    """Images lie in `Images` beside `page` in the first archive, and above `page` in the second."""
    page_xml(tmp_path / "mini")
    root = tmp_path / "READ"
    for source, target in (("Training", "PublicData/Training"), ("Training", "PublicData/Validation")):
        shutil.copytree(tmp_path / "mini" / source / "page", root / target / "page")
        (root / target / "Images").mkdir()
        shutil.copy(tmp_path / "mini" / source / "0001.jpg", root / target / "Images/0001.jpg")
    shutil.copytree(tmp_path / "mini/Test", root / "Test-ICFHR-2016")
    samples = read(root)
    assert not samples.problems
    with pytest.warns(UserWarning, match="train has 1 pages, published are 350"):
        divided = divide(samples, "read-2016")
    assert divided.column("split") == ["train"] * 2 + ["validation"] * 2 + ["test"] * 2


def test_rimes_2011_validates_on_the_last_letters(tmp_path):
    rimes_lines(tmp_path / "rimes")
    divided = divide(read(tmp_path / "rimes"), "rimes-2011", partial=True)
    assert sorted(zip(divided.column("id"), divided.column("split"), strict=True)) == [
        ("eval2011-0-0", "test"), ("eval2011-0-1", "test"), ("train2011-0-0", "train"), ("train2011-0-1", "train"),
    ]  # fmt: skip
    ids = [f"train2011-{letter}-0" for letter in range(1500)] + ["eval2011-7-0"]
    with pytest.warns(UserWarning, match="test has 1 pages, published are 100"):
        divided = divide(named(ids), "rimes-2011")
    where = dict(zip(divided.column("id"), divided.column("split"), strict=True))
    assert (where["train2011-1399-0"], where["train2011-1400-0"]) == ("train", "validation")


def test_the_command_lists_them():
    shown = run("splits").output
    assert all(name in shown for name in PUBLISHED)
    shown = run("splits", "iam-rwth").output
    assert "6,482 / 976 / 2,915" in shown
    assert named_splits.load("iam-rwth").sha256 in shown


def test_the_script_makes_a_list_of_ones_own(tmp_path, monkeypatch, capsys):
    """As Bentham's distribution has them: one file for each part, one id in each row."""
    (tmp_path / "train.lst").write_text("115_001_002_02_01\r\n115_001_002_02_02\r\n")
    (tmp_path / "test.lst").write_text("071_001_001_01_01\n\n")
    arguments = [tmp_path / "mine.yaml", "--dataset", "Bentham", "--unit", "line"]
    arguments += ["--train", tmp_path / "train.lst", "--test", tmp_path / "test.lst"]
    monkeypatch.setattr(sys, "argv", ["split_list.py", *map(str, arguments)])
    script = Path(__file__).parents[3] / "scripts/split_list.py"
    runpy.run_path(str(script), run_name="__main__")
    assert "{'train': 2, 'test': 1}" in capsys.readouterr().out
    samples = named(["Lines/115_001_002_02_02.png", "Lines/115_001_002_02_01.png", "Lines/071_001_001_01_01.png"])
    assert divide(samples, str(tmp_path / "mine.yaml")).column("split") == ["train", "train", "test"]
    (tmp_path / "test.lst").write_text("a b\n")
    with pytest.raises(UserError, match="contains a blank"):
        runpy.run_path(str(script), run_name="__main__")
