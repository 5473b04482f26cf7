"""Every encoder of the folder keeps the contract: shapes, lengths, padding invariance, gradients."""

import pytest
import torch
from random_models import random_model

from htr_ssl import environment, model_file, plugins
from htr_ssl.errors import UserError
from htr_ssl.layers.attention import Blocks
from htr_ssl.layers.frames import Frames
from htr_ssl.layers.lstm import Context
from htr_ssl.recognizers.reader import load_recognizer

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


def moved(blocks, features, position):
    """How far each token's output moves when the input of one does, over the distance that one itself moves."""
    other = features.clone()
    other[0, position] += torch.randn(features.shape[2])
    count = features.shape[1]
    before, after = (
        blocks(x, torch.arange(count)[None], torch.ones(1, count, dtype=torch.bool)) for x in (features, other)
    )
    distance = (after - before)[0].norm(dim=1)
    return distance / distance[position]


@torch.no_grad()
def test_near_tokens_count_more_than_far_ones_but_far_ones_are_seen():
    torch.manual_seed(0)
    blocks = Blocks(1, 160, 5, 0.0).eval()
    move = torch.stack([moved(blocks, torch.randn(1, 101, 160), 50) for _ in range(20)]).mean(0)
    assert move[[49, 51]].min() > 3 * move[[30, 70]].max()
    assert move.min() > 0.001


@torch.no_grad()
def test_a_token_is_as_far_as_its_position_says_not_its_place_among_those_left():
    torch.manual_seed(0)
    blocks, tokens, all_of_them = (
        Blocks(2, 64, 4, 0.0).eval(),
        torch.randn(1, 3, 64),
        torch.ones(1, 3, dtype=torch.bool),
    )
    near, shifted, far = (
        blocks(tokens, torch.tensor([places]), all_of_them) for places in ([0, 1, 2], [40, 41, 42], [0, 1, 40])
    )
    torch.testing.assert_close(near, shifted, atol=1e-4, rtol=1e-4)
    assert (near - far).abs().max() > 0.01


def test_a_file_from_before_heads_had_ranges_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    random_model(path, "conv_transformer")
    header, state = model_file.read(path)
    model_file.save(path, {name: value for name, value in state.items() if "slopes" not in name}, header)
    with pytest.raises(UserError, match=r"m\.safetensors: its weights do not fit its header"):
        load_recognizer(path)


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
