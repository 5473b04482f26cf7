"""Reading: the same texts alone, together, with any number of threads and with norms folded; bounded batches."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from random_models import IMAGES, random_model
from torch import nn

from htr_ssl import plugins
from htr_ssl.recognizers._batches import batches_of
from htr_ssl.recognizers.reader import Reader, load_recognizer

ENCODERS = plugins.names("htr_ssl.encoders")


@pytest.fixture
def threads():
    """Gives the number of threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_folded_norms_compute_the_same(tmp_path, encoder):
    path = random_model(tmp_path / "model.safetensors", encoder)
    plain, _ = load_recognizer(path)
    folded = Reader.load(path, "cpu").recognizer
    assert not [module for module in folded.modules() if isinstance(module, nn.BatchNorm2d)]
    images, widths = torch.rand(2, 1, 32, 90), torch.tensor([90, 61])
    with torch.inference_mode():
        wanted, found = (network.encoder(images, widths).features for network in (plain, folded))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_a_text_is_the_same_alone_together_and_with_any_number_of_threads(tmp_path, threads):
    path = random_model(tmp_path / "model.safetensors")
    reader = Reader.load(path, "cpu", threads=1)
    alone = [reader.read([image])[0] for image in IMAGES]
    assert len({text for text, _ in alone}) > 3
    for count, batch_size in ((1, 32), (1, 3), (2, 32), (3, 4)):
        torch.set_num_threads(count)
        together = reader.read(IMAGES[::-1], batch_size)[::-1]
        assert [text for text, _ in together] == [text for text, _ in alone]
        assert [value for _, value in together] == pytest.approx([value for _, value in alone], abs=1e-4)
        assert torch.get_num_threads() == count
    assert reader.read([]) == []


def test_a_copy_in_a_process_with_fewer_threads_reads_the_same_to_the_last_bit(tmp_path, threads):
    reader = Reader.load(random_model(tmp_path / "model.safetensors"), "cpu", threads=3)
    copy = pickle.loads(pickle.dumps(reader))
    strips = reader.prepared(IMAGES)
    wanted = [reader.scores(strips[:count]) for count in (2, 3, 12)]
    torch.set_num_threads(1)
    for count, scores in zip((2, 3, 12), wanted, strict=True):
        assert all(map(np.array_equal, copy.scores(strips[:count]), scores))


def test_a_failing_image_leaves_the_threads_as_they_were(tmp_path, threads):
    reader = Reader.load(random_model(tmp_path / "model.safetensors"), "cpu", threads=2)
    with pytest.raises(ZeroDivisionError):
        reader.read([IMAGES[0], np.zeros((0, 5), np.uint8)])
    assert torch.get_num_threads() == 2
    assert len(reader.read(IMAGES)) == len(IMAGES)


def test_bf16_is_close(tmp_path):
    path = random_model(tmp_path / "model.safetensors")
    exact, rounded = (
        [value for _, value in Reader.load(path, "cpu", precision=p).read(IMAGES)] for p in ("32", "bf16")
    )
    assert exact != pytest.approx(rounded, abs=1e-6)
    assert exact == pytest.approx(rounded, abs=0.2)


@given(st.lists(st.integers(1, 300), max_size=40), st.integers(1, 9), st.integers(1, 900), st.integers(1, 4))
def test_batches_hold_every_image_once_within_the_limits(widths, most, area, workers):
    batches = batches_of(widths, most, area, workers)
    assert sorted(i for batch in batches for i in batch) == list(range(len(widths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(widths[i] for i in batch) <= area
        assert len(batch) <= most


@pytest.mark.parametrize("count", [2, 5, 30, 101])
def test_workers_have_the_same_work(count):
    batches = batches_of([500] * count, 32, 8192, workers=2)
    assert len(batches) % 2 == 0
    assert max(map(len, batches)) - min(map(len, batches)) <= max(map(len, batches)) // 2 + 1
    assert len(batches) <= 2 * (1 + 500 * count // 12000)
