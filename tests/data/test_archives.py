"""Zip and tar files read as the folders they hold, without unpacking; what is dangerous in them is named."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from miniatures import LAYOUTS, drawn

from htr_ssl.archives import listing, members
from htr_ssl.data import importing
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError

MODES = {"zip": "", "tar": "w", "tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def png(text: str = "x") -> bytes:
    buffer = io.BytesIO()
    drawn(text).save(buffer, "PNG")
    return buffer.getvalue()


def pack(root: Path, out: Path, top: str = "") -> Path:
    """An archive of all files below a folder, of the kind that its name says."""
    mode = MODES[out.name.partition(".")[2]]
    if not mode:
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
            for path in sorted(root.rglob("*")):
                file.write(path, Path(top, path.relative_to(root)))
    else:
        with tarfile.open(out, mode) as file:
            for path in sorted(root.rglob("*")):
                file.add(path, Path(top, path.relative_to(root)), recursive=False)
    return out


def contents(samples):
    return {
        name: (*row, samples[number].load().tobytes())
        for number, (name, *row) in enumerate(
            zip(*(samples.column(name) for name in ("id", "text", "split", "writer", "page")), strict=True)
        )
    }


@pytest.mark.parametrize("top", ["", "my lines"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_reads_in_an_archive_as_in_its_folder(name, top, tmp_path):
    reader, level, build = LAYOUTS[name]
    root = tmp_path / "data"
    root.mkdir()
    build(root)
    for suffix in ("zip", "tar.gz") if top else ("tar",):
        packed = pack(root, tmp_path / f"data.{suffix}", top)
        if reader in ("parquet", "lmdb", "transcribed"):
            with pytest.raises(UserError, match="within an archive; take it out"):
                read(packed, "auto", level)
            continue
        before = sorted(tmp_path.rglob("*"))
        samples = pickle.loads(pickle.dumps(read(packed, "auto", level)))
        assert contents(samples) == contents(read(root, "auto", level))
        assert not samples.problems
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("suffix", MODES)
def test_all_kinds_of_archives(suffix, tmp_path):
    """Also with one folder at the top, which is entered, unless it is a split."""
    for top in ("", "lines", "val"):
        root = tmp_path / f"data{top}"
        for folder in ("train", "test") if top != "val" else ("",):
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / "a.b.png").write_bytes(png(folder))
            (root / folder / "a.b.gt.txt").write_text(f"texte {folder}é", encoding="utf-8")
        samples = read(pack(root, tmp_path / f"{top}x.{suffix}", top))
        if top == "val":
            assert (samples.column("id"), samples.column("split")) == (["val/a.b.png"], ["validation"])
        else:
            assert samples.column("id") == ["test/a.b.png", "train/a.b.png"]
            assert samples.column("text") == ["texte testé", "texte trainé"]
        assert not samples.problems


def test_what_is_dangerous_is_left_out_and_named(tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png("secret"))
    names = ("../secret.png", str(secret), "C:\\x.png", "a/../../x.png", "d/" * 40 + "x.png")
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("good.png", png())
        for name in names:
            file.writestr(name, png())
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, str(secret))
        file.writestr("bomb.png", b"\0" * (listing.SMALL + 1))
        file.writestr("more.zip", b"PK")
        file.writestr("good.png/x.png", png())
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        for name in ("good.png", *names):
            info = tarfile.TarInfo(name)
            info.size = len(png())
            file.addfile(info, io.BytesIO(png()))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE):
            info = tarfile.TarInfo(f"link{int(kind)}.png")
            info.type, info.linkname = kind, str(secret)
            file.addfile(info)
    for suffix, more in (("zip", ["link.png", "bomb.png", "more.zip", "good.png/x.png"]), ("tar", ["link1.png"])):
        samples = read(tmp_path / f"x.{suffix}")
        assert samples.column("id") == ["good.png"]
        assert len(samples.problems) == len(names) + (4 if suffix == "zip" else 3)
        for name in (*names, *more):
            assert any(name in problem for problem in samples.problems), name


def test_encrypted_and_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr("a.png", b"old")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a.png", png())
        file.writestr("b.png", png())
    data = bytearray((tmp_path / "x.zip").read_bytes())
    data[data.rindex(b"PK\1\2") + 8] |= 1
    (tmp_path / "x.zip").write_bytes(data)
    samples = read(tmp_path / "x.zip")
    assert samples.column("id") == ["a.png"]
    assert samples[0].load().shape == (40, 120)
    assert ["twice" in problem or "encrypted" in problem for problem in samples.problems] == [True, True]


@pytest.mark.parametrize("suffix", MODES)
def test_damaged_archives(suffix, tmp_path):
    """Any damage is a sentence or an image that is named on import; never silent, never a traceback."""
    for number in range(8):
        (tmp_path / "data").mkdir(exist_ok=True)
        noise = np.random.default_rng(number).bytes(3000)
        (tmp_path / "data" / f"{number}.png").write_bytes(png() + noise)
    whole = pack(tmp_path / "data", tmp_path / f"x.{suffix}").read_bytes()
    random = np.random.default_rng(0)
    cases = [whole[: int(len(whole) * share)] for share in (0, 0.3, 0.7)]
    for _ in range(25):
        data = bytearray(whole)
        place = int(random.integers(len(data) - 8))
        data[place : place + 8] = random.bytes(8)
        cases.append(bytes(data))
    named = 0
    for number, data in enumerate(cases):
        broken = tmp_path / f"{number}.{suffix}"
        broken.write_bytes(data)
        try:
            samples = read(broken, "images")
            outcome = importing.write(samples, tmp_path / "out.parquet")
        except UserError as error:
            named += str(broken) in str(error) or "no image" in str(error)
            continue
        assert outcome.rows == 8 or outcome.problems
    assert named >= 3


def test_sizes_are_bounded(tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    for number in range(5):
        (tmp_path / "data" / f"{number}.png").write_bytes(png())
    packed = {suffix: pack(tmp_path / "data", tmp_path / f"x.{suffix}") for suffix in ("zip", "tar", "tar.gz")}
    monkeypatch.setattr(listing, "MAX_HELD", 100)
    with pytest.raises(UserError, match=r"pack them as \.zip or \.tar"):
        read(packed["tar.gz"])
    assert len(read(packed["tar"])) == len(read(packed["zip"])) == 5
    monkeypatch.setattr(listing, "MAX_MEMBERS", 4)
    members._OPEN.clear()
    for suffix in ("zip", "tar"):
        with pytest.raises(UserError, match="more than 4 members"):
            read(packed[suffix])
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 5 << 30
    (tmp_path / "huge.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + b"\0" * 2048)
    with pytest.raises(UserError, match=r"huge\.tar"):
        read(tmp_path / "huge.tar")


def test_a_changed_archive_is_read_anew_also_in_another_process(tmp_path):
    (tmp_path / "data").mkdir()
    for text in ("first", "second one"):
        (tmp_path / "data" / "a.png").write_bytes(png(text))
        samples = read(pack(tmp_path / "data", tmp_path / "x.zip"))
        assert np.array_equal(samples[0].load(), np.asarray(drawn(text)))
    child = os.fork() if hasattr(os, "fork") else 0
    if not child and hasattr(os, "fork"):
        os._exit(0 if np.array_equal(samples[0].load(), np.asarray(drawn("second one"))) else 1)
    assert not child or os.waitpid(child, 0)[1] == 0


def test_names_in_utf_8_without_a_sign_of_it(tmp_path):
    info = zipfile.ZipInfo("e.png")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as file:
        file.writestr(info, png())
    data = (tmp_path / "x.zip").read_bytes().replace(b"e.png", "é.pn".encode())
    (tmp_path / "x.zip").write_bytes(data)
    assert [path.name for path in members.as_folder(tmp_path / "x.zip").iterdir()] == ["é.pn"]


@pytest.mark.parametrize("suffix", ["rar", "7z", "gz"])
def test_other_archives_are_asked_to_be_unpacked(suffix, tmp_path):
    (tmp_path / f"lines.{suffix}").write_bytes(b"PK")
    with pytest.raises(UserError, match="unpack it"):
        read(tmp_path / f"lines.{suffix}")
