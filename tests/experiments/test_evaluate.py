import json

import pytest
from handmade import predictions, write_words

from htr_ssl import metrics
from htr_ssl.config import DataConfig, FinetuneConfig
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.errors import UserError
from htr_ssl.experiments.evaluate import Prediction, evaluate, grouping, read_predictions, score, write_predictions
from htr_ssl.files import sha256
from htr_ssl.recognizers.reader import Reader
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
    assert [(item.read, item.confidence) for item in items] == [(text, round(value, 4)) for text, value in texts]
    scores = metrics.score([i.written for i in items], [i.read for i in items], [i.page for i in items], "word")
    assert (result["wacc"], result["cer"], result["cer_ci"]) == (scores.wacc, scores.cer, list(scores.cer_ci))
    assert (result["n"], result["unit"], result["units"]) == (17, "page", 3)
    assert (result["fraction"], result["seed"], result["split"], result["level"]) == (0.5, 3, "test", "word")
    assert result["model_sha256"] == sha256(model.read_bytes())
    assert len(result["subset_sha256"]) == 64


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


def test_groups_are_pages_then_writers_then_samples():
    items = [Prediction("1", "p", "w", "a", "a", 1), Prediction("2", "q", "v", "a", "b", 1)]
    assert grouping(items) == (["p", "q"], "page")
    assert grouping([item._replace(page="p") for item in items]) == (["w", "v"], "writer")
    assert grouping([items[0], items[1]._replace(page="", writer="")]) == (["1", "2"], "sample")


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
