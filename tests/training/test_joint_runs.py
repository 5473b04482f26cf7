"""Fine-tuning with an objective on unlabelled images beside CTC: what learns, what is saved, and that it resumes."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from htr_ssl import model_file
from htr_ssl.config import AugmentConfig, FinetuneConfig
from htr_ssl.data.loading import collate
from htr_ssl.encoders import crnn
from htr_ssl.errors import UserError
from htr_ssl.methods import byol
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.training import finetune, module, profile
from htr_ssl.views.augment import TextAugment

DATA = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 120, "hands": 12}}
TRAIN = {"steps": 9, "batch_size": 4, "check_every": 3, "threads": 1, "lr": 1e-3, "precision": "32", "device": "cpu"}
BESIDE = {"method": {"name": "byol"}, "scope": "backbone", "batch_size": 6}
STILL = AugmentConfig(**dict.fromkeys(AugmentConfig.model_fields, 0.0))


def config(**changes):
    return FinetuneConfig(**{"data": DATA, "train": TRAIN, "joint": BESIDE, "fraction": 0.2} | changes)


def weights(path):
    return {name: value.numpy().tobytes() for name, value in model_file.read(path)[1].items()}


class Killed(Exception):
    pass


def test_a_run_resumes_to_the_same_weights_and_saves_the_recognizer_alone(tmp_path):
    from lightning.pytorch import Callback

    class Stop(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            if trainer.global_step == 7:
                raise Killed

    whole = finetune.run(config(), tmp_path / "whole", progress=False)
    with pytest.raises(Killed):
        finetune.run(config(), tmp_path / "cut", progress=False, callbacks=[Stop()])
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    assert weights(finetune.run(config(), tmp_path / "cut", progress=False)) == weights(whole)
    assert all(name.startswith(("encoder.", "head.", "shortcut.")) for name in weights(whole))
    with open(tmp_path / "whole" / "metrics.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["step"] for row in rows] == ["3", "6", "9"]
    for row in rows:
        assert np.isfinite([float(row[name]) for name in ("loss", "ctc", "method.loss", "val_cer")]).all()
    alone = finetune.run(config(joint=None), tmp_path / "alone", progress=False)
    assert weights(alone) != weights(whole)
    assert model_file.read_header(whole)["method"] == "supervised+joint byol"


def test_the_loss_is_the_sum_and_both_teach_the_encoder():
    torch.manual_seed(0)
    encoder = crnn.Encoder(crnn.Config(dropout=0.0), 32, 1)
    recognizer = Recognizer(encoder, 5)
    method = byol.Method(byol.Config(), encoder)
    task = module.JointTask(module.Labelled(recognizer, TextAugment(STILL), 0.0), method, 0.25)
    random = np.random.default_rng(0)
    strips = [random.integers(0, 256, (32, width, 1), dtype=np.uint8) for width in (80, 96, 120)]
    batch = collate(strips[:2], [0, 1], [[1, 2], [3]])
    batch.beside = collate(strips, [0, 1, 2])

    def gradients(loss):
        encoder.zero_grad()
        loss.backward()
        return [p.grad.clone() for p in encoder.backbone.parameters() if p.grad is not None]

    generator = torch.Generator
    both = task.eval()(batch, generator().manual_seed(1), 0.0)
    labelled = task.labelled(batch, generator().manual_seed(1), 0.0)
    state = generator().manual_seed(1)
    task.labelled(batch, state, 0.0)  # draws first
    other = method(batch.beside.images(), state)
    torch.testing.assert_close(both["loss"], labelled["loss"] + 0.25 * other["loss"])
    parts = zip(gradients(labelled["loss"]), gradients(0.25 * other["loss"]), strict=True)
    for one, (a, b) in zip(gradients(both["loss"]), parts, strict=True):
        torch.testing.assert_close(one, a + b, rtol=1e-4, atol=1e-6)


def test_the_target_of_a_method_follows_the_shared_encoder(tmp_path, monkeypatch):
    seen = []
    after = byol.Method.after_step
    monkeypatch.setattr(
        byol.Method, "after_step", lambda self, progress: (seen.append(progress), after(self, progress))
    )
    finetune.run(config(), tmp_path, progress=False)
    assert seen == pytest.approx([step / 9 for step in range(1, 10)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probe": "linear"}, "joint: its objective trains the encoder"),
        ({"head_warmup": 0.1}, "joint: its objective trains the encoder"),
        ({"joint": {**BESIDE, "data": {**DATA, "height": 40}}}, "joint.data: its images are of another height"),
    ],
)
def test_what_cannot_be_learnt_together_is_refused(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        finetune.run(config(**change), tmp_path, progress=False)


def test_the_profile_counts_both_kinds_of_images(tmp_path):
    result = profile.run(config(), tmp_path, steps=3)
    assert result["loader"]["images"] > 60
    assert json.loads((tmp_path / "profile.json").read_text())["steps"] == 3


def test_all_train_images_are_seen_unless_others_are_named(tmp_path, monkeypatch):
    from htr_ssl.data import pairs

    seen = []
    take = pairs.PairedStrips.__getitem__

    def watched(self, positions):
        batch = take(self, positions)
        seen.append((len(batch.widths), len(batch.beside.widths), batch.beside.indices.tolist()))
        return batch

    monkeypatch.setattr(pairs.PairedStrips, "__getitem__", watched)
    finetune.run(config(train=TRAIN | {"steps": 18}), tmp_path, progress=False)
    assert {(labelled, unlabelled) for labelled, unlabelled, _ in seen} == {(4, 6)}
    assert (
        len({index for _, _, indices in seen for index in indices}) > 60
    )  # the labels are a fifth of the train images


@pytest.mark.slow
def test_two_processes_share_both_kinds_of_images(tmp_path):
    """What is not random is the same as in one process: CTC, and nearly a loss that looks across all images."""
    value = {
        "data": DATA,
        "encoder": {"name": "vit_strips", "dropout": 0},
        "augment": STILL.model_dump(),
        "train": TRAIN | {"steps": 2, "check_every": 1, "lr": 1e-9, "batch_size": 5},
        "joint": {"method": {"name": "simclr"}, "batch_size": 7, "weight": 0.5},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(value))
    command = [sys.executable, "-m", "htr_ssl", "finetune", str(tmp_path / "config.yaml"), "train.devices=2", "--quiet"]
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("SLURM", "MASTER"))}
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "two")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    finetune.run(FinetuneConfig(**value), tmp_path / "one", progress=False)
    with open(tmp_path / "one" / "metrics.csv", newline="") as one, open(tmp_path / "two" / "metrics.csv") as two:
        for mine, theirs in zip(csv.DictReader(one), csv.DictReader(two), strict=True):
            assert float(theirs["ctc"]) == pytest.approx(float(mine["ctc"]), rel=1e-4)
            assert float(theirs["val_cer"]) == pytest.approx(float(mine["val_cer"]))
            # Views are drawn by each process, so that only the negatives' number is alike.
            assert float(theirs["method.loss"]) == pytest.approx(float(mine["method.loss"]), rel=0.1)
