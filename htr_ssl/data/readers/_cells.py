"""Cells of tables of unknown make: delimiter and quotes are those with which rows name images that are there."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from htr_ssl.errors import UserError

DELIMITERS = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}
_FIELD = 1 << 20  # longest cell [characters]
_TRIED = 1 << 18  # characters from which delimiter and quotes are chosen
_ROWS = 300  # rows of them

Heads = dict[str, tuple[str, ...]]


@dataclass(slots=True)
class Table:
    """A parsed table.

    Attributes:
        rows: line number and cells by column; columns without a known name have their number.
        problems: a sentence for everything that is doubtful; complete once the rows have been read.
        notes: what was chosen; complete once the rows have been read.
    """

    rows: Iterator[tuple[int, dict[str, str]]]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Dialect:
    delimiter: str
    quoted: bool

    def reader(self, text: str) -> Iterator[tuple[int, list[str]]]:
        """Number of the last line and cells of every row."""
        csv.field_size_limit(_FIELD)
        file = io.StringIO(text, newline="")
        if self.quoted:
            rows = csv.reader(file, delimiter=self.delimiter)
        else:
            rows = csv.reader(file, delimiter=self.delimiter, quoting=csv.QUOTE_NONE)
        for cells in rows:
            yield rows.line_num, cells

    @property
    def name(self) -> str:
        return f"{DELIMITERS[self.delimiter]}, {'quotes as CSV has them' if self.quoted else 'quotes are text'}"


def parsed(path: Path, text: str, heads: Heads, there: Callable[[str], bool]) -> Table:
    """Rows of a table.

    Args:
        path: the file, for messages and its suffix.
        text: its content.
        heads: what the columns may be called.
        there: whether an image of this name is there.
    """
    if path.suffix.lower() == ".jsonl":
        table = Table(iter(()))
        table.rows = _objects(path, text, heads, table)
        return table
    text = text.replace("\0", "")
    dialect = _Dialect("\t", False) if path.suffix.lower() == ".txt" else _chosen(path, text, heads, there)
    table = Table(iter(()))
    table.rows = _records(path, text, dialect, heads, table)
    return table


def columns(cells: list[str], heads: Heads) -> dict[int, str]:
    """Number of a column -> which of `heads` it is; the likeliest name wins."""
    lower = [head.strip().lower() for head in cells]
    found: dict[int, str] = {}
    for column, known in heads.items():
        position = next((lower.index(name) for name in known if name in lower and lower.index(name) not in found), None)
        if position is not None:
            found[position] = column
    return found


def _chosen(path: Path, text: str, heads: Heads, there: Callable[[str], bool]) -> _Dialect:
    """The dialect with which most rows name an image that is there, fewest name none, fewest have cells too many."""
    head = text[:_TRIED]
    head = head if len(text) <= _TRIED else head[: head.rfind("\n") + 1]
    first = head.split("\n", 1)[0]
    usual = "\t" if path.suffix.lower() == ".tsv" else max(DELIMITERS, key=first.count)
    known: dict[str, bool] = {}
    scores: dict[_Dialect, tuple[float, ...]] = {}
    for delimiter in DELIMITERS:
        if delimiter not in head and delimiter != usual:
            continue
        csv_quotes = _quotes_are_csv(head, delimiter)
        for quoted in (True, False) if '"' in head else (True,):
            dialect = _Dialect(delimiter, quoted)
            try:
                rows = [cells for _, cells in islice(dialect.reader(head), _ROWS) if any(map(str.strip, cells))]
            except csv.Error:
                continue
            names = columns(rows[0], heads) if rows else {}
            names = names if "image" in names.values() else {}
            place = next((i for i, name in names.items() if name == "image"), 0)
            own = [cells[place].strip() if place < len(cells) else "" for cells in rows[bool(names) :]]
            for name in own:
                known.setdefault(name, bool(name) and there(name))
            found = sum(known[name] for name in own)
            width = len(rows[0]) if names else 2
            surplus = sum(len(cells) > width for cells in rows)
            usually = (quoted == csv_quotes, -surplus, delimiter == usual, len(names))
            scores[dialect] = (found, found - len(own), *usually)
    return max(scores, key=lambda dialect: scores[dialect]) if scores else _Dialect(usual, True)


def _quotes_are_csv(text: str, delimiter: str) -> bool:
    """Whether quotes enclose cells, as a CSV writer puts them, and are not signs of the texts."""
    d = re.escape(delimiter)
    quoted = re.findall(rf'(?:^|{d})"((?:[^"]|"")*)"(?=\s*(?:{d}|$))', text, re.MULTILINE)
    if any(delimiter in cell or '""' in cell or "\n" in cell for cell in quoted):
        return True  # without quotes these cells would be others
    rows = [row for row in text.split("\n") if row.strip()]
    if any(re.match(rf'"[^"]*"\s*{d}', row) for row in rows):
        return True  # names too are quoted
    texts = sum(bool(re.search(rf'{d}"[^"]*"\s*(?:{d}|$)', row)) for row in rows)
    return len(rows) > 2 and texts >= len(rows) - 1


def _records(
    path: Path, text: str, dialect: _Dialect, heads: Heads, table: Table
) -> Iterator[tuple[int, dict[str, str]]]:
    names: dict[int, str] = {}
    width = joined = 0
    line = 0
    try:
        for place, (line, cells) in enumerate(dialect.reader(text)):
            if place == 0:
                names = columns(cells, heads)
                width = len(cells)
                if "image" in names.values():
                    yield from ([(1, {"image": ""})] if "\n" not in text.rstrip("\n") else [])
                    continue
                names = {}
            if not any(cell.strip() for cell in cells):
                continue
            at = next((i for i, name in names.items() if name == "text"), 1)
            surplus = len(cells) - (width if names else 2)
            if surplus > 0 and at < len(cells):
                cells[at : at + surplus + 1] = [dialect.delimiter.join(cells[at : at + surplus + 1])]
                joined += 1
            yield line, {names.get(i, str(i)): cell.strip() for i, cell in enumerate(cells)}
    except csv.Error as error:
        raise UserError(f"{path}:{line + 1}: {error}; the rows from there on are left out") from error
    if joined:
        table.notes.append(
            f"{path}: {joined} rows have more cells than columns; their texts were taken with the "
            f"{DELIMITERS[dialect.delimiter]}s in them"
        )
    if '"' in text:
        table.notes.append(f"{path}: read with {dialect.name}")


def _objects(path: Path, text: str, heads: Heads, table: Table) -> Iterator[tuple[int, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_int=str, parse_float=str, parse_constant=str)
        except (ValueError, RecursionError) as error:
            table.problems.append(f"{path}:{number}: this is not whole JSON ({error}); it is left out")
            continue
        cells = value if isinstance(value, dict) else {}
        names = columns(list(cells), heads)
        record: dict[str, str] = {}
        for i, cell in enumerate(cells.values()):
            name = names.get(i, str(i))
            if isinstance(cell, bool):
                cell = str(cell).lower()
            if isinstance(cell, str):
                record[name] = cell
            elif name == "text" and cell is not None:
                table.problems.append(f"{path}:{number}: its text is a {type(cell).__name__}; it is left out")
        yield number, record
