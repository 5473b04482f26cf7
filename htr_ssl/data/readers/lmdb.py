"""LMDB as scene text recognition keeps it: num-samples, image-000000001, label-000000001, … Read only.

Source: <https://github.com/clovaai/deep-text-recognition-benchmark> (create_lmdb_dataset.py). Needs the extra `lmdb`.
"""

from __future__ import annotations

import importlib
import struct
import threading
from pathlib import Path
from typing import Any

from htr_ssl.archives.members import Member
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import Samples, split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files

NAME = "data.mdb"
_MAGIC = 0xBEEFC0DE
_META = 152  # bytes of a meta page that are looked at
_OPENING = threading.Lock()


class LmdbSamples(Samples):
    """Rows of one or more databases; images are fetched by key."""

    def __init__(self, rows: list[tuple[Path, int]], columns: dict[str, list[str | None]], level: Level) -> None:
        super().__init__(columns, level)
        self._rows = rows
        self._open: dict[Path, Any] = {}

    def image(self, index: int) -> bytes:
        """Encoded bytes, empty if the key is missing."""
        path, number = self._rows[index]
        with _OPENING:  # a process may open a database only once, whatever its threads do
            if path not in self._open:
                self._open[path] = _environment(path)
        with self._open[path].begin() as transaction:
            return bytes(transaction.get(f"image-{number:09d}".encode()) or b"")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}


def detect(root: Path) -> bool:
    """Whether there is a `data.mdb`."""
    return any(path.name == NAME for path in files(root))


def read(root: Path, level: Level) -> LmdbSamples:
    """Rows of every database below `root`; folders train, val and test name the splits.

    Raises:
        UserError: there is no database or no row in it, or the extra `lmdb` is not installed.
    """
    rows: list[tuple[Path, int]] = []
    problems: list[str] = []
    columns: dict[str, list[str | None]] = {name: [] for name in ("id", "text", "split")}
    for path in files(root):
        if path.name != NAME:
            continue
        parts = path.relative_to(root).parts[:-1] if path != root else ()
        split = next((split for split in map(split_of, parts) if split), None)
        try:
            labels = _labels(path)
        except UserError as error:
            problems.append(str(error))
            continue
        for number, label in labels.items():
            rows.append((path, number))
            columns["id"].append("/".join((*parts, f"{number:09d}")))
            columns["text"].append(label)
            columns["split"].append(split)
    if not rows:
        reason = f" ({problems[0]})" if problems else ""
        raise UserError(f"{root}: there is no row of an LMDB ({NAME}) in it{reason}")
    samples = LmdbSamples(rows, columns, level)
    samples.problems += problems
    return samples


def _labels(path: Path) -> dict[int, str]:
    """Number and text of every row that has an image; the numbers are 1, 2, …"""
    library = _library()
    labels: dict[int, str] = {}
    try:
        with _environment(path) as environment, environment.begin() as transaction:
            count = transaction.get(b"num-samples")
            if count is None or not count.isdigit():
                raise UserError(f"{path}: it has no num-samples; expected the keys of scene text recognition")
            for number in range(1, min(int(count), transaction.stat()["entries"]) + 1):
                if transaction.get(f"image-{number:09d}".encode()) is not None:
                    label = transaction.get(f"label-{number:09d}".encode()) or b""
                    labels[number] = label.decode("utf-8", errors="replace")
    except library.Error as error:
        raise UserError(f"{path}: the database cannot be read ({error}); copy it again") from error
    return labels


def _environment(path: Path) -> Any:
    """The database, mapped into memory read-only; a file shorter than it says would kill the process, so look first.

    Raises:
        UserError: it is no whole LMDB file.
    """
    if isinstance(path, Member):
        raise UserError(f"{path}: a database is not read within an archive; take it out and give it by itself")
    with open(path, "rb") as file:
        head = file.read(_META)
        size = struct.unpack_from("<I", head, 40)[0] if len(head) == _META else 0
        file.seek(size)
        metas = [head, file.read(_META)]
    whole = size >= 512 and all(
        len(meta) == _META and struct.unpack_from("<I", meta, 16)[0] == _MAGIC for meta in metas
    )
    last = max(struct.unpack_from("<Q", meta, 136)[0] for meta in metas) if whole else 0
    if not whole or (last + 1) * size > path.stat().st_size:
        raise UserError(f"{path}: this is not a whole LMDB file; copy it again")
    return _library().open(str(path), subdir=False, readonly=True, lock=False, readahead=False, max_readers=64)


def _library() -> Any:
    try:
        return importlib.import_module("lmdb")
    except ImportError:
        raise UserError("reading LMDB needs one more library: pip install 'htr-ssl[lmdb]'") from None
