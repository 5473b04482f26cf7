"""`data import`, `split` and `stats` by command: restartable, atomic, with a list of what was left out."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest
from miniatures import gt_txt, iam_lines, save
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.data import importing
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def lines(root, count):
    for number in range(count):
        save(root / f"{number:04d}.png", f"n {number}", 60, 20)
        (root / f"{number:04d}.gt.txt").write_text(f"n {number}")
    return root


def test_import_by_command(tmp_path):
    expected = gt_txt(tmp_path / "data")
    (tmp_path / "data/broken.png").write_bytes(b"")
    command = ("data", "import", "auto", tmp_path / "data", tmp_path / "out.parquet", "--height", 20)
    result = run(*command)
    assert "warning" in result.output, "two bad images of 115,000 must not stop a script"
    run(*command, "--strict", code=1)
    assert "3 lines, 2 with text" in result.output
    assert "out.parquet.problems.txt: 1 left out" in result.output
    assert "broken.png" in (tmp_path / "out.parquet.problems.txt").read_text()
    samples = read(tmp_path / "out.parquet")
    assert samples.column("id") == list(expected)
    assert {sample.load().shape[0] for sample in samples} == {20}
    assert samples.facts["height"] == "20"
    (tmp_path / "data/broken.png").unlink()
    run("data", "import", "auto", tmp_path / "data", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet.problems.txt").exists()


def test_tokens_of_iam_stand_apart_until_they_are_joined(tmp_path):
    """What stands apart has a name, and so has what was joined, through the file to the score."""
    from htr_ssl.config import DataConfig
    from htr_ssl.data.loading import read_samples
    from htr_ssl.text import tokens

    (tmp_path / "iam").mkdir()
    iam_lines(tmp_path / "iam")
    path = tmp_path / "iam" / "ascii" / "lines.txt"
    path.write_text(path.read_text().replace("A|MOVE|to", "MOVE|to|stop|."))
    out = tmp_path / "out.parquet"
    result = run("data", "import", "iam", tmp_path / "iam", out)
    assert "--detokenise joins them" in result.output
    assert tokens.rule(read(out).facts).endswith("tokens apart (as IAM's |)")
    assert "MOVE to stop ." in read(out).column("text")
    later = read_samples(DataConfig(source=str(out), detokenise=True))
    assert "MOVE to stop." in later.column("text")
    assert tokens.rule(later.facts).endswith("tokens joined")
    run("data", "import", "iam", tmp_path / "iam", out, "--detokenise")
    assert "MOVE to stop." in read(out).column("text")
    assert tokens.rule(read_samples(DataConfig(source=str(out))).facts).endswith("tokens joined")


def test_a_killed_import_goes_on_to_the_same_file(tmp_path):
    """The parts done before the kill are not made again, and the file is the same to the byte."""
    root = lines(tmp_path / "data", 1200)
    importing.write(read(root), tmp_path / "whole.parquet", height=16)
    code = (
        "import sys,time\nfrom htr_ssl.data import importing\nfrom htr_ssl.data.reading import read\n"
        "from pathlib import Path\n"
        "def slow(done, total): print(done, flush=True); time.sleep(0.3)\n"
        "importing.write(read(sys.argv[1]), Path(sys.argv[2]), 16, threads=1, progress=slow)"
    )
    out = tmp_path / "out.parquet"
    process = subprocess.Popen([sys.executable, "-c", code, root, out], stdout=subprocess.PIPE, text=True)
    while int(process.stdout.readline()) < 2 * importing.PART:
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / ".out.parquet.parts").glob("0*.parquet")}
    assert 2 <= len(parts) < 5
    seen = []
    importing.write(read(root), out, 16, progress=lambda done, total: seen.append((done, time.time())))
    assert seen[0][0] >= 2 * importing.PART
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_parts_of_another_import_are_not_taken(tmp_path):
    root = lines(tmp_path / "data", 3)
    folder = tmp_path / ".out.parquet.parts"
    folder.mkdir()
    (folder / "plan.json").write_text('{"key": "of another"}')
    (folder / "000000000.parquet").write_bytes(b"wrong")
    assert importing.write(read(root), tmp_path / "out.parquet").rows == 3


def test_nothing_to_write(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a.png").write_bytes(b"")
    with pytest.raises(UserError, match="nothing to write"):
        importing.write(read(tmp_path / "data"), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    with pytest.raises(UserError, match="this is a folder"):
        importing.write(read(lines(tmp_path / "lines", 1)), tmp_path)


def test_very_wide_images_are_png(tmp_path):
    image = np.full((20, importing.MAX_WEBP + 1), 200, np.uint8)
    assert importing.encoded(image)[:4] == b"\x89PNG"
    assert importing.encoded(image[:, :100])[:4] == b"RIFF"


def test_split_keeps_pages_together(tmp_path):
    """Also the unlabelled lines of a page; the same seed draws the same splits."""
    root = lines(tmp_path / "data", 60)
    importing.write(read(root), tmp_path / "a.parquet")
    data = pq.read_table(tmp_path / "a.parquet")
    pages = [f"p{row // 6}" for row in range(60)]
    texts = [None if row % 3 == 0 else f"n {row}" for row in range(60)]
    data = data.set_column(3, "page", [pages]).set_column(1, "text", [texts])
    pq.write_table(data, tmp_path / "a.parquet")
    for out in ("b", "c"):
        options = ("--validation", 0.2, "--test", 0.2, "--seed", 3)
        run("data", "split", tmp_path / "a.parquet", tmp_path / f"{out}.parquet", *options)
    samples = read(tmp_path / "b.parquet")
    assert samples.column("split") == read(tmp_path / "c.parquet").column("split")
    where = dict(zip(samples.column("page"), samples.column("split"), strict=True))
    assert [where[name] for name in samples.column("page")] == samples.column("split")
    assert sorted(where.values()) == ["test"] * 2 + ["train"] * 6 + ["validation"] * 2
    assert samples.facts["splits"] == "by page, 0.2 and 0.2, seed 3"
    result = run("data", "split", tmp_path / "b.parquet", tmp_path / "d.parquet", "--by", "writer", code=1)
    assert isinstance(result.exception, UserError)
    assert "60 of 60 images name no writer" in str(result.exception)


def test_the_source_is_not_written_over(tmp_path):
    lines(tmp_path / "data", 12)
    run("data", "import", "auto", tmp_path / "data", tmp_path / "a.parquet")
    before = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "link.parquet").symlink_to(tmp_path / "a.parquet")
    result = run("data", "split", tmp_path / "a.parquet", tmp_path / "link.parquet", "--by", "row", code=1)
    assert "this is the source" in str(result.exception)
    assert (tmp_path / "a.parquet").read_bytes() == before


def test_files_with_different_splits_are_not_mixed(tmp_path):
    root = lines(tmp_path / "data", 20)
    for seed in (1, 2):
        run("data", "split", root, tmp_path / f"both/{seed}.parquet", "--by", "row", "--seed", seed)
    with pytest.raises(UserError, match=r"must not be mixed"):
        read(tmp_path / "both")


def test_stats(tmp_path):
    gt_txt(tmp_path / "data")
    found = json.loads(run("data", "stats", tmp_path / "data", "--json").stdout)
    assert found["splits"]["train"] == {
        "images": 2, "labelled": 1, "words": 2, "characters": 9, "alphabet": 7, "writers": 0, "pages": 0,
    }  # fmt: skip
    assert found["sizes"]["width"] == [120, 120, 120]
    (tmp_path / "data/htr-united.yml").write_text(
        "title: Essai\nlicense:\n  name: CC-BY 4.0\n  url: https://x\nlanguage: [fra, lat]\nscript: [{iso: Latn}]\n"
    )
    shown = run("data", "stats", tmp_path / "data").output
    for text in ("Essai", "CC-BY 4.0", "fra, lat", "Latn"):
        assert text in shown


def test_htr_united(tmp_path):
    """Title, licence, language and script go with the lines, also of a folder of the clone alone."""
    from miniatures import htr_united

    (tmp_path / "clone").mkdir()
    htr_united(tmp_path / "clone")
    stated = {"title": "Essai d'un corpus", "licence": "CC-BY 4.0", "language": "fra, lat", "script": "Latn"}
    run("data", "import", "auto", tmp_path / "clone/data", tmp_path / "lines.parquet")
    for source in (tmp_path / "clone", tmp_path / "clone/data", tmp_path / "lines.parquet"):
        assert stated.items() <= read(source).facts.items()
    for text in ("title: [", "- a\n- b", "title: {a: b}\nlicense: 3", "\0", "title: x\n" + "#" * (1 << 20)):
        (tmp_path / "clone/htr-united.yml").write_text(text)
        facts = read(tmp_path / "clone").facts
        assert "title" not in facts
        assert len(read(tmp_path / "clone")) == 2
    (tmp_path / "clone/htr-united.yml").write_text("title: Above\n")
    (tmp_path / "clone/.git").rmdir()
    assert "title" not in read(tmp_path / "clone/data").facts


def test_hub(tmp_path, monkeypatch):
    """The library that fetches is asked for the Parquet files of the named data set only."""
    import types

    from miniatures import hub

    hub(tmp_path / "snapshot")
    asked = {}

    def snapshot_download(name, **options):
        asked.update(options, name=name)
        return str(tmp_path / "snapshot")

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(snapshot_download=snapshot_download))
    assert len(read("hf://Teklia/IAM-line")) == 3
    assert asked["name"] == "Teklia/IAM-line"
    assert asked["repo_type"] == "dataset"
    with pytest.raises(UserError, match="expected hf://OWNER/NAME"):
        read("hf://IAM")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"pip install 'htr-ssl\[hub\]'"):
        read("hf://Teklia/IAM-line")


def test_a_large_file_opens_without_its_images(tmp_path):
    """Columns are read, images are not: 30,000 rows with 60 MB of images take a tenth of that."""
    import pyarrow as pa

    rows = 30_000
    with pq.ParquetWriter(tmp_path / "x.parquet", importing.SCHEMA, compression="none") as writer:
        for start in range(0, rows, 3000):
            names = [f"{row}.png" for row in range(start, start + 3000)]
            images = [{"bytes": bytes(2000), "path": name} for name in names]
            columns = {"text": names, "writer": ["w"] * 3000, "page": ["p"] * 3000, "split": ["train"] * 3000}
            writer.write_table(pa.table({"image": images, **columns}, schema=importing.SCHEMA), row_group_size=256)
    before = pa.total_allocated_bytes()
    samples = read(tmp_path / "x.parquet")
    assert len(samples) == rows
    assert samples.cell("text", rows - 1) == f"{rows - 1}.png"
    assert pa.total_allocated_bytes() - before < 6e6
    assert samples[29_000].image == bytes(2000)
    assert pa.total_allocated_bytes() - before < 8e6
