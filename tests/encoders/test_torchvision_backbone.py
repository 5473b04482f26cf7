"""Networks of torchvision as encoders: every family keeps the contract, the rest is refused."""

import sys

import pytest
import torch
from random_models import random_model

from htr_ssl import model_file
from htr_ssl.config import DataConfig, FinetuneConfig, PretrainConfig, TrainConfig
from htr_ssl.encoders import crnn
from htr_ssl.errors import UserError
from htr_ssl.recognizers.reader import load_recognizer
from htr_ssl.training import finetune, pretrain

pytest.importorskip("torchvision")

FAMILIES = [
    ("resnet18", "layer3"),  # a strided shortcut beside a strided convolution
    ("convnext_tiny", "features.3"),  # patches, no batch norm, linear layers in another order of axes
    ("efficientnet_b0", "features.4"),  # means over the whole image inside
    ("mobilenet_v3_small", None),
    ("densenet121", "features.denseblock2"),  # norms before convolutions, mean pooling
    ("shufflenet_v2_x0_5", None),  # 1x1 convolutions right after a pooling
    ("regnet_x_400mf", "trunk_output.block2"),
]


def build(**options):
    torch.manual_seed(0)
    return model_file.build_encoder("torchvision_backbone", options, 40, 1)


@pytest.mark.parametrize(("model", "until"), FAMILIES)
def test_padding_does_not_matter_in_any_family(model, until):
    encoder = build(model=model, until=until).eval()
    images, widths = torch.rand(3, 1, 40, 160), torch.tensor([160, 101, 9])
    with torch.no_grad():
        together = encoder(images, widths)
        for row, width in enumerate(widths.tolist()):
            alone = encoder(images[row : row + 1, :, :, :width], widths[row : row + 1])
            count = int(alone.lengths[0])
            assert count == -(-width // 4)
            torch.testing.assert_close(together.features[row, :count], alone.features[0, :count], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("model", "until"), FAMILIES)
def test_every_family_learns_from_padded_lines(model, until):
    encoder = build(model=model, until=until)
    encoder(torch.rand(3, 1, 40, 160), torch.tensor([160, 60, 9])).features.sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert all(torch.isfinite(value).all() for value in encoder.state_dict().values())


def test_what_the_bottom_row_shows_is_seen():
    encoder = build(model="convnext_tiny", until="features.5").eval()
    images = torch.ones(2, 1, 40, 64)
    images[1, :, -2:] = 0
    with torch.no_grad():
        first, second = encoder.backbone(images, torch.tensor([64, 64])).features
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "resnet81"}, "encoder.model: torchvision has no model 'resnet81'; did you mean resnet"),
        ({"model": "squeezenet1_1"}, "encoder.model: squeezenet1_1 cannot read lines of free width"),
        ({"until": "layer9"}, "encoder.until: resnet18 has no part 'layer9'; its parts are conv1, .*layer3"),
        ({"until": "fc"}, "encoder.model: resnet18 cannot read lines"),
        ({"weights": "IMAGENET"}, "encoder.weights: resnet18 has no weights 'IMAGENET'; choose one of: IMAGENET1K_V1"),
    ],
)
def test_what_does_not_work_is_said(options, message):
    with pytest.raises(UserError, match=message):
        build(**options)


def test_without_torchvision_the_way_out_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UserError, match=r"pip install 'htr-ssl\[torchvision\]'"):
        build()


def published(monkeypatch):
    """The weights that torchvision would download."""
    import torchvision

    torch.manual_seed(7)
    state = torchvision.models.resnet18(weights=None).state_dict()
    asked = []
    weights = type(torchvision.models.ResNet18_Weights.DEFAULT)
    monkeypatch.setattr(weights, "get_state_dict", lambda self, **options: asked.append(options) or state)
    return state, asked


def test_published_weights_are_the_start(monkeypatch):
    state, asked = published(monkeypatch)
    encoder = build(weights="DEFAULT")
    assert not asked, "building is not beginning: a trained model brings its own weights"
    random_state = torch.random.get_rng_state()
    encoder.load_pretrained()
    assert torch.equal(torch.random.get_rng_state(), random_state)
    assert asked == [{"progress": False, "check_hash": True, "weights_only": True}]
    trunk = encoder.backbone.trunk
    assert torch.equal(trunk.get_submodule("layer1.0.conv1").weight, state["layer1.0.conv1.weight"])
    # A grey image is one of three equal channels.
    torch.testing.assert_close(trunk.conv1.weight, state["conv1.weight"].sum(1, keepdim=True))


def test_weights_that_cannot_be_had_are_said(monkeypatch):
    import torchvision

    def fail(self, **_):
        raise OSError("no network")

    monkeypatch.setattr(type(torchvision.models.ResNet18_Weights.DEFAULT), "get_state_dict", fail)
    with pytest.raises(UserError, match=r"resnet18-.*\.pth cannot be loaded \(no network\); leave encoder.weights out"):
        build(weights="DEFAULT").load_pretrained()


def test_a_model_file_is_read_without_the_published_weights(tmp_path, monkeypatch):
    path = random_model(tmp_path / "model.safetensors", "torchvision_backbone")
    header, state = model_file.read(path)
    header["encoder"]["weights"] = "DEFAULT"
    model_file.save(path, state, header)
    _, asked = published(monkeypatch)
    recognizer, _ = load_recognizer(path)
    assert not asked
    assert torch.equal(recognizer.state_dict()["head.weight"], state["head.weight"])
    wanted = model_file.encoder_header({"name": "torchvision_backbone"}, 32, 1)
    model_file.check_encoder(path, header, wanted)  # how it began does not matter


def test_published_weights_are_loaded_by_trainings_that_start_from_no_file(tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr(crnn.Encoder, "load_pretrained", lambda encoder: begun.append(encoder), raising=False)
    common = {
        "data": DataConfig(height=24, synthetic={"samples": 30, "characters": [1, 4]}),
        "train": TrainConfig(steps=1, batch_size=2, threads=1, check_every=1),
    }
    encoder = pretrain.run(PretrainConfig(**common), tmp_path / "pretrain", progress=False)
    finetune.run(FinetuneConfig(**common), tmp_path / "first", progress=False)
    assert len(begun) == 2
    finetune.run(FinetuneConfig(**common, init=str(encoder)), tmp_path / "second", progress=False)
    assert len(begun) == 2
