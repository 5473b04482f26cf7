"""Files that others made: folders and archives walked in natural order, paths confined, text in any encoding."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from htr_ssl.archives.members import Member
from htr_ssl.errors import UserError

IMAGE_SUFFIXES = frozenset(
    [
        ".avif",
        ".bmp",
        ".gif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
MAX_TEXT = 1 << 30
"""Largest text file read [bytes]."""
RUN = ".htr-ssl-run"
"""Empty file in a folder that a run of this program fills: it may lie in that of the data, and is none of it."""


def begin_run(folder: Path) -> None:
    """Makes a folder of a run and marks it, so that `files` of a folder above does not enter it.

    A folder that already holds images, however deep, is not marked: it is somebody's data.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not any(map(is_image, files(folder))):
        (folder / RUN).touch()


def files(root: Path) -> Iterator[Path]:
    """Visible files below `root` in natural order, links followed, no folder entered twice, and no run's below it."""
    if root.is_file():
        yield root
        return
    if isinstance(root, Member):
        yield from _members(root)
        return
    seen: set[tuple[int, int]] = set()
    for folder, folders, names in os.walk(root, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if folder != str(root) and RUN in names:
            folders.clear()
            continue
        folders[:] = sorted((name for name in folders if _visible(name)), key=natural)
        yield from (Path(folder, name) for name in sorted(filter(_visible, names), key=natural))


def _members(folder: Member) -> Iterator[Path]:
    """Visible files of a folder in an archive, in the same order."""
    paths = sorted((path for path in folder.iterdir() if _visible(path.name)), key=lambda path: natural(path.name))
    yield from (path for path in paths if path.is_file())
    for path in paths:
        if path.is_dir():
            yield from _members(path)


def inside(root: Path, name: str) -> Path | None:
    """Path below `root` that a file names, with slashes of either kind; None if it leads out of `root`."""
    named = PureWindowsPath(name.strip())
    if not named.parts or named.anchor or ".." in named.parts or "\0" in name:
        return None
    return root / named.as_posix()


def exists(path: Path) -> bool:
    """Whether it is a file; False too for names that no file can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_text(path: Path) -> tuple[str, str | None]:
    """Text of a file and a sentence about its encoding if it is not UTF-8: then it is taken for Windows-1252.

    A byte order mark is dropped, UTF-16 is known by its own; line ends become line feeds.

    Raises:
        UserError: the file cannot be read or is larger than `MAX_TEXT`.
    """
    try:
        if path.stat().st_size > MAX_TEXT:
            raise UserError(f"{path}: the file is larger than {MAX_TEXT >> 20} MiB; split it")
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); check the path") from error
    problem = None
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        problem = f"{path}: it is not UTF-8 and was read as Windows-1252; look at its accents, better convert it"
    return text.replace("\r\n", "\n").replace("\r", "\n"), problem


def is_image(path: Path) -> bool:
    """Whether the file's name ends as an image's does."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key that puts ``page2`` before ``page10``."""
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return (*((int(part), "") if part[0] in "0123456789" else (-1, part.lower()) for part in parts), (-2, name))


def _visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"
