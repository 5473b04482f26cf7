"""Files are whole or absent, whatever goes wrong while they are written."""

import errno
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from htr_ssl import files
from htr_ssl.errors import UserError


@given(st.binary(max_size=2000), st.binary(max_size=2000))
def test_last_writing_wins(tmp_path_factory, first, second):
    path = tmp_path_factory.mktemp("files") / "a" / "b.bin"
    for data in (first, second):
        files.write_bytes(path, data)
        assert path.read_bytes() == data
    assert [entry.name for entry in path.parent.iterdir()] == ["b.bin"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_keeps_the_old_file_and_says_so(tmp_path, monkeypatch, number):
    path = tmp_path / "model.bin"
    files.write_bytes(path, b"old")

    def full(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"model\.bin: the disk is full; free some space"):
        files.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.bin"]


def test_failure_inside_leaves_nothing(tmp_path):
    def fail():
        with files.atomic_path(tmp_path / "x.txt") as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())


def test_json_is_readable_text(tmp_path):
    files.write_json(tmp_path / "a.json", {"é": [1, 2]})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n  "é": [\n    1,\n    2\n  ]\n}\n'


def test_what_a_killed_process_left_is_removed(tmp_path):
    write = "import sys, os, pathlib; from htr_ssl.files import atomic_path\n"
    write += "with atomic_path(pathlib.Path(sys.argv[1])) as path: path.write_bytes(b'half'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", write, str(tmp_path / "x.txt")], check=False)
    (left,) = tmp_path.iterdir()
    assert left.read_bytes() == b"half"
    files.write_bytes(tmp_path / "x.txt", b"whole")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.txt"]
