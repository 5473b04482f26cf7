"""Tables (TSV, CSV, JSON Lines) with a column for the image and one for its text, as spreadsheets and scripts write.

Delimiter and quotes are those with which most rows name an image that is there. PaddleOCR's `rec_gt.txt`, tab-separated
without names of columns, is read too, see <https://paddlepaddle.github.io/PaddleOCR>. Also Hugging Face's
`metadata.csv` and `metadata.jsonl` with `file_name` and `text`, see
<https://huggingface.co/docs/datasets/image_dataset#imagefolder>.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

from htr_ssl.data.readers._cells import Table, parsed
from htr_ssl.data.readers._listed import Row, find, samples_of
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples, split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image, read_text

SUFFIXES = (".tsv", ".csv", ".jsonl")
PADDLE = ".txt"
"""Suffix of PaddleOCR's tables."""
HEADS = {
    "image": ("image", "file_name", "filename", "file", "path", "image_path", "img", "name", "id"),
    "text": ("text", "transcription", "label", "transcript", "ground_truth", "gt", "value", "words"),
    "split": ("split", "set", "subset", "partition"),
    "writer": ("writer", "writer_id", "author", "hand"),
    "page": ("page", "page_id", "form", "document"),
}
"""Names that the columns may have, whatever their case."""
_HEAD = 1 << 16  # bytes of a file from which it is known


def detect(root: Path) -> bool:
    """Whether there is a table whose first rows name or show an image."""
    return any(_is_table(path) for path in files(root))


def read(root: Path, level: Level) -> FileSamples:
    """Every row whose image is there, in the table's folder, in a folder `images` beside it, or anywhere below.

    The first row may name the columns (see `HEADS`); without names the first column is the image, the second its text.
    The split is that of the column, else of the table's own name (`train.tsv`) or folder. What stands in the column of
    texts is text, numbers too. Cells too many are joined again: an unquoted text may hold the delimiter.

    Raises:
        UserError: there is no table, or none of its images.
    """
    problems: list[str] = []
    notes: list[str] = []
    paths = [path for path in files(root) if path == root or path.suffix.lower() in SUFFIXES or _is_paddle(path)]
    if not paths:
        raise UserError(f"{root}: there is no {', '.join(SUFFIXES)} file in it; give a table of images and texts")
    samples = samples_of(root, _rows(root, paths, problems, notes), level, problems, "table")
    samples.notes += notes
    return samples


def texts(path: Path, known: Container[str]) -> tuple[list[tuple[str, str, str]], list[str]]:
    """Place in the table, id and text of every row, empty where there is none yet; and sentences on what is doubtful.

    Delimiter and quotes are those with which most rows have an id that is `known`.

    Raises:
        UserError: the table cannot be read.
    """
    content, problem = read_text(path)
    table = parsed(path, content, HEADS, lambda name: name in known)
    rows = []
    for number, record in table.rows:
        name, text = ("image", "text") if "image" in record else ("0", "1")  # a table whose columns have no names
        rows.append((f"{path}:{number}", record.get(name, ""), record.get(text, "")))
    return rows, [*([problem] if problem else []), *table.problems]


def _is_table(path: Path) -> bool:
    suffix = path.suffix.lower()
    if suffix == PADDLE:
        return _is_paddle(path)
    if suffix not in SUFFIXES:
        return False
    try:
        table = _parsed(path, _head(path))
        first = next(iter(table.rows), None)
    except (OSError, UserError):
        return False
    if first is None:
        return False
    return "image" in first[1] or is_image(Path(first[1].get("0", "")))


def _is_paddle(path: Path) -> bool:
    """Whether most lines of a text file are an image that is there, a tab, and something."""
    if path.suffix.lower() != PADDLE or path.name.lower().endswith(".gt.txt"):
        return False
    try:
        lines = [line for line in _head(path).split("\n")[:50] if line.strip()]
    except OSError:
        return False
    names = [name for name, tab, _ in (line.partition("\t") for line in lines) if tab and is_image(Path(name.strip()))]
    if not lines or len(names) < 0.5 * len(lines):
        return False
    places = (*_folders(path), path.parent.parent)
    return any(find(Row("", places, (name.strip(),), None)) for name in names)


def _head(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(_HEAD)
    text = head.decode("utf-8-sig", errors="replace").replace("\r\n", "\n").replace("\r", "\n")
    return text if len(head) < _HEAD else text[: text.rfind("\n") + 1]


def _folders(path: Path) -> tuple[Path, ...]:
    return path.parent, path.parent / "images"


def _parsed(path: Path, text: str) -> Table:
    def there(name: str) -> bool:
        return find(Row("", _folders(path), (name,), None)) is not None

    return parsed(path, text, HEADS, there)


def _rows(root: Path, paths: list[Path], problems: list[str], notes: list[str]) -> Iterator[Row]:
    for path in paths:
        try:
            text, problem = read_text(path)
            problems += [problem] if problem else []
            parts = (*(path.relative_to(root).parts[:-1] if path != root else ()), path.stem)
            own = next((split for split in map(split_of, parts) if split), None)
            table = _parsed(path, text)
            for number, record in table.rows:
                place = f"{path}:{number}"
                name, label = record.get("image", record.get("0")), record.get("text", record.get("1"))
                if not name:
                    problems.append(f"{place}: the row names no image; it is left out")
                    continue
                if label and label.startswith('[{"transcription"'):
                    problems.append(
                        f"{place}: it has boxes of PaddleOCR's detection in place of a text; it is left out"
                    )
                    continue
                split = split_of(record.get("split") or "") or own
                if record.get("split") and not split_of(record["split"]):
                    problems.append(f"{place}: split {record['split']!r} is unknown and left out")
                yield Row(place, _folders(path), (name,), label, split, record.get("writer"), record.get("page"))
            problems += table.problems
            notes += table.notes
        except UserError as error:
            problems.append(str(error))
