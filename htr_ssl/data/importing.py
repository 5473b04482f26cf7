"""Any source becomes one Parquet file: in parallel, part by part, so that a stopped import goes on where it was."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from htr_ssl import environment
from htr_ssl.data.images import decode, to_height
from htr_ssl.data.readers.parquet import FACTS
from htr_ssl.data.samples import COLUMNS, Samples
from htr_ssl.data.splits.identity import mark
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path, sha256, write_json, write_text

PART = 256
"""Rows of a part, which is what a killed import loses at most for each thread."""
GROUP = 256
"""Rows of a row group: what is read to get one image."""
QUALITY = 90
"""Quality of WebP images."""
MAX_WEBP = 16383
"""Longest side of a WebP image [px]; longer ones are stored as PNG."""
SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        *((name, pa.string()) for name in COLUMNS[1:]),
    ]
)
"""The layout of Hugging Face; `image.path` is the id."""

Encoding = Literal["webp", "png"]
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Outcome:
    """What an import did.

    Attributes:
        rows: images in the file.
        labelled: those with a text.
        problems: a sentence for everything that was left out.
        report: file with the problems, None if there are none.
    """

    rows: int = 0
    labelled: int = 0
    problems: list[str] = field(default_factory=list)
    report: Path | None = None


def write(
    samples: Samples,
    out: Path,
    height: int = 0,
    encoding: Encoding = "webp",
    threads: int = 0,
    progress: Progress | None = None,
    splits: Sequence[str | None] | None = None,
) -> Outcome:
    """Writes every sample whose image can be read into one Parquet file.

    Images that are files or encoded bytes are stored as they are, unless a height is given; regions of pages are
    encoded. Parts are kept in the folder `.NAME.parts` beside `out` until the file is whole.

    Args:
        samples: what a reader returns.
        out: the file.
        height: of the stored images [px]; 0 leaves them as they are. Images are never enlarged.
        encoding: of images that are not stored as they are: webp (quality 90) or png (without loss).
        threads: at work; 0 = one per CPU.
        progress: called with the rows done and of all.
        splits: split of every sample in place of the source's.

    Raises:
        UserError: no image at all can be read, or `out` cannot be written or is the source.
    """
    if out.is_dir():
        raise UserError(f"{out}: this is a folder; give the name of a file, such as {out / 'lines.parquet'}")
    if samples.root is not None and samples.root.resolve() == out.resolve():
        raise UserError(f"{out}: this is the source, which would be lost; give another name")
    job = _Job(samples, height, encoding, splits)
    folder = _folder(out, job)
    starts = range(0, len(samples), PART)
    for done in _parts(job, folder, starts, threads):
        if progress is not None:
            progress(min(done * PART, len(samples)), len(samples))
    paths = [_path(folder, start) for start in starts]
    outcome = Outcome(problems=list(samples.problems))
    outcome.problems += [text for path in paths for text in json.loads(pq.read_schema(path).metadata[b"problems"])]
    outcome.rows = sum(pq.read_metadata(path).num_rows for path in paths)
    if not outcome.rows:
        raise UserError(f"{out}: nothing to write, no image can be read ({outcome.problems[0]})")
    outcome.labelled = _merge(paths, out, {**samples.facts, **job.facts, "rows": str(outcome.rows)})
    report = out.with_name(f"{out.name}.problems.txt")
    if outcome.problems:
        write_text(report, "\n".join(" ".join(text.split()) for text in outcome.problems) + "\n")
        outcome.report = report
    else:
        report.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


class _Job:
    """What one import does to a row; two with the same `key` write the same parts."""

    def __init__(self, samples: Samples, height: int, encoding: Encoding, splits: Sequence[str | None] | None) -> None:
        self.samples, self.height, self.encoding = samples, height, encoding
        self.columns = {name: samples.column(name) for name in COLUMNS}
        if splits is not None:
            self.columns["split"] = list(splits)
        self.facts = {"height": str(height)} if height else {}
        self.key = sha256(json.dumps([self.columns, height, encoding, PART, mark(samples)["files"]]))

    def part(self, start: int) -> pa.Table:
        """Rows from `start` on; what cannot be read is named in the metadata."""
        stop = min(start + PART, len(self.samples))
        images, rows, problems = [], [], []
        for row in range(start, stop):
            name = str(self.columns["id"][row])
            try:
                images.append({"bytes": self._encoded(row, name), "path": name})
                rows.append(row)
            except UserError as error:
                problems.append(str(error) if name in str(error) else f"{name}: {error}")
        values: dict[str, Any] = {name: [self.columns[name][row] for row in rows] for name in COLUMNS[1:]}
        table = pa.table({"image": images, **values}, schema=SCHEMA)
        return table.replace_schema_metadata({b"problems": json.dumps(problems, ensure_ascii=False).encode()})

    def _encoded(self, row: int, name: str) -> bytes:
        source = self.samples.image(row)
        image = decode(source, name)
        if self.height and image.shape[0] > self.height:
            width = max(1, round(image.shape[1] * self.height / image.shape[0]))
            image = to_height(image, self.height, 3 if image.ndim == 3 else 1, width)
        elif not isinstance(source, np.ndarray):
            return source.read_bytes() if isinstance(source, Path) else bytes(source)
        return encoded(image, self.encoding)


def encoded(image: np.ndarray, encoding: Encoding = "webp") -> bytes:
    """Encoded image; WebP where PNG is asked for or a side is longer than `MAX_WEBP` is PNG."""
    if encoding == "png" or max(image.shape[:2]) > MAX_WEBP:
        pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
        return bytes(cv2.imencode(".png", pixels)[1])
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


def _folder(out: Path, job: _Job) -> Path:
    """Folder of the parts; those of another import of the same name are removed."""
    folder = out.with_name(f".{out.name}.parts")
    plan = folder / "plan.json"
    try:
        known = json.loads(plan.read_text(encoding="utf-8"))["key"]
    except (OSError, ValueError, KeyError, TypeError):
        known = None
    if known != job.key:
        shutil.rmtree(folder, ignore_errors=True)
        write_json(plan, {"key": job.key})
    return folder


def _path(folder: Path, start: int) -> Path:
    return folder / f"{start:09d}.parquet"


def _parts(job: _Job, folder: Path, starts: range, threads: int) -> Iterator[int]:
    """Makes the missing parts, at most two per thread ahead; yields how many are done."""
    missing = [start for start in starts if not _path(folder, start).exists()]
    done = len(starts) - len(missing)
    yield done
    workers = threads or environment.cores()
    pool = ThreadPoolExecutor(workers)
    running: set[Future[None]] = set()
    try:
        while missing or running:
            while missing and len(running) < 2 * workers:
                running.add(pool.submit(_make, job, folder, missing.pop(0)))
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                future.result()
            done += len(finished)
            yield done
    finally:
        pool.shutdown(cancel_futures=True)


def _make(job: _Job, folder: Path, start: int) -> None:
    table = job.part(start)
    with atomic_path(_path(folder, start)) as temporary:
        pq.write_table(table, temporary, compression="none")


def _merge(paths: list[Path], out: Path, facts: dict[str, str]) -> int:
    """One file of all parts; returns the number of rows with a text."""
    labelled = 0
    schema = SCHEMA.with_metadata({FACTS: json.dumps(facts, ensure_ascii=False, sort_keys=True).encode()})
    compression = {"image.bytes": "none", **dict.fromkeys(("image.path", *COLUMNS[1:]), "zstd")}
    with (
        atomic_path(out) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression=compression,
            use_dictionary=["writer", "page", "split"],
            write_statistics=False,
        ) as writer,
    ):
        for path in paths:
            table = pq.read_table(path, schema=SCHEMA)
            labelled += table.num_rows - table["text"].null_count
            if table.num_rows:
                writer.write_table(table.replace_schema_metadata(schema.metadata), row_group_size=GROUP)
    return labelled
