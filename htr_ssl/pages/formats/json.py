"""JSON: everything known about a page, one line of text on one line of the file.

Keys: `software`, `image` (file name), `width` and `height` [px], `lines`: a list in reading order of `id`, `region`,
`text`, `confidence` (0 to 1), `polygon` and `baseline` (lists of [x, y] in px). What is not known is null.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from htr_ssl import __version__
from htr_ssl.files import write_bytes
from htr_ssl.layout.document import Line, Page

EXTENSION = ".json"


def write(page: Page, path: Path) -> None:
    """Writes the page; coordinates are rounded to tenths of a pixel."""
    head = {
        "software": f"htr_ssl {__version__}",
        "image": page.image.name,
        "width": page.width,
        "height": page.height,
    }
    rows = ",".join(f"\n    {_dump(_line(line))}" for line in page.lines)
    items = "".join(f"  {_dump(key)}: {_dump(value)},\n" for key, value in head.items())
    end = "\n  " if rows else ""
    write_bytes(path, f'{{\n{items}  "lines": [{rows}{end}]\n}}\n'.encode("utf-8", "replace"))


def _line(line: Line) -> dict[str, Any]:
    return {
        "id": line.id,
        "region": line.region,
        "text": line.text,
        "confidence": None if line.confidence is None else round(float(line.confidence), 4),
        "polygon": _points(line.polygon),
        "baseline": None if line.baseline is None else _points(line.baseline),
    }


def _points(points: np.ndarray) -> list[list[float]]:
    rounded = np.asarray(points, dtype=float).round(1).tolist()
    return [[int(value) if value == int(value) else value for value in point] for point in rounded]


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
