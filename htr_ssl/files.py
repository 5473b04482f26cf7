"""Files that are either whole or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from htr_ssl.errors import WriteError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    What a killed process of this machine left of the same file is removed too.

    Raises:
        WriteError: the disk is full or the folder cannot be written.
    """
    path = Path(path)
    start = f".{path.name}.{platform.node()}-"
    temporary = path.with_name(f"{start}{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{glob.escape(start)}*.tmp"):
            if not _runs(left.name.removeprefix(start).removesuffix(".tmp")):
                left.unlink(missing_ok=True)
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WriteError(f"{path}: the disk is full; free some space and run the same command again") from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise WriteError(f"{path}: no permission to write here; choose another folder") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _runs(pid: str) -> bool:
    """Whether a process of this number is there."""
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except OSError:
        return True
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Writes `data` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Writes `value` as indented UTF-8 JSON, atomically."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def sha256(data: bytes | str) -> str:
    """Hexadecimal SHA-256 of bytes, or of a text's UTF-8 form."""
    return hashlib.sha256(data.encode("utf-8") if isinstance(data, str) else data).hexdigest()
