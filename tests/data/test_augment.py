"""Random changes of images: drawn from the generator alone, labels stay learnable, nothing at zero strength."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.augment import TextAugment, _neighbours, padded
from htr_ssl.data.batch import Images

OFF = dict.fromkeys(AugmentConfig.model_fields, 0.0)


def images(seed=0, count=4, channels=1, height=32, width=160):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.ones(count, channels, height, width)
    pixels[:, :, 8:24, 10:60] = torch.rand(count, channels, 16, 50, generator=generator)
    return Images(pixels, torch.tensor([width, 120, 70, 64])[:count])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_off_changes_nothing():
    before = images()
    after = TextAugment(AugmentConfig(**OFF))(before, generator())
    assert after.widths.tolist() == before.widths.tolist()
    torch.testing.assert_close(after.pixels, before.pixels, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(OFF))
def test_every_strength_changes_something(name):
    before = images()
    largest = {"rotate": 10, "stretch": 0.5}.get(name, 0.3)
    after = TextAugment(AugmentConfig(**OFF | {name: largest}))(before, generator())
    if name == "stretch":
        assert after.widths.tolist() != before.widths.tolist()
    else:
        assert after.widths.tolist() == before.widths.tolist()
        assert (after.pixels - before.pixels).abs().max() > 0.02


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), channels=st.sampled_from([1, 3]), strong=st.booleans())
def test_result_is_an_image_again(seed, channels, strong):
    config = (
        AugmentConfig(slant=1, stretch=0.5, scale=0.4, rotate=15, elastic=0.3, noise=0.5, mask=0.9)
        if strong
        else AugmentConfig()
    )
    before = images(seed, channels=channels)
    first, second = (TextAugment(config, shift_x=0.1)(before, generator(seed)) for _ in range(2))
    assert torch.equal(first.pixels, second.pixels)
    assert first.pixels.shape[:3] == before.pixels.shape[:3]
    assert first.pixels.shape[3] == padded(int(first.widths.max()))
    assert 0 <= float(first.pixels.min()) <= float(first.pixels.max()) <= 1
    for pixels, width in zip(first.pixels, first.widths.tolist(), strict=True):
        assert (pixels[:, :, width:] == 1).all(), "padding is paper"


def test_a_given_stretch_keeps_two_views_aligned():
    augment = TextAugment(AugmentConfig(), shift_x=0.1)
    stretch = augment.draw_stretch(4, generator(1))
    random = generator(2)
    first, second = (augment(images(), random, stretch) for _ in range(2))
    assert torch.equal(first.widths, second.widths)
    assert not torch.equal(first.pixels, second.pixels)


def test_neighbourhoods_are_those_of_pooling():
    x = torch.rand(2, 3, 9, 17)
    assert torch.equal(_neighbours(x, torch.maximum), F.max_pool2d(x, 3, 1, 1))
    assert torch.equal(_neighbours(x, torch.minimum), -F.max_pool2d(-x, 3, 1, 1))
