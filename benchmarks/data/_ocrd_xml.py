"""OCR-D's side of other_parsers.py, in its environment: JOB.json RESULT.json.

Parses PAGE files with `ocrd_models.ocrd_page`, checks schema and texts with OCR-D's validators, and writes what it has
got with OCR-D's own serializer.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from ocrd_models.ocrd_page import parse, to_xml
from ocrd_validators.page_validator import PageValidator
from ocrd_validators.xsd_page_validator import XsdPageValidator


def parsed(source: str, back: str, kind: str) -> dict[str, Any]:
    """What OCR-D reads in `source`; the file `back` is what it writes of that, beside a copy of the image."""
    assert kind == "page"
    # Texts of words must make those of lines and regions; that words lie within outlines is not asked for.
    texts = PageValidator.validate(filename=source, check_baseline=False, check_coords=False)
    wrong = [*XsdPageValidator.validate(Path(source)).errors, *texts.errors]
    assert not wrong, wrong
    document = parse(source, silence=True)
    page = document.get_Page()
    lines = page.get_AllTextLines(region_order="reading-order")
    image = (Path(source).parent / page.imageFilename).resolve()
    page.set_imageFilename(image.name)
    Path(back).write_text(to_xml(document), encoding="utf-8")
    kinds = [re.search(r"structure \{type:([^;}]*)", line.custom or "") for line in lines]
    return {
        "image": str(image),
        "size": [page.imageWidth, page.imageHeight],
        "orders": {"reading order": [line.id for line in lines]},
        "lines": [
            {
                "id": line.id,
                "text": line.get_TextEquiv()[0].Unicode if line.get_TextEquiv() else "",
                "baseline": points(line.get_Baseline()),
                "outline": points(line.get_Coords()),
                "region": line.parent_object_.id,
                "kind": found.group(1) if found else None,
            }
            for line, found in zip(lines, kinds, strict=True)
        ],
    }


def points(element: Any) -> list[list[float]] | None:
    """Points of a baseline or an outline; None if there is none."""
    return None if element is None else [[float(x) for x in pair.split(",")] for pair in element.points.split()]


if __name__ == "__main__":
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(json.dumps([parsed(**item) for item in job]), encoding="utf-8")
