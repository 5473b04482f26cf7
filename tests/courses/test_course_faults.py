"""`learn` on data with faults, and on data that changes: it ends with what there is, or says at once what is wrong."""

import json

import pytest
from random_models import CHARACTERS, random_model
from small_lines import write
from typer.testing import CliRunner

from htr_ssl import model_file
from htr_ssl.cli import app
from htr_ssl.config import DataConfig, FinetuneConfig, TrainConfig
from htr_ssl.courses import course, schedule
from htr_ssl.errors import UserError
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.text.charset import Charset
from htr_ssl.training import equip, finetune

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
TRAIN = TrainConfig(device="cpu", threads=1, precision="32")


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(schedule, "first_steps", lambda labels, known: 20)
    monkeypatch.setattr(course, "_speed", lambda config: 100.0)


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    return str(random_model(tmp_path_factory.mktemp("start") / "start.safetensors"))


def learn(lines, out, start, **values):
    data = DataConfig(source=str(lines), height=32)
    return course.run(data, out, 0.1, start, train=TRAIN, progress=False, **values)


def test_an_image_without_text_that_cannot_be_read_leaves_empty_lists(start, short, tmp_path):
    lines = write(tmp_path / "lines.parquet", labelled=24, count=25, broken=[24])
    with pytest.warns(UserWarning, match="no readable image"):
        made = learn(lines, tmp_path / "out", start)
    assert made.model.exists()
    assert made.score
    assert made.readings.read_text("utf-8") == "id,page,text,confidence\n"
    assert made.next.read_text("utf-8") == "id,page,read,confidence,text\n"


def test_a_course_does_not_go_on_with_other_texts(start, short, tmp_path):
    lines = write(tmp_path / "lines.parquet", labelled=24, count=36)
    learn(lines, tmp_path / "out", start)
    write(lines, labelled=28, count=36)
    with pytest.raises(UserError, match=r"out: texts .*have changed"):
        learn(lines, tmp_path / "out", start)
    assert learn(lines, tmp_path / "again", start).model.exists()


def test_images_are_made_as_those_of_the_start(short, tmp_path):
    network = Recognizer(model_file.build_encoder("crnn", {}, 48, 1), len(CHARACTERS) + 1)
    header = model_file.encoder_header({"name": "crnn"}, 48, 1) | {"kind": "recognizer", "level": "line"}
    header |= {"charset": Charset(CHARACTERS).to_header(), "max_width": 900, "normalisation": "x"}
    model_file.save(tmp_path / "high.safetensors", network.state_dict(), header)
    learn(
        write(tmp_path / "lines.parquet", labelled=24, count=36), tmp_path / "out", str(tmp_path / "high.safetensors")
    )
    plan = json.loads((tmp_path / "out/plan.json").read_text("utf-8"))
    assert (plan["data"]["height"], plan["data"]["max_width"]) == (48, 900)
    assert plan["init"]


def test_held_out_lines_that_the_start_has_learnt_are_counted(start, short, tmp_path):
    lines = write(tmp_path / "lines.parquet", labelled=24, count=36)
    first = learn(lines, tmp_path / "first", start)
    write(lines, labelled=36, count=36)
    said = []
    data = DataConfig(source=str(lines), height=32)
    course.run(data, tmp_path / "second", 0.1, str(first.model), train=TRAIN, say=said.append, progress=False)
    assert any("the start has learnt" in sentence for sentence in said)
    learnt = json.loads((tmp_path / "second/plan.json").read_text("utf-8"))["learnt_by_start"]
    assert 0 < learnt <= 5


def test_what_cannot_be_is_said_before_anything_is_read(tmp_path):
    encoder = model_file.build_encoder("crnn", {}, 32, 1)
    header = model_file.encoder_header({"name": "crnn"}, 32, 1) | {"kind": "encoder"}
    model_file.save(tmp_path / "encoder.safetensors", encoder.state_dict(), header)
    with pytest.raises(UserError, match=r"encoder\.safetensors: it is an encoder"):
        learn(tmp_path / "nothing", tmp_path / "out", str(tmp_path / "encoder.safetensors"))
    for fraction in (0, 1.5):
        with pytest.raises(UserError, match=f"fraction={fraction}"):
            learn(tmp_path / "nothing", tmp_path / "out", "none", fraction=fraction)
    done = CliRunner().invoke(app, ["learn", str(tmp_path), "--level", "page"])
    assert done.exit_code == 2


def test_a_validation_image_that_cannot_be_read_is_left_out_of_what_is_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(equip, "FEW", 3)
    asked = []
    monkeypatch.setattr(equip, "calibrate", lambda path, strips, chosen, device: asked.append((strips, chosen)))
    splits = ["train"] * 12 + ["validation"] * 12
    lines = write(tmp_path / "lines.parquet", labelled=24, count=24, broken=[12, 23], split=splits)
    train = {"steps": 2, "batch_size": 4, "check_every": 2, "threads": 1, "precision": "32", "device": "cpu"}
    config = FinetuneConfig(data={"source": str(lines), "height": 32}, train=train, lm={"order": 3}, select="last")
    finetune.run(config, tmp_path / "run", progress=False)
    strips, chosen = asked[0]
    assert len(strips) == 10
    assert chosen == list(range(10))


def test_texts_of_the_same_data_are_those_of_its_train_split(tmp_path):
    lines = write(tmp_path / "lines.parquet", labelled=36, count=36)
    data = DataConfig(source=str(lines), validation=0.3, test=0.3, seed=4)
    assert len(equip.texts_of(lines, data)) < 20
    assert len(equip.texts_of(lines)) > 20
