"""Batches: right pixels, an order that depends on seed and step only, bad images named and left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from htr_ssl.config import DataConfig
from htr_ssl.data import importing, sampling
from htr_ssl.data.loading import Strips, collate, read_samples, rows_of
from htr_ssl.data.reading import read
from htr_ssl.data.samples import Samples, SampleView
from htr_ssl.data.sampling import StepSampler, sorted_batches
from htr_ssl.errors import UserError


@given(
    widths=st.lists(st.integers(8, 900), min_size=1, max_size=120),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 5),
    round_steps=st.integers(1, 9),
)
def test_rounds_together_are_the_whole_run(widths, batch_size, seed, round_steps):
    steps = 23
    whole = list(StepSampler(widths, batch_size, seed, steps, steps))
    parts = []
    for number in range(-(-steps // round_steps)):
        sampler = StepSampler(widths, batch_size, seed, steps, round_steps)  # a process of its own
        sampler.set_epoch(number)
        assert len(sampler) == len(list(sampler))
        parts += list(sampler)
    assert parts == whole
    assert all(len(batch) == batch_size for batch in whole)


@given(n=st.integers(1, 300), batch_size=st.integers(1, 32))
def test_a_pass_sees_every_image(n, batch_size):
    per_pass = -(-n // batch_size)
    batches = list(StepSampler(list(range(8, 8 + n)), batch_size, 0, per_pass, per_pass))
    seen = np.bincount([i for batch in batches for i in batch], minlength=n)
    assert seen.min() >= 1
    assert seen.sum() == per_pass * batch_size
    flat = sorted(i for batch in sorted_batches(list(range(n)), batch_size) for i in batch)
    assert flat == list(range(n))


def test_batches_hold_images_of_like_width():
    widths = np.random.default_rng(0).integers(50, 1000, 2000)
    spread = [np.ptp(widths[batch]) for batch in StepSampler(widths, 16, 0, 100, 100)]
    assert np.mean(spread) < 100
    assert list(StepSampler(widths, 16, 1, 5, 5)) != list(StepSampler(widths, 16, 0, 5, 5))


@pytest.mark.parametrize("n", [100, 280, 600])
def test_few_words_meet_others_in_every_pass(n):
    """Nearly half as many as all passes could bring together; sorted all together they would meet a tenth of them."""
    passes, size = 20, 8
    widths = np.random.default_rng(0).integers(50, 1000, n)
    met = [set() for _ in range(n)]
    for batch in StepSampler(widths, size, 0, passes * -(-n // size), 1000, level="word"):
        for i in batch:
            met[i].update(batch)
    assert np.mean([len(others) for others in met]) > 0.4 * min(n, passes * (size - 1))


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=30),
    batch_size=st.integers(1, 8),
    window=st.integers(1, 400),
    seed=st.integers(0, 3),
)
def test_sources_in_pieces_are_read_piece_by_piece(sizes, batch_size, window, seed):
    """Every image once a pass, in an order of steps; a piece is needed in a window or two in a row."""
    pieces = np.repeat(np.arange(len(sizes)), sizes)
    widths = np.random.default_rng(seed).integers(8, 500, len(pieces))
    per_pass = -(-len(pieces) // batch_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "WINDOW", window)
        batches = list(StepSampler(widths, batch_size, seed, 2 * per_pass, 2 * per_pass, pieces=pieces))
        later = StepSampler(widths, batch_size, seed, 2 * per_pass, per_pass, pieces=pieces)
        later.set_epoch(1)
        assert list(later) == batches[per_pass:]
    size = max(1, window // (40 * batch_size)) * 40
    for start in (0, per_pass):
        positions = [i for batch in batches[start : start + per_pass] for i in batch]
        assert np.bincount(positions, minlength=len(pieces)).min() >= 1
        windows = [batches[start : start + per_pass][i : i + size] for i in range(0, per_pass, size)]
        needed = [{int(pieces[i]) for batch in part for i in batch} for part in windows]
        for piece, count in enumerate(sizes):
            used = [number for number, part in enumerate(needed) if piece in part]
            whole = used[:-1] if len(used) > 1 and used[-1] == len(needed) - 1 else used  # the last batch is filled up
            assert whole[-1] - whole[0] <= -(-count // (size * batch_size))


@given(st.lists(st.integers(8, 200), min_size=1, max_size=6), st.sampled_from([1, 3]))
def test_collate_pads_with_paper(widths, channels):
    strips = [np.full((20, width, channels), i, np.uint8) for i, width in enumerate(widths)]
    batch = collate(strips, list(range(len(strips))), [[1] * (i + 1) for i in range(len(strips))])
    assert batch.raw.shape[2] % 16 == 0
    for i, width in enumerate(widths):
        assert (batch.raw[i, :, :width] == i).all()
        assert (batch.raw[i, :, width:] == 255).all()
    assert batch.target_lengths.tolist() == [i + 1 for i in range(len(strips))]
    assert len(batch.targets) == sum(batch.target_lengths.tolist())
    images = batch.images()
    assert images.pixels.shape == (len(strips), channels, 20, batch.raw.shape[2])
    assert images.pixels.is_contiguous(memory_format=__import__("torch").channels_last)


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for i in range(30):
        pixels = np.full((60, 150 + 10 * i), 230, np.uint8)
        pixels[20:40, 10 : 100 + 10 * i] = random.integers(0, 90, (20, 90 + 10 * i))
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    return tmp_path


def test_unreadable_images_are_named_and_left_out(folder):
    (folder / "05.png").write_bytes(b"")
    (folder / "07.png").write_bytes((folder / "08.png").read_bytes()[:100])
    config = DataConfig(source=str(folder), height=32)
    samples = read_samples(config)
    with pytest.warns(UserWarning, match=r"05\.png.*1 more"):
        strips = Strips(samples, rows_of(samples, "train", labelled=False), config)
    assert len(strips) == 28
    assert len(strips.unreadable) == 2
    assert not any(name.startswith(("05", "07")) for name in strips.ids())


def test_nothing_readable_is_an_error(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    config = DataConfig(source=str(tmp_path), height=32)
    samples = read_samples(config)
    with pytest.raises(UserError, match=r"a\.png"):
        Strips(samples, [0], config)


def test_images_beyond_the_memory_are_decoded_when_asked_for(folder):
    config = DataConfig(source=str(folder), height=32, channels=3)
    samples = read_samples(config)
    rows = rows_of(samples, "train", labelled=False)
    near, far = Strips(samples, rows, config), Strips(samples, rows, config, memory=10_000)
    assert near.place == "memory"
    assert far.place == "source"
    assert near.widths == far.widths
    assert near[[3, 1, 20]].raw.equal(far[[3, 1, 20]].raw)
    near.keep([3, 20])
    far.keep([3, 20])
    assert near[[0, 1]].raw.equal(far[[0, 1]].raw)


def test_parquet_beyond_the_memory_is_read_in_pieces(folder, tmp_path, monkeypatch):
    """Row groups are the pieces; rows that were left out do not shift them."""
    monkeypatch.setattr(importing, "GROUP", 8)
    (folder / "05.png").write_bytes(b"")
    importing.write(read(folder), tmp_path / "x.parquet")
    config = DataConfig(source=str(tmp_path / "x.parquet"), height=32)
    samples = read_samples(config)
    assert Strips(samples, range(29), config).pieces() is None
    strips = Strips(samples, range(2, 29), config, memory=10_000)
    assert strips.pieces().tolist() == [row // 8 for row in range(2, 29)]
    assert read(folder, "images").pieces() is None


def test_a_view_has_the_sources_samples_in_its_own_order(folder):
    """Some rows with splits and texts of their own; of a view of a view the same."""
    source = read(folder)
    source.facts["rows"] = "all"
    view = SampleView(source, ["test", "train", "train"], rows=[5, 0, 2], texts={1: "new"})
    again = view.with_texts({2: "newer"})
    ids, texts = source.column("id"), source.column("text")
    for one, known in ((view, [texts[5], "new", texts[2]]), (again, [texts[5], "new", "newer"])):
        assert one.column("id") == [ids[row] for row in (5, 0, 2)]
        assert one.column("text") == known
        assert [(one[i].id, one[i].text, one[i].split) for i in range(3)] == list(
            zip(one.column("id"), one.column("text"), one.column("split"), strict=True)
        )
        assert [one.image(i) for i in range(3)] == [source.image(row) for row in (5, 0, 2)]
        assert (one.paths(), one.root, one.level) == (source.paths(), source.root, source.level)
        assert "rows" not in one.facts  # their number is another
    assert SampleView(source, ["train"] * len(source)).facts["rows"] == "all"
    assert source.column("text") == texts


def test_a_view_keeps_what_stands_in_the_file_and_the_pieces_of_its_rows():
    class Pieces(Samples):
        def image(self, index):
            return np.full((20, 60), index, np.uint8)

        def outline(self, index):
            return np.full((20, 60), 255 - index, np.uint8)

        def pieces(self):
            return np.array([0, 0, 1, 1])

    source = Pieces({"id": list("abcd"), "text": ["a", "b\u00a0b", "c", "e\u0301"]}, "line")
    view = SampleView(source, [None, None], rows=[3, 1], level="word")
    assert view.as_written() == {0: "e\u0301", 1: "b\u00a0b"}
    assert view.column("text") == ["\u00e9", "b b"]
    assert view.pieces().tolist() == [1, 0]
    assert view[0].load().max() == 3
    assert view.outline(0).max() == 252
    assert view.level == "word"
    assert SampleView(source, [None] * 4).as_written() == source.as_written()
    assert SampleView(source, [None] * 4).pieces().tolist() == [0, 0, 1, 1]
