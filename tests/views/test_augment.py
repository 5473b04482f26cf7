"""Random changes of images: drawn from the generator alone, labels stay learnable, nothing at zero strength."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images, padded
from htr_ssl.views import photometric
from htr_ssl.views.augment import VIEWS, TextAugment

OFF = dict.fromkeys(AugmentConfig.model_fields, 0.0)
STRONG = {"perspective": 0.3, "crop": 0.49, "fading": 1, "bleed": 1, "texture": 1}
"""Strengths that fine-tuning leaves at 0."""


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


@pytest.mark.parametrize("name", sorted(OFF.keys() - {"pipeline"}))
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
        AugmentConfig(slant=1, stretch=0.5, scale=0.4, rotate=15, elastic=0.3, noise=0.5, mask=0.9, **STRONG)
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


def only(**strengths):
    return TextAugment(AugmentConfig(**OFF | strengths))


def test_strengths_of_zero_draw_nothing():
    """The same seed gives the images it gave before there were perspective, crop, fading, bleed and texture."""
    random = generator(5)
    after = TextAugment(AugmentConfig(), shift_x=0.1)(images(), random)
    assert after.widths.tolist() == [181, 102, 81, 72]
    ink = (1 - after.pixels).sum((1, 2, 3))
    torch.testing.assert_close(ink, torch.tensor([489.219, 249.530, 418.099, 288.916]), atol=0.02, rtol=0)
    some = after.pixels[:, 0, 14, 20:50:10].flatten()
    before = [0.43465, 0.49386, 0.53958, 0.68004, 0.65747, 0.79693, 0.5969, 0.66387, 0.49078, 0.82205, 0.66318, 0.69439]
    torch.testing.assert_close(some, torch.tensor(before), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.rand(2, generator=random), torch.tensor([0.01248384, 0.65765285]))


def test_fine_tuning_has_none_of_the_strengths_for_views():
    assert {name for name, value in AugmentConfig().model_dump().items() if not value} == {*STRONG, "pipeline"}
    assert all(getattr(VIEWS, name) > 0 for name in STRONG)


def test_perspective_moves_no_corner_further_than_asked():
    x, y = torch.arange(160).expand(32, 160), torch.arange(32)[:, None].expand(32, 160)
    for pixels in (x / 160, y / 32):
        before = Images(pixels.expand(4, 1, 32, 160).float(), torch.full((4,), 160))
        after = only(perspective=0.1)(before, generator(2)).pixels
        moved = (after - before.pixels)[:, :, 4:-4, 4:-4] * (160 if pixels[0, 1] else 32)
        assert 0.3 < float(moved.abs().max()) <= 3.2 + 1e-3
        # Between the corners in proportion: no second difference in either direction.
        bent = [moved.diff(n=2, dim=axis).abs().max() for axis in (2, 3)]
        assert max(bent) < 1e-2


def test_crop_cuts_top_and_bottom_and_keeps_the_size():
    pixels = torch.ones(64, 1, 40, 64)
    pixels[:, :, [0, 39]] = 0
    pixels[:, :, 18:22] = 0
    after = only(crop=0.3)(Images(pixels, torch.full((64,), 64)), generator()).pixels[:, 0, :, 32]
    assert after.shape[1] == 40
    assert (after[:, 0] > 0.9).float().mean() > 0.9, "the first row is cut off"
    assert (after[:, 39] > 0.9).float().mean() > 0.9, "and the last one"
    thick = (1 - after).sum(1)
    assert 4 <= float(thick.min()) < 5 < 6 < float(thick.max()) < 4 / 0.4 + 1


def test_the_back_shines_through_mirrored_and_faint():
    pixels = torch.ones(2, 1, 32, 96)
    pixels[1, :, 8:24, 4:20] = 0  # at the left of the other image
    after = only(bleed=0.5)(Images(pixels, torch.tensor([64, 96])), generator(1)).pixels
    ink = 1 - after[0, 0]
    assert 0.01 < float(ink.max()) < 0.5
    assert float(ink[10:22, 46:58].min()) > 0.9 * float(ink.max()), "at the right of this one"
    assert float(ink[:, :42].max()) < 1e-4
    torch.testing.assert_close(after[1], pixels[1], atol=1e-4, rtol=0)  # the back of the other is empty


def test_paper_gets_darker_but_ink_does_not_change():
    pixels = torch.ones(8, 1, 32, 128)
    pixels[:, :, 10:20, 10:40] = 0
    after = only(texture=0.4)(Images(pixels, torch.full((8,), 128)), generator()).pixels
    assert float(after[pixels == 0].max()) < 1e-4
    paper = after[:, :, :, 50:]
    assert 0.6 <= float(paper.min()) < float(paper.max()) <= 1
    assert float(paper.flatten(1).std(1).max()) > 0.02


def test_ink_fades_in_patches():
    pixels = torch.ones(16, 1, 32, 128)
    pixels[:, :, 8:24] = 0.2
    after = only(fading=1)(Images(pixels, torch.full((16,), 128)), generator()).pixels
    lost = (after - pixels)[:, 0, 8:24]
    assert float(lost.min()) > -1e-6, "no ink is added"
    assert 0.5 < float((lost < 1e-6).float().mean()) < 0.85, "most of it stays as it was"
    assert float(lost.max()) > 0.6
    torch.testing.assert_close(after[:, :, :8], pixels[:, :, :8], atol=1e-4, rtol=0)


def test_a_given_stretch_keeps_two_views_aligned():
    augment = TextAugment(AugmentConfig(), shift_x=0.1)
    stretch = augment.draw_stretch(4, generator(1))
    random = generator(2)
    first, second = (augment(images(), random, stretch) for _ in range(2))
    assert torch.equal(first.widths, second.widths)
    assert not torch.equal(first.pixels, second.pixels)


def test_neighbourhoods_are_those_of_pooling():
    x = torch.rand(2, 3, 9, 17)
    assert torch.equal(photometric.largest_neighbours(x), F.max_pool2d(x, 3, 1, 1))
    assert torch.equal(-photometric.largest_neighbours(-x), -F.max_pool2d(-x, 3, 1, 1))
