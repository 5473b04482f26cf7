"""Synthetic handwriting on the paper of real scans: the ink is taken out, the paper stays."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.data.reading import read
from htr_ssl.data.synthetic import Config, samples
from htr_ssl.errors import UserError
from htr_ssl.handwriting.drawing import render
from htr_ssl.handwriting.hand import Hand
from htr_ssl.handwriting.paper import Paper
from htr_ssl.handwriting.scanned import without_ink

TONES = (90, 150, 210)


def sheet(tone: int, colour: bool = False, seed: int = 0) -> np.ndarray:
    """Paper that grows lighter to the right, with grain and a darker stain."""
    rng = np.random.default_rng(seed)
    plain = tone + np.linspace(0, 30, 400)[None] + rng.normal(0, 3, (48, 400))
    plain[:, 150:220] -= 15 * np.hanning(70)
    pixels = np.stack([plain, plain * 0.95, plain * 0.8], 2) if colour else plain
    return np.clip(pixels, 0, 255).astype(np.uint8)


def written(paper: np.ndarray, seed: int = 0) -> np.ndarray:
    """The paper with a line in dark ink on it; `render` may mirror and move what it is given."""
    clean = Paper(sheet=paper, fade=0, stray=0, blur=0)
    hand = replace(Hand.draw(seed, 0), ink=(0.2, 0.2, 0.2), grain=0.0)
    return render("quelques mots", hand, np.random.default_rng(seed), 48, clean, paper.ndim == 3)


@given(tone=st.sampled_from(TONES), colour=st.booleans(), seed=st.integers(0, 20))
@settings(deadline=None, max_examples=25)
def test_the_ink_goes_and_the_paper_stays(tone: int, colour: bool, seed: int) -> None:
    line = written(sheet(tone, colour, seed), seed)
    paper = without_ink(line, np.random.default_rng(0))
    assert paper.shape == line.shape
    assert paper.dtype == np.uint8
    channels = [paper[..., 0], line[..., 0]] if colour else [paper, line]
    kept, before = (channel.astype(float) for channel in channels)
    ink = before < tone - 35
    assert ink.any()
    assert (kept[ink] > tone - 35).mean() > 0.98  # gone
    assert abs(kept[ink].mean() - np.median(before)) < 15  # as light as its paper
    assert np.abs(kept - before)[before > tone - 10].mean() < 3  # the rest as it was
    assert kept.max() <= before.max() + 12


def test_grain_goes_on_where_ink_was() -> None:
    line = written(sheet(210))
    paper = without_ink(line, np.random.default_rng(0))
    ink = cv2.erode((line < 150).astype(np.uint8), np.ones((2, 2))) > 0
    fine = paper.astype(float) - cv2.GaussianBlur(paper, (0, 0), 1.5)
    assert 0.5 < fine[ink].std() / fine[~ink].std() < 1.6


@pytest.mark.parametrize("value", [0, 128, 255])
@pytest.mark.parametrize("shape", [(1, 1), (16, 3), (48, 200, 3)])
def test_images_without_paper_or_ink_stay_images(value: int, shape: tuple[int, ...]) -> None:
    blank = np.full(shape, value, np.uint8)
    assert np.abs(without_ink(blank, np.random.default_rng(0)).astype(int) - value).max() <= 1
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert without_ink(noise, np.random.default_rng(0)).shape == shape


def lines(folder: Path, tones: dict[str, int], colour: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, tone) in enumerate(tones.items()):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), written(sheet(tone, colour, number), number))
    return folder


def test_writing_has_the_paper_of_the_scans(tmp_path: Path) -> None:
    scans = lines(tmp_path / "scans", {"a": 90, "b": 210})
    config = Config(samples=64, scans=str(scans))
    made = samples(config, "line", 0)
    papers = [float(np.median(sample.load())) for sample in made]
    assert {round((paper - 105) / 120) for paper in papers} == {0, 1}  # both, and nothing else
    assert all(min(abs(paper - 105), abs(paper - 225)) < 20 for paper in papers)
    first, second = papers[:8], papers[8:16]
    assert max(np.ptp(first), np.ptp(second)) < 20  # a page is one sheet
    again = pickle.loads(pickle.dumps(samples(config, "line", 0)))
    assert all(np.array_equal(again[i].load(), made[i].load()) for i in (63, 0, 17))
    assert made.column("text") == samples(Config(samples=64), "line", 0).column("text")


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("scan_colour", [False, True])
def test_gray_and_colour_go_together(tmp_path: Path, colour: bool, scan_colour: bool) -> None:
    scans = lines(tmp_path / "scans", {"a": 150}, scan_colour)
    image = samples(Config(samples=1, scans=str(scans), colour=colour, height=32), "line", 0)[0].load()
    assert image.shape[0] == 32
    assert image.ndim == (3 if colour else 2)
    tint = np.median(image, (0, 1)) if colour else np.zeros(1)
    assert (np.ptp(tint) > 10) == (colour and scan_colour)


def test_wider_writing_than_paper_has_no_seam() -> None:
    narrow = Paper(sheet=sheet(200)[:, :60])
    image = render("une ligne bien plus longue que le papier", Hand.draw(0, 0), np.random.default_rng(0), 48, narrow)
    other = replace(narrow, sheet=sheet(200)[:20])
    assert image.shape[1] > 200
    assert np.abs(np.diff(np.percentile(image, 90, axis=0))).max() < 25
    assert render("bas", Hand.draw(0, 0), np.random.default_rng(0), 48, other).shape[0] == 48


def test_paper_of_validation_and_test_is_not_taken(tmp_path: Path) -> None:
    scans = lines(tmp_path / "scans", {"train/a": 210, "validation/b": 90, "test/c": 90})
    assert sorted(map(str, read(scans).column("split"))) == ["test", "train", "validation"]
    assert all(np.median(sample.load()) > 190 for sample in samples(Config(samples=40, scans=str(scans)), "line", 0))
    (scans / "train" / "a.png").unlink()
    with pytest.raises(UserError, match="no train image"):
        samples(Config(samples=2, scans=str(scans)), "line", 0)


def test_scans_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    scans = lines(tmp_path / "scans", {"a": 210, "b": 210})
    whole = (scans / "a.png").read_bytes()
    (scans / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.warns(UserWarning, match=r"synthetic\.scans: .*a.*damaged.*1 left out"):
        samples(Config(samples=2, scans=str(scans)), "line", 0)[0].load()
    (scans / "b.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"synthetic\.scans: .*damaged"):
        samples(Config(samples=2, scans=str(scans)), "line", 0)
    with pytest.raises(
        UserError, match=r"synthetic\.scans: .*nowhere: .*give images of lines, or leave the option out"
    ):
        samples(Config(scans=str(tmp_path / "nowhere")), "line", 0)


def test_the_command_takes_scans(tmp_path: Path) -> None:
    scans = lines(tmp_path / "scans", {"a": 90})
    out = tmp_path / "lines.parquet"
    done = CliRunner().invoke(app, ["data", "synth", str(out), f"scans={scans}", "--samples", "4"])
    assert done.exit_code == 0, done.output
    assert all(np.median(sample.load()) < 140 for sample in read(out))
