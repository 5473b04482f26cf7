"""Language model: probabilities against a slow implementation, files, pruning."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from htr_ssl.errors import UserError
from htr_ssl.text import arpa, kneser_ney, lm, mixture

TEXTS = ["abba", "abc", "cab a", "baba", "a", "abcab", "bc ca", "aab"]
FREE = [
    "je donne et lègue à mon épouse",
    "tout ce que je possède en meubles",
    "et immeubles à mon décès",
    "fait à Paris le vingt mars",
    "mille neuf cent quatorze",
    "je révoque tout testament antérieur",
]
some_texts = st.lists(st.text("abc ", min_size=1, max_size=8), min_size=1, max_size=8).filter(
    lambda texts: any(text.strip() for text in texts)
)


class Slow:
    """Modified Kneser-Ney from its formulas, with dictionaries and recursion."""

    def __init__(self, texts: list[str], order: int) -> None:
        lines = [["<s>", *" ".join(text.split()), "</s>"] for text in texts if text.split()]
        self.order = order
        self.vocabulary = {"<unk>", "</s>", *(c for line in lines for c in line)} - {"<s>"}
        grams: dict[int, Counter[tuple[str, ...]]] = {n: Counter() for n in range(1, order + 1)}
        for line in lines:
            for n in grams:
                grams[n].update(tuple(line[i : i + n]) for i in range(len(line) - n + 1))
        longest = max(n for n in grams if grams[n])
        self.counts: dict[int, dict[tuple[str, ...], int]] = {}
        for n in range(1, longest + 1):
            if n == longest:
                counts = dict(grams[n])
            else:
                before: dict[tuple[str, ...], set[str]] = defaultdict(set)
                for gram in grams[n + 1]:
                    before[gram[1:]].add(gram[0])
                counts = {g: c if g[0] == "<s>" else len(before[g]) for g, c in grams[n].items()}
            if n == 1:
                counts.pop(("<s>",))
            self.counts[n] = counts
        self.discounts = {n: self._discounts(Counter(counts.values())) for n, counts in self.counts.items()}

    @staticmethod
    def _discounts(n: Counter[int]) -> list[float]:
        if all(n[i] for i in (1, 2, 3, 4)):
            y = n[1] / (n[1] + 2 * n[2])
            found = [i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3)]
            if found[0] > 0 and all(0 <= d <= i for i, d in enumerate(found, 1)):
                return found
        return [0.5, 1.0, 1.5]

    def p(self, context: tuple[str, ...], symbol: str) -> float:
        n = len(context) + 1
        lower = self.p(context[1:], symbol) if context else 1 / len(self.vocabulary)
        after = {g: c for g, c in self.counts.get(n, {}).items() if g[:-1] == context}
        total = sum(after.values())
        if not total:
            return lower
        discounts = {g: self.discounts[n][min(c, 3) - 1] for g, c in after.items()}
        own = (*context, symbol)
        seen = (after[own] - discounts[own]) / total if own in after else 0.0
        return seen + sum(discounts.values()) / total * lower

    def perplexity(self, texts: list[str]) -> float:
        total, number = 0.0, 0
        for text in texts:
            line = ["<s>", *(c if c in self.vocabulary else "<unk>" for c in text), "</s>"]
            for i in range(1, len(line)):
                total += math.log(self.p(tuple(line[max(0, i - self.order + 1) : i]), line[i]))
                number += 1
        return math.exp(-total / number)


def sums(model: lm.LanguageModel, states: np.ndarray) -> np.ndarray:
    """Sum of the probabilities of all symbols that can follow each state."""
    values, _ = model.rows(states)
    return np.exp(np.delete(values, lm.START, 1).astype(float)).sum(1)


def all_states(model: lm.LanguageModel) -> np.ndarray:
    return np.flatnonzero(model.level < model.order).astype(np.int32)


@settings(max_examples=60, deadline=None)
@given(some_texts, st.integers(1, 5), st.text("abcd ", max_size=8))
def test_perplexity_is_that_of_a_slow_implementation(texts: list[str], order: int, other: str) -> None:
    other = " ".join(other.split())
    slow = Slow(texts, order).perplexity([other, "abc"])
    assert kneser_ney.train(texts, order).perplexity([other, "abc"]) == pytest.approx(slow, rel=1e-4)


def test_perplexity_with_estimated_discounts_is_that_of_a_slow_implementation() -> None:
    texts = [" ".join(FREE[(i * 7 + j) % 6][j : j + 9 + i % 5] for j in range(3)) for i in range(40)]
    slow = Slow(texts, 4)
    assert any(found != [0.5, 1.0, 1.5] for found in slow.discounts.values())
    assert kneser_ney.train(texts, 4).perplexity(FREE) == pytest.approx(slow.perplexity(FREE), rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(some_texts, st.integers(1, 6), st.sampled_from([0, 12, 20]))
def test_probabilities_after_every_context_sum_to_one(texts: list[str], order: int, size: int) -> None:
    model = kneser_ney.train(texts, order, size)
    np.testing.assert_allclose(sums(model, all_states(model)), 1, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(some_texts, st.integers(1, 5), st.sampled_from([0, 15]))
def test_a_step_is_the_entry_of_the_row(texts: list[str], order: int, size: int) -> None:
    model = kneser_ney.train(texts, order, size)
    states = all_states(model)
    values, after = model.rows(states)
    for symbol in range(len(model.symbols)):
        one, behind = model.step(states, np.full(len(states), symbol, np.int32))
        np.testing.assert_allclose(one, values[:, symbol], atol=1e-5)
        np.testing.assert_array_equal(behind, after[:, symbol])


def test_pruning_keeps_the_size_and_most_of_the_sense() -> None:
    texts = FREE * 3
    whole = kneser_ney.train(texts, 6)
    small = kneser_ney.train(texts, 6, len(whole.symbol) // 2)
    flat = kneser_ney.train(texts, 1)
    assert len(small.symbol) <= len(whole.symbol) // 2
    assert whole.perplexity(FREE) < small.perplexity(FREE) < flat.perplexity(FREE)
    tiny = kneser_ney.train(texts, 6, 1)  # single characters always stay
    assert len(tiny.symbol) == 1 + len(tiny.symbols)


def test_the_longest_n_gram_is_no_longer_than_the_texts() -> None:
    assert kneser_ney.train(["ab"], 8).order == 4  # <s> a b </s>


@settings(max_examples=25, deadline=None)
@given(some_texts, st.integers(1, 5), st.sampled_from([0, 15]))
def test_arpa_round_trip(tmp_path_factory: pytest.TempPathFactory, texts: list[str], order: int, size: int) -> None:
    model = kneser_ney.train(texts, order, size)
    path = tmp_path_factory.mktemp("arpa") / "a.arpa"
    arpa.write(model, path)
    back = arpa.read(path)
    assert back.symbols == model.symbols
    for name in ("symbol", "first", "suffix"):
        np.testing.assert_array_equal(getattr(back, name), getattr(model, name))
    np.testing.assert_allclose(back.logp, model.logp, rtol=1e-5)
    np.testing.assert_allclose(back.backoff, model.backoff, rtol=1e-5, atol=1e-6)


PYLAIA = """\\data\\
ngram 1=6
ngram 2=3
ngram 3=1

\\1-grams:
-0.6\t<unk>
0\t<s>\t-0.3
-0.8\t</s>
-0.5\ta\t-0.2
-0.6\t<space>\t-0.1
-0.7\tb

\\2-grams:
-0.4\t<s> a\t-0.05
-0.3\ta <space>
-0.2\t<space> b

\\3-grams:
-0.15\ta <space> b

\\end\\
"""


def test_reading_an_arpa_file_of_pylaia(tmp_path: Path) -> None:
    path = tmp_path / "language_model.arpa"
    path.write_text(PYLAIA, encoding="utf-8")
    model, header = lm.load(path)
    assert header == {}
    assert " " in model.symbols
    assert model.order == 3
    values = model.predictions(["a b", "bz"])
    totals = [values[:4].sum(), values[4:].sum()]
    assert len(values) == 4 + 3
    # <s> a, back-off of (<s> a) + a <space>, a <space> b, </s> with no back-off of (<space> b) and b
    assert totals[0] / math.log(10) == pytest.approx(-0.4 + (-0.05 - 0.3) - 0.15 - 0.8, abs=1e-5)
    assert totals[1] / math.log(10) == pytest.approx((-0.3 - 0.7) - 0.6 - 0.8, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("\\end\\", ""), "ends before"),
        (("-0.15\ta <space> b", "-0.15\ta <space>"), "line 20"),
        (("-0.3\ta <space>", "x\ta <space>"), "expected a logarithm"),
        (("-0.2\t<space> b", "-0.2\t<space> q"), "'q'"),
        (("\\2-grams:", "\\two-grams:"), "length"),
        (("\ta\t", "\tword\t"), "'a'"),
    ],
)
def test_a_damaged_arpa_file_is_refused(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    path = tmp_path / "a.arpa"
    path.write_text(PYLAIA.replace(*change), encoding="utf-8")
    with pytest.raises(UserError, match=message.replace("\\", r"\\")) as error:
        lm.load(path)
    assert str(path) in str(error.value)


def test_an_arpa_file_of_words_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "words.arpa"
    path.write_text("\\data\\\n\n\\1-grams:\n-1\tle\n-1\tla\n\n\\end\\\n", encoding="utf-8")
    with pytest.raises(UserError, match="words"):
        lm.load(path)


def test_a_missing_context_has_the_probability_that_is_implied(tmp_path: Path) -> None:
    path = tmp_path / "a.arpa"
    path.write_text(PYLAIA.replace("-0.3\ta <space>\n", ""), encoding="utf-8")
    model, _ = lm.load(path)
    total = model.predictions(["a b"]).sum()
    expected = -0.4 + (-0.05 - 0.2 - 0.6) - 0.15 - 0.8
    assert total / math.log(10) == pytest.approx(expected, abs=1e-5)


def test_file_round_trip_keeps_probabilities_to_half_a_percent(tmp_path: Path) -> None:
    model = kneser_ney.train(FREE, 5)
    model.save(tmp_path / "x.safetensors", {"alpha": 0.5})
    back, header = lm.load(tmp_path / "x.safetensors")
    assert header["alpha"] == 0.5
    assert header["order"] == 5
    assert back.perplexity(FREE) == pytest.approx(model.perplexity(FREE), rel=5e-3)
    back.save(tmp_path / "y.safetensors", {"alpha": 0.5})
    assert (tmp_path / "x.safetensors").read_bytes() == (tmp_path / "y.safetensors").read_bytes()


def damaged(name: str) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    model = kneser_ney.train(TEXTS, 3)
    arrays, header = model.tensors(), model.header()
    if name == "children":
        arrays["children"][3] += 1
    elif name == "symbol":
        arrays["symbol"][5] = 250
    elif name == "order":
        arrays["symbol"][1:3] = arrays["symbol"][2:0:-1]
    elif name == "nan":
        arrays["logp"][4] = np.nan
    elif name == "missing":
        del arrays["backoff"]
    elif name == "short":
        arrays["logp"] = arrays["logp"][:-1]
    elif name == "symbols":
        header["symbols"] = "abc"
    elif name == "kind":
        header["kind"] = "recognizer"
    return arrays, header


@pytest.mark.parametrize("name", ["children", "symbol", "order", "nan", "missing", "short", "symbols", "kind"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    arrays, header = damaged(name)
    save_file(arrays, tmp_path / "x.safetensors", {"htr_ssl": json.dumps(header)})
    with pytest.raises(UserError, match=r"x\.safetensors"):
        lm.load(tmp_path / "x.safetensors")


def test_what_is_no_file_of_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"hello")
    for name in ("x.safetensors", "none.safetensors"):
        with pytest.raises(UserError, match=name):
            lm.load(tmp_path / name)


@pytest.mark.parametrize(("texts", "order"), [([], 3), (["", " \u00a0"], 3), (["a"], 0), (["a"], 13)])
def test_no_text_or_an_odd_order_is_refused(texts: list[str], order: int) -> None:
    with pytest.raises(UserError):
        kneser_ney.train(texts, order)


def test_texts_are_normalised_and_control_characters_harmless() -> None:
    one = kneser_ney.train(["e\u0301te\u0301  la", "a\x02b\x03"], 3)
    other = kneser_ney.train(["été la", "ab"], 3)
    assert one.symbols == other.symbols
    np.testing.assert_array_equal(one.logp, other.logp)


@settings(max_examples=25, deadline=None)
@given(some_texts, some_texts, st.integers(1, 4), st.integers(1, 4), st.floats(0.05, 0.95))
def test_a_mixture_has_the_mean_probability_where_both_know_the_characters(
    first: list[str], second: list[str], order: int, other: int, weight: float
) -> None:
    letters = ["abc"]  # both know the same characters
    parts = [kneser_ney.train(first + letters, order), kneser_ney.train(second + letters, other)]
    mixed = mixture.mix(parts, [weight, 1 - weight])
    np.testing.assert_allclose(sums(mixed, all_states(mixed)), 1, atol=1e-3)
    shared = set(parts[0].symbols) & set(parts[1].symbols)
    for node in range(1, len(mixed.symbol)):
        path = [int(mixed.symbol[node])]
        above = int(mixed.parent[node])
        while above:
            path.insert(0, int(mixed.symbol[above]))
            above = int(mixed.parent[above])
        names = [mixed.symbols[symbol] for symbol in path]
        if set(names) <= shared and names[-1] not in ("<s>", "<unk>"):
            mean = weight * after(parts[0], names) + (1 - weight) * after(parts[1], names)
            assert np.exp(mixed.logp[node]) == pytest.approx(mean, rel=1e-4)


def after(model: lm.LanguageModel, names: list[str]) -> float:
    """Probability of the last symbol after the others, in the midst of a text."""
    states, value = np.zeros(1, np.int32), np.zeros(1)
    for name in names:
        value, states = model.step(states, np.array([model.symbols.index(name)], np.int32))
    return float(np.exp(value[0]))


def test_a_mixture_of_different_alphabets_sums_to_one_and_suits_both() -> None:
    parts = [kneser_ney.train(FREE, 5, 300), kneser_ney.train(["wxyz zyxw", "xyz"] * 3, 3)]
    mixed = mixture.mix(parts, [0.7, 0.3])
    np.testing.assert_allclose(sums(mixed, all_states(mixed)), 1, atol=1e-3)
    for texts, part in ((FREE, parts[1]), (["xyz zyx"], parts[0])):
        assert mixed.perplexity(texts) < part.perplexity(texts)


def test_weights_follow_the_texts() -> None:
    parts = [kneser_ney.train(FREE, 5), kneser_ney.train(["abc cba", "aabbc"] * 3, 3)]
    assert mixture.weights(parts, FREE)[0] > 0.9
    assert mixture.weights(parts, ["abc cba"])[0] < 0.3
    assert mixture.weights(parts, []) == [0.5, 0.5]
