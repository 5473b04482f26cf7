"""Several processes train the model that one process trains, stop together and go on; what a run chose is said."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from itertools import zip_longest

import pytest
import torch
import yaml

from htr_ssl import environment, model_file
from htr_ssl.config import FinetuneConfig, TrainConfig
from htr_ssl.data.sampling import StepSampler, sorted_batches
from htr_ssl.errors import UserError
from htr_ssl.measured import number
from htr_ssl.training import callbacks, choices, distributed, finetune

STILL = dict.fromkeys(
    ("slant", "stretch", "scale", "shift", "rotate", "elastic", "stroke", "contrast", "blur", "noise", "mask"), 0
)
CONFIG = {
    "data": {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 100, "hands": 10}},
    "encoder": {"name": "vit_strips", "dropout": 0},  # without batch norm, whose statistics are those of a share
    "augment": STILL,
    "train": {"steps": 32, "batch_size": 9, "check_every": 4, "threads": 1, "precision": "32", "device": "cpu"}
    | {"lr": 5e-4, "ema": 0.9},
}


def log(folder):
    with open(folder / "metrics.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def start(folder, *words):
    command = [sys.executable, "-m", "htr_ssl", "finetune", str(folder / "config.yaml"), *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "MASTER"))}
    return subprocess.Popen(
        [*command, "--out", str(folder / "two"), "--quiet"],
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.slow
def test_two_processes_stop_go_on_and_end_with_the_weights_of_one(tmp_path):
    one = finetune.run(FinetuneConfig(**CONFIG), tmp_path / "one", progress=False)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(CONFIG))
    process = start(tmp_path, "train.devices=2")
    while process.poll() is None and not (tmp_path / "two" / "checkpoints" / "last.ckpt").exists():
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)  # ends only when the second process has closed its output too
    assert process.returncode == 130, errors
    assert errors.count("goes on") == 1
    assert not output
    stopped = len(log(tmp_path / "two"))
    assert 1 <= stopped < 8

    again = start(tmp_path, "train.devices=2")
    output, errors = again.communicate(timeout=300)
    assert again.returncode == 0, errors
    assert output.split() == [str(tmp_path / "two" / "model.safetensors")]
    rows = log(tmp_path / "two")
    for mine, theirs in zip_longest(log(tmp_path / "one"), rows):
        assert mine["step"] == theirs["step"]
        for name in ("loss", "ctc", "val_cer", "val_exact", "val_empty"):
            assert float(theirs[name]) == pytest.approx(float(mine[name]), rel=1e-4), (mine["step"], name)
    expected, found = model_file.read(one)[1], model_file.read(tmp_path / "two" / "model.safetensors")[1]
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4, msg=name)
    states = [torch.load(tmp_path / run / "checkpoints" / "last.ckpt", weights_only=True) for run in ("one", "two")]
    for name, value in states[0]["state_dict"].items():
        torch.testing.assert_close(states[1]["state_dict"][name], value, rtol=0, atol=1e-4, msg=name)
    assert not list(tmp_path.rglob("*.tmp"))
    summary = json.loads((tmp_path / "two" / "summary.json").read_text())
    assert summary["choices"]["devices"].startswith("2 × cpu")


@pytest.mark.parametrize(("size", "world"), [(9, 2), (8, 3), (4, 4)])
def test_shares_are_the_batches_of_one_process(size, world):
    widths = [(37 * i) % 101 + 8 for i in range(50)]
    whole = list(StepSampler(widths, size, 3, 20, 20))
    shares = [list(StepSampler(widths, size, 3, 20, 20, rank, world)) for rank in range(world)]
    assert any(batch != sorted(batch) for batch in whole)
    for step, batch in enumerate(whole):
        rows = zip_longest(*(share[step] for share in shares))
        assert [position for row in rows for position in row if position is not None] == batch
    for count in (50, size, 1):
        dealt = [sorted_batches(widths[:count], size, rank, world) for rank in range(world)]
        assert {position for share in dealt for batch in share for position in batch} == set(range(count))
        assert all(dealt), "a process without validation images would wait for ever"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "cpu", "batch_size": 1, "devices": 2}, "batch_size=1 is less than an image for each of 2"),
        ({"device": "cuda:0", "devices": 2}, r"cuda:0 is one device, train\.devices=2"),
        ({"device": "cuda", "devices": 4096}, r"train\.devices=4096, but there are \d+ GPUs"),
    ],
)
def test_what_cannot_run_is_refused(change, message):
    config = TrainConfig(**change)
    with pytest.raises(UserError, match=message):
        distributed.check(config, torch.device(config.device))


def test_a_launcher_with_another_number_of_processes_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"started 4 process\(es\).* is 2; make them equal"):
        distributed.check(TrainConfig(devices=2), torch.device("cpu"))
    distributed.check(TrainConfig(devices=2, num_nodes=2), torch.device("cpu"))


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, 0),
        ({"LOCAL_RANK": "1"}, 1),
        ({"LOCAL_RANK": "1", "NODE_RANK": "2"}, 9),
        ({"RANK": "5", "LOCAL_RANK": "1"}, 5),
        ({"SLURM_NTASKS": "12", "SLURM_JOB_NAME": "train", "SLURM_PROCID": "7"}, 7),
    ],
)
def test_which_process_this_is(monkeypatch, variables, expected):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_NTASKS", "SLURM_JOB_NAME", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert distributed.rank(TrainConfig(devices=4, num_nodes=3)) == expected
    assert distributed.rank(TrainConfig()) == 0


def test_choices_are_said_with_their_reason_once_unless_quiet(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(callbacks.Bar, "_said_choices", {})
    config = FinetuneConfig(**CONFIG | {"train": CONFIG["train"] | {"steps": 1, "precision": "auto"}})
    finetune.run(config, tmp_path / "quiet", progress=False)
    assert "precision" not in capsys.readouterr().err
    finetune.run(config, tmp_path / "loud", progress=True)
    said = " ".join(capsys.readouterr().err.split())
    summary = json.loads((tmp_path / "loud" / "summary.json").read_text())
    assert set(summary["choices"]) == {"precision", "workers", "threads", "devices"}
    for name, choice in summary["choices"].items():
        assert f"{name} {choice}" in said
    assert summary["choices"]["workers"] == "0: the images fit in memory"
    finetune.run(config, tmp_path / "again", progress=True)
    assert "workers" not in capsys.readouterr().err


def test_precision_follows_the_processor(monkeypatch):
    cpu = torch.device("cpu")
    for features, wanted in ((["avx2"], "32"), (["avx2", "avx512", "avx512_bf16"], "bf16"), (["amx_bf16"], "bf16")):
        monkeypatch.setattr(environment, "isa", lambda features=features: features)
        chosen, why = number.choose({}, cpu, training=True)
        assert chosen == wanted
        assert why.startswith("the CPU computes")
        assert ("natively" in why) == (wanted == "bf16")
        assert environment.precision("auto", cpu).startswith(wanted)
    monkeypatch.undo()
    assert set(environment.isa()) <= {"avx2", "avx512", "avx512_bf16", "amx_bf16"}
    assert all(name in environment.hardware() for name in environment.isa())


def test_bfloat16_that_is_only_emulated_is_said_to_be_slow(monkeypatch):
    asked = TrainConfig(precision="bf16")
    for features, slow in ((["avx2", "avx512"], True), (["avx512_bf16"], False)):
        monkeypatch.setattr(environment, "isa", lambda features=features: features)
        chosen, why = choices.precision(asked, torch.device("cpu"), {}, None, False)
        assert chosen == "bf16"
        assert ("train.precision=auto" in why) == slow
    assert choices.precision(TrainConfig(precision="32"), torch.device("cpu"), {}, None, False)[1] == "as configured"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not assign processors")
def test_a_process_uses_the_processors_that_it_was_given():
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from htr_ssl.config import TrainConfig\n"
        "from htr_ssl.training import choices\n"
        "print(choices.most_threads(TrainConfig(device='cpu')), choices.workers(TrainConfig(), 'source'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def test_processes_of_a_machine_share_its_processors_unless_each_has_its_own(monkeypatch):
    config = TrainConfig(device="cpu", devices=4)
    monkeypatch.setattr(environment, "cores", lambda: 8)
    for name in ("SLURM_CPUS_PER_TASK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert (choices.most_threads(config), choices.workers(config, "source")) == (2, 1)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")  # by srun
    assert (choices.most_threads(config), choices.workers(config, "source")) == (8, 7)
    monkeypatch.setenv("LOCAL_RANK", "0")  # by torchrun, inside a task of SLURM
    assert (choices.most_threads(config), choices.workers(config, "source")) == (2, 1)
