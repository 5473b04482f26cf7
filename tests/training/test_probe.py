"""Probes: the encoder stays as it was to the last bit, the head learns, and the file is a recognizer like any other."""

import json

import numpy as np
import pytest
import torch

from htr_ssl import model_file
from htr_ssl.config import AugmentConfig, FinetuneConfig, PretrainConfig, TrainConfig
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.errors import UserError
from htr_ssl.experiments.evaluate import evaluate
from htr_ssl.recognizers.probe import recognizer
from htr_ssl.recognizers.reader import Reader, load_recognizer
from htr_ssl.training import finetune, pretrain
from htr_ssl.training.module import Labelled, System
from htr_ssl.views.augment import TextAugment

DATA = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 120, "hands": 10}}
TRAIN = {"steps": 6, "batch_size": 8, "check_every": 3, "threads": 1, "lr": 1e-2, "precision": "32", "device": "cpu"}
PROBES = ("linear", "bilstm")


def probing(**changes):
    return FinetuneConfig(**{"data": DATA, "train": TRAIN, "probe": "linear"} | changes)


def parts(state, inside):
    return {name: value for name, value in state.items() if name.startswith("encoder.") == inside}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Encoder files by scope."""
    files = {}
    for scope in ("encoder", "backbone"):
        out = tmp_path_factory.mktemp(scope)
        config = PretrainConfig(data=DATA, train=TRAIN | {"steps": 3}, method={"name": "masked_image"}, scope=scope)
        files[scope] = pretrain.run(config, out, progress=False)
    return files


@pytest.mark.parametrize(("probe", "ema"), [("linear", 0.0), ("bilstm", 0.9)])
def test_the_encoder_stays_and_the_head_changes(tmp_path, pretrained, probe, ema):
    init, train = str(pretrained["encoder"]), TRAIN | {"ema": ema}
    first = finetune.run(
        probing(probe=probe, init=init, train=train | {"steps": 1, "lr": 1e-30}), tmp_path / "a", False
    )
    last = finetune.run(probing(probe=probe, init=init, train=train), tmp_path / "b", False)
    start, (header, end) = model_file.read(pretrained["encoder"])[1], model_file.read(last)
    assert (header["probe"], header["scope"]) == (probe, "encoder")
    assert parts(end, True).keys() == start.keys()
    assert any("running_mean" in name for name in start)
    assert all(torch.equal(end[name], value) for name, value in start.items())
    before, after = parts(model_file.read(first)[1], False), parts(end, False)
    assert before.keys() == after.keys()
    assert not [name for name in after if "shortcut" in name]
    assert all(not torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize("probe", PROBES)
def test_no_step_reaches_the_encoder(probe):
    samples = read_samples(probing().data)
    strips = Strips(samples, rows_of(samples, "train", labelled=True)[:8], probing().data)
    strips.labels = [[1, 2] for _ in range(8)]
    encoder = model_file.build_encoder("crnn", {}, 32, 1)
    seen = []
    encoder.register_forward_hook(lambda module, _, frames: seen.append((module.training, frames.features.grad_fn)))
    model = recognizer(encoder, 5, probe)
    system = System(Labelled(model, TextAugment(AugmentConfig()), 0.0), TrainConfig(), 0)
    system.train()
    assert model.head.training
    assert not any(module.training for module in encoder.modules())
    chosen = system.configure_optimizers()["optimizer"]
    learning = {id(p) for group in chosen.param_groups for p in group["params"]}
    assert learning == {id(p) for p in system.parameters()} - {id(p) for p in encoder.parameters()}
    system.task(strips[list(range(8))], torch.Generator().manual_seed(0), 0.0)["loss"].backward()
    assert seen == [(False, None)]
    assert all(p.grad is None for p in encoder.parameters())
    assert all(p.grad is not None for p in model.parameters() if id(p) in learning)


@pytest.mark.parametrize(("probe", "encoder"), [("linear", "vit_strips"), ("bilstm", "crnn")])
def test_a_random_encoder_is_probed_and_the_file_is_a_recognizer(tmp_path, probe, encoder):
    path = finetune.run(probing(probe=probe, encoder={"name": encoder}), tmp_path / "run", progress=False)
    assert model_file.read_header(path)["init"] is None
    result = evaluate(path, out=tmp_path / "scores")
    assert json.loads((tmp_path / "scores" / "result.json").read_text())["probe"] == result["probe"] == probe
    images = [np.full((40, width), 200, np.uint8) for width in (90, 40)]
    for image in images:
        image[10:30, 10:20] = 0
    read = Reader.load(path).read(images)
    pytest.importorskip("onnxruntime")
    from htr_ssl.recognizers.export import export

    assert export(path, tmp_path / "model.onnx").difference < 1e-4
    assert [text for text, _ in Reader.load(tmp_path / "model.onnx").read(images)] == [text for text, _ in read]


def test_if_only_the_backbone_was_pretrained_its_frames_are_probed(tmp_path, pretrained):
    path = finetune.run(probing(init=str(pretrained["backbone"])), tmp_path, progress=False)
    model, header = load_recognizer(path)
    assert header["scope"] == "backbone"
    assert model.head.in_features == model.encoder.backbone_dim != model.encoder.out_dim
    pixels, widths = torch.rand(1, 1, 32, 64), torch.tensor([64])
    with torch.no_grad():
        before = model(pixels, widths)[0]
        for parameter in model.encoder.context.parameters():
            parameter.add_(1)
        assert torch.equal(model(pixels, widths)[0], before)


def test_another_training_starts_from_a_probe_with_heads_of_its_own(tmp_path):
    still = TRAIN | {"steps": 1, "lr": 1e-30}
    probed = finetune.run(probing(probe="bilstm"), tmp_path / "probe", progress=False)
    start = model_file.read(probed)[1]
    for probe in ("none", "linear"):
        path = finetune.run(probing(init=str(probed), probe=probe, train=still), tmp_path / probe, progress=False)
        state = model_file.read(path)[1]
        kernels = [name for name in parts(start, True) if name.endswith("weight")]
        assert all(torch.equal(state[name], start[name]) for name in kernels)
        assert not torch.equal(state["head.weight"], start["head.weight"])


def test_a_probe_that_was_stopped_ends_with_the_same_weights(tmp_path):
    class Stop(Exception):
        pass

    from lightning.pytorch import Callback

    class Stopper(Callback):
        def on_train_batch_end(self, trainer, *_):
            if trainer.global_step == 4:
                raise Stop

    whole = finetune.run(probing(probe="bilstm"), tmp_path / "whole", progress=False)
    with pytest.raises(Stop):
        finetune.run(probing(probe="bilstm"), tmp_path / "stopped", False, [Stopper()])
    assert (tmp_path / "stopped" / "checkpoints" / "last.ckpt").exists()
    resumed = finetune.run(probing(probe="bilstm"), tmp_path / "stopped", progress=False)
    wanted, found = model_file.read(whole)[1], model_file.read(resumed)[1]
    assert wanted.keys() == found.keys()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())


def test_a_warm_up_of_the_head_makes_no_sense(tmp_path):
    with pytest.raises(UserError, match=r"head_warmup=0\.1: a linear probe trains only its head; set it to 0"):
        finetune.run(probing(head_warmup=0.1), tmp_path, progress=False)
