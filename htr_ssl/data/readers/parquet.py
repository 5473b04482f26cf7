"""Parquet in the layout of Hugging Face: image{bytes, path}, text, writer, page, split; only image is needed."""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import Counter, OrderedDict
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from htr_ssl.archives.members import Member
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import COLUMNS, Samples, clean_text, is_unusual, split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files

FACTS = b"htr_ssl"
"""Key of the file's metadata under which `data import` notes the source's facts as JSON."""
CACHE_BYTES = 1 << 30
"""Row groups kept in memory once they have been read [bytes]."""


class ParquetSamples(Samples):
    """Rows of one or more Parquet files; a row group's images are read when the first of them is asked for.

    The other columns stay as Arrow has them: a million rows take a tenth of the memory that Python's texts would.
    """

    def __init__(self, paths: list[Path], columns: pa.Table, groups: list[int], level: Level) -> None:
        """Files, the columns of all their rows and the first row number of each row group, an end mark last."""
        super().__init__({"id": []}, level)
        self._paths = paths
        self._table = columns
        self._starts = groups
        self._reset()

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def column(self, name: str) -> list[str | None]:
        """One of `COLUMNS` as a list."""
        values: list[str | None] = self._table[name].to_pylist()
        return [clean_text(value) for value in values] if name == "text" else values

    def cell(self, name: str, index: int) -> str | None:
        """One value of a column."""
        value: str | None = self._table[name][index].as_py()
        return clean_text(value) if name == "text" else value

    def as_written(self) -> dict[int, str]:
        """Row -> text as it stands in the file, for texts that `clean_text` changed by more than plain spaces."""
        texts = (text for batch in self._table["text"].chunks for text in batch.to_pylist())
        return {row: text for row, text in enumerate(texts) if text and is_unusual(text)}

    def pieces(self) -> np.ndarray | None:
        """Number of each sample's row group."""
        return np.repeat(np.arange(len(self._starts) - 1), np.diff(self._starts))

    def _reset(self) -> None:
        self._open: dict[Path, pq.ParquetFile] = {}
        self._cache: OrderedDict[int, pa.ChunkedArray] = OrderedDict()
        self._cached = 0  # bytes
        self._lock = threading.Lock()

    def image(self, index: int) -> bytes | Path:
        """Encoded bytes, or the path that stands in their place."""
        group = bisect_right(self._starts, index) - 1
        with self._lock:
            images = self._group(group)
        value = images[index - self._starts[group]].as_py()
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
            images = self._handle(path).read_row_group(number, columns=["image"], use_threads=False)["image"]
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: row group {number} is damaged ({error}); copy the file again") from error
        self._cache[group] = images
        self._cached += images.nbytes
        while len(self._cache) > 1 and self._cached > CACHE_BYTES:
            self._cached -= self._cache.popitem(last=False)[1].nbytes
        return images

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_open", "_cache", "_lock")}

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
    tables: list[pa.Table] = []
    sizes: list[int] = []
    facts: dict[str, str] = {}
    for path in paths:
        with _open(path) as file:
            tables.append(_columns(_metadata(file, path), path, root))
            sizes += [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
            own = _facts(file)
        if facts.get("splits", own.get("splits")) != own.get("splits", facts.get("splits")):
            raise UserError(
                f"{path}: its splits are those of {own['splits']}, but other files here follow {facts['splits']}; "
                "scores of two different splits must not be mixed"
            )
        facts |= own
    table = pa.concat_tables(tables)
    if not table.num_rows:
        raise UserError(f"{root}: there is no row in it; give a Parquet file with images")
    if len(paths) > 1 or facts.get("rows") != str(table.num_rows):  # else they were counted when it was written
        table = _with_unique_ids(table)
    samples = ParquetSamples(paths, table, list(accumulate(sizes, initial=0)), level)
    samples.facts |= facts
    return samples


def _open(path: Path) -> pq.ParquetFile:
    if isinstance(path, Member):
        raise UserError(f"{path}: a Parquet file is not read within an archive; take it out and give it by itself")
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
        # In batches and not mapped: a third of the memory that reading in one piece takes.
        with pq.ParquetFile(path, buffer_size=1 << 16) as whole:
            chosen = wanted + (["image.path"] if "path" in fields else [])
            batches = list(whole.iter_batches(1 << 16, columns=chosen)) if chosen else []
        if not batches:
            return pa.table({"image": pa.nulls(file.metadata.num_rows, pa.struct([("path", pa.string())]))})
        return pa.Table.from_batches(batches)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: the file is damaged ({error}); copy it again") from error


def _facts(file: pq.ParquetFile) -> dict[str, str]:
    """What an importing `htr-ssl` noted in the file."""
    try:
        facts = json.loads((file.schema_arrow.metadata or {}).get(FACTS, b"{}"))
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in facts.items()} if isinstance(facts, dict) else {}


def _columns(table: pa.Table, path: Path, root: Path) -> pa.Table:
    """Columns of one file as text in the form that samples have."""
    empty = pa.chunked_array([pa.nulls(table.num_rows, pa.string())])
    result: dict[str, pa.ChunkedArray] = {}
    for name in ("text", "writer", "page", "split"):
        try:
            result[name] = pc.cast(table[name], pa.string()) if name in table.column_names else empty
        except pa.ArrowException as error:
            raise UserError(f"{path}: column {name!r} is {table[name].type}; expected text") from error
    folder_split = split_of(path.stem.split("-")[0]) or (split_of(path.parent.name) if path != root else None)
    names = pc.unique(result["split"])
    splits = pa.array([_split(name, path) if name else folder_split for name in names.to_pylist()], pa.string())
    result["split"] = splits.take(pc.index_in(result["split"], names))
    paths = pc.cast(pc.struct_field(table["image"], "path"), pa.string()) if "image" in table.column_names else empty
    named = pc.fill_null(pc.not_equal(paths, ""), False)
    if not pc.all(named).as_py():
        numbers = pa.array(range(table.num_rows)).cast(pa.string())
        paths = pc.if_else(named, paths, pc.binary_join_element_wise(path.stem, numbers, ":"))
    result["id"] = paths
    for name in ("writer", "page", "split"):
        result[name] = result[name].cast(pa.dictionary(pa.int32(), pa.string()))
    return pa.table({name: result[name] for name in COLUMNS})


def _split(name: str, path: Path) -> str:
    split = split_of(name)
    if split is None:
        raise UserError(f"{path}: split {name!r} is unknown; write train, validation or test")
    return split


def _with_unique_ids(table: pa.Table) -> pa.Table:
    """Ids with the row number appended where several rows share one."""
    if pc.count_distinct(table["id"]).as_py() == table.num_rows:
        return table
    ids = table["id"].to_pylist()
    counts = Counter(ids)
    unique = [f"{name}#{row}" if counts[name] > 1 else name for row, name in enumerate(ids)]
    return table.set_column(table.column_names.index("id"), "id", pa.array(unique, pa.string()))
