"""Zip and tar files as folders: their members are paths that are read where they lie, and nothing is unpacked.

root = as_folder(Path("lines.zip"))
for path in root.iterdir():
    print(path, len(path.read_bytes()))  # lines.zip/0001.png 4711

Archives are taken as untrusted. Names that lead out, links, devices, encrypted members and such as unpack to a
multiple of themselves are left out and named; a member is read up to the size it states, and never more than
`listing.MAX_MEMBER`. Archives within an archive are files like others, which no reader opens.
"""

from __future__ import annotations

import errno
import fnmatch
import io
import os
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from htr_ssl.archives.listing import OTHERS, SUFFIXES, Archive
from htr_ssl.errors import UserError

if sys.platform == "win32":
    from pathlib import WindowsPath as _Path
else:
    from pathlib import PosixPath as _Path


class Member(_Path):
    """A path that may lead into an archive, which then acts as a folder; elsewhere it is a path like any other."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size of the member, time and place of the archive."""
        place = _place(self)
        if place is None:
            return super().stat(follow_symlinks=follow_symlinks)
        archive, name = place
        if name in archive.folders:
            return archive.status(stat.S_IFDIR | 0o555, 0)
        return archive.status(stat.S_IFREG | 0o444, archive.member(name, self).size)

    def exists(self, **options: Any) -> bool:
        """Whether it is a file or folder."""
        return self._mode() != 0

    def is_file(self, **options: Any) -> bool:
        """Whether it is a file."""
        return stat.S_ISREG(self._mode())

    def is_dir(self, **options: Any) -> bool:
        """Whether it is a folder; an archive is one."""
        return stat.S_ISDIR(self._mode())

    def _mode(self) -> int:
        try:
            return self.stat().st_mode
        except (OSError, ValueError):
            return 0

    def iterdir(self) -> Iterator[Member]:  # type: ignore[override]
        """What lies in the folder."""
        place = _place(self)
        if place is None:
            yield from (type(self)(path) for path in super().iterdir())
            return
        archive, name = place
        if name not in archive.folders:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(self))
        yield from (self / child for child in archive.folders[name])

    def glob(self, pattern: str, **options: Any) -> Iterator[Member]:  # type: ignore[override]
        """Files and folders in this one whose name fits the pattern."""
        yield from (path for path in self.iterdir() if fnmatch.fnmatchcase(path.name, pattern))

    def open(self, mode: str = "r", *options: Any, **more: Any) -> IO[Any]:  # type: ignore[override]
        """The member's bytes as a file in memory."""
        place = _place(self)
        if place is None:
            return super().open(mode, *options, **more)
        if set(mode) - set("rbt"):
            raise PermissionError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        file = io.BytesIO(self.read_bytes())
        return file if "b" in mode else io.TextIOWrapper(file, *options[1:], **more)

    def read_bytes(self) -> bytes:
        """The member's bytes."""
        place = _place(self)
        return super().read_bytes() if place is None else place[0].read(place[1], self)

    def resolve(self, strict: bool = False) -> Member:
        """The archive's real path, and the member's name."""
        place = _place(self)
        if place is None:
            return type(self)(os.path.realpath(self))
        return type(self)(os.path.realpath(place[0].path), place[1])


def is_archive(path: Path) -> bool:
    """Whether the name ends as that of an archive that is read."""
    return path.name.lower().endswith(SUFFIXES)


def as_folder(path: Path) -> Path:
    """An archive as a folder, or the path itself if it is none.

    Raises:
        UserError: an archive that is damaged, too large, or of a kind that is not read.
    """
    if not path.is_file():
        return path if _place(path) is None else Member(path)
    if not is_archive(path):
        if path.name.lower().endswith(OTHERS):
            raise UserError(f"{path}: an archive of this kind is not read; unpack it and give the folder")
        return path
    _opened(str(path))
    return Member(path)


def left_out(path: Path) -> list[str]:
    """A sentence for each member of a path's archive that cannot be used; none if it lies in no archive."""
    place = _place(path)
    return [] if place is None else list(place[0].left_out)


_OPEN: dict[tuple[Any, ...], Archive] = {}
_OPENING = threading.Lock()


def _opened(path: str) -> Archive:
    """The archive at a path, opened once in each process and anew when the file has changed."""
    status = os.stat(path)
    key = os.getpid(), path, status.st_size, status.st_mtime_ns, status.st_ino
    with _OPENING:
        if key not in _OPEN:
            for old in [old for old in _OPEN if old[:2] == key[:2]]:
                del _OPEN[old]
            _OPEN[key] = Archive(path)
        return _OPEN[key]


def _place(path: Path) -> tuple[Archive, str] | None:
    """Archive that a path leads into and the name in it, or None."""
    parts = path.parts
    for end in range(1, len(parts) + 1):
        if parts[end - 1].lower().endswith(SUFFIXES):
            above = os.path.join(*parts[:end])
            if os.path.isfile(above):
                return _opened(above), "/".join(parts[end:])
    return None
