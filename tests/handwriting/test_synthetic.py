import pickle
import time
import warnings
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from htr_ssl.data.reading import read
from htr_ssl.data.synthetic import Config, samples, write_parquet
from htr_ssl.errors import UserError
from htr_ssl.handwriting import strokes
from htr_ssl.handwriting.drawing import render
from htr_ssl.handwriting.hand import Hand
from htr_ssl.handwriting.page import page
from htr_ssl.handwriting.paper import Paper

CHARACTERS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789àâäçéèêëîïôöùûüÿœæßñåčÀÉÈÊÇŒÆÔ.,;:!?'\"()[]-–—/&%"
    "«»’…°€£§+=*^"
)
CLEAN = Paper()


def write(text: str, hand: Hand | None = None, seed: int = 0, **options: object) -> np.ndarray:
    hand = hand or Hand.draw(1, 1)
    return render(text, hand, np.random.default_rng(seed), paper=CLEAN, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("face", ["script", "plain", "running"])
def test_every_character_gives_ink(face: str) -> None:
    hand = Hand(5, **{"script": 0.0, "plain": 0.0, "running": 0.0, face: 1.0}, lift=1.0)
    for character in CHARACTERS:
        assert strokes.drawable(character), character
        assert (255.0 - write(character, hand)).sum() > 5 * 255, character  # [px of full ink]; a full stop has 10


def test_undrawable_characters_are_left_out() -> None:
    assert not strokes.drawable("漢")
    assert not strokes.drawable("ab")
    assert strokes.drawable(" ")
    assert (write("漢") == 255).all()
    assert (write("漢 ") == 255).all()


@pytest.mark.parametrize(
    "pair", ["eé", "eè", "eê", "eë", "aà", "cç", "uù", "iî", "oô", "nñ", "EÉ", "éè", "êë", "CÇ", "oø"]
)
def test_accents_can_be_seen(pair: str) -> None:
    hand = Hand(3, jitter=0, rhythm=0)
    for a, b in zip(strokes.variants(pair[0]), strokes.variants(pair[1]), strict=False):
        assert [m.tolist() for m in (*a.body, *a.marks)] != [m.tolist() for m in (*b.body, *b.marks)]
    first, second = (hand.trace(character, np.random.default_rng(0)) for character in pair)
    assert first.points.shape != second.points.shape or np.abs(first.points - second.points).max() > 0.2


def test_decomposed_accents_are_written() -> None:
    assert np.array_equal(write("cafe\u0301"), write("café"))
    assert not np.array_equal(write("cafe\u0301"), write("cafe"))


def test_the_dot_of_i_gives_way_to_an_accent() -> None:
    heights = [max(mark[:, 1].max() for mark in strokes.variants(c)[0].marks) for c in "iî"]
    assert len(strokes.variants("î")[0].marks) == len(strokes.variants("i")[0].marks)
    assert heights[0] != heights[1]


@settings(max_examples=60, deadline=None)
@given(
    st.text(CHARACTERS + " 漢\n\u0301", max_size=12),
    st.integers(0, 50),
    st.integers(16, 90),
    st.booleans(),
    st.booleans(),
)
def test_any_text_gives_an_image(text: str, number: int, height: int, colour: bool, dirty: bool) -> None:
    image = render(text, Hand.draw(2, number), np.random.default_rng(0), height, None if dirty else CLEAN, colour)
    assert image.dtype == np.uint8
    assert image.shape[0] == height
    assert image.shape[1] >= 8
    assert image.shape[2:] == ((3,) if colour else ())
    if any(strokes.drawable(c) for c in text.replace(" ", "")):
        assert image.min() < image.max()


@given(st.integers(0, 30), st.text("abcdelmnoprstu", min_size=2, max_size=6))
@settings(max_examples=40, deadline=None)
def test_longer_text_is_wider(number: int, text: str) -> None:
    hand = replace(Hand.draw(0, number), flourish=0)
    short, long = (np.ptp(hand.trace(t, np.random.default_rng(0)).points[:, 0]) for t in (text, 2 * text))
    assert long > 1.3 * short


def test_hands_differ_and_stay_the_same() -> None:
    images = [write("mémoire", Hand.draw(7, number)) for number in range(6)]
    again = [write("mémoire", Hand.draw(7, number)) for number in range(6)]
    small = [cv2.resize(image, (160, 48)).astype(float) for image in images]
    assert all(np.array_equal(a, b) for a, b in zip(images, again, strict=True))
    distances = [np.abs(a - b).mean() for i, a in enumerate(small) for b in small[:i]]
    assert min(distances) > 5


def test_a_hand_resembles_itself_more_than_others() -> None:
    def shape(number: int, seed: int) -> np.ndarray:
        points = Hand.draw(4, number).trace("nonmodum", np.random.default_rng(seed)).points
        low, high = points.min(axis=0), points.max(axis=0)
        at = np.linspace(0, len(points) - 1, 200).astype(int)
        return np.asarray((points[at] - low) / (high - low))

    same = np.mean([np.abs(shape(n, 0) - shape(n, 1)).mean() for n in range(8)])
    other = np.mean([np.abs(shape(n, 0) - shape(n + 1, 1)).mean() for n in range(8)])
    assert same < 0.6 * other


@pytest.mark.parametrize("level", ["word", "line"])
def test_a_sample_depends_on_seed_and_number_only(level: str) -> None:
    few, many = (samples(Config(samples=n), level, 3) for n in (20, 60))  # type: ignore[arg-type]
    images = [sample.load() for sample in many]  # all of them first: the order of writing must not matter
    for i in (17, 0, 9):
        assert np.array_equal(few[i].load(), images[i])
        assert (few[i].id, few[i].text, few[i].writer, few[i].page) == (
            many[i].id,
            many[i].text,
            many[i].writer,
            many[i].page,
        )
    other = samples(Config(samples=20), level, 4)  # type: ignore[arg-type]
    assert other.column("text") != few.column("text")
    assert len({image.tobytes() for image in images}) == 60
    assert np.array_equal(pickle.loads(pickle.dumps(many))[5].load(), images[5])  # as loader processes get it


def test_splits_have_hands_of_their_own() -> None:
    made = samples(Config(samples=800, hands=40), "word", 0)
    hands: dict[str | None, set[str | None]] = {"train": set(), "validation": set(), "test": set()}
    pages: dict[str | None, set[str | None]] = {}
    for split, writer, name in zip(*(made.column(c) for c in ("split", "writer", "page")), strict=True):
        hands[split].add(writer)
        pages.setdefault(name, set()).add(writer)
    assert [len(hands[s]) for s in ("train", "validation", "test")] == [32, 4, 4]
    assert len(set.union(*hands.values())) == 40
    assert all(len(writers) == 1 for writers in pages.values())
    assert len(made.column("id")) == len(set(made.column("id"))) == len(made) == 800


def test_options_change_what_they_name(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("zzz zz\nzzzz\n", "utf-8")
    base = Config(samples=24, characters=(10, 20))
    plain = samples(base, "line", 0)

    def differing(**changes: object) -> list[bool]:
        other = samples(base.model_copy(update=changes), "line", 0)
        return [not np.array_equal(a.load(), b.load()) for a, b in zip(plain, other, strict=False)]

    for changes in ({"text": str(text)}, {"order": 2}, {"repeat": 1.0}, {"characters": (30, 40)}, {"damage": 0.0}):
        assert any(differing(**changes)), changes
    assert all(differing(height=64))
    assert all(differing(colour=True))
    assert any(differing(hands=2))
    assert len(differing(samples=3)) == 3
    assert samples(base.model_copy(update={"height": 64, "colour": True}), "line", 0)[0].load().shape[::2] == (64, 3)
    assert set("".join(str(t) for t in samples(Config(samples=9, text=str(text)), "word", 0).column("text"))) == {"z"}
    low, high = (
        samples(Config(samples=9, damage=0), "word", 0)[0].load(),
        samples(Config(samples=9), "word", 0)[0].load(),
    )
    assert len(np.unique(low[:, :3])) < len(np.unique(high[:, :3]))


def test_unwritable_characters_of_a_text_are_named_once(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a漢b\n漢\ncafe\u0301\n", "utf-8")
    with pytest.warns(UserWarning, match="漢") as caught:
        made = samples(Config(samples=30, text=str(path), order=0), "line", 0)
    assert len(caught) == 1
    assert set(made.column("text")) == {"ab", "café"}
    path.write_text("ab\n", "utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        samples(Config(samples=3, text=str(path)), "line", 0)


@pytest.mark.parametrize(
    ("content", "message"), [(None, "cannot be read"), (b"\xff\xfe\x00a\xff", "UTF-8"), (b" \n", "nothing")]
)
def test_unusable_text_files_are_errors(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "text.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        samples(Config(text=str(path)), "line", 0)
    assert str(path) in str(error.value)


def test_texts_can_be_given_directly() -> None:
    assert set("".join(map(str, samples(Config(samples=9), "line", 0, ["xyz", "zx y"]).column("text")))) <= set("xyz ")


def test_unusable_options_are_errors() -> None:
    with pytest.raises(ValidationError):
        Config(writers=3)  # type: ignore[call-arg]
    with pytest.raises(UserError, match="characters"):
        samples(Config(characters=(9, 3)), "line", 0)
    with pytest.raises(UserError, match="level"):
        samples(Config(), "page", 0)


def test_parquet_is_read_back(tmp_path: Path) -> None:
    made = samples(Config(samples=40, colour=True), "word", 0)
    write_parquet(made, tmp_path / "all.parquet")
    back = read(tmp_path / "all.parquet", level="word")
    for column in ("text", "writer", "page", "split"):
        assert [getattr(sample, column) for sample in back] == made.column(column)
    assert np.array_equal(back[7].load(), made[7].load())
    write_parquet(list(made), tmp_path / "test.parquet", split="test")
    kept = [sample.text for sample in made if sample.split == "test"]
    assert [sample.text for sample in read(tmp_path / "test.parquet", level="word")] == kept
    with pytest.raises(UserError, match="no sample"):
        write_parquet(made[:1], tmp_path / "none.parquet", split="test")
    assert not (tmp_path / "none.parquet").exists()


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_outlines_hold_the_ink_of_a_page(seed: int) -> None:
    image, lines = page(seed, lines=8, width=900, paper=CLEAN, colour=False)
    ink = image < 200
    inside = np.zeros(image.shape, np.uint8)
    for line in lines:
        own = np.zeros(image.shape, np.uint8)
        cv2.fillPoly(own, [np.round(line.polygon).astype(np.int32)], 1)
        assert (ink & (own > 0)).sum() > 50
        inside |= own
        assert line.baseline is not None
        assert line.polygon.min() >= 0
        assert (line.polygon < image.shape[::-1]).all()
        for x, y in line.baseline:
            assert cv2.pointPolygonTest(line.polygon.astype(np.float32), (float(x), float(y)), True) > -8
    assert ink.sum() > 1000
    assert not (ink & (inside == 0)).any()


def test_a_page_reads_from_top_to_bottom() -> None:
    image, lines = page(5, lines=10)
    assert image.shape[1:] == (1240, 3)
    heights = [float(np.mean(line.baseline[:, 1])) for line in lines if line.baseline is not None]
    assert heights == sorted(heights)
    assert len(lines) == len({line.id for line in lines}) == 10
    assert lines[0].region == "title"
    assert len({line.region for line in lines}) > 2
    assert all(line.text for line in lines)
    again, _ = page(5, lines=10)
    assert np.array_equal(image, again)
    assert not np.array_equal(image, page(6, lines=10)[0][: len(image)])
    assert len(page(5, lines=1, width=500)[1]) == 1


def test_paper_changes_the_image_but_not_the_writing() -> None:
    hand = Hand.draw(0, 0)
    for change in (
        {"mottle": 0.1},
        {"fibre": 0.1},
        {"bleed": 0.3},
        {"fade": 0.6},
        {"blur": 0.1},
        {"tone": (0.8, 0.8, 0.5)},
    ):
        dirty = render("papier", hand, np.random.default_rng(0), paper=replace(CLEAN, **change))  # type: ignore[arg-type]
        clean = write("papier", hand)
        assert dirty.shape == clean.shape
        assert not np.array_equal(dirty, clean), change
        assert np.corrcoef(dirty.ravel(), clean.ravel())[0, 1] > 0.6, change
    ruled = render("papier", hand, np.random.default_rng(0), paper=replace(CLEAN, rules=1.5, rule=0.5, squared=True))
    assert (ruled < 250).sum() > (write("papier", hand) < 250).sum()


def test_fast_enough() -> None:
    hand = Hand.draw(0, 0)
    line = "déclare révoquer tout testament antérieur au présent acte de"
    for text, limit in (("jours", 0.01), (line, 0.08)):
        render(text, hand, np.random.default_rng(0))
        times = []
        for seed in range(20):
            start = time.thread_time()
            render(text, hand, np.random.default_rng(seed))
            times.append(time.thread_time() - start)
        assert min(times) < limit
