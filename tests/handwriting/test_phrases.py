import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from htr_ssl.errors import UserError
from htr_ssl.handwriting.phrases import PHRASES, WORDS, Ngrams

TEXTS = st.lists(st.text("abcé' .7", min_size=1, max_size=20).filter(str.strip), min_size=1, max_size=6)


SOURCE = Ngrams(PHRASES, 4)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(TEXTS, st.integers(0, 6), st.integers(0, 1000))
def test_only_characters_of_the_source(texts: list[str], order: int, seed: int) -> None:
    source = Ngrams(texts, order)
    words, lines = source.words(rng(seed), 5), source.lines(rng(seed), 3, (5, 15))
    assert set("".join(words)) <= set("".join(texts)) - {" "}
    assert set("".join(lines)) <= set("".join(texts)) | {" "}
    assert all(words)
    assert all(line == " ".join(line.split()) for line in lines)


@given(st.integers(0, 1000))
def test_lines_keep_to_the_range(seed: int) -> None:
    for line in SOURCE.lines(rng(seed), 5, (30, 40)):
        assert 18 < len(line) <= 40  # a word that does not fit is left out


def test_same_seed_same_text() -> None:
    first, second = (Ngrams(PHRASES, 4) for _ in range(2))
    assert first.words(rng(3), 20) == second.words(rng(3), 20)
    assert first.lines(rng(3), 5) == second.lines(rng(3), 5)
    assert first.words(rng(3), 20) != first.words(rng(4), 20)


def test_order_zero_repeats_the_texts() -> None:
    source = Ngrams(PHRASES, 0)
    assert set(source.lines(rng(), 30)) <= set(PHRASES)
    assert set(source.words(rng(), 30)) <= set(WORDS)


def test_repeat_is_the_share_of_known_words() -> None:
    known = [sum(w in WORDS for w in Ngrams(PHRASES, 3, repeat).words(rng(), 300)) for repeat in (0.0, 0.5, 1.0)]
    assert known[0] < known[1] < known[2] == 300


def test_new_words_are_as_long_as_known_ones() -> None:
    made = Ngrams(PHRASES, 4, repeat=0).words(rng(), 500)
    assert abs(np.mean([len(w) for w in made]) - np.mean([len(w) for w in WORDS])) < 1.5
    assert max(map(len, made)) <= 2 * max(map(len, WORDS))


def test_embedded_text_has_accents_capitals_digits_and_punctuation() -> None:
    assert set("éèêëàâçîïôùûœ" + "ABCDEFGHIJLMNOPQRSTVWZ" + "0123456789" + ".,;:!?'-«»£&°") <= set("".join(PHRASES))
    assert len(set(WORDS)) > 400


def test_no_text_is_an_error() -> None:
    with pytest.raises(UserError, match="no text"):
        Ngrams(["", "  "], 3)
