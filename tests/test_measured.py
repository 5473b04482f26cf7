"""What is timed is chosen once and kept; cores that other programs keep busy are left to them."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import torch
from lightning.pytorch import Callback

from htr_ssl import environment, model_file
from htr_ssl.config import FinetuneConfig, TrainConfig
from htr_ssl.measured import number, threads, timing
from htr_ssl.training import finetune

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
HEADER = {"encoder": {"name": "crnn", "preset": "small", "dropout": 0.1}, "height": 32, "channels": 1}
CPU = torch.device("cpu")
FAST, SLOW = {"32": 20.0, "bf16": 40.0}, {"32": 40.0, "bf16": 42.0}


@pytest.fixture(autouse=True)
def measuring(monkeypatch, tmp_path):
    monkeypatch.setenv("HTR_SSL_MEASURE", "1")
    monkeypatch.setenv("HTR_SSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(environment, "isa", lambda: ["avx2", "avx512", "avx512_bf16"])


@pytest.fixture
def timer(monkeypatch):
    """A clock by which each work has the speed [images/s] of its name, and the names that were timed."""
    speeds, timed = dict(FAST), []

    def best(works, rounds, limit, clock=None):
        timed.extend(works)
        return {name: (16 if isinstance(name, str) else 8) / speeds[name] for name in works}

    monkeypatch.setattr(timing, "best", best)
    return speeds, timed


@pytest.fixture
def machine(monkeypatch):
    """A computer of eight cores, so many of them free, that counts threads instead of starting them."""
    state = {"free": 8, "threads": 8}
    monkeypatch.setattr(environment, "cores", lambda: 8)
    monkeypatch.setattr(threads, "free", lambda most: min(most, state["free"]))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: state.update(threads=count))
    monkeypatch.setattr(torch, "get_num_threads", lambda: state["threads"])
    return state


@pytest.mark.parametrize(("speeds", "wanted"), [(FAST, "bf16"), (SLOW, "32"), ({"32": 32.0, "bf16": 45.0}, "bf16")])
def test_bfloat16_must_be_clearly_faster(timer, speeds, wanted):
    timer[0].update(speeds)
    chosen, why = number.choose(HEADER, CPU, True)
    assert chosen == wanted
    assert f"{speeds[wanted]:.0f} against" in why


def test_it_is_measured_once_for_training_and_once_for_reading(timer):
    speeds, timed = timer
    for _ in range(3):
        assert number.choose(HEADER, CPU, True)[0] == "bf16"
    speeds.update(SLOW)  # a busy moment later changes nothing
    assert number.choose(HEADER, CPU, True)[0] == "bf16"
    assert number.choose(HEADER, CPU, False)[0] == "32"
    assert number.choose(HEADER | {"height": 40}, CPU, True)[0] == "32"
    assert timed == ["32", "bf16"] * 3


@pytest.mark.parametrize("training", [True, False])
def test_what_is_timed_is_a_batch_of_a_training(timer, monkeypatch, training):
    sizes = []  # AMX needs more than four images to be faster

    @contextmanager
    def step(network, images, training):
        sizes.append(images)
        yield lambda bf16: None

    monkeypatch.setattr(timing, "step", step)
    number.choose(HEADER, CPU, training)
    assert sizes == [TrainConfig().batch_size]


@pytest.mark.parametrize("damage", [b"", b"{", b"[1]", b'{"a": 3}'])
def test_a_damaged_cache_is_measured_anew(timer, damage, tmp_path):
    number.choose(HEADER, CPU, True)
    (tmp_path / "cache" / "precision.json").write_bytes(damage)
    assert number.choose(HEADER, CPU, True)[0] == "bf16"
    assert timer[1] == ["32", "bf16"] * 2


def test_without_a_place_to_remember_it_is_measured_all_the_same(timer, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HTR_SSL_CACHE", str(tmp_path / "file"))
    assert number.choose(HEADER, CPU, True)[0] == "bf16"


def test_a_processor_without_the_instructions_is_not_measured(timer, monkeypatch):
    monkeypatch.setattr(environment, "isa", lambda: ["avx2"])
    assert number.choose(HEADER, CPU, True)[0] == "32"
    assert not timer[1]


@pytest.mark.parametrize("training", [True, False])
def test_the_network_itself_is_timed_and_random_numbers_stay_as_they_were(training, tmp_path):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    number.choose(HEADER, CPU, training)
    ((speeds,),) = [json.loads(path.read_text()).values() for path in (tmp_path / "cache").glob("*.json")]
    assert speeds.keys() == {"32", "bf16"}
    assert min(speeds.values()) > 0
    assert torch.equal(torch.get_rng_state(), before)


def test_the_shortest_of_some_rounds_counts_and_the_last_one_is_over_in_time(monkeypatch):
    clock = iter([3.0, 1.0, 2.0, 0.5, 9.0, 0.7])
    monkeypatch.setattr(timing, "seconds", lambda work, _: next(clock))
    assert timing.best({"a": print, "b": print}, 5, 6.0) == {"a": 2.0, "b": 0.5}  # two rounds are 6.5 seconds


@pytest.mark.parametrize(
    ("speeds", "free", "wanted", "looked_at"),
    [
        ({1: 10, 2: 19, 4: 30, 8: 31}, 8, 4, [1, 2, 4, 8]),
        ({1: 10, 2: 19, 4: 36, 8: 70}, 8, 8, [1, 2, 4, 8]),
        ({1: 10, 2: 6, 4: 90, 8: 90}, 8, 1, [1, 2]),  # the first step that gains nothing is the last
        ({1: 10, 2: 19, 4: 30, 5: 38}, 5, 5, [1, 2, 4, 5]),
        ({}, 1, 1, []),  # nothing is timed beside busy cores
    ],
)
def test_as_many_threads_as_the_step_gains_from(timer, machine, speeds, free, wanted, looked_at):
    timer[0].update(speeds)
    machine["free"] = free
    chosen, why = threads.choose(HEADER, False, 8)
    assert (chosen, timer[1]) == (wanted, looked_at)
    assert threads.choose(HEADER, False, 8)[0] == wanted
    assert timer[1] == looked_at  # remembered
    assert all(f"{speeds[count]} with {count}" in why for count in looked_at)
    assert ("free" in why) == (free < 8)


def test_a_busy_moment_is_not_remembered(timer, machine, monkeypatch, tmp_path):
    answers = iter([2, 1, 2, 2])
    monkeypatch.setattr(threads, "free", lambda most: next(answers))
    timer[0].update({1: 10, 2: 3})
    assert threads.choose(HEADER, False, 2)[0] == 1  # another program came while it was timed
    timer[0].update({2: 19})
    assert threads.choose(HEADER, False, 2)[0] == 2
    assert len(json.loads((tmp_path / "cache" / "threads.json").read_text())) == 1


def test_nothing_is_measured_if_that_is_turned_off(timer, machine, monkeypatch):
    monkeypatch.setenv("HTR_SSL_MEASURE", "0")
    machine["free"] = 1
    assert threads.choose(HEADER, False, 8) == (8, "8 cores")
    assert not timer[1]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not assign processors")
def test_threads_on_one_core_get_one_core():
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        "from htr_ssl.measured import threads; print(threads.free(1), threads.free(2), threads.free(5))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["1", "1", "1"]


class Trained(Callback):
    """Threads while it trains."""

    def on_train_start(self, trainer, module):
        self.threads = torch.get_num_threads()


def test_a_run_keeps_what_was_chosen(timer, machine, tmp_path, monkeypatch):
    speeds, _ = timer
    speeds.update(SLOW | {1: 10, 2: 19, 4: 20})
    data = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 40, "hands": 5}}
    train = {"steps": 4, "batch_size": 8, "check_every": 2, "device": "cpu"}

    def run(out):
        for name in ("summary.json", "model.safetensors"):
            (out / name).unlink(missing_ok=True)
        seen = Trained()
        path = finetune.run(FinetuneConfig(data=data, train=train), out, False, [seen])
        summary = json.loads((out / "summary.json").read_text())
        assert machine["threads"] == environment.cores()  # again
        assert summary["device_seconds"] == pytest.approx(summary["seconds"] * summary["threads"], abs=0.1)
        assert getattr(seen, "threads", summary["threads"]) == summary["threads"]
        return model_file.read(path)[1], summary["choices"] | {"count": summary["threads"]}

    first, said = run(tmp_path / "a")
    assert said["precision"].startswith("32: measured 40 against 42")
    assert said["count"] == 2
    assert said["threads"] == "2: measured images a second and threads: 10 with 1, 19 with 2, 20 with 4"
    speeds.update(FAST | {4: 38, 8: 39})
    for file in (tmp_path / "cache").glob("*.json"):
        file.unlink()
    again, same = run(tmp_path / "a")
    assert same == said
    assert all(torch.equal(first[name], again[name]) for name in first)
    _, said = run(tmp_path / "b")
    assert said["precision"].startswith("bf16: measured 40 against 20")
    assert said["count"] == 4
    monkeypatch.setattr(environment, "cores", lambda: 2)  # another machine
    machine["free"] = 2
    _, said = run(tmp_path / "b")
    assert said["count"] == 2
    assert said["precision"].startswith("bf16")


@pytest.mark.skipif(sys.platform == "win32", reason="the system does not tell a thread's time finely")
def test_what_others_take_meanwhile_does_not_count():
    took = timing.best({"waits": lambda: time.sleep(0.2)}, 2, 1.0, timing.ALONE)
    assert took["waits"] < 0.1
