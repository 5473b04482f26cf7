"""The user's own pipeline: same seed, same pixels; letters stay; what does not work is one sentence."""

import json
import sys

import pytest
import torch
import yaml

from htr_ssl import model_file
from htr_ssl.config import AugmentConfig, DataConfig, FinetuneConfig, PretrainConfig, TrainConfig
from htr_ssl.config.yaml_files import dump_config, load_config
from htr_ssl.data.batch import Images
from htr_ssl.errors import UserError
from htr_ssl.training import finetune
from htr_ssl.views.augment import TextAugment

pytest.importorskip("albumentations")
STILL = dict.fromkeys(("slant", "stretch", "scale", "shift", "rotate", "elastic"), 0.0) | dict.fromkeys(
    ("stroke", "contrast", "blur", "noise", "mask"), 0.0
)


def written(path, *transforms, **options):
    """A file as albumentations writes it, of transforms by name or by name and options."""
    parts = [{"__class_fullname__": part, "p": 1.0} if isinstance(part, str) else part for part in transforms]
    description = {"transform": {"__class_fullname__": "Compose", "p": 1.0, "transforms": parts}} | options
    path.write_text(yaml.safe_dump(description), encoding="utf-8")
    return str(path)


def lines(count=4, channels=1):
    generator = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (count, channels, 32, 96), generator=generator).float()
    widths = torch.tensor([96, 60, 33, 8])[:count]
    raw[torch.arange(96).expand(raw.shape) >= widths[:, None, None, None]] = 255
    return Images(raw / 255, widths)


def changed(config, seed=0, images=None):
    return TextAugment(config)(images or lines(), torch.Generator().manual_seed(seed)).pixels


def test_the_pipeline_is_what_the_library_does_to_the_bytes(tmp_path):
    path = written(tmp_path / "mine.yaml", "InvertImg")
    with_it, without = (changed(AugmentConfig(**STILL, pipeline=pipeline)) for pipeline in (path, None))
    for row, width in enumerate([96, 60, 33, 8]):
        torch.testing.assert_close(with_it[row, :, :, :width], 1 - without[row, :, :, :width], atol=1e-5, rtol=0)
        assert (with_it[row, :, :, width:] == 1).all(), "padding stays paper"


def test_the_seed_alone_decides(tmp_path):
    path = written(tmp_path / "mine.yaml", "GaussNoise", "RandomBrightnessContrast", "CoarseDropout")
    config = AugmentConfig(pipeline=path)
    first, same, other = (changed(config, seed) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    alike = Images(lines().pixels[:1].repeat(2, 1, 1, 1), torch.tensor([96, 96]))
    one, two = changed(AugmentConfig(**STILL, pipeline=path), images=alike)
    assert not torch.equal(one, two), "every image has draws of its own"


def test_without_a_pipeline_nothing_else_is_drawn():
    generator = torch.Generator().manual_seed(3)
    TextAugment(AugmentConfig(**STILL))(lines(), generator)
    before = generator.get_state()
    generator.manual_seed(3)
    TextAugment(AugmentConfig(**STILL, pipeline=None))(lines(), generator)
    assert torch.equal(before, generator.get_state())


def test_a_run_holds_the_pipeline_itself(tmp_path):
    path = tmp_path / "mine.yaml"
    written(path, "GaussianBlur")
    config = load_config(None, [f"augment.pipeline={path}"], FinetuneConfig)
    path.unlink()
    (tmp_path / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    again = load_config(tmp_path / "config.yaml", [], FinetuneConfig)
    assert again == config
    assert again.augment.pipeline["transform"]["transforms"][0]["__class_fullname__"] == "GaussianBlur"


def test_json_and_nested_transforms_are_taken(tmp_path):
    import albumentations

    pipeline = albumentations.Compose(
        [albumentations.OneOf([albumentations.CLAHE(p=1), albumentations.Blur(p=1)], p=1)]
    )
    albumentations.save(pipeline, tmp_path / "mine.json", data_format="json")
    assert not torch.equal(
        changed(AugmentConfig(**STILL, pipeline=str(tmp_path / "mine.json"))), changed(AugmentConfig(**STILL))
    )


def test_methods_take_it_too(tmp_path):
    from htr_ssl.training.pretrain import build_method

    path = written(tmp_path / "mine.yaml", "InvertImg")
    config = PretrainConfig(method={"name": "simclr", "augment": {**STILL, "pipeline": path}})
    method = build_method(config, model_file.build_encoder("crnn", {}, 32, 1))
    view = method.views(lines(), torch.Generator().manual_seed(0))[0]
    assert float(view.pixels[0, :, :, :96].mean()) == pytest.approx(1 - float(lines().pixels[0].mean()), abs=0.05)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        (["GausianBlur"], "albumentations has no transform 'GausianBlur'; did you mean GaussianBlur"),
        ([{"__class_fullname__": "GaussianBlur", "blurr": 3, "p": 1.0}], "'blurr' .* not valid for .*GaussianBlur"),
        ([{"__class_fullname__": "GaussianBlur", "p": 3}], "less than or equal to 1"),
        ([{"p": 3}], "a transform has no __class_fullname__"),
        (["HorizontalFlip"], "HorizontalFlip moves the letters; leave it out"),
        (
            [{"__class_fullname__": "OneOf", "p": 1.0, "transforms": [{"__class_fullname__": "Rotate", "p": 1.0}]}],
            "Rotate moves",
        ),
        (["ToFloat"], r"it makes float32 of .* leave out what changes size or number format"),
        (["ISONoise"], r"3-channel images.*data\.channels=3 gives it colour"),
    ],
)
def test_what_does_not_work_is_one_sentence(tmp_path, transforms, message):
    config = AugmentConfig(pipeline=written(tmp_path / "mine.yaml", *transforms))
    with pytest.raises(UserError, match=f"augment.pipeline: .*{message}") as caught:
        changed(config)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory; check the path"),
        ("transforms: []", "no pipeline of albumentations, which has the key transform"),
        ("[1, 2]", "no pipeline of albumentations"),
        ("a: [", "neither YAML nor JSON"),
        ("!!python/object/apply:os.system [ls]", "neither YAML nor JSON"),
        ("x: " + "y" * (1 << 20), "no pipeline of albumentations"),
    ],
)
def test_files_that_are_no_pipeline(tmp_path, content, message):
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=rf"augment\.pipeline.*mine\.yaml: .*{message}") as caught:
        load_config(None, [f"augment.pipeline={path}"], FinetuneConfig)
    assert "\n" not in str(caught.value)


def test_without_the_library_the_way_out_is_said(tmp_path, monkeypatch):
    config = AugmentConfig(pipeline=written(tmp_path / "mine.yaml", "Blur"))
    monkeypatch.setitem(sys.modules, "albumentations", None)
    with pytest.raises(UserError, match=r"pip install 'htr-ssl\[albumentations\]'"):
        TextAugment(config)


def test_the_library_does_not_ask_the_network(tmp_path):
    """Its import looks for a newer version, unless the environment forbids it."""
    import subprocess

    code = f"""
import socket, json
def refuse(*_): raise SystemExit("network")
socket.socket.connect = refuse
from htr_ssl.views.pipeline import Pipeline
Pipeline(json.loads({json.dumps(json.dumps({"transform": {"__class_fullname__": "Blur", "p": 1.0}}))}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_training_is_the_same_with_loader_processes_and_without(tmp_path):
    path = written(tmp_path / "mine.yaml", "GaussNoise")
    weights = []
    for workers in (0, 2):
        config = FinetuneConfig(
            data=DataConfig(height=24, synthetic={"samples": 30, "characters": [1, 4]}),
            augment=AugmentConfig(pipeline=path),
            train=TrainConfig(steps=2, batch_size=4, threads=1, check_every=2, workers=workers),
        )
        weights.append(model_file.read(finetune.run(config, tmp_path / str(workers), progress=False))[1])
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
