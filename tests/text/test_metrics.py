import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from htr_ssl.errors import UserError
from htr_ssl.text import metrics
from htr_ssl.text.charset import normalise

words = st.lists(st.sampled_from("abc"), max_size=6)
lines = st.text("ab c", max_size=10)
pairs = st.lists(st.tuples(lines, lines), min_size=1, max_size=6)


def distance(left, right):
    """Wagner and Fischer."""
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        before, row[0] = row[0], i
        for j, b in enumerate(right, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (a != b))
    return row[-1]


def best_alignment(left, right):
    """(edits, hits): fewest edits, then most hits, over all alignments."""
    table = {(0, 0): (0, 0)}
    for i, j in itertools.product(range(len(left) + 1), range(len(right) + 1)):
        ways = [(0, 0)] if i == j == 0 else []
        if i:
            ways.append((table[i - 1, j][0] + 1, table[i - 1, j][1]))
        if j:
            ways.append((table[i, j - 1][0] + 1, table[i, j - 1][1]))
        if i and j:
            same = left[i - 1] == right[j - 1]
            edits, hits = table[i - 1, j - 1]
            ways.append((edits, hits - 1) if same else (edits + 1, hits))
        table[i, j] = min(ways)
    edits, hits = table[len(left), len(right)]
    return edits, -hits


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1, max_size=20))
def test_edits_are_those_of_an_independent_library(items):
    oracle = pytest.importorskip("editdistance")
    for (reference, read), row in zip(items, metrics.count(*zip(*items, strict=True), "line"), strict=True):
        left, right = normalise(reference), normalise(read)
        characters, words = oracle.eval(left, right), oracle.eval(left.split(), right.split())
        assert (row[0], row[2]) == (characters, words)


@settings(max_examples=300)
@given(words, words)
def test_alignment_has_fewest_edits_then_most_hits(left, right):
    assert metrics.align_words(left, right) == best_alignment(left, right)


@given(pairs)
def test_counts_of_lines(items):
    for (reference, read), row in zip(items, metrics.count(*zip(*items, strict=True), "line"), strict=True):
        left, right = normalise(reference), normalise(read)
        edits, hits = best_alignment(left.split(), right.split())
        size = len(left.split())
        assert row.tolist() == [distance(left, right), len(left), edits, size, hits, size]


def test_scores_of_words_by_hand():
    scores = metrics.score(["le", "chat", "dort", "ici"], ["le", "chut", "dort", ""], level="word")
    assert (scores.wacc, scores.cer, scores.wer) == (2 / 4, (1 + 3) / 13, 2 / 4)
    assert (scores.n, scores.unit, scores.units) == (4, "sample", 4)


def test_scores_of_lines_by_hand():
    # One word split in two: one substitution and one insertion, one of three words is right.
    scores = metrics.score(["un mot là"], ["u n mot la"])
    assert scores.wacc == 1 / 3
    assert scores.wer == 3 / 3
    assert scores.cer == 2 / 9


def test_texts_are_normalised_before_they_are_compared():
    scores = metrics.score(["été  vert"], [" e\u0301te\u0301 vert"])
    assert (scores.wacc, scores.cer, scores.wer) == (1, 0, 0)
    assert metrics.score(["A"], ["a"]).cer == 1


@settings(deadline=None, max_examples=30)
@given(pairs.filter(lambda items: any(normalise(reference) for reference, _ in items)), st.integers(0, 3))
def test_intervals_are_ordered_and_in_range(items, seed):
    scores = metrics.score(*zip(*items, strict=True), seed=seed)
    for name in ("wacc", "cer", "wer"):
        low, high = getattr(scores, f"{name}_ci")
        assert 0 <= low <= high
    assert scores.wacc_ci[1] <= 1
    assert scores == metrics.score(*zip(*items, strict=True), seed=seed)


def test_interval_of_independent_samples_is_that_of_the_binomial():
    right = 200
    reads = ["a"] * right + ["b"] * (400 - right)
    low, high = metrics.score(["a"] * 400, reads, level="word").wacc_ci
    assert low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.01)
    assert high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.01)


def test_groups_that_stand_or_fall_together_widen_the_interval():
    reads = (["a"] * 20 + ["b"] * 20) * 10
    groups = [str(i // 20) for i in range(400)]
    alone = metrics.score(["a"] * 400, reads, level="word")
    together = metrics.score(["a"] * 400, reads, groups, level="word", unit="page")
    assert together.wacc == alone.wacc
    assert np.diff(together.wacc_ci) > 3 * np.diff(alone.wacc_ci)
    assert (together.unit, together.units) == ("page", 20)


def test_one_group_falls_back_to_samples():
    scores = metrics.score(["a", "b"], ["a", "c"], ["p", "p"], level="word", unit="page")
    assert (scores.unit, scores.units) == ("sample", 2)


def test_nothing_to_score():
    with pytest.raises(UserError, match="no text"):
        metrics.score([], [])
    with pytest.raises(UserError, match="no text"):
        metrics.score([" "], ["a"])


def tables(first_right, second_right, samples=60):
    references = ["a"] * samples
    reads = [["a" if i < right else "b" for i in range(samples)] for right in (first_right, second_right)]
    return [metrics.count(references, read, "word") for read in reads]


def test_equal_systems_do_not_differ():
    first, second = tables(30, 30)
    assert metrics.compare(first, second, None, "wacc") == (0, (0, 0), 1)


def test_difference_has_the_sign_of_second_minus_first():
    first, second = tables(30, 50)
    better = metrics.compare(first, second, None, "wacc")
    assert better.difference == pytest.approx(20 / 60)
    assert better.interval[0] < better.difference < better.interval[1]
    assert better.p < 0.001
    assert metrics.compare(second, first, None, "wacc").difference == -better.difference
    assert metrics.compare(first, second, None, "cer").difference == pytest.approx(-20 / 60)


def test_p_value_is_that_of_all_sign_flips():
    # Five samples differ, all in one direction: 2 of 2^5 sign flips are as extreme.
    first, second = tables(30, 35)
    assert metrics.compare(first, second, None, "wacc").p == 2 / 32


def all_signs(differences):
    """Every assignment of signs, one by one."""
    observed = abs(sum(differences))
    totals = [
        sum(sign * x for sign, x in zip(signs, differences, strict=True))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(abs(total) >= observed for total in totals) / len(totals)


@given(st.lists(st.integers(-20, 20), max_size=9))
def test_p_values_of_few_units_are_exact(differences):
    p = metrics.sign_flip(np.array(differences, dtype=np.int64))
    assert p == pytest.approx(all_signs(differences), abs=1e-12)
    assert p >= 2 / 2 ** max(len(differences), 1)


@pytest.mark.parametrize("units", [1, 2, 5, 8, 12, 15, 16, 17, 30, 400])
def test_no_p_value_is_smaller_than_it_can_be(units):
    """Every unit better by the same: 2 of 2^n sign flips are as extreme, 0.0078 for 8 units."""
    p = metrics.sign_flip(np.full(units, 3, dtype=np.int64))
    assert p >= 2.0 ** (1 - units)
    assert p == 2.0 ** (1 - units)


def test_p_values_of_many_units_are_exact_too():
    """40 units against two million random flips, and a p-value that no sample finds but Holm needs."""
    random = np.random.default_rng(0)
    differences = random.integers(-9, 13, 40)
    signs = random.integers(0, 2, (2_000_000, 40), dtype=np.int8) * 2 - 1
    share = np.mean(np.abs(signs.astype(np.float32) @ differences.astype(np.float32)) >= abs(differences.sum()))
    p = metrics.sign_flip(differences)
    assert 0.001 < p < 0.5
    assert p == pytest.approx(share, abs=5 * (p / 2_000_000) ** 0.5)
    assert metrics.sign_flip(differences, seed=1) == p, "nothing is drawn"
    assert metrics.holm([metrics.sign_flip(np.ones(40, dtype=np.int64))] * 100)[0] < 1e-9


def test_p_values_of_very_large_differences_are_of_random_flips():
    differences = np.random.default_rng(0).integers(-9, 13, 40)
    exact, drawn = metrics.sign_flip(differences), metrics.sign_flip(differences * 100_000)
    assert drawn == pytest.approx(exact, abs=5 * (exact / metrics.FLIPS) ** 0.5)
    assert metrics.sign_flip(np.full(40, 10**6)) == 1 / (1 + metrics.FLIPS)


@pytest.mark.parametrize("points", [0, 2, 5])
def test_null_of_a_random_effect_of_writer_and_system(points):
    """8 hands of 160 images; each system reads each hand better or worse by chance. No system is better."""
    writers, images, tables = 8, 160, 200
    random = np.random.default_rng(points)
    groups = np.repeat([f"w{i}" for i in range(writers)], images).tolist()
    table = np.zeros((2, writers * images, 6), dtype=np.int64)
    table[..., [1, 3, 5]] = 1
    false = {"writer": 0, "image": 0}
    for _ in range(tables):
        share = 0.4 + random.normal(0, points / 100, (2, writers)).repeat(images, axis=1)
        table[..., 4] = random.random(share.shape) < share
        false["writer"] += metrics.compare(table[0], table[1], groups, "wacc").p < 0.05
        moved = table[1, :, 4] - table[0, :, 4]
        false["image"] += metrics.sign_flip(moved) < 0.05
    assert false["writer"] < 0.08 * tables
    if points == 5:
        assert false["image"] > 0.15 * tables, "by image the test is wrong: it is the unit that matters"


def test_holm_by_hand():
    assert metrics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert metrics.holm([0.5, 0.6]) == [1.0, 1.0]
    assert metrics.holm([0.02]) == [0.02]
    assert metrics.holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_corrected_p_values_are_larger_and_in_the_same_order(values):
    corrected = metrics.holm(values)
    assert all(p <= q <= 1 for p, q in zip(values, corrected, strict=True))
    assert sorted(corrected) == [corrected[i] for i in sorted(range(len(values)), key=values.__getitem__)]


@pytest.mark.parametrize("units", [1, 5, 8, 24, 300])
def test_intervals_of_nothing_and_all_are_those_of_wilson(units):
    references = ["a"] * units
    wrong = metrics.score(references, ["b"] * units, level="word")
    right = metrics.score(references, references, level="word")
    bound = 1.96**2 / (units + 1.96**2)
    assert wrong.wacc_ci == (0, pytest.approx(bound, abs=1e-4))
    assert right.wacc_ci == (pytest.approx(1 - bound, abs=1e-4), 1)
    assert right.cer_ci == (0, pytest.approx(bound, abs=1e-4))
    if units > 1:  # ten images of each hand say no more about other hands
        groups = [f"w{i // 10}" for i in range(10 * units)]
        assert metrics.score(references * 10, references * 10, groups, "word").wacc_ci == right.wacc_ci


def test_one_run_has_the_interval_of_none_and_equal_runs_too():
    references, reads = ["a"] * 40, ["a"] * 15 + ["b"] * 25
    groups = [str(i % 8) for i in range(40)]
    counts = metrics.count(references, reads, "word")
    one = metrics.score_counts(counts, groups, 0)
    assert metrics.score_counts(counts, groups, 0, runs=[3] * 40) == one
    both = metrics.score_counts(np.concatenate([counts, counts]), groups * 2, 0, runs=[0] * 40 + [1] * 40)
    assert (both.wacc, both.wacc_ci, both.units) == (one.wacc, one.wacc_ci, 8)


@pytest.mark.parametrize(("seeds", "covered"), [(2, 0.60), (3, 0.80)])
def test_coverage_of_intervals_over_few_seeds(seeds, covered):
    """Only seeds differ: the caption says how often the mean of all is inside. Not stretched it is 0.50 and 0.75."""
    random = np.random.default_rng(seeds)
    groups, runs = [str(i) for i in range(5)] * seeds, np.repeat(range(seeds), 5).tolist()
    inside = 0
    for _ in range(200):
        table = np.zeros((seeds, 5, 6), dtype=np.int64)
        table[..., [1, 3, 5]] = 10_000
        table[..., 0] = 3000 + random.normal(0, 200, (seeds, 1)).round()
        low, high = metrics.score_counts(table.reshape(-1, 6), groups, 0, runs=runs).cer_ci
        inside += low <= 0.3 <= high
    assert inside / 200 == pytest.approx(covered, abs=0.07)


def test_stretched_intervals_stay_rates():
    table = np.zeros((2, 10, 6), dtype=np.int64)
    table[..., [1, 3, 5]] = 10
    table[0, :, [0, 4]] = 5
    table[1, :, 4] = 10
    runs = [0] * 10 + [1] * 10
    scores = metrics.score_counts(table.reshape(-1, 6), [str(i) for i in range(10)] * 2, 0, runs=runs)
    assert scores.cer_ci[0] == 0
    assert scores.wacc_ci[1] == 1


def test_one_lucky_page_is_not_significant():
    first, second = tables(30, 50)
    groups = [str(i // 20) for i in range(60)]
    assert metrics.compare(first, second, None, "wacc").p < 0.001
    assert metrics.compare(first, second, groups, "wacc").p > 0.2


def test_p_values_of_like_systems_are_spread_evenly():
    random = np.random.default_rng(0)
    values = []
    for _ in range(60):
        reads = [["a" if x < 0.6 else "b" for x in random.random(80)] for _ in range(2)]
        first, second = (metrics.count(["a"] * 80, read, "word") for read in reads)
        values.append(metrics.compare(first, second, None, "wacc").p)
    assert np.mean(np.array(values) < 0.05) < 0.15
    assert 0.35 < np.mean(values) < 0.75


def test_different_samples_cannot_be_compared():
    first, second = metrics.count(["a"], ["a"], "word"), metrics.count(["ab"], ["a"], "word")
    with pytest.raises(UserError, match="same samples"):
        metrics.compare(first, second, None, "cer")


def test_confusions_are_ranked_and_join_neighbours():
    references = ["barn", "torn", "chat", "le", "un"]
    reads = ["bam", "tom", "chât", "l", "unn"]
    assert metrics.confusions(references, reads) == [
        ("rn", "m", 2),
        ("a", "â", 1),
        ("e", metrics.NOTHING, 1),
        (metrics.NOTHING, "n", 1),
    ]
    assert metrics.confusions(references, reads, top=1) == [("rn", "m", 2)]
    assert metrics.confusions(["a"], ["a"]) == []


@given(pairs)
def test_confusions_of_a_text_with_itself_are_none(items):
    references = [reference for reference, _ in items]
    assert metrics.confusions(references, references) == []
