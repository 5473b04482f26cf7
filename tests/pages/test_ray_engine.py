"""Pages read by the workers of a Ray cluster: the same files as on one machine, also where workers die."""

import csv
import json
import os
import secrets
import signal
import sys
from functools import partial
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from random_models import random_model

from htr_ssl.errors import UserError
from htr_ssl.pages import ray_engine
from htr_ssl.pages.transcribe import transcribe
from htr_ssl.recognizers.aligned import read_aligned
from htr_ssl.recognizers.reader import Reader

PAGES = 24  # three for each of eight tasks of two workers
calls = 0


def picture(seed, rows=2):
    image = Image.new("L", (240, 200), 250)
    for row in range(rows):
        for x in range(20, 200 - 5 * seed, 14):
            ImageDraw.Draw(image).line([x, 40 + 60 * row, x + 8, 58 + 60 * row], fill=20, width=4)
    return image


def read_lines(images):
    return [(f"width {image.shape[1]}", 0.9) for image in images]


def dies_once(marker, images):
    """Ends its process as `kill -9` does when it reads its second page, if no other process has."""
    global calls
    calls += 1
    if calls == 2 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return read_lines(images)


def dies_at_three(images):
    """Ends its process whenever it reads a page of three lines."""
    if len(images) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return read_lines(images)


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'htr-ssl[ray]'")
    changed = pytest.MonkeyPatch()
    changed.setenv("RAY_USAGE_STATS_ENABLED", "0")
    changed.setenv("RAY_worker_niceness", "0")  # else workers wait for whatever runs beside them
    changed.setenv("RAY_worker_register_timeout_seconds", "250")
    changed.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else it is written into the user's home
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find this file
    yield
    ray.shutdown()
    changed.undo()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(PAGES):
        picture(number).save(folder / f"{number:02d}.png")
    return folder


def written(out):
    """Content of every file of a folder of transcriptions, without times and what tells one command from another."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out).as_posix()
        if path.is_file() and not path.name.startswith("summary"):
            found[name] = path.read_bytes()
            if "/pages/" in name:
                found[name] = json.loads(found[name])
                for key in ("seconds", "run"):
                    found[name]["facts"].pop(key, None)
    return found


def summary(out):
    rows = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def results(outcome):
    return [(item.source, item.status, item.message, item.lines, item.name) for item in outcome.results]


@pytest.mark.slow
def test_a_cluster_writes_what_one_machine_writes(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for number in range(4):
        picture(number).save(f"in/{number}.png")
    for name in ("three.tif", "book.pdf"):
        picture(0).save(f"in/{name}", save_all=True, append_images=[picture(1), picture(2)])
    Path("in/broken.png").write_bytes(Path("in/0.png").read_bytes()[:200])
    read = partial(read_aligned, Reader.load(random_model(tmp_path / "model.safetensors"), "cpu"))
    formats = ["txt", "alto", "page", "json", "pdf"]
    given = {
        "inputs": ["in"],
        "formats": formats,
        "segmenter": "projection",
        "reader": "a",
        "model": "a",
        "summary": True,
    }
    one = transcribe(read, out=Path("one"), **given)
    many = transcribe(read, out=Path("many"), engine="ray", jobs=2, **given)
    assert len(one.done) == 10
    assert len(one.failed) == 1
    assert results(many) == results(one)
    assert written(Path("many")) == written(Path("one"))
    assert summary(Path("many")) == summary(Path("one"))
    Path("many/2.txt").write_text("mine\n")
    again = transcribe(read, out=Path("many"), engine="ray", **given)
    assert len(again.skipped) == 10
    assert again.kept == [(Path("many/2.txt"), None)]
    assert Path("many/2.txt").read_text() == "mine\n"


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_and_doubles_nothing(cluster, folder, tmp_path):
    given = {"inputs": [folder], "formats": ["txt", "page"], "segmenter": "projection", "reader": "a", "summary": True}
    one = transcribe(read_lines, out=tmp_path / "one", **given)
    dies = partial(dies_once, tmp_path / "killed")
    many = transcribe(dies, out=tmp_path / "many", engine="ray", jobs=2, **given)
    assert (tmp_path / "killed").exists()
    assert len(many.done) == PAGES
    assert results(many) == results(one)
    assert written(tmp_path / "many") == written(tmp_path / "one")
    assert summary(tmp_path / "many") == summary(tmp_path / "one")


@pytest.mark.slow
def test_a_page_that_kills_every_worker_is_named_and_the_others_are_read(cluster, folder, tmp_path):
    picture(4, rows=3).save(folder / "04.png")
    given = {"inputs": [folder], "formats": ["txt"], "segmenter": "projection", "reader": "a"}
    one = transcribe(read_lines, out=tmp_path / "one", **given)
    many = transcribe(dies_at_three, out=tmp_path / "many", engine="ray", jobs=2, **given)
    ((path, message),) = many.failed
    assert path.name == "04.png"
    assert "died 3 times" in message
    assert len(many.done) == PAGES - 1
    rest = transcribe(read_lines, out=tmp_path / "many", engine="ray", jobs=2, **given)
    assert rest.done == [path]
    assert written(tmp_path / "many") == written(tmp_path / "one")
    assert [item.name for item in rest.results] == [item.name for item in one.results]


@pytest.mark.slow
def test_a_worker_that_cannot_start_ends_the_command(cluster, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "__version__", "0.0.1")
    with pytest.raises(UserError, match=r"the command has htr-ssl 0\.0\.1, a worker has"):
        transcribe(read_lines, [folder], tmp_path / "out", ["txt"], "projection", engine="ray")


def test_without_ray_it_says_how_to_get_it(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'htr-ssl\[ray\]'"):
        transcribe(read_lines, [folder], tmp_path / "out", ["txt"], "projection", engine="ray")
