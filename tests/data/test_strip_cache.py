"""The cache of decoded images: the same strips, made once, whole or absent, and never trusted blindly."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from htr_ssl.config import DataConfig, PretrainConfig
from htr_ssl.config.yaml_files import load_config
from htr_ssl.data import importing, loading, strip_cache
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.reading import read
from htr_ssl.data.splits import named_splits
from htr_ssl.errors import UserError
from htr_ssl.training import pretrain


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for i in range(24):
        pixels = np.full((60, 150 + 10 * i, 3), 230, np.uint8)
        pixels[20:40, 10 : 100 + 10 * i] = random.integers(0, 90, (20, 90 + 10 * i, 3))
        Image.fromarray(pixels).save(tmp_path / "data" / f"{i:02}.png")
    return tmp_path / "data"


@pytest.fixture
def config(folder, tmp_path, monkeypatch):
    """Files of ten images, made in batches of four."""
    monkeypatch.setattr(strip_cache, "FILE_ROWS", 10)
    monkeypatch.setattr(strip_cache, "BATCH_ROWS", 4)
    return DataConfig(source=str(folder), height=32, channels=3, cache=str(tmp_path / "cache"))


def strips_of(config):
    samples = read_samples(config)
    return Strips(samples, rows_of(samples, "train", labelled=False), config)


def plain(config):
    return strips_of(config.model_copy(update={"cache": None}))


def parts(config):
    return sorted(Path(config.cache).glob("*/*.arrow"))


def never(*_):
    raise AssertionError("an image was decoded")


def test_the_same_strips_without_decoding(config, monkeypatch):
    expected = plain(config)
    first = strips_of(config)
    assert len(parts(config)) == 3
    monkeypatch.setattr(loading, "prepare", never)
    again = strips_of(config)
    assert again.place == "cache"
    for strips in (first, again, pickle.loads(pickle.dumps(again))):
        assert (strips.rows, strips.widths) == (expected.rows, expected.widths)
        assert strips[[3, 1, 20]].raw.equal(expected[[3, 1, 20]].raw)
        strips.keep([3, 20])
        assert strips[[1]].raw.equal(expected[[20]].raw)


@pytest.mark.parametrize("key", ["height=40", "channels=1", "max_width=200"])
def test_other_options_have_another_cache(config, key):
    name, value = key.split("=")
    strips_of(config)
    other = config.model_copy(update={name: int(value)})
    assert strips_of(other)[[0, 9]].raw.equal(plain(other)[[0, 9]].raw)
    assert len(os.listdir(config.cache)) == 2


def test_a_changed_source_has_another_cache(config, folder):
    strips_of(config)
    Image.fromarray(np.full((60, 300), 128, np.uint8)).save(folder / "03.png")
    assert strips_of(config)[[3]].raw.equal(plain(config)[[3]].raw)
    assert len(os.listdir(config.cache)) == 2


def test_a_split_of_ones_own_that_changed_has_another_cache(config, tmp_path):
    """As many rows as before, but others: the strips of the old ones would stand beside the new ones' texts."""
    for first, second in (("00 01", "02"), ("04 05", "06")):
        parts = {"train": first.split(), "test": [second]}
        path = tmp_path / "mine.yaml"
        path.write_text(named_splits.listed(parts, "mine", "", "", "line"))
        named_splits.load.cache_clear()
        divided = config.model_copy(update={"splits": str(path), "validation": 0.0})
        assert strips_of(divided)[[0]].raw.equal(plain(divided)[[0]].raw)
    assert len(os.listdir(config.cache)) == 2


@pytest.mark.parametrize("cache", [True, False])
def test_progress(config, cache):
    config = config if cache else config.model_copy(update={"cache": None})
    samples = read_samples(config)
    told = []
    strips = Strips(samples, range(len(samples)), config, progress=lambda *counts: told.append(counts))
    assert told == sorted(told)
    assert told[-1] == (len(strips), 24)
    if cache:
        parts(config)[1].unlink()
        told.clear()
        Strips(samples, range(len(samples)), config, progress=lambda *counts: told.append(counts))
        assert told == [(18, 24), (22, 24), (24, 24)]
        told.clear()
        Strips(samples, range(len(samples)), config, progress=lambda *counts: told.append(counts))
        assert not told


def test_of_a_list_its_own_images_count(config, folder, tmp_path):
    """Nothing else beside it, such as the runs and the cache itself."""
    (folder / "lines.tsv").write_text("image\ttext\n03.png\ta\n04.png\tb\n")
    listed = config.model_copy(update={"source": str(folder / "lines.tsv"), "cache": str(folder / "cache")})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two samples are too few for three splits
        for changed, count in ((None, 1), ("runs.txt", 1), ("09.png", 1), ("04.png", 2)):
            if changed:
                Image.fromarray(np.full((60, 300), 128, np.uint8)).save(folder / changed, "PNG")
            strips_of(listed)
            assert len(os.listdir(folder / "cache")) == count


def test_the_folder_of_the_source_is_no_place_for_it(config, folder):
    """It would be another source with every file that is added."""
    with pytest.raises(UserError, match="lies inside the source"):
        strips_of(config.model_copy(update={"cache": str(folder / "cache")}))


def test_unreadable_images_are_named_every_time(config, folder):
    (folder / "05.png").write_bytes(b"")
    os.symlink("nowhere.png", folder / "gone.png")
    for _ in range(2):
        with pytest.warns(UserWarning, match="left out: .*1 more"):
            strips = strips_of(config)
        assert len(strips) == 23
        assert [name for name in ("05.png", "gone.png") for text in strips.unreadable if text.startswith(name)] == [
            "05.png",
            "gone.png",
        ]


@pytest.mark.parametrize("damage", ["empty", "short", "garbage", "another table"])
def test_damaged_files_are_made_again(config, damage):
    expected = plain(config)
    strips_of(config)
    path = parts(config)[1]
    whole = path.read_bytes()
    other = parts(config)[2].read_bytes()
    path.write_bytes({"empty": b"", "short": whole[:3000], "garbage": os.urandom(5000), "another table": other}[damage])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        strips = strips_of(config)
    assert ["damaged and made again" in str(found.message) for found in caught] == [True]
    assert strips[list(range(24))].raw.equal(expected[list(range(24))].raw)
    assert path.read_bytes() == whole


def test_changed_pixels_are_noticed_when_they_are_read(config):
    expected = plain(config)
    strips_of(config)
    path = parts(config)[0]
    data = bytearray(path.read_bytes())
    place = data.find(expected.strip(3).tobytes()) + 500
    data[place] ^= 1
    path.write_bytes(data)
    strips = strips_of(config)
    assert strips[[2]].raw.equal(expected[[2]].raw)
    with pytest.warns(UserWarning, match=r"000000000\.arrow: the cache is damaged.*delete this file"):
        batch = strips[[3]]
    assert batch.raw.equal(expected[[3]].raw)


def test_random_damage_never_ends_the_process(config):
    """Flipped bytes anywhere in a file, offsets included: the strips stay those of the source."""
    expected = plain(config)
    strips_of(config)
    path = parts(config)[0]
    whole = path.read_bytes()
    heads = [i for i in range(len(whole)) if i < 2000 or i > len(whole) - 3000 or not i % 97]
    for number in range(60):
        random = np.random.default_rng(number)
        data = bytearray(whole)
        for place in random.choice(heads, 3):
            data[place] = int(random.integers(256))
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            strips = strips_of(config)
            rows = [strips.rows.index(row) for row in range(10) if row in strips.rows]
            assert rows == list(range(10))
            for row in rows:
                assert np.array_equal(strips.strip(row), expected.strip(row))


def test_a_killed_run_leaves_what_is_whole(config, folder):
    """kill -9 while the second file is written; the first is not made again."""
    code = (
        "import sys,time\nfrom htr_ssl.config import DataConfig\nfrom htr_ssl.data import loading, strip_cache\n"
        "strip_cache.FILE_ROWS, strip_cache.BATCH_ROWS = 10, 4\n"
        "strip_cache.os.getpid = lambda: 0\n"
        "decode = loading.StripMaker.strips\n"
        "def slow(self, rows): print(rows[0], flush=True); time.sleep(0.2); return decode(self, rows)\n"
        "loading.StripMaker.strips = slow\n"
        "config = DataConfig(source=sys.argv[1], height=32, channels=3, cache=sys.argv[2])\n"
        "samples = loading.read_samples(config)\n"
        "loading.Strips(samples, [0], config)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, folder, config.cache], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    while int(process.stdout.readline()) < 14:
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert [path.name for path in parts(config)] == ["000000000.arrow"]
    made = parts(config)[0].stat().st_mtime_ns
    time.sleep(0.01)
    assert strips_of(config)[[0, 23]].raw.equal(plain(config)[[0, 23]].raw)
    assert [path.name for path in parts(config)] == [f"{start:09d}.arrow" for start in (0, 10, 20)]
    assert parts(config)[0].stat().st_mtime_ns == made


def test_training_is_the_same_and_leaves_no_trace_of_the_cache(config, folder, tmp_path):
    """Also when it goes on with another cache; decoded images of Parquet rows count as those of files."""
    importing.write(read(folder), tmp_path / "lines.parquet")
    overrides = [f"data.source={tmp_path / 'lines.parquet'}", "data.height=32", "train.steps=2", "train.check_every=1",
                 "train.batch_size=4", "train.device=cpu"]  # fmt: skip
    files = []
    for name, cache in (("without", []), ("with", [f"data.cache={config.cache}"])):
        run = load_config(None, [*overrides, *cache], PretrainConfig)
        files.append(pretrain.run(run, tmp_path / name, progress=False).read_bytes())
    assert files[0] == files[1]
    assert len(os.listdir(config.cache)) == 1
    assert pretrain.run(run.model_copy(update={"data": run.data.model_copy(update={"cache": None})}), tmp_path / "with")
