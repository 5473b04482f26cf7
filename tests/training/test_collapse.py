"""Collapse: the measures are what they say, the broken forms of methods are caught, healthy ones are not."""

import csv
import math
import warnings

import pytest
import torch
from torch import Generator, nn
from torch.nn import functional as F

from htr_ssl import model_file, plugins
from htr_ssl.config import DataConfig, PretrainConfig
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.sampling import StepSampler
from htr_ssl.methods import _heads, simsiam
from htr_ssl.training import collapse, pretrain

DATA = DataConfig(source="synthetic", level="word", height=32, synthetic={"samples": 200, "hands": 20})


def places(images=16, frames=16):
    return torch.arange(frames).repeat(images)


def spread(dimensions=16, frames=256):
    """Measures of directions that are spread evenly, in so many of 16 dimensions."""
    z = torch.randn(frames, dimensions, generator=Generator().manual_seed(0))
    z = F.pad(z, (0, 16 - dimensions))
    return collapse.measures(z, z, torch.arange(16).repeat(frames // 16))


def test_measures_of_directions_spread_evenly():
    found = spread(frames=4000)
    assert found["feature_std"] == pytest.approx(1, abs=0.02)
    assert found["effective_rank"] == pytest.approx(16, abs=0.2)
    assert found["alignment"] == pytest.approx(0, abs=1e-9)
    assert found["uniformity"] < -3
    assert found["position_share"] < 0.02
    assert collapse.verdict(found, found) is None


def test_measures_of_one_point():
    z = torch.ones(256, 16) + 1e-4 * torch.randn(256, 16, generator=Generator().manual_seed(0))
    found = collapse.measures(z, z.flip(0), places())
    assert found["feature_std"] < 0.01
    assert found["uniformity"] == pytest.approx(0, abs=1e-3)
    assert "nearly the same" in collapse.verdict(found, spread())


def test_measures_of_few_directions():
    found = spread(dimensions=3)
    assert found["effective_rank"] == pytest.approx(3, abs=0.1)
    assert "few directions" in collapse.verdict(found, spread())
    faint = {**spread(), "feature_std": 0.1}
    assert collapse.verdict(found, faint) is None, "fewer directions, but far more is told apart than untrained"


def test_measures_of_positions():
    generator = Generator().manual_seed(0)
    z = torch.randn(16, 16, generator=generator).repeat(16, 1)
    z = z + 0.1 * torch.randn(z.shape, generator=generator)
    found = collapse.measures(z, z, places())
    assert found["position_share"] > 0.9
    assert "where a frame is" in collapse.verdict(found, spread())
    assert collapse.measures(z, z, torch.arange(16).repeat_interleave(16))["position_share"] < 0.1


def test_alignment_is_the_squared_distance():
    z = torch.eye(4).repeat(8, 1)
    other = z.roll(1, 1)
    assert collapse.measures(z, other, places(2, 16))["alignment"] == pytest.approx(2)
    assert collapse.measures(z, -z, places(2, 16))["alignment"] == pytest.approx(4)
    assert collapse.measures(z, 7 * z, places(2, 16))["alignment"] == pytest.approx(0, abs=1e-9)


@pytest.fixture(scope="module")
def strips():
    samples = read_samples(DATA)
    return Strips(samples, rows_of(samples, "train", labelled=False), DATA)


@pytest.mark.parametrize("name", plugins.names("htr_ssl.encoders"))
def test_the_encoder_is_left_as_it_was(name, strips):
    torch.manual_seed(0)
    encoder = model_file.build_encoder(name, {}, 32, 1).train()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    monitor = collapse.Monitor(strips[collapse.chosen(len(strips))], encoder, 0)
    assert monitor.start == monitor(encoder), "it draws nothing new"
    assert encoder.training
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert set(monitor.start) == set(collapse.NAMES)
    assert all(math.isfinite(value) for value in monitor.start.values())
    assert monitor.verdict(monitor.start) is None


def trained(strips, name, steps, rate, **options):
    """Verdict on an encoder after a short training."""
    torch.manual_seed(0)
    module = plugins.load("htr_ssl.methods", name)
    method = module.Method(module.Config(**options), model_file.build_encoder("crnn", {}, 32, 1))
    monitor = collapse.Monitor(strips[collapse.chosen(len(strips))], method.encoder, 0)
    optimizer = torch.optim.AdamW(method.parameters(), rate)
    for step, positions in enumerate(StepSampler(strips.widths, 8, 0, steps, steps)):
        loss = method(strips[positions].images(), Generator().manual_seed(step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
    return monitor.verdict(monitor(method.encoder))


def unstopped(p1, p2, z1, z2):
    return 0.5 * (_heads.negative_cosine(p1, z2) + _heads.negative_cosine(p2, z1))


@pytest.mark.parametrize("broken", ["no variance term", "no stop-gradient"])
def test_broken_forms_collapse_and_are_caught(broken, strips, monkeypatch):
    """The same training with the part that prevents the collapse is not caught.

    Views at the same place of the line: at other places even the broken forms take longer to collapse.
    """
    options = {"margin": 0, "cut": 0}
    if broken == "no variance term":
        name, change = "vicreg", {"variance": 0.0, "covariance": 0.0}
    else:
        name, change = "simsiam", {}
    assert trained(strips, name, 40, 1e-3, **options) is None
    if broken == "no stop-gradient":
        monkeypatch.setattr(simsiam, "agreement", unstopped)
    assert trained(strips, name, 40, 1e-3, **options | change)


def test_a_pretraining_logs_the_measures_and_warns_once(tmp_path, monkeypatch):
    config = PretrainConfig(
        data=DATA.model_copy(update={"synthetic": {"samples": 30, "hands": 5}}),
        train={"steps": 4, "batch_size": 4, "check_every": 1, "threads": 1},
    )
    monkeypatch.setattr(collapse, "verdict", lambda found, start: "as the test says")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pretrain.run(config, tmp_path, progress=False)
    said = [str(warning.message) for warning in caught if "collapsed" in str(warning.message)]
    assert len(said) == 1
    assert "step 2" in said[0], "not at the first check"
    with open(tmp_path / "metrics.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 4
    assert all(float(row[name]) == pytest.approx(float(row[name])) for row in rows for name in collapse.NAMES)
    assert len({row["feature_std"] for row in rows}) > 1


def test_lengths_do_not_matter():
    z = torch.randn(64, 8, generator=Generator().manual_seed(0))
    longer = z * torch.rand(64, 1, generator=Generator().manual_seed(1)).add(0.1)
    first, second = (collapse.measures(x, x, places(4, 16)) for x in (z, F.normalize(longer, dim=1)))
    assert first == pytest.approx(second, rel=1e-4, abs=1e-4)
