"""kraken's side of other_parsers.py, in its environment: JOB.json RESULT.json.

Parses PAGE and ALTO files with `kraken.lib.xml.XMLPage` and writes what it has got with kraken's own serializer.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from kraken.containers import BaselineOCRRecord
from kraken.lib.xml import XMLPage
from kraken.serialization import serialize

TEMPLATES = {"page": "pagexml", "alto": "alto"}


def parsed(source: str, back: str, kind: str) -> dict[str, Any]:
    """What kraken reads in `source`; the file `back`, beside a copy of the image, is what it writes of that."""
    page = XMLPage(source)
    container = page.to_container()
    records = [
        BaselineOCRRecord(line.text or "", [], [], line, line.base_dir, display_order=False) for line in container.lines
    ]
    written = replace(container, lines=records, imagename=Path(page.imagename).name, line_orders=[])
    text = serialize(written, page.image_size, template=TEMPLATES[kind], sub_line_segmentation=False)
    Path(back).write_text(text, encoding="utf-8")
    return {
        "image": str(page.imagename),
        "size": page.image_size,
        "orders": {name: order["order"] for name, order in page.reading_orders.items() if order["level"] == "line"},
        "lines": [
            {
                "id": line.id,
                "text": line.text,
                "baseline": line.baseline,
                "outline": line.boundary,
                "region": line.regions[0] if line.regions else None,
                "kind": next((tag["type"] for tag in (line.tags or {}).get("type", [])), None),
            }
            for line in container.lines
        ],
    }


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    result = [parsed(**item) for item in job]
    Path(sys.argv[2]).write_text(json.dumps(result), encoding="utf-8")
