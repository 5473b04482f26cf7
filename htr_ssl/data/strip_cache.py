"""Strips on disk (`data.cache`): a source's images decoded, scaled and levelled once, then mapped into memory.

A cache is a folder of Arrow files with one row per image: the strip's pixels, its width and a checksum. Its name tells
the source as it is now, the options the strips depend on, and the version of the package, so that a changed source gets
another cache. Files appear whole or not at all: a killed run goes on with the files that are missing, and several
processes share the work. A folder may be deleted whenever nothing trains with it.
"""

from __future__ import annotations

import json
import os
import warnings
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from htr_ssl import __version__
from htr_ssl.config import DataConfig
from htr_ssl.data.samples import Samples
from htr_ssl.data.splits.splitting import MARK
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path, sha256, write_json
from htr_ssl.folders import files

Decode = Callable[[Sequence[int]], Sequence[np.ndarray | str]]
"""Strips (height, W, channels) of rows, or why an image cannot be read."""
Progress = Callable[[int, int], None]
"""Is told the images done and of all."""

FILE_ROWS = 1 << 15
"""Images per file: what a killed run loses at most."""
BATCH_ROWS = 256
"""Images decoded at once."""
SCHEMA = pa.schema([("strip", pa.large_binary()), ("width", pa.int32()), ("check", pa.uint32())])
"""Pixels in rows of the image, width [px] (0 = the image cannot be read), CRC-32 of the pixels (0 = there are none)."""


class StripCache:
    """Strips of all rows of a source.

    Attributes:
        folder: where they lie.
        widths: of all strips [px]; 0 = the image cannot be read.
    """

    def __init__(self, samples: Samples, config: DataConfig, decode: Decode, progress: Progress | None = None) -> None:
        """Opens the cache below `config.cache`; what is missing or damaged is made first, which `progress` is told.

        Raises:
            UserError: the folder cannot be written or lies inside the source, or the disk is full.
        """
        about = _about(samples, config)
        name = config.level if samples.root is None else samples.root.name
        self.folder = Path(config.cache or "").expanduser() / f"{name}-{sha256(json.dumps(about))[:16]}"
        self._shape = (config.height, config.channels)
        self._starts = range(0, len(samples), FILE_ROWS)
        self._count = len(samples)
        if not (self.folder / "about.json").exists():
            write_json(self.folder / "about.json", about)
        missing = [start for start in self._starts if self._opened(start) is None]
        first = os.getpid() % len(missing) if missing else 0  # several processes begin at different files
        done = self._count - sum(map(self._rows, missing))
        for start in missing[first:] + missing[:first]:
            if self._opened(start) is None:
                for made in self._make(start, decode):
                    if progress is not None:
                        progress(done + made, self._count)
            done += self._rows(start)
        self._map()

    def strip(self, row: int) -> np.ndarray | None:
        """One strip, (height, W, channels), read-only; None, with a warning, if its pixels have changed on the disk."""
        chunk = bisect_right(self._chunks, row) - 1
        strips, checks = self._strips[chunk]
        place = row - self._chunks[chunk]
        data = strips[place].as_buffer()
        height, channels = self._shape
        if _check(data) == checks[place] and len(data) == height * self.widths[row] * channels:
            return np.frombuffer(data, np.uint8).reshape(height, self.widths[row], channels)
        path = self._path(row - row % FILE_ROWS)
        warnings.warn(f"{path}: the cache is damaged, images are decoded again; delete this file", stacklevel=2)
        return None

    def _path(self, start: int) -> Path:
        return self.folder / f"{start:09d}.arrow"

    def _rows(self, start: int) -> int:
        return min(FILE_ROWS, self._count - start)

    def _opened(self, start: int) -> pa.Table | None:
        """Mapped table of one file; None if it is not there; a damaged one is deleted, with a warning."""
        path = self._path(start)
        if not path.exists():
            return None
        try:
            with pa.memory_map(str(path)) as file:
                table = pa.ipc.open_file(file).read_all()
            table.validate(full=True)  # offsets that point out of the file would kill the process
            if table.schema != SCHEMA or len(table) != self._rows(start):
                raise ValueError("it is of another source")
            if ((table["width"].to_numpy() > 0) != (table["check"].to_numpy() > 0)).any():
                raise ValueError("widths have changed")
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            warnings.warn(f"{path}: the cache is damaged and made again ({reason})", stacklevel=3)
            path.unlink(missing_ok=True)
            return None
        return table

    def _make(self, start: int, decode: Decode) -> Iterator[int]:
        """Writes one file, a batch at a time; yields how many images are done."""
        stop = start + self._rows(start)
        with (
            atomic_path(self._path(start)) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, SCHEMA) as writer,
        ):
            for begin in range(start, stop, BATCH_ROWS):
                end = min(begin + BATCH_ROWS, stop)
                writer.write_batch(_batch(decode(range(begin, end))))
                yield end - start

    def _map(self) -> None:
        """Maps all files: columns of each batch, and the first row of each."""
        batches = list(self._batches())
        self._chunks = list(accumulate((len(batch) for batch in batches), initial=0))[:-1]
        self._strips = [(batch.column("strip"), batch.column("check").to_numpy()) for batch in batches]
        self.widths = np.concatenate([batch.column("width").to_numpy() for batch in batches])

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for start in self._starts:
            table = self._opened(start)
            if table is None:
                raise UserError(f"{self._path(start)}: the cache has just been damaged or deleted; start again")
            yield from table.to_batches()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_strips", "_chunks", "widths")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map()


def _check(pixels: Any) -> int:
    return zlib.crc32(pixels) or 1 if len(pixels) else 0


def _batch(strips: Sequence[np.ndarray | str]) -> pa.RecordBatch:
    pixels = [b"" if isinstance(strip, str) else strip.tobytes() for strip in strips]
    widths = [0 if isinstance(strip, str) else strip.shape[1] for strip in strips]
    return pa.record_batch([pixels, widths, [_check(data) for data in pixels]], schema=SCHEMA)


def _about(samples: Samples, config: DataConfig) -> dict[str, Any]:
    """What the strips depend on: options, version, and names, sizes and times of the source's files.

    All files of a folder count; for a single file, the file and the images it names. A named split counts by its
    checksum: it says which rows are there, and a list of one's own may change under its name.
    """
    names = ["format", "level", "splits", "height", "channels", "max_width"]
    root = samples.root
    if root is None:
        return config.model_dump(include={*names, "source", "synthetic", "seed"}) | {"htr_ssl": __version__}
    if Path(config.cache or "").expanduser().resolve().is_relative_to(root.resolve()):
        raise UserError(f"data.cache={config.cache}: it lies inside the source {root}; choose a folder beside it")
    base, paths = (root, files(root)) if root.is_dir() else (root.parent, [root, *samples.paths()])
    listed = [[os.path.relpath(path, base), *_status(path)] for path in paths]
    about = config.model_dump(include={*names}) | {"htr_ssl": __version__, "rows": len(samples)}
    about["splits_sha256"] = samples.facts.get(MARK)
    return about | {"root": root.name, "files": len(listed), "state": sha256(json.dumps(listed))}


def _status(path: Path) -> tuple[int, int]:
    """Size and time of a file; zeros if it is gone or a link to nothing."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
