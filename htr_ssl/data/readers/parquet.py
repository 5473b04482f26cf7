"""Parquet in the layout of Hugging Face: image{bytes, path}, text, writer, page, split; only image is needed."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, OrderedDict
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from htr_ssl.data.readers._common import Samples, clean_text, files, split_of
from htr_ssl.data.sample import Level
from htr_ssl.errors import UserError

CACHE_BYTES = 1 << 30
"""Row groups kept in memory once they have been read [bytes]."""


class ParquetSamples(Samples):
    """Rows of one or more Parquet files; a row group's images are read when the first of them is asked for."""

    def __init__(self, paths: list[Path], columns: dict[str, list[str | None]], groups: list[int], level: Level):
        """Files, the columns of all their rows and the first row number of each row group, an end mark last."""
        super().__init__(columns, level)
        self._paths = paths
        self._starts = groups
        self._reset()

    def _reset(self) -> None:
        self._open: dict[Path, pq.ParquetFile] = {}
        self._cache: OrderedDict[int, pa.ChunkedArray] = OrderedDict()

    def image(self, index: int) -> bytes | Path:
        """Encoded bytes, or the path that stands in their place."""
        group = bisect_right(self._starts, index) - 1
        value = self._group(group)[index - self._starts[group]].as_py()
        fields = value if isinstance(value, dict) else {"bytes": value}
        data = fields.get("bytes")
        if data is None and fields.get("path"):
            return self._file(group)[0].parent / str(fields["path"])
        return data or b""

    def _file(self, group: int) -> tuple[Path, int]:
        """File of a row group and the group's number in it."""
        for path in self._paths:
            count = self._handle(path).num_row_groups
            if group < count:
                return path, group
            group -= count
        raise IndexError(group)

    def _handle(self, path: Path) -> pq.ParquetFile:
        if path not in self._open:
            self._open[path] = _open(path)
        return self._open[path]

    def _group(self, group: int) -> pa.ChunkedArray:
        """Images of a row group, from the cache or the file; the group used longest ago makes room."""
        if group in self._cache:
            self._cache.move_to_end(group)
            return self._cache[group]
        path, number = self._file(group)
        try:
            images = self._handle(path).read_row_group(number, columns=["image"]).column("image")
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: row group {number} is damaged ({error}); copy the file again") from error
        self._cache[group] = images
        while len(self._cache) > 1 and sum(array.nbytes for array in self._cache.values()) > CACHE_BYTES:
            self._cache.popitem(last=False)
        return images

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_open", "_cache")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()


def detect(root: Path) -> bool:
    """Whether it is a Parquet file or a folder with one."""
    return any(path.suffix == ".parquet" for path in files(root))


def read(root: Path, level: Level) -> ParquetSamples:
    """Rows of a file or of all files of a folder in natural order; rows without text are unlabelled.

    The split comes from the column `split`, else from the file's or folder's name (`train-00000-of-00001.parquet`).

    Raises:
        UserError: no or a damaged file, no column `image`, a column of the wrong type, an unknown split.
    """
    paths = [path for path in files(root) if path.suffix == ".parquet" or path == root]
    if not paths:
        raise UserError(f"{root}: there is no .parquet file in it; give a Parquet file or a folder of them")
    columns: dict[str, list[str | None]] = {name: [] for name in ("id", "text", "writer", "page", "split")}
    sizes: list[int] = []
    for path in paths:
        with _open(path) as file:
            table = _metadata(file, path)
            sizes += [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        for name, values in _columns(table, path, root).items():
            columns[name] += values
    if not columns["id"]:
        raise UserError(f"{root}: there is no row in it; give a Parquet file with images")
    columns["id"] = _unique(columns["id"])
    return ParquetSamples(paths, columns, list(accumulate(sizes, initial=0)), level)


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, memory_map=True)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: this is not a whole Parquet file ({error}); copy it again") from error


def _metadata(file: pq.ParquetFile, path: Path) -> pa.Table:
    """Everything but the images' bytes."""
    schema = file.schema_arrow
    if "image" not in schema.names:
        raise UserError(
            f"{path}: there is no column 'image', only {', '.join(schema.names)}; rename the images' column"
        )
    kind = schema.field("image").type
    fields = [kind.field(i).name for i in range(kind.num_fields)] if pa.types.is_struct(kind) else []
    if not ("bytes" in fields or "path" in fields or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)):
        raise UserError(f"{path}: column 'image' is {kind}; expected a struct of bytes and path, or bytes")
    wanted = [name for name in ("text", "writer", "page", "split") if name in schema.names]
    try:
        return file.read(columns=wanted + (["image.path"] if "path" in fields else []))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: the file is damaged ({error}); copy it again") from error


def _columns(table: pa.Table, path: Path, root: Path) -> dict[str, list[str | None]]:
    """Columns of one file as lists of text in the form that samples have."""
    rows = table.num_rows
    result: dict[str, list[str | None]] = {}
    for name in ("text", "writer", "page", "split"):
        try:
            known = pc.cast(table[name], pa.string()).to_pylist() if name in table.column_names else [None] * rows
        except pa.ArrowException as error:
            raise UserError(f"{path}: column {name!r} is {table[name].type}; expected text") from error
        result[name] = known
    result["text"] = [clean_text(text) for text in result["text"]]
    folder_split = split_of(path.stem.split("-")[0]) or (split_of(path.parent.name) if path != root else None)
    result["split"] = [_split(name, path) if name else folder_split for name in result["split"]]
    names = [None] * rows
    if "image" in table.column_names:
        names = pc.struct_field(table["image"], "path").to_pylist()
    result["id"] = [name or f"{path.stem}:{row}" for row, name in enumerate(names)]
    return result


def _split(name: str, path: Path) -> str:
    split = split_of(name)
    if split is None:
        raise UserError(f"{path}: split {name!r} is unknown; write train, validation or test")
    return split


def _unique(ids: list[str | None]) -> list[str | None]:
    """Ids with the row number appended where several rows share one."""
    counts = Counter(ids)
    return [f"{name}#{row}" if counts[name] > 1 else name for row, name in enumerate(ids)]
