"""Reading with a language model: stored in the file, beside it, or not at all."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from random_models import CHARACTERS, IMAGES, random_model

from htr_ssl import model_file
from htr_ssl.errors import UserError
from htr_ssl.models import shelf
from htr_ssl.recognizers import language
from htr_ssl.recognizers.reader import Reader, load_recognizer
from htr_ssl.text import kneser_ney, metrics
from htr_ssl.text.beam import Decoder, Options
from htr_ssl.text.charset import Charset

MODEL = kneser_ney.train(["abc def", "hed bag", "face", "a bee"], 4)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return random_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def equipped(plain):
    path = plain.with_name("with_lm.safetensors")
    language.store(plain, language.of(MODEL, Options(0.7, 1.5), {"labels": 4}), path)
    return path


def test_greedy_readings_are_unchanged(plain, equipped):
    wanted = Reader.load(plain, "cpu").read(IMAGES)
    assert Reader.load(equipped, "cpu", lm="none").read(IMAGES) == wanted
    reader = Reader.load(equipped, "cpu")
    greedy = reader.paths(reader.scores(reader.prepared(IMAGES)))
    assert [text for text, _ in greedy] == [text for text, _ in wanted]
    np.testing.assert_allclose([sure for _, sure in greedy], [sure for _, sure in wanted], atol=1e-5)


def test_the_stored_model_reads_like_the_decoder_alone(plain, equipped):
    reader = Reader.load(equipped, "cpu")
    assert (reader.language.options.alpha, reader.language.options.beta) == (0.7, 1.5)
    assert reader.language.facts["labels"] == 4
    assert reader.language.facts["order"] == 4
    plain_reader = Reader.load(plain, "cpu")
    scores = [plain_reader.posteriors(image) for image in IMAGES]
    decoder = Decoder(reader.charset, reader.language.model, Options(0.7, 1.5))
    wanted = [reader.charset.decode(found[0].indices) for found in decoder(scores)]
    assert [text for text, _ in reader.read(IMAGES)] == wanted
    assert [text for text, _ in reader.read_scored(reader.prepared(IMAGES))[0]] == wanted
    assert wanted != [text for text, _ in plain_reader.read(IMAGES)]


def test_texts_do_not_depend_on_threads_and_batches(equipped):
    before = torch.get_num_threads()
    try:
        wanted = Reader.load(equipped, "cpu", threads=1).read(IMAGES)
        for threads, batch in ((3, 2), (2, 32)):
            assert Reader.load(equipped, "cpu", threads=threads).read(IMAGES, batch) == [
                (text, pytest.approx(sure, abs=1e-4)) for text, sure in wanted
            ]
    finally:
        torch.set_num_threads(before)


def test_alternatives_are_best_first_with_and_without_a_language_model(plain, equipped):
    for path in (plain, equipped):
        reader = Reader.load(path, "cpu")
        found = reader.alternatives(IMAGES[:3], 4)
        for readings in found:
            assert len({text for text, _, _ in readings}) == len(readings) == 4
            shares = [share for _, _, share in readings]
            assert shares == sorted(shares, reverse=True)
            assert sum(shares) <= 1 + 1e-6
            assert all(0 <= sure <= 1 for _, sure, _ in readings)
        if path == equipped:
            assert [readings[0][0] for readings in found] == [text for text, _ in reader.read(IMAGES[:3])]


def test_a_file_beside_the_model_is_used_instead_of_its_own(tmp_path, equipped):
    kneser_ney.train(["hhhh gggg"], 3).save(tmp_path / "other.safetensors")
    reader = Reader.load(equipped, "cpu", lm=tmp_path / "other.safetensors")
    assert reader.language.model.order == 3
    assert reader.language.facts["file"] == str(tmp_path / "other.safetensors")


def test_storing_again_replaces_and_keeps_the_weights(tmp_path, plain, equipped):
    other = language.of(kneser_ney.train(["abc"], 2), Options(0.1, 0.2), {})
    language.store(equipped, other, tmp_path / "again.safetensors")
    header, state = model_file.read(tmp_path / "again.safetensors")
    back = language.stored("again", header, state)
    assert back.model.order == 2
    _, wanted = model_file.read(plain)
    assert state.keys() == wanted.keys()
    assert all(torch.equal(state[name], wanted[name]) for name in wanted)


def test_files_that_go_to_others_do_not_name_folders_of_this_computer(tmp_path, plain):
    kneser_ney.train(["hhhh gggg"], 3).save(tmp_path / "other.safetensors")
    language.store(plain, language.load(tmp_path / "other.safetensors"), tmp_path / "made.safetensors")
    header, _ = model_file.read(tmp_path / "made.safetensors")
    assert header[language.KEY]["facts"]["file"] == "other.safetensors"
    for path in (Path(shelf.__file__).parent / "weights").glob("*.safetensors"):
        header, _ = model_file.read(path)
        assert re.search(r"lm[.]safetensors", json.dumps(header))
        assert not re.search(r'"(/\w|[A-Za-z]:\\)', json.dumps(header)), path


def test_a_file_with_a_language_model_is_a_recognizer_for_all_others(plain, equipped):
    first, header = load_recognizer(plain)
    second, other = load_recognizer(equipped)
    assert header == other
    assert first.state_dict().keys() == second.state_dict().keys()


def test_an_encoder_or_damaged_weights_are_refused(tmp_path, equipped):
    header, state = model_file.read(equipped)
    plain_header = {key: value for key, value in header.items() if key != "format"}
    model_file.save(tmp_path / "encoder.safetensors", state, plain_header | {"kind": "encoder"})
    with pytest.raises(UserError, match=r"encoder\.safetensors"):
        language.store(tmp_path / "encoder.safetensors", language.of(MODEL, Options(), {}), tmp_path / "out")
    broken = dict(header["language_model"])
    del broken["alpha"]
    model_file.save(tmp_path / "bad.safetensors", state, plain_header | {"language_model": broken})
    with pytest.raises(UserError, match=r"bad\.safetensors"):
        Reader.load(tmp_path / "bad.safetensors", "cpu")
    del state["language_model.logp"]
    model_file.save(tmp_path / "bad.safetensors", state, plain_header)
    with pytest.raises(UserError, match=r"bad\.safetensors"):
        Reader.load(tmp_path / "bad.safetensors", "cpu")


def test_no_other_value_of_one_weight_reads_better(plain):
    reader = Reader.load(plain, "cpu")
    scores = [reader.posteriors(image) for image in IMAGES]

    def read(options):
        return [reader.charset.decode(found[0].indices) for found in Decoder(reader.charset, MODEL, options)(scores)]

    texts = read(Options(0.5, 2.0))  # what the search reads with other weights is the truth here

    def edits(options):
        return int(metrics.count(texts, read(options), "line")[:, 0].sum())

    chosen = language.tuned(language.of(MODEL, Options(0.1, 0.0), {}), scores, texts, reader.charset)
    best = edits(chosen.options)
    assert best < edits(Options(0.1, 0.0))
    for alpha in language.ALPHAS:
        assert best <= edits(Options(alpha, chosen.options.beta))
    assert chosen.facts["chosen_on"] == f"{len(texts)} validation images"


def test_without_validation_images_the_weights_stay():
    unchanged = language.tuned(language.of(MODEL, Options(0.1, 0.0), {}), [], [], Charset(("a",)))
    assert unchanged.options == Options(0.1, 0.0)
    assert "chosen_on" not in unchanged.facts


def test_a_language_model_of_the_other_direction_is_refused(plain):
    reader = Reader.load(plain, "cpu")
    with pytest.raises(UserError, match="direction"):
        reader.use(language.of(MODEL, Options(), {"direction": "rtl"}))


def test_characters_of_the_model_are_kept(equipped):
    assert set("".join(text for text, _ in Reader.load(equipped, "cpu").read(IMAGES))) <= set(CHARACTERS)
