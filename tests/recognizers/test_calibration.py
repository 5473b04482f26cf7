"""Calibration: what is fitted, stored, used, and shown."""

import json

import numpy as np
import pytest
from PIL import Image
from random_models import IMAGES, random_model
from typer.testing import CliRunner

from htr_ssl import model_file
from htr_ssl.cli import app
from htr_ssl.config import DataConfig, FinetuneConfig
from htr_ssl.data.loading import Strips, read_samples
from htr_ssl.recognizers import calibration, language
from htr_ssl.recognizers.aligned import read_aligned, strips_aligned
from htr_ssl.recognizers.calibration import Judged
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import kneser_ney
from htr_ssl.text.beam import Options
from htr_ssl.training import equip, finetune

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.mark.parametrize(("slope", "offset"), [(0.5, 0.8), (1.6, -0.5), (1.0, 0.0)])
def test_the_numbers_that_made_the_data_are_found(slope, offset):
    rng = np.random.default_rng(0)
    odds = rng.normal(1, 2, 40_000)
    said = 1 / (1 + np.exp(-odds))
    right = rng.random(len(odds)) < 1 / (1 + np.exp(-slope * odds - offset))
    judged = Judged(said, right)
    assert calibration.fit(judged) == pytest.approx((slope, offset), abs=0.06)
    assert calibration.reliability(judged, calibration.fit(judged)).error < 0.01
    if (slope, offset) != (1.0, 0.0):
        assert calibration.reliability(judged).error > 0.04


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("mean", "spread", "slope"), [(6, 3, 0.4), (4, 2, 0.3), (9, 4, 0.2), (1, 1, 3.0)])
def test_a_network_that_is_far_too_sure_is_brought_down(mean, spread, slope, seed):
    rng = np.random.default_rng(seed)
    odds = rng.normal(mean, spread, 3000)
    right = rng.random(len(odds)) < 1 / (1 + np.exp(-slope * odds))
    judged = Judged(1 / (1 + np.exp(-odds)), right)
    numbers = calibration.fit(judged)
    assert 0.05 < numbers[0] < 6
    assert calibration.reliability(judged, numbers).error < 0.03
    assert calibration.reliability(judged, numbers).error <= calibration.reliability(judged).error + 0.002


def test_few_or_one_sided_characters_move_little():
    assert calibration.fit(Judged(np.zeros(0), np.zeros(0, bool))) == (1.0, 0.0)
    slope, offset = calibration.fit(Judged(np.full(5, 0.9), np.ones(5, bool)))
    assert 0 < slope < 3
    assert abs(offset) < 1


def test_a_character_is_right_if_the_alignment_pairs_it_with_itself(tmp_path):
    reader = Reader.load(random_model(tmp_path / "model.safetensors"), "cpu")
    read = [reading.text for reading in read_aligned(reader, IMAGES)]
    strips = reader.prepared(IMAGES)
    exact = calibration.judge(reader, strips, read)
    assert exact.right.all()
    assert len(exact.right) == sum(len(text) for text in read)
    wrong = calibration.judge(reader, strips, ["" for _ in read])
    assert not wrong.right.any()
    assert (wrong.confidence == exact.confidence).all()


def test_a_fine_tuning_stores_what_its_validation_images_say(tmp_path, monkeypatch):
    monkeypatch.setattr(equip, "FEW", 5)
    data = {"source": "synthetic", "level": "word", "height": 32, "synthetic": {"samples": 80, "hands": 10}}
    train = {"steps": 3, "batch_size": 8, "check_every": 3, "threads": 1, "precision": "32", "device": "cpu"}
    path = finetune.run(FinetuneConfig(data=data, train=train), tmp_path / "run", progress=False)
    numbers = model_file.read_header(path)["calibration"]
    assert len(numbers) == 2
    out = tmp_path / "scores"
    assert CliRunner().invoke(app, ["evaluate", str(path), "--out", str(out)]).exit_code == 0
    found = json.loads((out / "reliability.json").read_text())
    assert found["calibration"] == numbers
    assert set(found["error"]) == {"the network's", "calibrated"}
    assert (out / "reliability.png").stat().st_size > 5000
    # A new language model makes the old calibration void; attaching one on validation images makes another.
    model = kneser_ney.train(["aaa bbb"], 2)
    language.store(path, language.of(model, Options(), {}), tmp_path / "with.safetensors")
    assert "calibration" not in model_file.read_header(tmp_path / "with.safetensors")
    again = ["models", "calibrate", str(tmp_path / "with.safetensors"), "--out", str(tmp_path / "again.safetensors")]
    result = CliRunner().invoke(app, again)
    assert result.exit_code == 0, result.output
    assert "calibration" in model_file.read_header(tmp_path / "again.safetensors")


def test_a_training_calibrates_on_the_strips_it_has(tmp_path, monkeypatch):
    """Levelled once, as whoever reads the images sees them: faint ink would get darker every time."""
    for number, image in enumerate(IMAGES):
        Image.fromarray((200 + image // 16).astype(np.uint8)).save(tmp_path / f"{number:02}.png")
    data = DataConfig(source=str(tmp_path), height=32)
    samples = read_samples(data)
    strips = Strips(samples, range(len(samples)), data)
    model = random_model(tmp_path / "model.safetensors")
    seen = []
    monkeypatch.setattr(equip, "FEW", 3)
    monkeypatch.setattr(strips, "texts", lambda: ["a"] * len(strips))
    judge = calibration.judge
    monkeypatch.setattr(
        calibration, "judge", lambda reader, given, texts: seen.extend(given) or judge(reader, given, texts)
    )
    equip.calibrate(model, strips, range(len(strips)), "cpu")
    assert len(seen) == len(IMAGES)
    assert all(np.array_equal(one, strips.strip(place)) for place, one in enumerate(seen))
    read = Reader.load(model, "cpu")
    known = [reading.text for reading in strips_aligned(read, seen)]
    assert known == [reading.text for reading in read_aligned(read, [samples[row].load() for row in strips.rows])]


def test_confidences_are_calibrated_and_the_text_is_the_same(tmp_path):
    plain = random_model(tmp_path / "model.safetensors")
    calibration.store(plain, (0.5, 1.0), tmp_path / "calibrated.safetensors")
    before = read_aligned(Reader.load(plain, "cpu"), IMAGES)
    after = read_aligned(Reader.load(tmp_path / "calibrated.safetensors", "cpu"), IMAGES)
    assert [one.text for one in before] == [one.text for one in after]
    changed = [one.confidence != other.confidence for one, other in zip(before, after, strict=True) if one.text]
    assert changed
    assert all(changed)


def test_a_damaged_calibration_is_not_believed(tmp_path):
    plain = random_model(tmp_path / "model.safetensors")
    calibration.store(plain, (9395.26, 1563.68), tmp_path / "damaged.safetensors")
    with pytest.warns(UserWarning, match=r"damaged\.safetensors: its calibration is damaged"):
        reader = Reader.load(tmp_path / "damaged.safetensors", "cpu")
    before, after = read_aligned(Reader.load(plain, "cpu"), IMAGES), read_aligned(reader, IMAGES)
    assert [one.confidence for one in before] == [one.confidence for one in after]


def test_a_calibration_is_used_only_with_the_language_model_it_was_fitted_with(tmp_path):
    path, words = random_model(tmp_path / "model.safetensors"), kneser_ney.train(["abcd efgh"] * 5, 3)
    words.save(tmp_path / "other.safetensors")
    calibration.store(path, (0.5, 1.0))
    assert Reader.load(path, "cpu", lm="none").header["calibration"] == [0.5, 1.0]
    assert "calibration" not in Reader.load(path, "cpu", lm=tmp_path / "other.safetensors").header
    language.store(path, language.of(words, Options(0.5, 1.0), {}), path)
    calibration.store(path, (0.5, 1.0))
    assert Reader.load(path, "cpu").header["calibration"] == [0.5, 1.0]
    assert "calibration" not in Reader.load(path, "cpu", lm="none").header


def test_the_network_s_own_confidence_stays_whatever_the_calibration(tmp_path):
    path = random_model(tmp_path / "model.safetensors")
    before = read_aligned(Reader.load(path, "cpu"), IMAGES)
    calibration.store(path, (0.5, 2.0))
    after = read_aligned(Reader.load(path, "cpu"), IMAGES)
    assert [one.ink for one in before] == [one.ink for one in after]
    assert [one.confidence for one in before] != [one.confidence for one in after]
