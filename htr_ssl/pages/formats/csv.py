"""CSV, UTF-8: a row for each line, with its place, text and confidence; cells of a table with their row and column.

Columns: `image`, `page` (number in the file), `line` (number on the page), `id`, `region`, `kind`, `row` and `column`
(of cells, from 1), `text`, `confidence`, `left`, `top`, `width`, `height` [px].
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
from lxml import etree

from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Line, Page
from htr_ssl.pages.formats import _fill
from htr_ssl.pages.formats._marks import box_of, one_line, share

EXTENSION = ".csv"
COLUMNS = ("image", "page", "line", "id", "region", "kind", "row", "column", "text", "confidence")
BOX = ("left", "top", "width", "height")


def write(page: Page, path: Path) -> None:
    """Writes a header and one row for each line."""
    write_bytes(path, render(page, path.parent))


def render(page: Page, folder: Path) -> bytes:
    """The file's content."""
    cells = _stated_cells(page) or _cells([line for line in page.lines if line.kind == "cell"])
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*COLUMNS, *BOX))
    for number, line in enumerate(page.lines, 1):
        row, column = cells.get(line.id, ("", ""))
        known = (page.image.name, page.number + 1, number, line.id, line.region or "", line.kind or "", row, column)
        writer.writerow((*known, one_line(line.text), share(line.confidence) or "", *box_of(line.polygon)))
    return buffer.getvalue().encode("utf-8", "replace")


def texts(path: Path) -> dict[str, str]:
    """Line ids and texts of a file that somebody may have corrected, also in a spreadsheet that writes semicolons."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        return {row["id"]: one_line(row["text"]) for row in rows}
    except (UnicodeDecodeError, KeyError, csv.Error) as error:
        raise UserError(f"{path}: it is no longer a table with columns id and text, in UTF-8 ({error})") from error


def _stated_cells(page: Page) -> dict[str, tuple[str | int, str | int]]:
    """Row and column of lines whose PAGE file puts them into cells of a table."""
    filled = _fill.open_tree(page, "page")
    found: dict[str, tuple[str | int, str | int]] = {}
    for line, element in filled.lines(page) if filled is not None else ():
        for above in element.iterancestors():
            role = above.find("{*}Roles/{*}TableCellRole")
            cell = above if etree.QName(above).localname == "TableCell" else role
            if cell is not None:
                row, column = (cell.get(a) or cell.get(b) for a, b in (("row", "rowIndex"), ("col", "columnIndex")))
                if row is not None and column is not None:
                    found[line.id] = (int(row) + 1, int(column) + 1)
                break
    return found


def _cells(lines: list[Line]) -> dict[str, tuple[str | int, str | int]]:
    """Rows and columns of cells by their places: cells whose middles are near share one."""
    if not lines:
        return {}
    boxes = np.array([box_of(line.polygon) for line in lines], float)
    found = []
    for axis in (1, 0):
        reach = 0.6 * float(np.median(boxes[:, 3])) if axis else 0.5 * float(np.median(boxes[:, 2]))
        places = boxes[:, axis] + (boxes[:, axis + 2] / 2 if axis else 0)
        order = np.argsort(places, kind="stable")
        steps = np.concatenate(([0], (np.diff(places[order]) > reach).cumsum()))
        numbers = np.empty(len(lines), int)
        numbers[order] = steps + 1
        found.append(numbers.tolist())
    return {line.id: (row, column) for line, row, column in zip(lines, *found, strict=True)}
