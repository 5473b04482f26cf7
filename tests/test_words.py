"""Forced alignment, and words cut out of lines with it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from htr_ssl import ctc
from htr_ssl.data.readers._common import Samples
from htr_ssl.errors import UserError
from htr_ssl.recognizers import words

LETTERS = st.integers(1, 3)


def collapse(path):
    kept = [state for before, state in zip((0, *path), path, strict=False) if state != before]
    return [state for state in kept if state]


@settings(max_examples=60)
@given(st.lists(LETTERS, min_size=1, max_size=3), st.integers(0, 1000))
def test_alignment_is_the_best_of_all_paths(label, seed):
    """Against trying every path of five frames over three letters and the blank."""
    frames = 5
    scores = np.log(np.random.default_rng(seed).dirichlet(np.ones(4), frames))
    spans, mean = ctc.align(scores, label)
    paths = [path for path in product(range(4), repeat=frames) if collapse(path) == label]
    best = max(paths, key=lambda path: sum(scores[frame, state] for frame, state in enumerate(path)))
    assert mean * frames == pytest.approx(sum(scores[frame, state] for frame, state in enumerate(best)))
    inked = [frame for first, last in spans for frame in range(first, last + 1)]
    assert inked == [frame for frame, state in enumerate(best) if state]
    assert [best[first] for first, _ in spans] == label


def test_alignment_of_a_label_that_does_not_fit():
    scores = np.log(np.full((3, 3), 1 / 3))
    for label in ([], [1, 1, 2], [1, 2, 1, 2]):
        with pytest.raises(ValueError, match="does not fit"):
            ctc.align(scores, label)
    assert ctc.align(scores, [1, 1])[0].tolist() == [[0, 0], [2, 2]]


class Known:
    """A recognizer that knows where the characters of 'ab cd' stand: in frames 2, 4, 7, 10 and 12 of 16."""

    def __init__(self):
        from htr_ssl.charset import Charset

        self.charset = Charset.build(["ab cd"])

    def posteriors(self, image):
        logits = torch.zeros(16, len(self.charset))
        logits[:, 0] = 4
        for frame, character in zip((2, 4, 7, 10, 12), "ab cd", strict=True):
            logits[frame, 0], logits[frame, self.charset.encode(f"a{character}b")[1] if character == " " else
                                     self.charset.encode(character)[0]] = 0, 6  # fmt: skip
        return logits.log_softmax(1).numpy()


class Lines(Samples):
    def image(self, index):
        image = np.full((40, 160), 230, np.uint8)
        image[10:30, 12:58:3] = 20
        image[10:30, 88:140:3] = 20
        return image


def lines(*texts):
    names = [f"l{number}" for number in range(len(texts))]
    return Lines({"id": names, "text": list(texts), "page": ["p"] * len(texts), "split": ["test"] * len(texts)}, "line")


def test_words_are_cut_between_their_ink():
    first, second = words.cut(lines("ab cd")[0].load(), "ab cd", Known())
    assert (first.text, second.text) == ("ab", "cd")
    assert 5 <= first.left <= 12 < 56 <= first.right <= 75 <= second.left <= 88 < 138 <= second.right <= 150
    assert 0.7 < first.confidence <= 1


def test_words_of_lines():
    samples = words.words_of(lines("ab cd", None, "ab xz", "ab cd"), Known())
    assert samples.column("id") == ["l0/1", "l0/2", "l3/1", "l3/2"]
    assert samples.column("text") == ["ab", "cd"] * 2
    assert set(samples.column("page")) == {"p"}
    assert set(samples.column("split")) == {"test"}
    assert samples.level == "word"
    assert samples.problems == ["l2: the recognizer does not know x z; the line is left out"]
    assert samples[1].load().min() == 20
    with pytest.raises(UserError, match=r"2 word\(s\) are below confidence 1"):
        words.words_of(lines("ab cd"), Known(), confidence=1)
