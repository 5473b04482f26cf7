import hashlib
import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htr_ssl.data.splits import subsets
from htr_ssl.errors import UserError

ids_lists = st.lists(
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), unique=True
)
shares = st.sampled_from([0.0, 0.1, 0.3])


@given(ids_lists.filter(bool), st.floats(0.001, 1), st.floats(0.001, 1), st.integers(0, 5))
def test_subsets_are_nested_sized_and_in_source_order(ids, one, other, seed):
    small, large = sorted((one, other))
    inside, around = subsets.subset(ids, small, seed), subsets.subset(ids, large, seed)
    assert set(inside) <= set(around)
    assert inside == sorted(inside)
    assert len(inside) == max(1, math.ceil(round(small * len(ids), 6)))


@given(ids_lists.filter(bool), st.randoms())
def test_subset_does_not_depend_on_the_order_of_the_source(ids, random):
    shuffled = random.sample(ids, len(ids))
    chosen = {ids[i] for i in subsets.subset(ids, 0.3, 1)}
    assert {shuffled[i] for i in subsets.subset(shuffled, 0.3, 1)} == chosen


def test_subset_sizes_are_exact_where_floats_are_not():
    assert len(subsets.subset([str(i) for i in range(300)], 0.07, 0)) == 21  # 0.07 * 300 = 21.000000000000004
    assert subsets.subset([], 0.5, 0) == []


def test_seeds_choose_different_subsets():
    ids = [str(i) for i in range(1000)]
    first, second = (set(subsets.subset(ids, 0.1, seed)) for seed in (0, 1))
    assert len(first & second) < 40


@pytest.mark.parametrize("fraction", [0, -0.1, 1.1])
def test_impossible_fraction(fraction):
    with pytest.raises(UserError, match="fraction"):
        subsets.subset(["a"], fraction, 0)


@given(ids_lists)
def test_lists_come_back_as_written(tmp_path_factory, ids):
    path = tmp_path_factory.mktemp("subset") / "subset.txt"
    mark = subsets.write(path, ids, 0.05, 3, "words\nof # two lines")
    assert subsets.read(path) == ids
    assert mark == subsets.digest(ids)
    lines = path.read_text(encoding="utf-8").split("\n")
    assert "# fraction: 0.05" in lines
    assert "# seed: 3" in lines


def test_digest_is_that_of_the_sorted_ids():
    assert subsets.digest(["b", "a"]) == hashlib.sha256(b"a\nb").hexdigest()


def test_changed_lists_are_refused(tmp_path):
    path = tmp_path / "subset.txt"
    subsets.write(path, ["a", "b"], 1, 0, "x")
    whole = path.read_text()
    for damaged in (whole.replace("\nb\n", "\nc\n"), whole + "c\n", whole.removesuffix("b\n")):
        path.write_text(damaged)
        with pytest.raises(UserError, match="sha256"):
            subsets.read(path)
    path.write_text("a\nb\n")
    with pytest.raises(UserError, match="not a subset list"):
        subsets.read(path)
    with pytest.raises(UserError, match="no such"):
        subsets.read(tmp_path / "none.txt")
    with pytest.raises(UserError, match="line break"):
        subsets.write(path, ["a\nb"], 1, 0, "x")


def test_lists_survive_line_ends_of_windows(tmp_path):
    path = tmp_path / "subset.txt"
    subsets.write(path, ["a", "#b"], 1, 0, "x")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert subsets.read(path) == ["a", "#b"]


def divide(groups, validation=0.1, test=0.1, seed=0, splits=None, texts=None):
    count = len(groups)
    ids = [f"s{i}" for i in range(count)]
    return subsets.assign_splits(ids, texts or ["a"] * count, groups, splits or [None] * count, validation, test, seed)


@given(st.lists(st.integers(1, 9), min_size=3, max_size=30), shares, shares, st.integers(0, 3))
def test_no_page_is_in_two_splits_and_no_wanted_split_is_empty(sizes, validation, test, seed):
    groups = [f"p{number}" for number, size in enumerate(sizes) for _ in range(size)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = divide(groups, validation, test, seed)
    for group in set(groups):
        assert len({split for split, name in zip(result, groups, strict=True) if name == group}) == 1
    wanted = {"train"} | ({"validation"} if validation else set()) | ({"test"} if test else set())
    assert set(result) == wanted


@given(st.lists(st.sampled_from([None, "a", "b", "c", "d"]), min_size=6, max_size=40), st.randoms())
def test_the_division_does_not_depend_on_the_order_of_the_source(groups, random):
    ids = [f"s{i}" for i in range(len(groups))]
    order = random.sample(range(len(ids)), len(ids))

    def by_id(rows):
        args = ([ids[i] for i in rows], ["x"] * len(rows), [groups[i] for i in rows], [None] * len(rows))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return dict(zip(args[0], subsets.assign_splits(*args, 0.2, 0.2, 1), strict=True))

    assert by_id(order) == by_id(range(len(ids)))


def test_shares_are_met_as_nearly_as_pages_allow():
    result = divide([f"p{i // 5}" for i in range(500)])
    assert (result.count("validation"), result.count("test")) == (50, 50)
    assert divide([None] * 100).count("test") == 10


def test_two_pages_are_divided_by_sample_with_a_warning():
    with pytest.warns(UserWarning, match="too few for 3 splits"):
        result = divide(["p0"] * 10 + ["p1"] * 10)
    assert {split: result.count(split) for split in subsets.SPLITS} == {"train": 16, "validation": 2, "test": 2}


def test_one_or_two_samples_stay_usable():
    with pytest.warns(UserWarning, match="too few"):
        assert divide([None]) == ["train"]
    with pytest.warns(UserWarning, match="too few"):
        assert sorted(divide([None, None])) == ["test", "train"]


def test_splits_of_the_source_win():
    named = ["test", "train", None, "validation"]
    assert divide([None] * 4, splits=named) == ["test", "train", "train", "validation"]


def test_missing_validation_comes_out_of_train_and_never_out_of_test():
    splits = ["train"] * 80 + ["test"] * 20
    result = divide([f"p{i // 4}" for i in range(100)], splits=splits)
    assert result[80:] == ["test"] * 20
    assert result.count("validation") == 8
    assert divide([None] * 100, splits=splits, validation=0) == splits


def test_unlabelled_samples_are_train():
    texts = ["a", None, "", "b", "c", "d"] * 10
    result = divide([None] * 60, texts=texts, validation=0.3, test=0.3)
    assert all(split == "train" for split, text in zip(result, texts, strict=True) if not text)
    assert (result.count("validation"), result.count("test")) == (12, 12)


def test_shares_must_leave_train_labels():
    with pytest.raises(UserError, match="train labels"):
        divide([None] * 10, validation=0.5, test=0.5)
