"""Runs through the public interface: they learn, resume to the same weights after any kill, and refuse bad input."""

import contextlib
import csv
import json
import signal
import time

import numpy as np
import pytest
import torch
import yaml
from children import Child, command
from lightning.pytorch import Callback

from htr_ssl import model_file
from htr_ssl.config import FinetuneConfig, PluginConfig, PretrainConfig
from htr_ssl.config.yaml_files import load_config
from htr_ssl.errors import UserError
from htr_ssl.experiments.evaluate import evaluate
from htr_ssl.recognizers.reader import Reader
from htr_ssl.training import finetune, pretrain

DATA = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 200, "hands": 20}}
TRAIN = {"steps": 12, "batch_size": 8, "check_every": 3, "threads": 1, "lr": 2e-3}


def weights(path):
    return {name: value.numpy().tobytes() for name, value in model_file.read(path)[1].items()}


def log(folder):
    with open(folder / "metrics.csv", newline="") as handle:
        return list(csv.DictReader(handle))


def pretraining(**changes):
    return PretrainConfig(**{"data": DATA, "train": TRAIN, "method": {"name": "masked_image"}} | changes)


def finetuning(**changes):
    return FinetuneConfig(**{"data": DATA, "train": TRAIN} | changes)


def test_run_folder_is_complete_and_a_second_call_does_nothing(tmp_path):
    path = pretrain.run(pretraining(), tmp_path, progress=False)
    assert [int(row["step"]) for row in log(tmp_path)] == [3, 6, 9, 12]
    assert {"config.yaml", "env.json", "metrics.csv", "summary.json", "encoder.safetensors"} <= {
        entry.name for entry in tmp_path.iterdir()
    }
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["steps"] == 12
    assert 0 <= summary["loader_share"] < 1
    before = path.stat().st_mtime_ns
    assert pretrain.run(pretraining(), tmp_path, progress=False) == path
    assert path.stat().st_mtime_ns == before
    with pytest.raises(UserError, match="another configuration"):
        pretrain.run(pretraining(seed=1), tmp_path, progress=False)


@pytest.mark.filterwarnings("ignore:.*collapsed")
def test_a_run_from_before_muon_goes_on_with_adamw(tmp_path):
    old = pretraining(train=TRAIN | {"optimiser": "adamw"})
    path = pretrain.run(old, tmp_path, progress=False)
    stored = (tmp_path / "config.yaml").read_text()
    assert "optimiser: adamw, " in stored
    (tmp_path / "config.yaml").write_text(stored.replace("optimiser: adamw, ", ""))
    with pytest.raises(UserError, match="another configuration"):
        pretrain.run(pretraining(), tmp_path, progress=False)
    assert pretrain.run(old, tmp_path, progress=False) == path


@pytest.mark.filterwarnings("ignore:.*collapsed")
def test_a_run_that_never_began_leaves_its_name_free(tmp_path):
    wrong = pretraining(data=DATA | {"splits": "iam-rwht"})
    with pytest.raises(UserError, match="did you mean 'iam-rwth'"):
        pretrain.run(wrong, tmp_path, progress=False)
    assert pretrain.run(pretraining(), tmp_path, progress=False).exists()


def test_same_seed_same_weights_other_seed_others(tmp_path):
    first, same, other = (
        weights(pretrain.run(pretraining(seed=seed), tmp_path / str(i), progress=False))
        for i, seed in enumerate((0, 0, 1))
    )
    assert first == same != other


def test_scope_says_what_is_handed_on(tmp_path):
    path = pretrain.run(pretraining(scope="backbone"), tmp_path / "p", progress=False)
    names = weights(path)
    assert names
    assert all(name.startswith("encoder.backbone.") for name in names)
    model = finetune.run(finetuning(init=str(path), train=TRAIN | {"lr": 1e-9}), tmp_path / "f", progress=False)
    after = weights(model)
    convolutions = [name for name in names if name.endswith("convolution.weight")]
    assert all(np.allclose(*(np.frombuffer(w[n], np.float32) for w in (names, after)), atol=1e-6) for n in convolutions)


@pytest.mark.parametrize("change", [{"ema": 0.99}, {"patience": 1}, {}])
def test_finetune_learns_and_its_model_reads(tmp_path, change):
    easy = DATA | {"synthetic": {"samples": 300, "hands": 3, "order": 0, "damage": 0.0}}
    steps = TRAIN | {"steps": 60, "check_every": 20, "batch_size": 16} | change
    path = finetune.run(finetuning(data=easy, train=steps), tmp_path / "run", progress=False)
    rows = log(tmp_path / "run")
    assert float(rows[-1]["loss"]) < 0.8 * float(rows[0]["loss"])
    result = evaluate(path, out=tmp_path / "scores")
    assert 0 < result["cer"] <= 1.5
    assert json.loads((tmp_path / "scores" / "result.json").read_text())["n"] == result["n"]
    header = Reader.load(path).header
    assert header["val_cer"] == pytest.approx(min(float(row["val_cer"]) for row in rows), rel=1e-4)
    readings = (tmp_path / "run" / "readings.csv").read_text().splitlines()
    assert len(readings) == 1 + 5 * len(rows)
    everything = evaluate(path, split="all")
    assert everything["n"] == sum(evaluate(path, split=split)["n"] for split in ("train", "validation", "test"))
    assert header["subset_sha256"] in (tmp_path / "run" / "subset.txt").read_text()


def test_reading_does_not_depend_on_the_batch(tmp_path):
    path = finetune.run(finetuning(), tmp_path, progress=False)
    reader = Reader.load(path)
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (int(h), int(w)), dtype=np.uint8) for h, w in random.integers(10, 200, (9, 2))]
    together = reader.read(images, batch_size=9)
    alone = [reader.read([image])[0] for image in images]
    assert [text for text, _ in together] == [text for text, _ in alone]
    assert [c for _, c in together] == pytest.approx([c for _, c in alone], abs=1e-4)


def test_another_charset_is_merged_and_its_characters_keep_their_weights(tmp_path):
    (tmp_path / "a.txt").write_text("abba\nbaab\ncab\n")
    (tmp_path / "b.txt").write_text("bade\ndab\nabed\n")
    data = {
        name: DATA | {"synthetic": {"samples": 100, "text": str(tmp_path / f"{name}.txt"), "order": 0}} for name in "ab"
    }
    still = TRAIN | {"steps": 1, "lr": 1e-12}
    old = finetune.run(finetuning(data=data["a"]), tmp_path / "old", progress=False)
    with pytest.raises(UserError, match="only in the data: 'd' 'e'"):
        finetune.run(finetuning(data=data["b"], init=str(old), charset="fail"), tmp_path / "fail", progress=False)
    for policy, expected in (("new", "abde"), ("union", "abcde")):
        model = finetune.run(
            finetuning(data=data["b"], init=str(old), charset=policy, train=still), tmp_path / policy, progress=False
        )
        header, state = model_file.read(model)
        assert "".join(json.loads(header["charset"])) == expected
        before = model_file.read(old)[1]["head.weight"]
        for letter in "ab":
            torch.testing.assert_close(
                state["head.weight"][expected.index(letter) + 1], before["abc".index(letter) + 1], atol=1e-6, rtol=0
            )
        assert "kept" in json.loads((tmp_path / policy / "summary.json").read_text())["charset"]


def test_test_split_is_never_opened(tmp_path):
    from PIL import Image

    lines = tmp_path / "lines"
    for split, count in (("train", 12), ("validation", 4), ("test", 4)):
        (lines / split).mkdir(parents=True)
        for i in range(count):
            image = lines / split / f"{i}.png"
            if split == "test":
                image.write_bytes(b"opened: fails")
            else:
                Image.fromarray(np.full((40, 120), 200, np.uint8)).save(image)
            image.with_name(f"{i}.gt.txt").write_text("test only ß" if split == "test" else "ab")
    data = DATA | {"source": str(lines), "synthetic": {}}
    path = finetune.run(finetuning(data=data, fraction=0.5), tmp_path / "run", progress=False)
    assert Reader.load(path).charset.characters == ("a", "b")


def test_labels_that_cannot_be_learnt_are_named(tmp_path):
    from PIL import Image

    for i in range(12):
        path = tmp_path / "lines" / ("train" if i < 8 else "validation") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((40, 200), 200, np.uint8)).save(path)
        path.with_name(f"{i}.gt.txt").write_text("short" if i else "much too long for two hundred pixels of width " * 2)
    data = DATA | {"source": str(tmp_path / "lines"), "synthetic": {}}
    with pytest.warns(UserWarning, match="too long for their image"):
        finetune.run(finetuning(data=data, train=TRAIN | {"steps": 1}), tmp_path / "run", progress=False)
    assert "train/0.png: needs 93 frames, its image gives 40" in (tmp_path / "run" / "unlearnable.txt").read_text()
    for i in range(8):
        (tmp_path / "lines" / "train" / f"{i}.gt.txt").write_text(
            "also too long for an image that is as narrow as this one is"
        )
    with pytest.raises(UserError, match=r"every label is too long.*data\.height"):
        finetune.run(finetuning(data=data), tmp_path / "none", progress=False)


def test_bad_starts_are_one_sentence(tmp_path):
    encoder = pretrain.run(pretraining(), tmp_path / "p", progress=False)
    with pytest.raises(UserError, match="without a CTC head"):
        Reader.load(encoder)
    with pytest.raises(UserError, match="height 32, not 48"):
        finetune.run(finetuning(init=str(encoder), data=DATA | {"height": 48}), tmp_path / "h", progress=False)
    with pytest.raises(UserError, match="preset 'small', not 'base'"):
        finetune.run(
            finetuning(init=str(encoder), encoder=PluginConfig(name="crnn", preset="base")),
            tmp_path / "b",
            progress=False,
        )
    short = tmp_path / "short.safetensors"
    short.write_bytes(encoder.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a whole model file"):
        finetune.run(finetuning(init=str(short)), tmp_path / "s", progress=False)
    with pytest.raises(UserError, match="no such model file"):
        finetune.run(finetuning(init=str(tmp_path / "none")), tmp_path / "n", progress=False)


def test_the_encoder_is_that_of_the_start_unless_another_is_asked_for(tmp_path):
    wide = PluginConfig(name="crnn", preset="medium")
    encoder = pretrain.run(pretraining(encoder=wide), tmp_path / "p", progress=False)
    model = finetune.run(finetuning(init=str(encoder)), tmp_path / "f", progress=False)
    assert model_file.read_header(model)["encoder"]["preset"] == "medium"
    written = load_config(tmp_path / "f" / "config.yaml", [], FinetuneConfig)
    assert finetune.run(written, tmp_path / "again", progress=False).is_file()


class Spoils(Callback):
    """Puts something that is no number into the network after a step."""

    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            next(module.best_model().parameters()).data.flatten()[0] = float("nan")


@pytest.mark.parametrize("select", ["validation", "last"])
@pytest.mark.parametrize("step", [5, 6, 12])
def test_a_training_that_diverges_is_an_error_and_leaves_no_model(tmp_path, select, step):
    """Within a round, at its end, and at the very end: what is written before stays, nothing after it is written."""
    with pytest.raises(UserError, match=rf"diverged between steps .* and {6 if step < 7 else 12}: .*train\.lr"):
        finetune.run(finetuning(select=select), tmp_path, progress=False, callbacks=[Spoils(step)])
    assert not (tmp_path / "model.safetensors").exists()
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == (3 if step < 7 else 9)
    assert all(value.isfinite().all() for value in state["state_dict"].values() if value.is_floating_point())
    assert finetune.run(finetuning(select=select), tmp_path, progress=False).exists(), "it goes on from there"


def test_a_pretraining_that_diverges_is_an_error(tmp_path):
    with pytest.raises(UserError, match="diverged between steps 3 and 6"):
        pretrain.run(pretraining(), tmp_path, progress=False, callbacks=[Spoils(4)])
    assert not (tmp_path / "encoder.safetensors").exists()


def test_damaged_checkpoint_says_what_to_do(tmp_path):
    config = pretraining()
    pretrain.run(config, tmp_path, progress=False)
    (tmp_path / "encoder.safetensors").unlink()
    last = tmp_path / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"last\.ckpt: the checkpoint is damaged.*remove it"):
        pretrain.run(config, tmp_path, progress=False)


def test_a_run_of_another_network_does_not_go_on(tmp_path):
    config = pretraining()
    pretrain.run(config, tmp_path, progress=False)
    (tmp_path / "encoder.safetensors").unlink()
    last = tmp_path / "checkpoints" / "last.ckpt"
    state = torch.load(last, weights_only=True)
    del state["state_dict"][next(iter(state["state_dict"]))]
    torch.save(state, last)
    with pytest.raises(UserError, match=r"last\.ckpt: another version of this program.*remove the checkpoint"):
        pretrain.run(config, tmp_path, progress=False)


# Kill and resume ------------------------------------------------------------------------------------------------------


def write_config(folder, name):
    train, short = TRAIN | {"steps": 24}, TRAIN | {"steps": 6}
    content = {
        "pretrain": {"data": DATA, "train": train, "method": {"name": "simclr"}},
        # Long beside what a busy machine may take to notice that the moment to stop it has come.
        "long": {"data": DATA, "train": train | {"steps": 60}, "method": {"name": "rotation"}},
        "finetune": {"data": DATA, "train": train | {"ema": 0.9, "patience": 6}},
        "table": {
            "data": DATA,
            "rows": {
                "supervised": [],
                "both": [
                    {"method": {"name": "rotation"}, "train": short},
                    {"synthetic": {"samples": 60}, "train": short},
                ],
            },
            "fractions": [0.5, 1.0],
            "seeds": [0],
            "train": short,
        },
    }[name]
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def start(name, config, out):
    words = ["pretrain" if name == "long" else name, str(config), "--out", str(out), "--quiet"]
    return Child(config.with_suffix(".log"), command, *words)


def outcome(name, out):
    """What must be the same: all weights, and the log or the table but for its times."""
    times = ("seconds", "images_per_second", "loader_share")
    models = {str(path.relative_to(out)): weights(path) for path in sorted(out.rglob("*.safetensors"))}
    logs = {
        str(path.relative_to(out)): [{k: v for k, v in row.items() if k not in times} for row in log(path.parent)]
        for path in out.rglob("metrics.csv")
    }
    texts = {str(path.relative_to(out)): path.read_text() for path in out.rglob("predictions.csv")}
    table = (out / "table.md").read_text() if name == "table" else ""
    before, cost, rest = table.partition("| per cell |")
    lines = [line.rsplit("|", 2)[0] if line.startswith("|") else line for line in (cost + rest).split("\n")]
    return models, logs, texts, before + "\n".join(lines)  # without the last column of the cost: seconds


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    done = {}

    def get(name):
        if name not in done:
            folder = tmp_path_factory.mktemp(name)
            process = start(name, write_config(folder, name), folder / "out")
            assert process.wait(300) == 0, process.errors
            done[name] = outcome(name, folder / "out")
        return done[name]

    return get


MOMENTS = {
    # What must be there when the process is killed: before the first check, amid the run, near its end.
    "pretrain": ["config.yaml", ("metrics.csv", 3), ("metrics.csv", 8)],
    "finetune": ["subset.txt", ("metrics.csv", 2), ("metrics.csv", 7)],
    "table": [
        "supervised/f050_s0/finetune/metrics.csv",
        "pretrain/both_0/metrics.csv",
        "stages/both_1/f100_s0/finetune/metrics.csv",
    ],
}


def reached(out, moment):
    name, rows = moment if isinstance(moment, tuple) else (moment, None)
    path = out / name
    return path.exists() and (rows is None or len(log(path.parent)) >= rows)


@pytest.mark.parametrize(("name", "moment"), [(name, m) for name, moments in MOMENTS.items() for m in moments])
def test_killed_runs_end_with_the_same_result(tmp_path, uninterrupted, name, moment):
    config, out = write_config(tmp_path, name), tmp_path / "out"
    process = start(name, config, out)
    while process.poll() is None and not reached(out, moment):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    again = start(name, config, out)
    assert again.wait(300) == 0, again.errors
    assert outcome(name, out) == uninterrupted(name)
    assert not list(out.rglob("*.tmp"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_runs_go_on(tmp_path, uninterrupted, number):
    config, out = write_config(tmp_path, "long"), tmp_path / "out"
    process = start("long", config, out)
    while process.poll() is None and not reached(out, ("metrics.csv", 2)):
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait(300) == 130
    assert "goes on" in process.errors
    assert start("long", config, out).wait(300) == 0
    assert outcome("long", out) == uninterrupted("long")


class Swallowing(Callback):
    """Sends Ctrl-C at the second step and ignores the exception, as a destructor does."""

    def __init__(self):
        self.steps = 0

    def on_train_batch_end(self, *_):
        self.steps += 1
        if self.steps == 2:
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


def test_a_stop_that_something_swallowed_comes_at_the_next_step(tmp_path):
    before, seen = signal.getsignal(signal.SIGINT), Swallowing()
    with pytest.raises(KeyboardInterrupt):
        finetune.run(finetuning(train=TRAIN | {"steps": 50}), tmp_path, progress=False, callbacks=[seen])
    assert seen.steps == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_steps_beyond_the_last_check_are_trained_too(tmp_path):
    pretrain.run(pretraining(train=TRAIN | {"steps": 7}), tmp_path, progress=False)
    assert [int(row["step"]) for row in log(tmp_path)] == [3, 6, 7]


class Validations(Callback):
    """At which steps there was one."""

    def __init__(self):
        self.steps = []

    def on_validation_end(self, trainer, module):
        self.steps.append(trainer.global_step)


def test_the_last_weights_are_validated_even_if_their_round_is_shorter(tmp_path):
    seen = Validations()
    finetune.run(finetuning(train=TRAIN | {"steps": 7}), tmp_path, progress=False, callbacks=[seen])
    assert seen.steps == [3, 6, 7]
