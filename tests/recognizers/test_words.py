"""Forced alignment, and words cut out of lines with it."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.recognizers import words
from htr_ssl.text import ctc
from htr_ssl.text.charset import Charset

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
    assert samples.problems == ["l2: the recognizer does not know 'x' 'z'; the line is left out"]
    assert samples[1].load().min() == 20
    with pytest.raises(UserError, match=r"2 word\(s\) are below confidence 1"):
        words.words_of(lines("ab cd"), Known(), confidence=1)


def test_words_are_read_with_their_lines(tmp_path):
    source = lines("ab cd", None, "ab cd")
    source.root = tmp_path
    source.pieces = lambda: np.array([0, 0, 7])
    source.paths = lambda: [tmp_path / "a.png"]
    source.facts = {"licence": "CC0", "rows": "3"}
    samples = words.words_of(source, Known())
    assert samples.pieces().tolist() == [0, 0, 7, 7]
    assert (samples.root, samples.paths()) == (tmp_path, [tmp_path / "a.png"])
    assert samples.facts["licence"] == "CC0"
    assert "rows" not in samples.facts


class Spiked:
    """A recognizer that sees each character in the frame that is told, of frames 4 px wide, and nothing elsewhere."""

    def __init__(self, text, frames, sure=6.0, unsure=()):
        from htr_ssl.text.charset import Charset

        self.charset, self.text, self.frames = Charset.build([text]), text, frames
        self.sure, self.unsure = sure, unsure

    def posteriors(self, image):
        logits = torch.zeros(image.shape[1] // 4, len(self.charset))
        logits[:, 0] = 4
        for place, (frame, index) in enumerate(zip(self.frames, self.charset.encode(self.text), strict=True)):
            logits[frame, 0], logits[frame, index] = (4, 0) if place in self.unsure else (0, self.sure)
        return logits.log_softmax(1).numpy()


def strip(*strokes, width=200):
    """Paper with strokes of ink, left and right column each."""
    image = np.full((40, width), 230, np.uint8)
    for left, right in strokes:
        image[12:28, left:right] = 20
    return image


@pytest.mark.parametrize("direction", ["rtl", "ltr"])
def test_words_of_right_to_left_lines_come_in_the_order_of_reading(direction):
    """Numbers stand from left to right between words that do not."""
    text = "\u05d0\u05d1 12 \u05d2\u05d3"
    image = strip((20, 50), (80, 110), (150, 180))  # the second word, the number, the first word
    reader = Spiked(text, (6, 10, 15, 21, 25, 32, 38, 43))
    reader.charset = Charset.build([text], direction)
    first, number, second = words.cut(image, text, reader)
    assert [word.text for word in (first, number, second)] == text.split()
    assert second.right <= 80 <= number.left + 15 < number.right <= 150
    assert first.left >= 110


def test_single_word_and_spaces_at_the_ends():
    """The whole ink of the line; spaces at the ends of a text are none."""
    image = strip((40, 60), (64, 90))
    reader = Spiked("ab", (12, 20))
    for text in ("ab", "  ab "):
        (word,) = words.cut(image, text, reader)
        assert (word.text, word.left, word.right) == ("ab", 40 - 3, 90 + 3)
    with pytest.raises(ValueError, match="does not fit"):
        words.cut(image, "  ", reader)


def test_ink_far_from_the_first_and_last_word_is_no_part_of_them():
    """A gap of half the line's height ends a word; a smaller one, as between parts of a letter, does not."""
    image = strip((2, 6), (60, 70), (76, 90), (110, 130), (136, 140), (190, 196))
    first, second = words.cut(image, "a b", Spiked("a b", (21, 25, 29)))
    assert (first.left, first.right) == (60 - 3, 90 + 3)
    assert (second.left, second.right) == (110 - 3, 140 + 3)


def test_a_gap_inside_a_letter_is_narrower_than_that_between_words():
    image = strip((20, 40), (44, 60), (72, 100))
    first, second = words.cut(image, "a b", Spiked("a b", (9, 16, 20)))
    assert first.right == 63
    assert second.left == 69


def test_words_that_touch_are_cut_near_the_space():
    """Of two equally thin places the one at the frame of the space."""
    image = strip((20, 140))
    image[12:27, 60:64] = image[12:27, 100:104] = 230
    for frame, place in ((15, 62), (25, 102)):
        first, second = words.cut(image, "a b", Spiked("a b", (8, frame, 32)))
        assert first.right == second.left
        assert abs(first.right - place) <= 2


def test_confidence_counts_characters_and_the_spaces_beside():
    image = strip((20, 40), (72, 100), (130, 150))
    text, frames = "a b c", (7, 14, 21, 29, 35)
    sure = [word.confidence for word in words.cut(image, text, Spiked(text, frames))]
    assert sure == pytest.approx([sure[0]] * 3)
    no_space = [word.confidence for word in words.cut(image, text, Spiked(text, frames, unsure=[1]))]
    assert no_space[0] < no_space[1] < no_space[2] == pytest.approx(sure[2])
    no_letter = [word.confidence for word in words.cut(image, text, Spiked(text, frames, unsure=[4]))]
    assert no_letter[:2] == pytest.approx(sure[:2])
    assert no_letter[2] < 0.2


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 60))
@example(2321, 46)
def test_cuts_of_any_image_are_in_order_and_not_empty(seed, width):
    random = np.random.default_rng(seed)
    text = "a b c"
    image = random.integers(0, 256, (int(random.integers(4, 60)), width), np.uint8)

    class Noise(Spiked):
        def posteriors(self, image):
            return np.log(random.dirichlet(np.ones(len(self.charset)), 40)).astype(np.float32)

    found = words.cut(image, text, Noise(text, ()))
    assert [word.text for word in found] == ["a", "b", "c"]
    for word in found:
        assert 0 <= word.left < word.right <= width
    if width >= 40:
        assert all(one.right <= two.left for one, two in pairwise(found))
