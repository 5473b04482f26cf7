"""Every encoder of the folder keeps the contract: shapes, lengths, padding invariance, gradients."""

import pytest
import torch

from htr_ssl import environment, model_file, plugins
from htr_ssl.encoders._frames import Frames
from htr_ssl.encoders._lstm import Context

NAMES = plugins.names("htr_ssl.encoders")
SIZES = [(NAME, height, channels) for NAME in NAMES for height, channels in ((32, 1), (40, 3), (64, 1))]


def test_there_are_encoders():
    assert "crnn" in NAMES


@pytest.mark.parametrize(("name", "height", "channels"), SIZES)
def test_contract(name, height, channels):
    torch.manual_seed(0)
    encoder = model_file.build_encoder(name, {}, height, channels)
    widths = torch.tensor([130, 61, 8])
    images = torch.rand(3, channels, height, 160)
    frames = encoder(images, widths)
    assert frames.lengths.tolist() == encoder.frames(widths).tolist()
    assert frames.features.shape[0] == 3
    assert frames.features.shape[2] == encoder.out_dim
    assert frames.features.shape[1] >= frames.lengths.max()
    assert not frames.features[~frames.mask()].any()
    assert encoder.backbone(images, widths).features.shape[2] == encoder.backbone_dim
    frames.features.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_padding_does_not_matter(name):
    torch.manual_seed(0)
    encoder = model_file.build_encoder(name, {}, 48, 1).eval()
    # Pixels right of a sample's width are ignored, whatever they are.
    images, widths = torch.rand(4, 1, 48, 320), torch.tensor([320, 201, 64, 9])
    with torch.no_grad():
        together = encoder(images, widths)
        for row, width in enumerate(widths.tolist()):
            alone = encoder(images[row : row + 1, :, :, :width], widths[row : row + 1])
            count = int(alone.lengths[0])
            assert int(together.lengths[row]) == count
            torch.testing.assert_close(together.features[row, :count], alone.features[0, :count], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_presets_differ_in_size(name):
    options = plugins.load("htr_ssl.encoders", name).Config.model_fields["preset"].annotation.__args__
    sizes = [sum(p.numel() for p in model_file.build_encoder(name, {"preset": o}, 48, 1).parameters()) for o in options]
    assert sizes == sorted(set(sizes))
    assert 0.5e6 < sizes[0] < 5e6


def test_autocast_works_where_the_processor_has_no_bfloat16(monkeypatch):
    monkeypatch.setattr(environment, "isa", lambda: ["avx2"])
    context, frames = Context(64, 64, 0.0).eval(), Frames(torch.randn(2, 9, 64), torch.tensor([9, 4]))
    with torch.no_grad():
        whole = context(frames).features
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(context(frames).features, whole)


@pytest.mark.skipif(not environment.bfloat16(), reason="the processor has no bfloat16")
def test_the_lstm_in_bfloat16_is_near_that_in_float32_and_knows_no_padding():
    torch.manual_seed(0)
    context = Context(64, 64, 0.0).eval()
    features, lengths = torch.randn(4, 60, 64), torch.tensor([60, 40, 23, 1])
    with torch.no_grad():
        whole = context(Frames(features, lengths)).features
        with torch.autocast("cpu", torch.bfloat16):
            low = context(Frames(features, lengths)).features
            alone = context(Frames(features[2:3, :23], lengths[2:3])).features
    assert (whole.dtype, low.dtype) == (torch.float32, torch.bfloat16)
    assert 0 < (low - whole).abs().max() < 0.01
    assert not low[2, 23:].any()
    torch.testing.assert_close(low[2:3, :23], alone, rtol=0, atol=0.004)
