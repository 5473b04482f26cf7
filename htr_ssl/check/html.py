"""The doctor's report as one HTML page: pictures are inside, nothing is fetched, nothing runs."""

from __future__ import annotations

import io
import re
from html import escape
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image

from htr_ssl.check.checks.charset import RARE
from htr_ssl.check.doctor import Report, titled, visible
from htr_ssl.check.finding import Example, Finding, code
from htr_ssl.data.images import to_height
from htr_ssl.errors import UserError
from htr_ssl.files import write_text
from htr_ssl.webpage import picture_source, render

SHOWN = 24
"""Examples of a finding that are shown."""
COPIES = 4
"""Pictures of an example that are shown."""
THUMBNAIL = (48, 720)
"""Largest height and width of a picture [px]."""
QUALITY = 75


def write(report: Report, source: str, out: Path) -> None:
    """Writes the page; images of the examples are read once more.

    Raises:
        UserError: `out` cannot be written.
    """
    write_text(out, page(report, source))


def page(report: Report, source: str) -> str:
    """The page, which is well-formed XML too."""
    splits = report.splits()
    facts = [f"{name}: {value}" for name, value in report.survey.samples.facts.items()]
    return render(
        "check.html",
        title=_text(f"{source}: data check"),
        source=_text(source),
        reasons=[_text(reason) for reason in report.reasons],
        names=list(next(iter(splits.values()), {})),
        splits=[(_text(split), [f"{count:,}" for count in counts.values()]) for split, counts in splits.items()],
        facts=[_text(fact) for fact in [*([f"width: {report.widths()}"] if report.widths() else []), *facts]],
        findings=[_finding(report, finding) for finding in report.findings],
        characters=_characters(report),
        rare=RARE,
    )


def _text(text: str) -> Markup:
    """Text as HTML, what cannot be seen by its number."""
    return Markup(escape(visible(text)))


def _advice(text: str) -> Markup:
    """A sentence as HTML; what stands between `backticks` is code."""
    return Markup(re.sub("`(.*?)`", r"<code>\1</code>", _text(text)))


def _finding(report: Report, finding: Finding) -> dict[str, Any]:
    """A finding with its first examples."""
    more = len(finding.examples) - SHOWN
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "title": _text(titled(finding)),
        "advice": _advice(finding.advice),
        "figures": [_figure(report, example) for example in finding.examples[:SHOWN]],
        "more": f"{more:,}" if more > 0 else "",
    }


def _figure(report: Report, example: Example) -> dict[str, Any]:
    """The remark on an example, and its first pictures with ids and texts."""
    more = len(example.rows) - COPIES
    return {
        "remark": _text(example.remark) if example.remark else "",
        "items": [_item(report, row) for row in example.rows[:COPIES]],
        "more": f"{more:,}" if more > 0 else "",
    }


def _item(report: Report, row: int) -> dict[str, Any]:
    """One image with what is known of it."""
    survey = report.survey
    known = {
        "text": _text(survey.texts[row] or ""),
        "id": _text(survey.ids[row] or ""),
        "split": _text(survey.splits[row] or ""),
    }
    return {**known, **_picture(report, row)}


def _picture(report: Report, row: int) -> dict[str, Any]:
    """The image as a small picture inside the page; without a source if it cannot be read."""
    none = {"source": "", "width": 0, "height": 0}
    if row in report.survey.unreadable:
        return none
    try:
        image = report.survey.samples[row].load()
    except UserError:
        return none
    height, width = THUMBNAIL
    scale = min(1.0, height / image.shape[0], width / image.shape[1])
    small = to_height(image, max(1, round(image.shape[0] * scale)), 3 if image.ndim == 3 else 1, width)
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG", quality=QUALITY)
    source = picture_source(buffer.getvalue(), "jpeg")
    return {"source": source, "width": small.shape[1], "height": small.shape[0]}


def _characters(report: Report) -> list[dict[str, Any]]:
    """Every character with its counts; rare ones and those that train lacks have a kind."""
    counts = report.characters()
    trained = {split for found in counts.values() for split in found} & {"train", "no split"}
    signs = []
    for sign, found in counts.items():
        total = sum(found.values())
        split = ", ".join(f"{name} {count:,}" for name, count in found.items())
        signs.append(
            {
                "kind": "unknown" if trained and not trained & found.keys() else "rare" if total < RARE else "",
                "title": _text(f"{code(sign)}: {split}"),
                "label": "␣" if sign == " " else _text(sign),
                "count": f"{total:,}",
            }
        )
    return signs
