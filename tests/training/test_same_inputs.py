"""Whatever goes on where it was stopped goes on with the same data, or says in one sentence what has changed."""

import os
import re

import miniatures
import numpy as np
import pytest
from PIL import Image

from htr_ssl.config import FinetuneConfig, PretrainConfig
from htr_ssl.config.yaml_files import dump_config
from htr_ssl.data import importing
from htr_ssl.data.reading import read
from htr_ssl.data.splits import identity
from htr_ssl.errors import UserError
from htr_ssl.training import finetune, pretrain


def lines(root, count=8, text="ab"):
    rng = np.random.default_rng(0)
    for i in range(count):
        folder = root / ("train" if i < count - 2 else "validation")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (16, 120), np.uint8)).save(folder / f"{i}.png")
        (folder / f"{i}.gt.txt").write_text(text)
    return root


CHANGES = {
    "texts": lambda root: (root / "train" / "0.gt.txt").write_text("axb"),
    "5 images then, 10 now": lambda root: lines(root, 8),
    "sizes or times": lambda root: os.utime(root / "train" / "0.png", (1, 1)),
}


@pytest.mark.parametrize("what", CHANGES)
def test_changes_are_named_and_nothing_else_is_said(tmp_path, what):
    root = lines(tmp_path / "data", 5 if "then" in what else 8)
    identity.check(tmp_path, {"data": read(root)}, {}, False)
    identity.check(tmp_path, {"data": read(root)}, {}, True)
    CHANGES[what](root)
    with pytest.raises(UserError, match=what) as error:
        identity.check(tmp_path, {"data": read(root)}, {}, True)
    assert "\n" not in str(error.value)
    identity.check(tmp_path, {"data": read(root)}, {}, False)  # a run that has not begun takes what there is


def test_other_files_count_and_missing_ones_do_not(tmp_path):
    model = tmp_path / "model"
    model.write_bytes(b"1")
    identity.check(tmp_path, {}, {"init": str(model), "pseudo": None}, False)
    model.unlink()
    identity.check(tmp_path, {}, {"init": str(model)}, True)
    model.write_bytes(b"2")
    with pytest.raises(UserError, match="init"):
        identity.check(tmp_path, {}, {"init": str(model)}, True)


@pytest.mark.parametrize("kind", ["finetune", "pretrain"])
def test_runs_refuse_other_data_finished_or_not(tmp_path, kind):
    root = lines(tmp_path / "data")
    shared = {
        "data": {"source": str(root), "height": 16},
        "encoder": {"name": "crnn", "channels": [4, 4, 8, 8], "width": 8},
        "train": {"steps": 2, "check_every": 1, "batch_size": 4, "device": "cpu"},
    }
    del shared["encoder"]["channels"], shared["encoder"]["width"]
    config = (
        FinetuneConfig(**shared) if kind == "finetune" else PretrainConfig(**shared, method={"name": "masked_image"})
    )
    module = finetune if kind == "finetune" else pretrain
    out = tmp_path / "run"
    path = module.run(config, out, False)
    before = path.read_bytes()
    assert module.run(config, out, False).read_bytes() == before
    (root / "train" / "0.gt.txt").write_text("\u03a9 new")
    for finished in (True, False):
        if not finished:
            path.unlink()
        with pytest.raises(UserError, match="texts of data have changed"):
            module.run(config, out, False)
    (root / "train" / "0.gt.txt").write_text("ab")
    assert module.run(config, out, False).read_bytes() == before
    assert dump_config(config)


def test_an_interrupted_import_begins_anew_with_other_images(tmp_path):
    root = lines(tmp_path / "data")
    keys = [importing._Job(read(root), 0, "png", None).key]
    os.utime(root / "train" / "1.png", (1, 1))
    keys.append(importing._Job(read(root), 0, "png", None).key)
    assert keys[0] != keys[1]


@pytest.mark.parametrize("kind", ["page", "iam"])
def test_outlines_count_as_data(tmp_path, kind):
    root = tmp_path / "data"
    root.mkdir()
    (miniatures.page_xml if kind == "page" else miniatures.iam_xml)(root)
    identity.check(tmp_path, {"data": read(root)}, {}, False)
    identity.check(tmp_path, {"data": read(root)}, {}, True)
    sheet = next(root.rglob("*.xml"))
    at = sheet.stat().st_mtime_ns
    changed = re.sub(r'(points="|cmp x=")\d', r"\g<1>1", sheet.read_text(encoding="utf-8"), count=1)
    sheet.write_text(changed, encoding="utf-8")
    os.utime(sheet, ns=(at + 1, at + 1))
    with pytest.raises(UserError, match="have changed"):
        identity.check(tmp_path, {"data": read(root)}, {}, True)
