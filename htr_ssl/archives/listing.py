"""What lies in a zip or tar file, and how its bytes are read where they lie."""

from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import lzma
import os
import stat
import tarfile
import threading
import weakref
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from htr_ssl.errors import UserError

PACKED = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tbz2", ".txz")
"""Endings of tar files that are compressed as a whole: their members are kept in memory."""
SUFFIXES = (".zip", ".tar", *PACKED)
"""Endings of archives that are read."""
OTHERS = (".gz", ".bz2", ".xz", ".7z", ".rar")
"""Endings of those that are not."""
MAX_MEMBERS = 300_000
"""Most members of an archive."""
MAX_MEMBER = 1 << 30
"""Largest member [bytes]."""
MAX_DEPTH = 32
"""Most folders that a member lies in."""
MAX_HELD = 1 << 30
"""Most that the members of a compressed tar file have together [bytes]: they are kept in memory."""
MAX_RATIO, SMALL = 200, 16 << 20
"""Most that a member of more than `SMALL` bytes is larger than its compressed form; no image comes near."""

_RAISED = (  # what damaged archives make the library raise besides OSError
    *(zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError),
    *(RuntimeError, NotImplementedError, ValueError, OverflowError),
)
_HEADER = 16 << 20  # largest header of a tar file [bytes]


@dataclass(slots=True)
class _Entry:
    """A file in an archive: its size [bytes], and where it is."""

    size: int
    info: Any


@dataclass
class Archive:
    """An archive that is open.

    Attributes:
        path: the file.
        folders: names of the folders, "" for the uppermost, with the names of what lies in them.
        left_out: a sentence for each member that cannot be used.
    """

    path: str
    folders: dict[str, list[str]] = field(default_factory=lambda: {"": []})
    left_out: list[str] = field(default_factory=list)
    _members: dict[str, _Entry] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._status = os.stat(self.path)
        self._lock = threading.Lock()
        self._file = open(self.path, "rb")  # noqa: SIM115, members are read at any time
        weakref.finalize(self, self._file.close)
        try:
            if self.path.lower().endswith(".zip"):
                self._zip = zipfile.ZipFile(self._file)
                self._list_zip()
            else:
                self._list_tar()
        except (*_RAISED, OSError) as error:
            raise UserError(f"{self.path}: the archive is damaged ({error}); copy or pack it again") from error

    def status(self, mode: int, size: int) -> os.stat_result:
        """What `Path.stat` gives for a member."""
        own = self._status
        times = own.st_atime, own.st_mtime, own.st_ctime
        exact = {"st_mtime_ns": own.st_mtime_ns, "st_atime_ns": own.st_atime_ns, "st_ctime_ns": own.st_ctime_ns}
        return os.stat_result((mode, own.st_ino, own.st_dev, 1, own.st_uid, own.st_gid, size, *times), exact)

    def member(self, name: str, path: Path) -> _Entry:
        """A file of the archive.

        Raises:
            FileNotFoundError: there is none of this name.
        """
        if name not in self._members:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self._members[name]

    def read(self, name: str, path: Path) -> bytes:
        """Bytes of a file of the archive.

        Raises:
            OSError: there is none of this name, or it is damaged.
        """
        entry = self.member(name, path)
        try:
            if isinstance(entry.info, bytes):
                return entry.info
            if isinstance(entry.info, zipfile.ZipInfo):
                return self._zip.read(entry.info)
            with self._lock:
                return _Careful(self._file).take(entry.info, entry.size)
        except _RAISED as error:
            raise OSError(errno.EIO, f"damaged in the archive: {error}", str(path)) from error

    def _list_zip(self) -> None:
        if len(self._zip.infolist()) > MAX_MEMBERS:
            raise self._too_many()
        for info in self._zip.infolist():
            name = info.filename
            if not info.flag_bits & 0x800:  # no sign that it is UTF-8, which some programs write all the same
                with contextlib.suppress(UnicodeError):
                    name = name.encode("cp437").decode("utf-8")
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                continue
            if kind not in (0, stat.S_IFREG):
                self._leave_out(name, "it is a link or a device, which is not followed")
            elif info.flag_bits & 1:
                self._leave_out(name, "it is encrypted; pack it without a password")
            elif info.file_size > SMALL and info.file_size > MAX_RATIO * max(info.compress_size, 1):
                self._leave_out(name, "it unpacks to a multiple of itself, as no image does")
            else:
                self._add(name, info.file_size, info)

    def _list_tar(self) -> None:
        packed = self.path.lower().endswith(PACKED)
        source = _Careful(_plain(self._file, self.path))
        held = seen = 0
        with tarfile.open(fileobj=source, mode="r:") as tar:  # type: ignore[call-overload]
            while (info := tar.next()) is not None:
                tar.members.clear()  # which only grow
                held, seen = held + info.size, seen + 1
                if packed and held > MAX_HELD:
                    raise UserError(
                        f"{self.path}: its members have more than {MAX_HELD >> 20} MiB, and they cannot be reached one "
                        "by one; pack them as .zip or .tar, or unpack it and give the folder"
                    )
                if seen > MAX_MEMBERS:
                    raise self._too_many()
                if info.isdir():
                    continue
                if not info.isreg():
                    self._leave_out(info.name, "it is a link or a device, which is not followed")
                elif info.issparse():
                    self._leave_out(info.name, "it is stored with holes; pack it without --sparse")
                else:
                    data = source.take(info.offset_data, info.size) if packed else info.offset_data
                    self._add(info.name, info.size, data)
            rest = source.take(tar.offset, tarfile.BLOCKSIZE, whole=False)
            if any(rest):  # the library stops at it without a word
                raise tarfile.ReadError("a header is no header")
            if len(rest) < tarfile.BLOCKSIZE:
                self.left_out.append(
                    f"{self.path}: it ends without the mark of its end; it may be cut off, copy it again"
                )

    def _add(self, name: str, size: int, info: Any) -> None:
        clean = _clean(name)
        if clean is None:
            return self._leave_out(name, "its name leads out of the archive")
        if size > MAX_MEMBER:
            return self._leave_out(name, f"it is larger than {MAX_MEMBER >> 20} MiB")
        parents = [str(parent) for parent in PurePosixPath(clean).parents][:-1]
        if len(parents) > MAX_DEPTH:
            return self._leave_out(name, f"it lies more than {MAX_DEPTH} folders deep")
        if clean in self.folders or any(parent in self._members for parent in parents):
            return self._leave_out(name, "it is a file and a folder at once")
        if clean in self._members:
            self.left_out.append(f"{self.path}/{clean}: the archive has it twice; the later one is taken")
        else:
            for child in (*reversed(parents), clean):
                above, _, own = child.rpartition("/")
                if child not in self.folders:
                    self.folders[above].append(own)
                    if child != clean:
                        self.folders[child] = []
        self._members[clean] = _Entry(size, info)
        return None

    def _too_many(self) -> UserError:
        return UserError(f"{self.path}: it has more than {MAX_MEMBERS} members; split it")

    def _leave_out(self, name: str, reason: str) -> None:
        self.left_out.append(f"{self.path}/{name}: {reason}; it is left out")


def _clean(name: str) -> str | None:
    """A member's name with single slashes; None if it leads out of the archive."""
    named = PureWindowsPath(name)
    if not named.parts or named.anchor or ".." in named.parts or "\0" in name:
        return None
    return named.as_posix()


def _plain(file: IO[bytes], path: str) -> Any:
    """The tar file itself, decompressed as it is read."""
    name = path.lower()
    if name.endswith(("gz",)):
        return gzip.GzipFile(fileobj=file)
    if name.endswith(("bz2",)):
        return bz2.BZ2File(file)
    return lzma.LZMAFile(file) if name.endswith("xz") else file


class _Careful:
    """A tar file of which no header is read that states an absurd size."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """The next bytes."""
        if not 0 <= size <= _HEADER:
            raise ValueError(f"a header states {size} bytes")
        data: bytes = self._file.read(size)
        return data

    def take(self, start: int, size: int, whole: bool = True) -> bytes:
        """Bytes from a place on."""
        self.seek(start)
        data: bytes = self._file.read(size)
        if whole and len(data) != size:
            raise EOFError("it ends too early")
        return data
