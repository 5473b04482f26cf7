"""Neighbours of word images: descriptors and scores by hand, any model file, texts or none, the command."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from htr_ssl import model_file
from htr_ssl.cli import main
from htr_ssl.data.samples import Samples
from htr_ssl.data.synthetic import Config, samples, write_parquet
from htr_ssl.errors import UserError
from htr_ssl.layers.frames import Frames
from htr_ssl.look import descriptors, mosaic, neighbours
from htr_ssl.look.neighbours import Options, data_of, look

WORDS = ["le", "la", "mère", "testament", "Le", "frère"]


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> Path:
    """Ten images of each of six words."""
    folder = tmp_path_factory.mktemp("words")
    (folder / "texts.txt").write_text("\n".join(WORDS), encoding="utf-8")
    options = {"samples": 60, "hands": 3, "order": 0, "text": str(folder / "texts.txt"), "damage": 0.2}
    write_parquet(samples(Config(**options), "word", 0), folder / "words.parquet")
    return folder / "words.parquet"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("model") / "encoder.safetensors")


def saved(path, encoder="crnn", seed=3, scope="encoder", **more):
    """An encoder file with random weights."""
    torch.manual_seed(seed)
    state = {f"encoder.{k}": v for k, v in model_file.build_encoder(encoder, {}, 32, 1).state_dict().items()}
    if scope == "backbone":
        state = {k: v for k, v in state.items() if k.startswith("encoder.backbone.")}
    header = {"kind": "encoder", "scope": scope, "max_width": 2000} | model_file.encoder_header(
        {"name": encoder}, 32, 1
    )
    model_file.save(path, state, header | more)
    return path


def looked(model, source, **options):
    data = data_of(model_file.read_header(model), str(source))
    return look(model, data, Options(**{"split": "all"} | options), "cpu")


def test_bins_are_means_over_equal_parts():
    features = torch.rand(2, 12, 3)
    features[1, 6:] = 0
    got = descriptors.binned(Frames(features, torch.tensor([12, 6])), 4)
    torch.testing.assert_close(got[0], features[0].view(4, 3, 3).mean(1))
    torch.testing.assert_close(got[1, 0], (features[1, 0] + features[1, 1] / 2) / 1.5)
    torch.testing.assert_close(got[1].mean(0), features[1, :6].mean(0))
    # Fewer frames than bins: each frame fills several.
    short = descriptors.binned(Frames(features[:, :2], torch.tensor([2, 1])), 4)
    torch.testing.assert_close(short[0], features[0, :2].repeat_interleave(2, 0))
    torch.testing.assert_close(short[1], features[1, :1].expand(4, 3))


def test_scores_are_those_of_the_definition():
    generator = torch.Generator().manual_seed(0)
    n = 300  # more than one block
    vectors = F.normalize(torch.randn(n, 4, generator=generator), dim=1)
    texts = [str(int(i)) if i < 40 else "" for i in torch.randint(0, 60, (n,), generator=generator)]
    pages = [str(int(i)) for i in torch.randint(0, 5, (n,), generator=generator)]
    for others in (pages, [None] * n):
        words, groups = descriptors.numbered(texts), descriptors.numbered(others)
        precisions, first = [], []
        for query in range(n):
            allowed = [i for i in range(n) if i != query and (others[i] is None or others[i] != others[query])]
            right = {i for i in allowed if texts[i] and texts[i] == texts[query]}
            if not right:
                continue
            order = sorted(allowed, key=lambda i: -float(vectors[query] @ vectors[i]))
            hits = [rank for rank, i in enumerate(order, 1) if i in right]
            precisions.append(np.mean([(place + 1) / rank for place, rank in enumerate(hits)]))
            first.append(hits[0] == 1)
        score = descriptors.scored(vectors, words, groups)
        assert score.queries == len(precisions) > 100
        assert score.mean_precision == pytest.approx(np.mean(precisions), rel=1e-4)
        assert score.first == pytest.approx(np.mean(first))


def test_vectors_do_not_depend_on_the_batch(words, encoder, monkeypatch):
    whole = looked(encoder, words).scores
    monkeypatch.setattr(descriptors, "_BATCH", 7)
    monkeypatch.setattr(descriptors, "_BLOCK", 11)
    for name, score in looked(encoder, words).scores.items():
        assert score.mean_precision == pytest.approx(whole[name].mean_precision, abs=2e-3)


def test_like_words_are_nearer_than_by_chance(words, encoder):
    found = looked(encoder, words)
    assert list(found.scores) == ["encoder crnn", "random crnn", "raw pixels"]
    assert found.images == 60
    count = {score.queries for score in found.scores.values()}
    assert len(count) == 1
    for score in found.scores.values():
        assert score.mean_precision > 0.35, "by chance a sixth"
        assert score.first > 0.35
    assert found.scores["encoder crnn"] != found.scores["random crnn"]


def test_sheet_has_the_nearest_first(words, encoder, monkeypatch):
    seen = {}

    def record(rows, names, title=""):
        seen.update(rows=rows, names=names, title=title)
        return mosaic.mosaic(rows, names, title)

    monkeypatch.setattr(neighbours, "mosaic", record)
    found = looked(encoder, words, queries=5, k=4)
    assert found.picture[:4] == b"\x89PNG"
    assert seen["names"] == ["image", *(f"neighbour {i}" for i in range(1, 5))]
    assert "nearest of 60 images" in seen["title"]
    assert len(seen["rows"]) == 5
    for query, *others in seen["rows"]:
        assert query.framed
        assert query.caption in WORDS
        cosines = [float(re.search(r"-?\d\.\d\d", cell.caption)[0]) for cell in others]
        assert cosines == sorted(cosines, reverse=True)
        for cell in others:
            assert not np.array_equal(cell.image, query.image)
            same = cell.caption.split()[-1] == query.caption
            assert cell.caption.startswith("✓") == same, "case is kept"


@pytest.mark.filterwarnings("ignore:2 page")
def test_images_of_the_query_s_page_are_left_out(encoder, monkeypatch):
    source = samples(Config(samples=12, hands=2), "word", 0)
    columns = {"id": [str(i) for i in range(12)], "text": ["a"] * 12, "page": ["1"] * 11 + ["2"]}

    class Pages(Samples):
        def image(self, index):
            return source.image(index)

    from htr_ssl.data import loading

    monkeypatch.setattr(loading, "read", lambda *_: Pages(columns, "word"))
    near = looked(encoder, "any")
    assert near.scores["raw pixels"].first == 1
    seen = []
    monkeypatch.setattr(neighbours, "mosaic", lambda rows, *_: seen.extend(rows) or b"")
    looked(encoder, "any", other_pages=True, queries=12)
    assert sorted(len(row) for row in seen) == [2] * 11 + [6]


@pytest.mark.parametrize("name", ["crnn", "vit_strips"])
@pytest.mark.parametrize("scope", ["encoder", "backbone"])
def test_any_encoder_file(words, tmp_path, name, scope):
    found = looked(saved(tmp_path / "e.safetensors", name, scope=scope, method={"name": "mae"}), words, images=20)
    assert found.images == 20
    assert list(found.scores)[:2] == [f"mae {name}", f"random {name}"]


def test_recognizer_files_and_images_without_text(words, tmp_path):
    from random_models import IMAGES, random_model

    model = random_model(tmp_path / "model.safetensors")
    assert next(iter(looked(model, words).scores)) == "recognizer crnn"
    folder = tmp_path / "images"
    folder.mkdir()
    for number, image in enumerate(IMAGES):
        Image.fromarray(image).save(folder / f"{number}.png")
    found = looked(model, folder, split=None)
    assert (found.split, found.images, found.scores) == ("train", 12, {})
    assert found.picture[:4] == b"\x89PNG"


def test_mistakes(words, encoder, tmp_path):
    with pytest.raises(UserError, match=r"no image in the split 'tset'; there is .*train"):
        looked(encoder, words, split="tset")
    folder = tmp_path / "one"
    folder.mkdir()
    Image.new("L", (60, 30), 200).save(folder / "1.png")
    with pytest.raises(UserError, match="there is one image in train"):
        looked(encoder, folder, split="train")


def test_command(words, encoder, monkeypatch, capsys, tmp_path):
    out = tmp_path / "near.png"
    arguments = ["neighbours", encoder, words, "--split", "all", "--k", "3", "--queries", "4", "--out", out, "-q"]
    monkeypatch.setattr(sys, "argv", ["htr-ssl", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert (caught.value.code or 0) == 0
    text = capsys.readouterr().out
    assert re.search(r"^\d+ queries, 60 images \(all\) +mAP +P@1", text, re.MULTILINE)
    for name in ("encoder crnn", "random crnn", "raw pixels"):
        assert re.search(rf"^{name} +[\d.]+ % +[\d.]+ %", text, re.MULTILINE)
    assert text.strip().endswith(str(out))
    assert Image.open(out).width > 400
