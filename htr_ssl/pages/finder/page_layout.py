"""Reading order and kinds of lines: pages side by side, columns, tables, margins; what is odd about a page.

Order: page by page and column by column where a gap runs down between them, tables row by row, then from top to bottom;
notes in the margin after the text beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from htr_ssl.layout.document import Line

Array = np.ndarray[Any, np.dtype[Any]]

_LONG = 4.0  # a column's lines are usually longer [heights]
_MOST_CROSSING = 0.12  # share of the lines that may run over a gap between columns
_TABLE = 4  # columns of cells a table has at least
_MARGIN = 0.45  # widest margin [widths of the text]
_STRIP = 0.4  # widest strip of a facing page [widths of the text]


class Boxes:
    """Left and right ends, height of the baseline, and size of lines, all (N,) [px]."""

    def __init__(self, lines: Sequence[Line]) -> None:
        bases = [np.asarray(line.baseline if line.baseline is not None else line.polygon) for line in lines]
        self.left = np.array([base[:, 0].min() for base in bases])
        self.right = np.array([base[:, 0].max() for base in bases])
        self.y = np.array([np.median(base[:, 1]) for base in bases])
        # An outline rises with its line; its area over its length does not.
        self.size = np.array([_area(line.polygon) for line in lines]) / np.maximum(self.right - self.left, 1)


def within(lines: list[Line], width: int) -> tuple[list[Line], list[str]]:
    """The lines without those of a facing page of which the image, `width` px wide, shows only a strip; a sentence."""
    if len(lines) < 8:
        return lines, []
    boxes = Boxes(lines)
    size = float(np.median(boxes.size))
    gone = np.zeros(len(lines), bool)
    for near, far, edge in ((boxes.left, boxes.right, 0.0), (-boxes.right, -boxes.left, -float(width))):
        cut = near < edge + 0.6 * size
        if cut.sum() < 4 or np.ptp(boxes.y[cut]) < 4 * size:
            continue
        reach = float(far[cut].max())
        strip = far <= reach + 0.2 * size
        rest = ~strip
        if rest.sum() < 4 or near[rest].min() <= reach or cut.sum() < 0.6 * strip.sum():
            continue
        if reach - edge < _STRIP * float(far[rest].max() - near[rest].min()):
            gone |= strip
    kept = [line for line, out in zip(lines, gone, strict=True) if not out]
    if not gone.any():
        return lines, []
    return kept, [f"{int(gone.sum())} lines of a facing page, cut off by the edge of the image, were left out"]


def laid_out(found: Sequence[tuple[Line, str]], direction: str = "ltr") -> tuple[list[Line], list[str]]:
    """Lines in reading order with ids, regions and kinds, and sentences on what is doubtful.

    Args:
        found: lines and their kinds, `main` or `vertical`, of an upright page.
        direction: `rtl` for columns and cells from right to left.
    """
    level = [line for line, kind in found if kind != "vertical"]
    steep = [line for line, kind in found if kind == "vertical"]
    blocks = _blocks(level, direction == "rtl") if level else []
    lines = []
    blocks += [("vertical", block) for block in _upright_blocks(steep)]
    for number, (kind, block) in enumerate(blocks, 1):
        for line in block:
            line.kind, line.region = kind, f"region{number}"
            lines.append(line)
    for number, line in enumerate(lines, 1):
        line.id = f"line{number}"
    return lines, _doubts(lines)


def _blocks(lines: list[Line], mirrored: bool) -> list[tuple[str, list[Line]]]:
    """Blocks of lines in reading order with their kinds."""
    boxes = Boxes(lines)
    if mirrored:
        boxes.left, boxes.right = -boxes.right, -boxes.left
    blocks: list[tuple[str, Array]] = []
    for column in _columns(boxes, np.arange(len(lines))):
        blocks += _parts(boxes, column)
    return [(kind, [lines[i] for i in block]) for kind, block in blocks]


def _upright_blocks(lines: Sequence[Line]) -> list[list[Line]]:
    """Lines up or down the page as blocks in the order in which one reads them with the head on its side."""
    blocks = []
    for down in (True, False):
        some = [line for line in lines if (line.orientation == -90) == down]
        if some:
            sign = 1 if down else -1
            seen = [
                Line("", line.polygon[:, ::-1] * (sign, -sign), np.asarray(line.baseline)[:, ::-1] * (sign, -sign))
                for line in some
            ]
            blocks.append([some[i] for i in _from_top(Boxes(seen), np.arange(len(seen)))])
    return blocks


def _columns(boxes: Boxes, some: Array) -> list[Array]:
    """The lines cut at gaps that run down between long lines; what runs over a gap parts what lies above and below."""
    cut = _gap(boxes, some)
    if cut is None:
        return [some]
    left, right = some[boxes.right[some] <= cut], some[boxes.left[some] >= cut]
    over = np.setdiff1d(some, np.concatenate((left, right)))
    bounds = [-np.inf, *np.sort(boxes.y[over]), np.inf]
    order: list[Array] = []
    for low, high, across in zip(bounds[:-1], bounds[1:], [*over[np.argsort(boxes.y[over])], -1], strict=True):
        for side in (left, right):
            part = side[(boxes.y[side] > low) & (boxes.y[side] <= high)]
            order += _columns(boxes, part) if len(part) else []
        if across >= 0:
            order.append(np.array([across]))
    return _merged(boxes, order)


def _merged(boxes: Boxes, order: list[Array]) -> list[Array]:
    """Single lines over the columns go with the lines before them where those are single too."""
    merged: list[Array] = []
    for part in order:
        if merged and len(part) == 1 and len(merged[-1]) == 1:
            merged[-1] = np.concatenate((merged[-1], part))
        else:
            merged.append(part)
    return merged


def _gap(boxes: Boxes, some: Array) -> float | None:
    """Where a gap between two columns or pages runs [px], None if there is none."""
    if len(some) < 6:
        return None
    left, right, y, size = boxes.left[some], boxes.right[some], boxes.y[some], float(np.median(boxes.size[some]))
    best, least = None, np.inf
    for cut in np.unique(np.concatenate((left - 1e-3, right + 1e-3))):
        before, after = right <= cut, left >= cut
        crossing = len(some) - before.sum() - after.sum()
        if min(before.sum(), after.sum()) < 3 or crossing > _MOST_CROSSING * len(some):
            continue
        sides = before, after
        long = [np.median((right - left)[part]) > _LONG * size for part in sides]
        spans = [(y[part].min(), y[part].max()) for part in sides]
        shared = min(spans[0][1], spans[1][1]) - max(spans[0][0], spans[1][0])
        widths = [np.percentile(right[part], 90) - np.percentile(left[part], 10) for part in sides]
        if not all(long) or shared < 2 * size or min(widths) < _MARGIN * max(widths):
            continue
        room = left[after].min() - right[before].max()
        cost = crossing - min(room, 2 * size) / (2 * size)
        if cost < least:
            best, least = float((left[after].min() + right[before].max()) / 2), cost
    return best


def _parts(boxes: Boxes, some: Array) -> list[tuple[str, Array]]:
    """A column as its text, its table, and the notes in its margins after what they stand beside."""
    if _is_table(boxes, some):
        return [("cell", _by_rows(boxes, some))]
    width = boxes.right[some] - boxes.left[some]
    size = float(np.median(boxes.size[some]))
    long = some[width > 0.5 * np.percentile(width, 90)]
    if len(some) < 4 or len(long) < 3:
        return [("main", _from_top(boxes, some))]
    start, stop = np.percentile(boxes.left[long], 25), np.percentile(boxes.right[long], 75)
    beside = (boxes.right[some] < start + 0.3 * size) | (boxes.left[some] > stop - 0.3 * size)
    core = some[~beside]
    inside = (boxes.y[some] > boxes.y[core].min() - size) & (boxes.y[some] < boxes.y[core].max() + size)
    notes = some[beside & inside]
    main = np.setdiff1d(some, notes)
    parts = [("main", _from_top(boxes, main))]
    return [*parts, ("margin", _from_top(boxes, notes))] if len(notes) else parts


def _is_table(boxes: Boxes, some: Array) -> bool:
    """Whether many lines stand beside others, in four or more columns."""
    if len(some) < 12:
        return False
    y, left, right = boxes.y[some], boxes.left[some], boxes.right[some]
    size = float(np.median(boxes.size[some]))
    level = np.abs(y[:, None] - y) < 0.35 * size
    apart = (left[:, None] > right) | (left > right[:, None])
    beside = (level & apart).sum(1)
    return bool((beside >= 2).mean() > 0.3 and np.percentile(beside, 90) >= _TABLE - 1)


def _by_rows(boxes: Boxes, some: Array) -> Array:
    """Cells row by row; a row begins where the outermost columns have an entry."""
    size = float(np.median(boxes.size[some]))
    column = _cell_columns(boxes, some)
    first = some[np.isin(column, np.unique(column)[:2])]
    starts = np.sort(boxes.y[first]) - 0.6 * size
    rows = np.searchsorted(_apart(starts, 0.8 * size), boxes.y[some])
    if len(starts) < 3 or rows.max() < 2:
        return _from_top(boxes, some)
    order = []
    for row, place in sorted(set(zip(rows.tolist(), column.tolist(), strict=True))):
        order.append(_from_top(boxes, some[(rows == row) & (column == place)]))
    return np.concatenate(order)


def _apart(values: Array, least: float) -> Array:
    """Ascending values without those nearer than `least` to the one before."""
    kept: list[float] = []
    for value in values.tolist():
        if not kept or value - kept[-1] > least:
            kept.append(value)
    return np.array(kept)


def _cell_columns(boxes: Boxes, some: Array) -> Array:
    """Number of the column of each cell (N,): columns are parted where few cells lie."""
    left, right = boxes.left[some], boxes.right[some]
    start, stop = left.min(), right.max()
    edges = np.linspace(start, stop, 400)
    cover = ((left[:, None] <= edges) & (right[:, None] >= edges)).sum(0)
    weak = cover <= np.maximum(1, 0.12 * np.percentile(cover, 90))
    begins = edges[1:][weak[:-1] & ~weak[1:]]
    return np.asarray(np.searchsorted(begins, (left + right) / 2))


def _from_top(boxes: Boxes, some: Array) -> Array:
    """From top to bottom; lines side by side from the start of the row."""
    order = some[np.argsort(boxes.y[some], kind="stable")]
    rows: list[list[int]] = []
    for i in order:
        row = rows[-1] if rows else []
        near = row and boxes.y[i] - np.mean(boxes.y[row]) < 0.4 * min(boxes.size[i], float(np.min(boxes.size[row])))
        if near and all(boxes.left[i] > boxes.right[k] - 1 or boxes.left[k] > boxes.right[i] - 1 for k in row):
            row.append(int(i))
        else:
            rows.append([int(i)])
    return np.array([i for row in rows for i in sorted(row, key=lambda k: boxes.left[k])], int)


def _area(polygon: Array) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _doubts(lines: Sequence[Line]) -> list[str]:
    """Sentences on lines that cross or that the finder is not sure of."""
    notes = []
    level = [line for line in lines if line.kind != "vertical"]
    if len(level) > 1:
        crossed = _crossed(Boxes(level))
        if crossed:
            notes.append(f"{crossed} lines lie on one another: look at the overlay")
    doubtful = sum(line.found is not None and line.found < 0.65 for line in lines)
    if doubtful > max(2, 0.2 * len(lines)):
        notes.append(f"the finder is not sure of {doubtful} of {len(lines)} lines: look at the overlay")
    return notes


def _crossed(boxes: Boxes) -> int:
    """Number of lines whose baseline runs within a quarter of a height of another one's for half its length."""
    shared = np.minimum(boxes.right[:, None], boxes.right) - np.maximum(boxes.left[:, None], boxes.left)
    near = np.abs(boxes.y[:, None] - boxes.y) < 0.2 * np.minimum(boxes.size[:, None], boxes.size)
    on = near & (shared > 0.5 * (boxes.right - boxes.left)[:, None])
    np.fill_diagonal(on, False)
    return int(on.any(1).sum())
