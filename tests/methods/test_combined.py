"""The sum of objectives: its loss is the weighted sum, gradients reach encoder and heads, bad parts are named."""

import pytest
import torch
from pydantic import ValidationError
from torch import Generator

from htr_ssl import model_file, plugins
from htr_ssl.data.batch import Images
from htr_ssl.methods import combined, simclr

PARTS = {"masked_image": {"weight": 2.0, "ratio": 0.5}, "byol": {"weight": 0.1, "hidden": 32, "projection": 16}}


def build(parts):
    torch.manual_seed(0)
    return combined.Method(combined.Config(parts=parts), model_file.build_encoder("crnn", {"dropout": 0.0}, 32, 1))


def images():
    generator = Generator().manual_seed(0)
    return Images(torch.rand(4, 1, 32, 96, generator=generator), torch.tensor([96, 90, 70, 64]))


def test_the_loss_is_the_weighted_sum():
    terms = build(PARTS)(images(), Generator().manual_seed(1))
    wanted = 2.0 * terms["masked_image.loss"] + 0.1 * terms["byol.loss"]
    torch.testing.assert_close(terms["loss"].detach(), wanted)
    assert not terms["masked_image.loss"].requires_grad


def test_parts_share_one_encoder_and_have_their_own_options():
    method = build(PARTS)
    assert method.parts["masked_image"].encoder is method.encoder is method.parts["byol"].encoder
    assert method.parts["masked_image"].config.ratio == 0.5
    assert method.parts["byol"].config.hidden == 32
    assert len(method.views(images(), Generator().manual_seed(0))) == 4
    method(images(), Generator().manual_seed(1))["loss"].backward()
    for name in ("encoder", "parts.masked_image.decoder", "parts.byol.predictor"):
        assert any(p.grad is not None and p.grad.any() for p in method.get_submodule(name).parameters()), name


def test_moving_averages_of_the_parts_move():
    method = build(PARTS)
    before = [p.clone() for p in method.parts["byol"].target.parameters()]
    with torch.no_grad():
        for p in method.encoder.parameters():
            p.add_(1)
    method.after_step(0.0)
    assert any(not torch.equal(a, b) for a, b in zip(before, method.parts["byol"].target.parameters(), strict=True))


def test_terms_may_be_plain_numbers(monkeypatch):
    """As `forward` of any method may return them."""
    monkeypatch.setattr(simclr.Method, "forward", lambda *_: {"loss": torch.tensor(3.0), "hits": 2, "weight": 4.0})
    terms = build({"simclr": {}})(images(), Generator())
    assert float(terms["simclr.hits"]) == 2


def test_every_part_has_its_own_share_of_several_processes(monkeypatch):
    """The log takes the mean over the processes; so what it gets of a part is scaled as the part's loss is."""
    alone = build(PARTS)(images(), Generator().manual_seed(1))
    hidden = float(build(PARTS).parts["masked_image"](images(), Generator().manual_seed(1))["weight"])
    monkeypatch.setattr(combined, "share", lambda weight, _: 1.5 if float(weight) == hidden else 0.5)
    terms = build(PARTS)(images(), Generator().manual_seed(1))
    torch.testing.assert_close(terms["masked_image.loss"], 1.5 * alone["masked_image.loss"])
    torch.testing.assert_close(terms["byol.loss"], 0.5 * alone["byol.loss"])
    wanted = 2.0 * terms["masked_image.loss"] + 0.1 * terms["byol.loss"]
    torch.testing.assert_close(terms["loss"].detach(), wanted)


@pytest.mark.parametrize("name", [name for name in plugins.names("htr_ssl.methods") if name != "combined"])
def test_any_method_can_be_a_part(name):
    assert name in combined.Config(parts={name: {}}).parts


def test_parts_are_complete_so_that_a_hash_of_them_sees_every_default():
    whole = combined.Config()
    assert whole.parts["simclr"] == {"weight": 0.1, **simclr.Config().model_dump(mode="json")}
    assert combined.Config(parts={"simclr": {}}).parts["simclr"]["weight"] == 1.0
    assert combined.Config(**whole.model_dump(mode="json")) == whole


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"simclrr": {}}, "did you mean 'simclr'"),
        ({"simclr": {"temprature": 1}}, "simclr: temprature: there is no such key; did you mean temperature"),
        ({"byol": {"augment": {"slnt": 1}}}, "byol: augment.slnt: .*did you mean augment.slant"),
        ({"simclr": {"temperature": "0.1"}}, 'simclr: temperature: expected a number, got "0.1"'),
        ({"simclr": {"weight": 0}}, "above 0"),
        ({"simclr": {"weight": True}}, "above 0"),
        ({"combined": {}}, "part of itself"),
        ({}, "at least 1"),
    ],
)
def test_bad_parts_are_refused(parts, message):
    with pytest.raises(ValidationError, match=message):
        combined.Config(parts=parts)
