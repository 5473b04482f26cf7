"""The profile of a training: each part's time counts where it belongs, and timing changes nothing."""

import importlib.util
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from htr_ssl import model_file
from htr_ssl.cli import main
from htr_ssl.config import FinetuneConfig, PretrainConfig
from htr_ssl.data import loading
from htr_ssl.text import ctc
from htr_ssl.training import finetune, pretrain, profile
from htr_ssl.training._stopwatch import STAGES, Stopwatch
from htr_ssl.views.augment import TextAugment

DATA = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 60, "hands": 5}}
TRAIN = {"steps": 500, "batch_size": 4, "threads": 1, "device": "cpu", "ema": 0.9}


def finetuning(**train):
    return FinetuneConfig(data=DATA, train=TRAIN | train)


def slowed(monkeypatch, owner, name, seconds):
    original = getattr(owner, name)

    def slow(*arguments, **named):
        time.sleep(seconds)
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, slow)


def test_a_delay_is_found_where_it_was_put(tmp_path, monkeypatch):
    slowed(monkeypatch, loading.Strips, "__getitem__", 0.08)  # wait
    slowed(monkeypatch, TextAugment, "__call__", 0.12)  # augment
    slowed(monkeypatch, ctc, "loss", 0.04)  # forward, twice: head and shortcut
    slowed(monkeypatch, torch.Tensor, "backward", 0.1)  # backward
    slowed(monkeypatch, torch.optim.swa_utils.AveragedModel, "update_parameters", 0.06)  # optimiser
    result = profile.run(finetuning(optimiser="adamw"), tmp_path, steps=3)
    found = {name: min(step[name] for step in result["per_step_ms"]) for name in STAGES}
    delays = {"wait": 80, "augment": 120, "forward": 80, "backward": 100, "optimiser": 60, "transfer": 0, "other": 0}
    assert {name: ms for name, ms in found.items() if not delays[name] <= ms < delays[name] + 55} == {}
    assert result["loader_share"] > profile.LIMIT
    assert "holds the training up" in profile.verdict(result)
    assert profile.verdict({"loader_share": 0.049}).endswith("(below 5 %: the loader is not the bottleneck)")


def test_the_views_of_a_joint_embedding_method_are_augmentation(tmp_path, monkeypatch):
    slowed(monkeypatch, TextAugment, "__call__", 0.05)  # one for each view
    config = PretrainConfig(data=DATA, method={"name": "byol"}, train=TRAIN)
    result = profile.run(config, tmp_path, steps=2)
    assert 100 <= result["stages"]["augment"]["ms"] < 200


def test_parts_add_up_to_the_step(tmp_path):
    result = profile.run(PretrainConfig(data=DATA, train=TRAIN), tmp_path, steps=3)
    assert result == json.loads((tmp_path / "profile.json").read_text())
    assert len(result["per_step_ms"]) == 1 + result["steps"] == 4
    for step in result["per_step_ms"]:
        assert sum(step[name] for name in STAGES) == pytest.approx(step["total"], abs=0.1)
    assert sum(stage["share"] for stage in result["stages"].values()) == pytest.approx(1, abs=0.01)
    assert result["images_per_second"] == pytest.approx(4000 / result["step_ms"], rel=0.01)
    assert result["stages"]["decode"]["ms"] == 0 < result["loader"]["decode_ms"]
    assert 0 <= result["rounding"] < result["padding"] < 1
    assert result["peak_rss_mb"] > 100
    assert Image.open(tmp_path / "profile.png").size[0] > 500


@pytest.mark.parametrize("workers", [0, 1])
def test_images_that_do_not_fit_into_memory(tmp_path, monkeypatch, workers):
    """They are decoded between the steps, or beside them where there are loader processes."""
    defaults = loading.Strips.__init__.__defaults__
    monkeypatch.setattr(loading.Strips.__init__, "__defaults__", (0, *defaults[1:]))
    result = profile.run(finetuning(workers=workers), tmp_path, steps=2)
    assert result["loader"]["place"] == "source"
    assert result["loader"]["workers"] == workers
    assert (result["stages"]["decode"]["ms"] > 0) == (workers == 0)


def test_timing_changes_nothing(tmp_path):
    config = PretrainConfig(data=DATA, train=TRAIN | {"steps": 3}, method={"name": "simclr"})
    watch = Stopwatch(100)
    plain = model_file.read(pretrain.run(config, tmp_path / "plain", progress=False))[1]
    timed = model_file.read(pretrain.run(config, tmp_path / "timed", progress=False, callbacks=[watch]))[1]
    assert len(watch.steps) == 3
    assert all(torch.equal(plain[name], timed[name]) for name in plain)


def test_command(tmp_path, monkeypatch, capsys):
    def call(config, *arguments):
        (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
        monkeypatch.setattr(sys, "argv", ["htr-ssl", "profile", "c.yaml", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code or 0, capsys.readouterr()

    monkeypatch.chdir(tmp_path)
    code, printed = call({"name": "mine", "data": DATA, "train": TRAIN}, 'train.precision="32"', "--steps", "2")
    assert code == 0, printed.err
    assert re.search(r"^loader: \d+\.\d % of the time \(", printed.out, re.MULTILINE)
    assert "32: as configured" in printed.out
    assert {path.name for path in (tmp_path / "runs" / "mine").rglob("*")} == {"profile", "profile.json", "profile.png"}
    code, printed = call({"rows": {"supervised": []}})
    assert code == 2
    assert "table" in printed.err


def test_a_bad_training_is_refused_like_by_the_training(tmp_path):
    config = FinetuneConfig(data=DATA | {"synthetic": {"samples": 60}}, train=TRAIN, init=str(tmp_path / "no"))
    with pytest.raises(Exception, match="no") as plain:
        finetune.run(config, tmp_path / "run", progress=False)
    with pytest.raises(type(plain.value), match="no"):
        profile.run(config, tmp_path / "profile", steps=2)
    assert not (tmp_path / "profile").exists()


@pytest.mark.parametrize(("piece", "code"), [(2_000_000, 1), (0, 0)])
def test_growing_memory_is_found(tmp_path, monkeypatch, piece, code):
    """`benchmarks/speed/memory.py` follows a process that takes 2 MB every 50 ms, and one that takes none."""
    path = Path(__file__).parents[2] / "benchmarks" / "speed" / "memory.py"
    spec = importlib.util.spec_from_file_location("memory", path)
    memory = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(memory)
    script = f"import time\nkept = []\nwhile True: kept.append(b'x' * {piece}); time.sleep(0.05)"
    process = subprocess.Popen([sys.executable, "-c", script])
    try:
        options = f"--pid {process.pid} --minutes 0.025 --every 0.1 --limit 10 --out {tmp_path}"
        monkeypatch.setattr(sys, "argv", ["memory.py", *options.split()])
        assert memory.main() == code
    finally:
        process.kill()
        process.wait()
    result = json.loads((tmp_path / "memory.json").read_text())
    assert 600 < result["slope_mb_per_minute"] < 2500 if piece else abs(result["growth_mb"]) < 5
    assert len((tmp_path / "memory.csv").read_text().splitlines()) == result["readings"] + 1
    assert Image.open(tmp_path / "memory.png").size[0] > 500
