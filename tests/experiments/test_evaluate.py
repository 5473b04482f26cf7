import json

import pytest
from handmade import predictions, write_words
from random_models import random_model
from typer.testing import CliRunner

import htr_ssl
from htr_ssl.cli import app
from htr_ssl.config import DataConfig, FinetuneConfig
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.sample import Sample
from htr_ssl.errors import UserError
from htr_ssl.experiments.evaluate import Prediction, evaluate, grouping, read_predictions, score, write_predictions
from htr_ssl.files import sha256
from htr_ssl.recognizers import calibration
from htr_ssl.recognizers.aligned import read_aligned
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import metrics
from htr_ssl.training import finetune


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A recognizer after two steps, and its data."""
    folder = tmp_path_factory.mktemp("trained")
    source = write_words(folder / "words.parquet", damaged=(12,))  # on page 2, which is a test page
    data = DataConfig(source=str(source), level="word", height=24)
    train = {"steps": 2, "batch_size": 4, "check_every": 2, "threads": 1, "precision": "32", "device": "cpu"}
    config = FinetuneConfig.model_validate({"data": data.model_dump(), "fraction": 0.5, "seed": 3, "train": train})
    return finetune.run(config, folder / "run", progress=False), data


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_result_is_what_the_reader_read(trained, tmp_path):
    model, data = trained
    result = evaluate(model, out=tmp_path, device="cpu")
    assert json.loads((tmp_path / "result.json").read_text()) == json.loads(json.dumps(result))
    items = read_predictions(tmp_path / "predictions.csv")
    samples = read_samples(data)
    rows = [row for row in rows_of(samples, "test", labelled=True) if samples[row].id != "w12.png"]
    assert [item.id for item in items] == [samples[row].id for row in rows]
    texts = Reader.load(model, "cpu").read([samples[row].load() for row in rows])
    assert [item.read for item in items] == [text for text, _ in texts]
    scores = metrics.score([i.written for i in items], [i.read for i in items], None, "word")  # three pages are too few
    assert (result["wacc"], result["cer"], result["cer_ci"]) == (scores.wacc, scores.cer, list(scores.cer_ci))
    assert (result["n"], result["unit"], result["units"]) == (17, "sample", 17)
    assert (result["fraction"], result["seed"], result["split"], result["level"]) == (0.5, 3, "test", "word")
    assert result["model_sha256"] == sha256(model.read_bytes())
    assert len(result["subset_sha256"]) == 64


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_confidences_are_calibrated_as_those_of_a_transcribed_line(trained, tmp_path):
    model, data = random_model(tmp_path / "model.safetensors"), trained[1]
    samples = read_samples(data)
    sure = {}
    for name, numbers in (("as it is", (1.0, 0.0)), ("doubtful", (0.5, -2.0))):
        file = tmp_path / f"{name}.safetensors"
        calibration.store(model, numbers, file)
        evaluate(file, data, out=tmp_path / name, device="cpu")
        items = read_predictions(tmp_path / name / "predictions.csv")
        images = [samples[samples.column("id").index(item.id)].load() for item in items]
        lines = read_aligned(Reader.load(file, "cpu"), images)
        sure[name] = [item.confidence for item in items]
        assert sure[name] == pytest.approx([line.confidence for line in lines], abs=1e-4)
    written = [i for i, item in enumerate(items) if item.read]
    assert written
    assert all(sure["doubtful"][i] < sure["as it is"][i] for i in written)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_scoring_from_the_cache_of_a_training_is_the_same(trained, tmp_path, monkeypatch):
    """Without decoding any image but the damaged one, whose reason is asked for again."""
    model, data = trained
    result = evaluate(model, out=tmp_path / "plain", device="cpu")
    cached = data.model_copy(update={"cache": str(tmp_path / "cache")})
    samples = read_samples(cached)
    Strips(samples, rows_of(samples, "train", labelled=True), cached)  # as a training makes them
    decoded, load = [], Sample.load
    monkeypatch.setattr(Sample, "load", lambda sample: decoded.append(sample.id) or load(sample))
    again = evaluate(model, cached, out=tmp_path / "cached", device="cpu")
    assert decoded == ["w12.png"]
    assert {**again, "seconds": 0} == {**result, "seconds": 0}
    run = CliRunner().invoke(app, ["evaluate", str(model), "--cache", cached.cache, "--out", str(tmp_path / "command")])
    assert run.exit_code == 1, run.output  # one image is not scored
    assert set(decoded) == {"w12.png"}
    files = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("plain", "cached", "command")]
    assert files[0] == files[1] == files[2]
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_unreadable_images_and_unseen_characters_are_named(trained):
    with (
        pytest.warns(UserWarning, match=r"1 image\(s\) not scored; w12.png"),
        pytest.warns(UserWarning, match="the model cannot write"),
    ):
        result = evaluate(trained[0], device="cpu")
    assert result["unreadable"] == ["w12.png"]
    charset = Reader.load(trained[0], "cpu").charset
    assert result["unseen"]
    assert not set(result["unseen"]) & set(charset.characters)


@pytest.mark.filterwarnings("ignore:.*too few")
def test_an_empty_split_says_which_there_are(trained, tmp_path):
    with pytest.raises(UserError, match="split 'tset'; labelled samples: train 18, validation 18, test 18"):
        evaluate(trained[0], split="tset")
    other = DataConfig(source=str(write_words(tmp_path / "few.parquet", pages=1)), level="word", validation=0.2)
    with pytest.raises(UserError, match="train 5, validation 1, test 0"):
        evaluate(trained[0], other)


def test_a_model_whose_own_data_is_not_here_asks_for_some(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--cache", "cache"]):
        answer = CliRunner().invoke(app, ["evaluate", "base", "--device", "cpu", *more])
        assert isinstance(answer.exception, UserError)
        assert "name the data to score it on after the model" in str(answer.exception)
        assert ".gt.txt" in str(answer.exception)
    with pytest.raises(UserError, match="name the data to score it on"):
        htr_ssl.evaluate("base", device="cpu")


def test_nothing_readable_is_an_error(trained, tmp_path):
    source = write_words(tmp_path / "bad.parquet", pages=3, damaged=tuple(range(12, 18)))
    with pytest.raises(UserError, match="none of the 6 images of test can be read"):
        evaluate(trained[0], DataConfig(source=str(source), level="word"))


def test_predictions_come_back_as_written(tmp_path):
    items = [Prediction("a,b", "p", "", 'say "é"', "two\nlines", 0.25), Prediction("c", "", "w", "x", "", 0.0)]
    write_predictions(tmp_path / "p.csv", items)
    assert read_predictions(tmp_path / "p.csv") == items
    (tmp_path / "p.csv").write_text("id,page\n1,2\n")
    with pytest.raises(UserError, match="not a file of predictions"):
        read_predictions(tmp_path / "p.csv")
    with pytest.raises(UserError, match="no predictions"):
        read_predictions(tmp_path / "none.csv")


def items_of(writers, pages, count=60):
    """Samples of hands and pages; 0 = unknown."""
    return [
        Prediction(str(i), f"p{i % pages}" if pages else "", f"w{i % writers}" if writers else "", "a", "a", 1)
        for i in range(count)
    ]


@pytest.mark.parametrize(
    ("writers", "pages", "unit", "units"),
    [
        (8, 60, "writer", 8),  # one image a page
        (5, 5, "page", 5),  # divided alike
        (4, 12, "page", 12),  # one archive by a few clerks
        (1, 12, "page", 12),
        (0, 12, "page", 12),
        (6, 0, "writer", 6),
        (4, 4, "sample", 60),
        (0, 0, "sample", 60),
    ],
)
def test_the_unit_is_the_coarsest_known_with_enough_members(writers, pages, unit, units):
    groups, found = grouping(items_of(writers, pages))
    assert (found, len(set(groups))) == (unit, units)
    assert grouping(items_of(writers, pages), "sample")[1] == "sample"


def test_a_unit_that_a_tenth_of_the_samples_lacks_is_not_known():
    items = items_of(8, 60)
    unnamed = [item._replace(writer="") if number < 6 else item for number, item in enumerate(items)]
    assert grouping(unnamed)[1] == "page"
    with pytest.raises(UserError, match=r"writer is not known of every sample.*60 pages, 60 samples"):
        grouping(unnamed, "writer")
    assert grouping(items, "page")[1] == "page"


def test_a_few_samples_without_a_writer_are_units_of_their_own():
    """One in 1,290 made pages of 37 writers, in silence."""
    items = items_of(8, 60)
    unnamed = [item._replace(writer="") if number < 2 else item for number, item in enumerate(items)]
    for unit in (None, "writer"):
        groups, found = grouping(unnamed, unit)
        assert (found, len(set(groups)), groups[2:]) == ("writer", 10, [item.writer for item in items[2:]])
    assert (score(unnamed, "word")["unit_named"], score(unnamed, "word")["units"]) == (58, 10)
    assert "unit_named" not in score(items, "word")


def test_score_counts_empty_readings_and_confusions():
    items = [
        item._replace(read="" if number % 4 == 0 else item.written) for number, item in enumerate(predictions(1, 0))
    ]
    result = score(items, "word")
    assert result["empty"] == 0.25
    assert result["wacc"] == 0.75
    assert result["unit"] == "page"
    assert all(read == metrics.NOTHING for _, read, _ in result["confusions"])
    assert ("mer", metrics.NOTHING, 10) in result["confusions"]
