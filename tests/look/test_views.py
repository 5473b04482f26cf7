"""Contact sheets: every method's views by command, labels for words and lines, the painted image of a run."""

import io
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from htr_ssl import plugins
from htr_ssl.cli import main
from htr_ssl.config import PretrainConfig
from htr_ssl.errors import UserError
from htr_ssl.look import mosaic, views
from htr_ssl.training import pretrain

METHODS = plugins.names("htr_ssl.methods")


def config(name="simclr", level="word", **more):
    module = plugins.load("htr_ssl.methods", name)
    data = {"source": "synthetic", "level": level, "height": 32, "channels": getattr(module, "CHANNELS", 1)}
    return PretrainConfig(
        data=data | {"synthetic": {"samples": 24, "hands": 6}},
        encoder={"name": getattr(module, "ENCODERS", ["crnn"])[0]},
        method={"name": name},
        train={"steps": 2, "batch_size": 4, "device": "cpu", "threads": 1, "check_every": 1},
        **{"scope": "encoder"} | more,
    )


def opened(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)


@pytest.fixture
def laid_out(monkeypatch):
    """What a sheet is made of: rows of cells, names of the columns, title."""
    seen = {}

    def record(rows, names, title=""):
        seen.update(rows=rows, names=list(names), title=title)
        return mosaic.mosaic(rows, names, title)

    monkeypatch.setattr(views, "mosaic", record)
    return seen


@pytest.mark.parametrize("name", METHODS)
def test_every_method_shows_its_views(name, laid_out):
    picture = opened(views.sheet(config(name), count=3))
    assert laid_out["title"].startswith(f"{name}: ")
    assert len(laid_out["title"]) > len(name) + 10, "it says what the views are"
    assert laid_out["names"][:2] == ["image", "view 1"]
    assert len(laid_out["rows"]) == 3
    for row in laid_out["rows"]:
        assert len(row) == len(laid_out["names"])
        first, view = row[0].image, row[1].image
        assert first.shape != view.shape or (first != view).any()
    assert (picture.max(2) < 90).mean() > 0.002, "ink and text"


def test_seed_decides_and_count_is_kept(laid_out):
    few = views.sheet(config(), count=1, seed=1)
    assert len(laid_out["rows"]) == 1
    assert few == views.sheet(config(), count=1, seed=1) != views.sheet(config(), count=1, seed=2)


@pytest.mark.parametrize("name", ["masked_image", "mae"])
def test_a_run_paints_what_its_views_hide(name, laid_out, tmp_path):
    small = config(name)
    pretrain.run(small, tmp_path / "run", progress=False)
    views.sheet(small, count=2, run=tmp_path / "run")
    assert laid_out["names"] == ["image", "view 1", "view 2", "painted"]
    for _, whole, hidden, painted in laid_out["rows"]:
        shown = hidden.image != 128
        assert not shown.all()
        np.testing.assert_array_equal(painted.image[shown], whole.image[shown])
        assert (painted.image[~shown] != hidden.image[~shown]).any()
    loaded, trained = views._method(small, 0), pretrain.load_method(tmp_path / "run")[0]
    views._load(loaded, small, tmp_path / "run")
    for key, value in trained.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value), "the run's weights paint"


def test_a_run_of_another_method_or_height_is_refused(tmp_path):
    small = config("masked_image")
    pretrain.run(small, tmp_path / "run", progress=False)
    with pytest.raises(UserError, match=r"method\.name=masked_image, not simclr"):
        views.sheet(config("simclr"), run=tmp_path / "run")
    other = small.model_copy(update={"data": small.data.model_copy(update={"height": 40})})
    with pytest.raises(UserError, match="height 32, not 40"):
        views.sheet(other, run=tmp_path / "run")
    with pytest.raises(UserError, match=r"nowhere"):
        views.sheet(small, run=tmp_path / "nowhere")


def test_short_images_stand_beside_each_other_and_long_ones_below():
    ink = np.zeros((30, 100), np.uint8)
    rows = [[mosaic.Cell(ink), mosaic.Cell(ink, "caption")]] * 2
    beside = opened(mosaic.mosaic(rows, ["one", "two"]))
    assert beside.shape[1] == 3 * 10 + 2 * 200
    black = (beside == 0).all(2)
    assert black[:, 10:210].sum() >= 2 * 60 * 200
    assert black[:, 220:420].sum() >= 2 * 60 * 200
    long = np.zeros((30, 1200), np.uint8)
    below = opened(mosaic.mosaic([[mosaic.Cell(long), mosaic.Cell(long)]], ["one", "two"]))
    rows_of_ink = (below == 0).all(2)[:, -1000:-20].all(1)
    assert rows_of_ink.sum() == 60
    assert np.diff(rows_of_ink.astype(int)).tolist().count(1) == 2
    huge = opened(mosaic.mosaic([[mosaic.Cell(np.zeros((30, 9000), np.uint8))]], ["one"]))
    assert huge.shape[1] < mosaic.WIDEST + 100


def test_colour_frames_and_long_captions():
    red = np.zeros((20, 50, 3), np.uint8) + np.array([200, 0, 0], np.uint8)
    plain = opened(mosaic.mosaic([[mosaic.Cell(red, "x" * 300)]], ["one"], "title\nof two lines"))
    framed = opened(mosaic.mosaic([[mosaic.Cell(red, "x" * 300, framed=True)]], ["one"], "title\nof two lines"))
    assert (plain == [200, 0, 0]).all(2).sum() >= 40 * 100
    assert plain.shape == framed.shape
    assert plain.shape[1] < 200, "the caption is cut to the column"
    assert (framed == [0, 0x72, 0xB2]).all(2).sum() > 200


def test_command(monkeypatch, capsys, tmp_path):
    (tmp_path / "run.yaml").write_text("data: {source: synthetic, height: 32, synthetic: {samples: 20, hands: 4}}\n")
    out = tmp_path / "sheets" / "views.png"
    arguments = ["views", str(tmp_path / "run.yaml"), "method=simclr", "--out", str(out), "--samples", "2"]
    monkeypatch.setattr(sys, "argv", ["htr-ssl", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert (caught.value.code or 0) == 0
    assert capsys.readouterr().out.strip() == str(out)
    assert Image.open(out).width > 300
