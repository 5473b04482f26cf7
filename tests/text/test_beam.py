"""Prefix beam search against all texts and all paths of small cases."""

from __future__ import annotations

import itertools
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htr_ssl.text import beam, ctc, kneser_ney
from htr_ssl.text.charset import Charset

CHARSET = Charset(tuple("abc"))
MODEL = kneser_ney.train(["abba", "abc", "cab", "baba", "a", "abcab", "bcca", "aab"], 3)
EXACT = {"width": 400, "top": 3, "sure": 1.0}


def posteriors(seed: int, frames: int, sharp: float = 2.0, classes: int = 4) -> np.ndarray:
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, sharp, (frames, classes)))
    return logits.log_softmax(1).numpy()


def all_texts(scores: np.ndarray) -> dict[tuple[int, ...], float]:
    """ln p(text | image) of every text, summed over every path."""
    totals: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        text = tuple(key for key, _ in itertools.groupby(path) if key)
        totals[text] += float(np.exp(sum(scores[t, k] for t, k in enumerate(path))))
    return {text: float(np.log(total)) for text, total in totals.items()}


def ranked(scores: np.ndarray, alpha: float, beta: float, model: bool) -> list[tuple[float, tuple[int, ...], float]]:
    found = []
    for text, posterior in all_texts(scores).items():
        prior = float(MODEL.predictions([CHARSET.decode(text)]).sum()) if model else 0.0
        found.append((posterior + alpha * prior + beta * len(text), text, posterior))
    return sorted(found, reverse=True)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0, 1.5), st.floats(-1, 2), st.booleans(), st.floats(0.5, 5))
def test_a_wide_beam_is_brute_force(
    seed: int, frames: int, alpha: float, beta: float, model: bool, sharp: float
) -> None:
    scores = posteriors(seed, frames, sharp)
    options = beam.Options(alpha, beta, **EXACT)
    found = beam.Decoder(CHARSET, MODEL if model else None, options)([scores], alternatives=5)[0]
    wanted = ranked(scores, alpha, beta, model)
    assert len(found) == min(5, len(wanted))
    for reading, (score, _, _) in zip(found, wanted, strict=False):
        assert reading.score == pytest.approx(score, abs=1e-3)
        posterior = next(posterior for _, text, posterior in wanted if list(text) == reading.indices)
        assert reading.log_posterior == pytest.approx(posterior, abs=1e-3)
    total = np.exp([score - wanted[0][0] for score, _, _ in wanted]).sum()
    assert found[0].share == pytest.approx(np.exp(found[0].score - wanted[0][0]) / total, abs=1e-3)


def test_the_likeliest_text_is_not_that_of_the_likeliest_path() -> None:
    scores = np.log(np.array([[0.6, 0.4], [0.6, 0.4]]))  # -- 0.36 · "a" 0.64 on three paths
    charset = Charset(("a",))
    assert ctc.greedy(torch.from_numpy(scores[:, None]), torch.tensor([2]))[0][0] == []
    options = beam.Options(0, 0, **EXACT | {"top": 1})
    assert beam.Decoder(charset, None, options)([scores])[0][0].indices == [1]


def test_texts_do_not_depend_on_what_is_decoded_with_them() -> None:
    images = [posteriors(seed, frames) for seed, frames in enumerate([7, 0, 30, 1, 12, 30, 3] * 12)]
    decoder = beam.Decoder(CHARSET, MODEL, beam.Options(0.7, 0.5))
    together = decoder(images, 3)
    for image, readings in zip(images, together, strict=True):
        alone = decoder([image], 3)[0]
        assert [reading.indices for reading in alone] == [reading.indices for reading in readings]
        np.testing.assert_allclose([one.score for one in alone], [one.score for one in readings], rtol=1e-9, atol=1e-9)


def test_alternatives_are_different_texts_best_first() -> None:
    options = beam.Options(0.5, 0.5)
    readings = beam.Decoder(CHARSET, MODEL, options)([posteriors(5, 20, 1.0)], options.width)[0]
    assert len({tuple(reading.indices) for reading in readings}) == len(readings) > 5
    assert [one.score for one in readings] == sorted((one.score for one in readings), reverse=True)
    assert sum(reading.share for reading in readings) == pytest.approx(1)


def test_surely_blank_frames_change_nothing_but_the_time() -> None:
    generator = np.random.default_rng(0)
    images = []
    for _ in range(20):
        p = np.full((60, 4), 1e-4)
        p[:, 0] = 1 - 3e-4
        for t in sorted(generator.choice(60, 15, replace=False)):
            p[t] = generator.dirichlet([0.5] * 4)
        images.append(np.log(p))
    wide = {"width": 60, "top": 3}
    exact = beam.Decoder(CHARSET, MODEL, beam.Options(0.6, 0.4, sure=1.0, **wide))(images)
    quick = beam.Decoder(CHARSET, MODEL, beam.Options(0.6, 0.4, sure=0.999, **wide))(images)
    assert [one[0].indices for one in quick] == [one[0].indices for one in exact]
    np.testing.assert_allclose([q[0].log_posterior for q in quick], [e[0].log_posterior for e in exact], atol=0.1)


def test_repeated_characters_are_kept_across_surely_blank_frames() -> None:
    sure, letter = [0.9999, 0.0001], [0.001, 0.999]
    scores = np.log(np.array([sure, letter, letter, sure, sure, letter, sure]))
    options = beam.Options(0, 0)
    assert beam.Decoder(Charset(("a",)), None, options)([scores])[0][0].indices == [1, 1]


def test_few_rows_at_hand_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = [posteriors(seed, 25) for seed in range(10)]
    wanted = beam.Decoder(CHARSET, MODEL)(images)
    monkeypatch.setattr(beam, "ROWS", 2)
    assert beam.Decoder(CHARSET, MODEL)(images) == wanted


@pytest.mark.parametrize("first", [1, 2, 3, 5])
@pytest.mark.parametrize("most", [0, 7, 1 << 16])
def test_rows_that_grow_at_any_moment_change_nothing(monkeypatch: pytest.MonkeyPatch, first: int, most: int) -> None:
    texts = [posteriors(seed, frames, classes=4) for seed, frames in enumerate([1, 2, 3, 5, 9] * 3)]
    expected = [beam.Decoder(CHARSET, MODEL)([text], 3)[0] for text in texts]
    monkeypatch.setattr(beam, "FIRST_ROWS", first)
    monkeypatch.setattr(beam, "ROWS", most)
    decoder = beam.Decoder(CHARSET, MODEL)
    assert [decoder([text], 3)[0] for text in texts] == expected


def test_threads_may_share_a_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beam, "ROWS", 8)
    images = [[posteriors(10 * part + seed, 25) for seed in range(6)] for part in range(8)]
    decoder = beam.Decoder(CHARSET, MODEL)
    wanted = [decoder(part) for part in images]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(decoder, images)) == wanted


def test_the_language_model_turns_the_balance() -> None:
    model = kneser_ney.train(["je donne", "je lègue", "je donne tout"] * 3, 4)
    charset = Charset.build(["je donne lègue tout q"])
    scores = np.full((8, len(charset)), 1e-4)
    index = {character: number for number, character in enumerate(charset.characters, start=1)}
    for t, character in enumerate("je lègue"):
        scores[t, index[character]] = 0.9
    scores[5, [index["g"], index["q"]]] = 0.45, 0.5  # "lèque" is a little likelier to the network
    scores = np.log(scores / scores.sum(1, keepdims=True))
    with_model = beam.Decoder(charset, model, beam.Options(0.6, 0.0))([scores])[0][0]
    without = beam.Decoder(charset, None, beam.Options(0.0, 0.0))([scores])[0][0]
    assert charset.decode(without.indices) == "je lèque"
    assert charset.decode(with_model.indices) == "je lègue"


def test_characters_the_language_model_does_not_know_can_be_read() -> None:
    charset = Charset(("a", "b", "œ"))
    scores = np.log(np.array([[0.01, 0.97, 0.01, 0.01], [0.01, 0.01, 0.01, 0.97]]))
    assert beam.Decoder(charset, MODEL, beam.Options(0.5, 0.5))([scores])[0][0].indices == [1, 3]


def test_confidence_is_per_character_and_that_of_nothing_is_nothing() -> None:
    assert beam.confidence(beam.Hypothesis([1, 2], 2 * float(np.log(0.5)), 0.0, 1.0), 9) == pytest.approx(0.5)
    assert beam.confidence(beam.Hypothesis([], 4 * float(np.log(0.9)), 0.0, 1.0), 4) == pytest.approx(0.9)
    assert beam.confidence(beam.Hypothesis([], 0.0, 0.0, 1.0), 0) == 0
