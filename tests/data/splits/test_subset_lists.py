"""Committed lists of subsets: what the package draws, and used where the train ids are exactly theirs."""

from __future__ import annotations

import math
import runpy
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from miniatures import iam_words

from htr_ssl.data import importing
from htr_ssl.data.reading import read
from htr_ssl.data.splits import named_splits, subset_lists
from htr_ssl.data.splits.splitting import divide
from htr_ssl.data.splits.subsets import digest, subset
from htr_ssl.errors import UserError

SCRIPT = Path(__file__).parents[3] / "scripts/subset_lists.py"


@pytest.mark.parametrize("name", subset_lists.names())
def test_lists_are_nested_and_sized(name):
    lists = subset_lists.load(subset_lists.FOLDER / f"{name}.yaml")
    assert lists.fractions == [0.05, 0.1, 0.25, 0.5, 1.0]
    for seed in (0, 1, 2):
        parts = [set(lists.ids(seed, fraction)) for fraction in lists.fractions]
        whole = len(parts[-1])
        assert [len(part) for part in parts] == [math.ceil(round(f * whole, 6)) for f in lists.fractions]
        assert all(small <= large for small, large in pairwise(parts))
    assert len({tuple(sorted(lists.ids(seed, 0.05))) for seed in (0, 1, 2)}) == 3


def test_train_ids_are_those_of_the_split():
    names = {"iam-rwth-lines": ("iam-rwth", 6482), "iam-lwitlrt-lines": ("iam-lwitlrt-val1", 6161)}
    assert set(names) == set(subset_lists.names())
    for name, (split, number) in names.items():
        ids = subset_lists.load(subset_lists.FOLDER / f"{name}.yaml").ids(0, 1.0)
        train = set(named_splits.load(split).parts()["train"])
        assert len(ids) == len(set(ids)) == number
        assert {item if item in train else item.rpartition("-")[0] for item in ids} == train


def script(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *map(str, arguments)])
    runpy.run_path(str(SCRIPT), run_name="__main__")


def test_they_are_what_the_package_draws(monkeypatch, capsys):
    script(monkeypatch)
    assert capsys.readouterr().out.count("15 subsets are what htr_ssl draws") == len(subset_lists.names())


def test_the_script_lists_the_train_ids_of_imported_data(tmp_path, monkeypatch):
    (tmp_path / "iam").mkdir()
    iam_words(tmp_path / "iam")
    divided = divide(read(tmp_path / "iam", level="word"), "iam-rwth-words", partial=True)
    importing.write(divided, tmp_path / "words.parquet")
    script(monkeypatch, tmp_path / "words.parquet", tmp_path / "mine.yaml", "--level", "word")
    lists = subset_lists.load(tmp_path / "mine.yaml")
    assert lists.ids(0, 1.0) == ["a01-000u-00-00", "a01-000u-01-00", "a01-003-00-00"]
    assert lists.split == "iam-rwth-words (2 of 1199 pages)"
    importing.write(read(tmp_path / "iam", level="word"), tmp_path / "plain.parquet")
    with pytest.raises(UserError, match="carries no named split"):
        script(monkeypatch, tmp_path / "plain.parquet", tmp_path / "other.yaml", "--level", "word")


def test_a_list_is_used_for_its_train_ids_only():
    ids = subset_lists.load(subset_lists.FOLDER / "iam-lwitlrt-lines.yaml").ids(0, 1.0)
    positions, name = subset_lists.chosen(ids, 0.05, 1)
    assert name == "iam-lwitlrt-lines"
    assert positions == subset(ids, 0.05, 1)
    assert subset_lists.chosen(ids[1:], 0.05, 1) == (subset(ids[1:], 0.05, 1), None)
    assert subset_lists.chosen(ids, 0.05, 7)[1] is None
    assert subset_lists.chosen(ids, 0.3, 1)[1] is None


def test_written_lists_come_back(tmp_path):
    ids = [f"f{form}-{number:02d}" for form in range(30) for number in range(form % 4, 9) if number != 5]
    path = tmp_path / "mine.yaml"
    path.write_text(subset_lists.drawn(ids, "mine", "line"))
    lists = subset_lists.load(path)
    assert lists.ids(2, 1.0) == ids
    assert lists.train_sha256 == digest(ids)
    assert set(lists.ids(2, 0.25)) == {ids[i] for i in subset(ids, 0.25, 2)}
    entry = lists.seeds[2].split()[0]
    path.write_text(path.read_text().replace(entry, entry.translate(str.maketrans("01234", "40123"))))
    subset_lists.load.cache_clear()
    with pytest.raises(UserError, match="not those of its checksums"):
        subset_lists.load(path)
    with pytest.raises(UserError, match="does not end in a hyphen and two digits"):
        subset_lists.drawn(["a"], "mine", "line")
