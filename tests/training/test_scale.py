"""Two processes train as one does on the joined batch; every batch is shared out whole."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from htr_ssl import model_file
from htr_ssl.data.loading import StepSampler, sorted_batches

CONFIG = """
data: {source: synthetic, height: 32, level: word, synthetic: {samples: 60, hands: 4}}
encoder: {name: vit_strips, dropout: 0}
augment: {slant: 0, stretch: 0, scale: 0, shift: 0, rotate: 0, elastic: 0, stroke: 0, contrast: 0, blur: 0, noise: 0,
  mask: 0}
train: {steps: 6, batch_size: 7, check_every: 3, device: cpu, threads: 1, precision: '32'}
"""


@pytest.mark.parametrize("world", [2, 3])
def test_every_batch_is_shared_out_whole(world):
    widths = np.random.default_rng(0).integers(20, 300, 50)
    whole = list(StepSampler(widths, 8, 0, 12, 12))
    shares = [list(StepSampler(widths, 8, 0, 12, 12, rank, world)) for rank in range(world)]
    for step, batch in enumerate(whole):
        assert sorted(batch) == sorted(position for share in shares for position in share[step])
    checked = [
        position for rank in range(world) for batch in sorted_batches(widths, 8, rank, world) for position in batch
    ]
    assert set(checked) == set(range(50))


def test_two_processes_train_as_one(tmp_path):
    (tmp_path / "c.yaml").write_text(CONFIG, encoding="utf-8")
    logs, weights = [], []
    for devices in (1, 2):
        command = [sys.executable, "-m", "htr_ssl", "finetune", "c.yaml", "--out", f"d{devices}"]
        run = subprocess.run(
            [*command, f"train.devices={devices}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        logs.append(list(csv.DictReader((tmp_path / f"d{devices}" / "metrics.csv").open(encoding="utf-8"))))
        weights.append(model_file.read(tmp_path / f"d{devices}" / "model.safetensors")[1])
    # 7 images are 4 and 3: the gradients have to be weighted to be those of the joined batch.
    for one, two in zip(*logs, strict=True):
        assert float(two["loss"]) == pytest.approx(float(one["loss"]), rel=1e-3)
        assert float(two["val_cer"]) == pytest.approx(float(one["val_cer"]), abs=0.01)
    for name, value in weights[0].items():
        np.testing.assert_allclose(weights[1][name], value, atol=2e-3, err_msg=name)
