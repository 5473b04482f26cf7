"""Model files and run folders of before the packages were regrouped load, or are refused in one sentence.

Their headers and configurations had fewer keys; what is here is cut down to those.
"""

import pytest
import yaml
from lightning.pytorch import Callback

from htr_ssl import model_file
from htr_ssl.config import FinetuneConfig, PretrainConfig
from htr_ssl.config.yaml_files import load_config
from htr_ssl.errors import UserError
from htr_ssl.experiments.evaluate import evaluate
from htr_ssl.recognizers.reader import Reader
from htr_ssl.training import finetune, pretrain

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
DATA = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 60, "hands": 8}}
TRAIN = {"steps": 4, "batch_size": 8, "check_every": 2, "threads": 1, "precision": "32", "device": "cpu"}
RECOGNIZER = [
    "encoder", "height", "channels", "kind", "probe", "scope", "charset", "init", "method", "fraction", "seed",
    "labels", "pseudo_sha256", "data", "level", "max_width", "subset_list", "subset_sha256", "normalisation",
    "val_cer",
]  # fmt: skip
ENCODER = [
    "encoder", "height", "channels", "kind", "scope", "method", "init", "seed", "data", "level", "normalisation",
    "max_width",
]  # fmt: skip
OLD_DATA = [
    "source", "format", "level", "height", "max_width", "channels", "validation", "test", "seed", "splits",
    "synthetic",
]  # fmt: skip
OLD_KEYS = [
    "name", "seed", "data", "encoder", "init", "charset", "fraction", "probe", "head_warmup", "augment", "train",
]  # fmt: skip
OLD_TRAIN = [
    "steps", "batch_size", "optimiser", "lr", "weight_decay", "warmup", "clip", "ema", "check_every", "patience",
    "precision", "device", "threads", "workers",
]  # fmt: skip


def cut(path, keys):
    """The file with a header as it was then."""
    header, state = model_file.read(path)
    older = {key: header[key] for key in keys if key in header}
    older["data"] = {key: header["data"][key] for key in OLD_DATA if key in header["data"]}
    model_file.save(path, state, older)
    return path


def recognizer(out, **values):
    config = FinetuneConfig(data=DATA, train=TRAIN, charset="new", select="validation", **values)
    return finetune.run(config, out, progress=False), config


def test_an_older_recognizer_reads_scores_and_is_a_start(tmp_path):
    path, _ = recognizer(tmp_path / "run")
    new = evaluate(path, device="cpu")
    old = evaluate(cut(path, RECOGNIZER), device="cpu")
    assert [old[name] for name in ("cer", "wacc")] == [new[name] for name in ("cer", "wacc")]
    assert Reader.load(path, "cpu").charset.direction == "ltr"
    again, _ = recognizer(tmp_path / "next", init=str(path))
    assert model_file.read_header(again)["init"] == str(path)


def test_an_older_encoder_is_a_start(tmp_path):
    config = PretrainConfig(data=DATA, train=TRAIN, method="vicreg", scope="backbone")
    path = cut(pretrain.run(config, tmp_path / "pretrain", progress=False), ENCODER)
    made, _ = recognizer(tmp_path / "run", init=str(path))
    assert model_file.read_header(made)["method"] == "vicreg"


def older_configuration(out):
    """Writes config.yaml with the keys of then, and takes away the files that runs had not."""
    content = yaml.safe_load((out / "config.yaml").read_text(encoding="utf-8"))
    content = {key: content[key] for key in OLD_KEYS}
    content["data"] = {key: content["data"][key] for key in OLD_DATA if key in content["data"]}
    content["train"] = {key: content["train"][key] for key in OLD_TRAIN}
    (out / "config.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    for name in ("inputs.json", "precision.json"):
        (out / name).unlink(missing_ok=True)


def test_an_older_run_goes_on_to_the_same_weights(tmp_path):
    whole, config = recognizer(tmp_path / "whole")
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        finetune.run(config, out, progress=False, callbacks=[_Stop()])
    older_configuration(out)
    path = finetune.run(config, out, progress=False)
    assert model_file.read(path)[1].keys() == model_file.read(whole)[1].keys()
    assert path.read_bytes() == whole.read_bytes()


def test_an_older_configuration_loads(tmp_path):
    recognizer(tmp_path / "run")
    older_configuration(tmp_path / "run")
    config = load_config(tmp_path / "run" / "config.yaml", [], FinetuneConfig)
    assert config.data.height == 32
    assert config.train.steps == 4


def test_a_run_with_another_old_configuration_is_refused_in_a_sentence(tmp_path):
    _, config = recognizer(tmp_path / "run")
    older_configuration(tmp_path / "run")
    other = config.model_copy(update={"seed": 5})
    with pytest.raises(UserError, match="another configuration") as caught:
        finetune.run(other, tmp_path / "run", progress=False)
    assert "\n" not in str(caught.value)


def test_a_file_of_an_unknown_format_is_refused_in_a_sentence(tmp_path):
    path, _ = recognizer(tmp_path / "run")
    header, state = model_file.read(path)
    header.pop("encoder")
    model_file.save(path, state, header)
    with pytest.raises(UserError, match="its header lacks encoder"):
        Reader.load(path, "cpu")


class _Stop(Callback):
    def on_train_batch_start(self, trainer, module, batch, index):
        if trainer.global_step == 3:
            raise KeyboardInterrupt
