"""Tables (TSV, CSV, JSON Lines) with a column for the image and one for its text, as spreadsheets and scripts write.

Also Hugging Face's `metadata.csv` and `metadata.jsonl` with `file_name` and `text`, see
<https://huggingface.co/docs/datasets/image_dataset#imagefolder>.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

from htr_ssl.data.readers._listed import Row, samples_of
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples, split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image, read_text

SUFFIXES = (".tsv", ".csv", ".jsonl")
HEADS = {
    "image": ("image", "file_name", "filename", "file", "path", "image_path", "img", "name", "id"),
    "text": ("text", "transcription", "label", "transcript", "ground_truth", "gt", "value", "words"),
    "split": ("split", "set", "subset", "partition"),
    "writer": ("writer", "writer_id", "author", "hand"),
    "page": ("page", "page_id", "form", "document"),
}
"""Names that the columns may have, whatever their case."""
_FIELD = 1 << 20  # longest cell [characters]


def detect(root: Path) -> bool:
    """Whether there is a table whose first row names or shows an image."""
    return any(path.suffix.lower() in SUFFIXES and _is_table(path) for path in files(root))


def read(root: Path, level: Level) -> FileSamples:
    """Every row whose image is there, in the table's folder or in a folder `images` beside it.

    The first row may name the columns (see `HEADS`); without names the first column is the image, the second its text.
    The split is that of the column, else of the table's own name (`train.tsv`) or folder.

    Raises:
        UserError: there is no table, or none of its images.
    """
    problems: list[str] = []
    paths = [path for path in files(root) if path.suffix.lower() in SUFFIXES or path == root]
    if not paths:
        raise UserError(f"{root}: there is no {', '.join(SUFFIXES)} file in it; give a table of images and texts")
    return samples_of(root, _rows(root, paths, problems), level, problems, "table")


def _is_table(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.read(1 << 14).decode("utf-8-sig", errors="replace")
        first = next(_records(path, head.split("\n")[0]), None)
    except (OSError, UserError):
        return False
    if first is None:
        return False
    return "image" in first[1] or is_image(Path(first[1].get("0", "")))


def _rows(root: Path, paths: list[Path], problems: list[str]) -> Iterator[Row]:
    for path in paths:
        try:
            text, problem = read_text(path)
            problems += [problem] if problem else []
            parts = (*(path.relative_to(root).parts[:-1] if path != root else ()), path.stem)
            own = next((split for split in map(split_of, parts) if split), None)
            for number, record in _records(path, text):
                name, label = record.get("image", record.get("0")), record.get("text", record.get("1"))
                if not name:
                    problems.append(f"{path}:{number}: the row names no image; it is left out")
                    continue
                split = split_of(record.get("split") or "") or own
                if record.get("split") and not split_of(record["split"]):
                    problems.append(f"{path}:{number}: split {record['split']!r} is unknown and left out")
                folders = (path.parent, path.parent / "images")
                place = f"{path}:{number}"
                yield Row(place, folders, (name,), label, split, record.get("writer"), record.get("page"))
        except UserError as error:
            problems.append(str(error))


def _records(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and cells by column; columns without a name have their number."""
    if path.suffix.lower() == ".jsonl":
        yield from _objects(path, text)
        return
    first = text.split("\n", 1)[0]
    delimiter = max("\t;,", key=first.count) if path.suffix.lower() != ".tsv" else "\t"
    plain = delimiter == "\t" and '"' not in first
    csv.field_size_limit(_FIELD)
    lines = io.StringIO(text.replace("\0", ""))
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL)
    names: dict[int, str] = {}
    try:
        for place, cells in enumerate(reader):
            if place == 0:
                names = _names(cells)
                if "image" in names.values():
                    yield from ([(1, {"image": ""})] if "\n" not in text else [])
                    continue
                names = {}
            if any(cell.strip() for cell in cells):
                yield reader.line_num, {names.get(i, str(i)): cell.strip() for i, cell in enumerate(cells)}
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: {error}; the rows from there on are left out") from error


def _objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        cells = value if isinstance(value, dict) else {}
        names = _names(list(cells))
        values = [cell if isinstance(cell, str) else "" for cell in cells.values()]
        yield number, {names.get(i, str(i)): value for i, value in enumerate(values)}


def _names(heads: list[str]) -> dict[int, str]:
    """Number of a column -> which of `HEADS` it is; the likeliest name wins."""
    lower = [head.strip().lower() for head in heads]
    found: dict[int, str] = {}
    for column, known in HEADS.items():
        position = next((lower.index(name) for name in known if name in lower and lower.index(name) not in found), None)
        if position is not None:
            found[position] = column
    return found
