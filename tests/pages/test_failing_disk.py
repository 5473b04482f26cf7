"""A disk that fills up, a folder that may not be written: one line each, exit code 1, the rest done, nothing half."""

import errno
import os
import sys

import pytest
from lxml import etree
from PIL import Image, ImageDraw
from random_models import random_model

from htr_ssl import files
from htr_ssl.cli import commands

FORMATS = "txt,json,alto,page,hocr,pdf,tei,docx,csv,overlay"


@pytest.fixture
def scans(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        image = Image.new("L", (400, 300), 250)
        for x in range(40, 340 - 20 * number, 14):
            ImageDraw.Draw(image).line([x, 60, x + 8, 80], fill=20, width=4)
        image.save(folder / f"{number}.png")
    image.save(folder / "book.tif", save_all=True, append_images=[image])
    return folder


@pytest.fixture
def run(tmp_path, scans, monkeypatch, capsys):
    """The command, as a shell runs it: exit code and what is printed."""
    model = random_model(tmp_path / "model.safetensors")

    def call(out):
        given = ["transcribe", str(model), str(scans), "--out", str(out), "--format", FORMATS]
        options = ["--segmenter", "projection", "--keep-junk", "--jobs", "1", "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["htr-ssl", *given, *options])
        with pytest.raises(SystemExit) as ended:
            commands.main()
        return ended.value.code, capsys.readouterr().err

    return call


class Disk:
    """Takes so many bytes; the file that goes beyond is refused."""

    def __init__(self, monkeypatch, room, number=errno.ENOSPC):
        self.room, self.used, self.number = room, 0, number
        monkeypatch.setattr(files.os, "fsync", self.sync)

    def sync(self, handle):
        self.used += os.fstat(handle).st_size
        if self.used > self.room:
            raise OSError(self.number, os.strerror(self.number))


def contents(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def visible(found):
    return {name: data for name, data in found.items() if not name.startswith((".", "summary"))}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.97])
def test_a_full_disk_ends_with_named_pages_whole_files_and_goes_on(tmp_path, run, monkeypatch, share):
    with monkeypatch.context() as patch:
        disk = Disk(patch, 1 << 40)
        assert run(tmp_path / "whole")[0] == 0
        room = int(share * disk.used)
    wanted = contents(tmp_path / "whole")
    with monkeypatch.context() as patch:
        Disk(patch, room)
        code, said = run(tmp_path / "out")
    assert code == 1
    assert "the disk is full; free some space" in said
    assert "Traceback" not in said
    left = contents(tmp_path / "out") if (tmp_path / "out").exists() else {}
    assert not [name for name in left if ".tmp" in name]
    for name, data in visible(left).items():
        assert data == visible(wanted)[name]  # whole, or not there
        if name.endswith(".xml"):
            etree.fromstring(data)
    missing = {name.split(".")[0] for name in visible(wanted).keys() - visible(left).keys()}
    assert all(page in said for page in missing if share)
    assert run(tmp_path / "out")[0] == 0
    assert visible(contents(tmp_path / "out")) == visible(wanted)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_may_not_be_written_is_one_line(tmp_path, run, monkeypatch, number):
    Disk(monkeypatch, -1, number)
    code, said = run(tmp_path / "out")
    assert code == 1
    (line,) = [line for line in said.splitlines() if line.strip()]
    assert "no permission to write here; choose another folder" in line
    assert not visible(contents(tmp_path / "out"))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_output_that_may_not_be_written_stops_no_other_page(tmp_path, run, monkeypatch):
    def replace(source, target, real=os.replace):
        if os.path.basename(target).startswith("1."):
            raise PermissionError(errno.EACCES, "no")
        real(source, target)

    monkeypatch.setattr(files.os, "replace", replace)
    code, said = run(tmp_path / "out")
    assert code == 1
    assert "no permission to write here" in said
    assert "1 of " in said
    names = {name.split(".")[0] for name in visible(contents(tmp_path / "out"))}
    assert {"0", "2", "book"} <= names
    assert "1" not in names
