"""Every method of the folder keeps the contract and learns."""

from typing import get_type_hints

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from htr_ssl import model_file, plugins
from htr_ssl.config import PretrainConfig
from htr_ssl.data.batch import Images
from htr_ssl.errors import UserError
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.passes import Passes
from htr_ssl.methods import _pixels, mae
from htr_ssl.objective import Objective
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.training.collapse import Monitor
from htr_ssl.training.module import Unlabelled
from htr_ssl.training.pretrain import build_method

NAMES = plugins.names("htr_ssl.methods")


def test_what_is_built_says_what_its_callers_may_ask_of_it():
    """Types that mypy holds callers and plugins to, instead of Any."""
    contracts = {
        model_file.build_encoder: {"return": EncoderModule},
        model_file.begin: {"encoder": EncoderModule},
        build_method: {"encoder": EncoderModule, "return": Objective},
        Unlabelled.__init__: {"method": Objective},
        Passes.__init__: {"encoder": EncoderModule},
        Monitor.__init__: {"encoder": EncoderModule},
        Recognizer.loss: {"return": dict[str, torch.Tensor | float]},
    }
    for function, wanted in contracts.items():
        hints = get_type_hints(function)
        assert {name: hints[name] for name in wanted} == wanted
    for name in NAMES:
        assert issubclass(plugins.load("htr_ssl.methods", name).Method, Objective)
    for name in plugins.names("htr_ssl.encoders"):
        assert issubclass(plugins.load("htr_ssl.encoders", name).Encoder, EncoderModule)


def strokes(count=8, height=32, width=128, seed=0, channels=1):
    """White images with dark slanted strokes at random places, shorter to the right, blue in colour; several widths."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.ones(count, channels, height, width)
    ink = torch.tensor([0.1, 0.2, 0.6] if channels == 3 else [0.1])
    for image in pixels:
        for x in torch.randint(4, width - 12, (6,), generator=generator).tolist():
            for y in range(6 + 12 * x // width, height - 4):
                image[:, y, x + (height - y) // 5 : x + (height - y) // 5 + 2] = ink[:, None]
    widths = torch.randint(width // 2, width + 1, (count,), generator=generator)
    return Images(pixels, widths)


def build(name, **options):
    torch.manual_seed(0)
    module = plugins.load("htr_ssl.methods", name)
    encoder = getattr(module, "ENCODERS", ["crnn"])[0]
    channels = getattr(module, "CHANNELS", 1)
    return module.Method(module.Config(**options), model_file.build_encoder(encoder, {}, 32, channels))


def some(method, count=8, **options):
    """Strokes in as many channels as the method takes."""
    return strokes(count, channels=method.encoder.in_channels, **options)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_there_are_methods():
    assert {"masked_image", "simclr", "rotation"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_loss_is_drawn_from_the_generator_alone(name):
    method = build(name).eval()
    images = some(method)
    with torch.no_grad():
        first, same, other = (float(method(images, generator(seed))["loss"]) for seed in (1, 1, 2))
    assert first == same != other
    assert np.isfinite(first)


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_the_whole_encoder(name):
    method = build(name)
    method(some(method), generator())["loss"].backward()
    missing = [key for key, value in method.encoder.named_parameters() if value.grad is None or not value.grad.any()]
    assert not missing


@pytest.mark.parametrize("name", [name for name in NAMES if name != "mae"])
def test_of_a_backbone_alone_nothing_else_is_trained(name):
    config = PretrainConfig(method={"name": name}, scope="backbone")
    encoder = model_file.build_encoder("crnn", {}, 32, getattr(plugins.load("htr_ssl.methods", name), "CHANNELS", 1))
    method = build_method(config, encoder)
    method(some(method), generator())["loss"].backward()
    assert all(value.grad is not None and value.grad.any() for value in encoder.backbone.parameters())
    assert all(value.grad is None for value in encoder.context.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_loss_falls(name):
    method = build(name)
    optimizer = torch.optim.AdamW(method.parameters(), 2e-3)
    losses = []
    for step in range(40):
        loss = method(some(method, 16, seed=step), generator(step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_matter(name):
    method = build(name).eval()
    images = some(method)
    padded = Images(F.pad(images.pixels, (0, 64), value=0.3), images.widths)
    with torch.no_grad():
        alone, joined = (float(method(x, generator())["loss"]) for x in (images, padded))
    assert alone == pytest.approx(joined, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_views_are_images(name):
    method = build(name)
    views = method.views(some(method), generator())
    assert views
    for view in views:
        n, c, height, width = view.pixels.shape
        assert (n, c, height) == (8, method.encoder.in_channels, 32)
        assert int(view.widths.max()) <= width
        assert 0 <= float(view.pixels.min()) <= float(view.pixels.max()) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_very_narrow_images(name):
    method = build(name)
    images = Images(torch.rand(3, method.encoder.in_channels, 32, 32), torch.tensor([8, 9, 30]))
    loss = method(images, generator())["loss"]
    loss.backward()
    assert torch.isfinite(loss)


def test_masked_image_hides_the_share_asked_for_and_only_there():
    method = build("masked_image", ratio=0.4)
    whole, masked, hidden = method._hide(strokes(64, width=400), generator())
    inside = torch.arange(hidden.shape[1]) < method.encoder.frames(whole.widths)[:, None]
    assert float(hidden[inside].float().mean()) == pytest.approx(0.4, abs=0.05)
    assert not hidden[~inside].any()
    columns = hidden.repeat_interleave(4, 1)[:, : whole.pixels.shape[3]]
    changed = (whole.pixels != masked.pixels).any(dim=(1, 2))
    assert not changed[~columns].any()


def test_masked_image_knows_nothing_of_hidden_pixels():
    method = build("masked_image").eval()
    images = strokes()
    _, masked, hidden = method._hide(images, generator())
    columns = hidden.repeat_interleave(4, 1)[:, None, None, : masked.pixels.shape[3]]
    assert masked.pixels[columns.expand_as(masked.pixels)].unique().tolist() == [_pixels.GREY]


def test_strips_and_painting_are_inverse():
    images = Images(torch.rand(2, 1, 32, 62), torch.tensor([62, 40]))
    strips = _pixels.strips(images.pixels, 4)
    assert torch.equal(strips[1, 3].reshape(4, 32), images.pixels[1, 0, :, 12:16].T)
    again = _pixels.painted(_pixels.strips(_pixels.standardised(images), 4), images)
    torch.testing.assert_close(again, images.pixels)


@pytest.mark.parametrize("name", ["masked_image", "mae"])
def test_only_hidden_strips_are_repainted(name):
    whole, masked, painted = build(name).eval().reconstruct(strokes(), generator())
    shown = masked.pixels != _pixels.GREY
    assert torch.equal(painted.pixels[shown], whole.pixels[shown])
    assert not torch.equal(painted.pixels[~shown], masked.pixels[~shown])


def test_mae_drops_the_share_asked_for():
    method = build("mae", ratio=0.75)
    whole = strokes(16, width=400)
    hidden, counts = method._hide(whole, generator()), method.encoder.frames(whole.widths)
    kept = counts - hidden.sum(1)
    torch.testing.assert_close(kept, (counts * 0.25).round().long())
    assert not hidden[torch.arange(100) >= counts[:, None]].any()


def test_mae_knows_nothing_of_dropped_strips():
    method, whole = build("mae").eval(), strokes()
    hidden = method._hide(whole, generator())
    other = _pixels.covered(whole, hidden, 4, torch.rand_like(whole.pixels)).pixels
    with torch.no_grad():
        first, second = (method._paint(Images(pixels, whole.widths), hidden) for pixels in (whole.pixels, other))
    assert torch.equal(first, second)


def test_mae_needs_tokens():
    with pytest.raises(UserError, match=r"encoder\.name=vit_strips"):
        mae.Method(mae.Config(), model_file.build_encoder("crnn", {}, 32, 1))
