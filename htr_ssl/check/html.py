"""The doctor's report as one HTML page: pictures are inside, nothing is fetched, nothing runs."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

from PIL import Image

from htr_ssl import __version__
from htr_ssl.check.checks.charset import RARE
from htr_ssl.check.doctor import Report, titled, visible
from htr_ssl.check.finding import Example, Finding, code
from htr_ssl.data.images import to_height
from htr_ssl.errors import UserError
from htr_ssl.files import write_text

SHOWN = 24
"""Examples of a finding that are shown."""
COPIES = 4
"""Pictures of an example that are shown."""
THUMBNAIL = (48, 720)
"""Largest height and width of a picture [px]."""
QUALITY = 75

_STYLE = Path(__file__).with_name("check.css")


def write(report: Report, source: str, out: Path) -> None:
    """Writes the page; images of the examples are read once more.

    Raises:
        UserError: `out` cannot be written.
    """
    write_text(out, page(report, source))


def page(report: Report, source: str) -> str:
    """The page, which is well-formed XML too."""
    title = f"{_text(source)}: data check"
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    verdict = "".join(f"<li>{_text(reason)}</li>" for reason in report.reasons)
    grade = ("bad", "Training would not be sound") if verdict else ("good", "Training would be sound")
    body = [
        f'<header class="{grade[0]}"><p>{_text(source)}</p><h1>{grade[1]}</h1><ul>{verdict}</ul></header>',
        _counts(report),
        *_findings(report),
        _characters(report),
        f"<footer>htr-ssl {__version__}, data check</footer>",
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"/>'
        '<meta name="viewport" content="width=device-width"/>'
        f"<title>{title}</title><style>{_STYLE.read_text(encoding='utf-8')}</style></head>\n"
        f"<body>{''.join(body)}</body></html>\n"
    )


def _text(text: str) -> str:
    """Text as HTML, what cannot be seen by its number."""
    return escape(visible(text))


def _advice(text: str) -> str:
    """A sentence as HTML; what stands between `backticks` is code."""
    return re.sub("`(.*?)`", r"<code>\1</code>", _text(text))


def _counts(report: Report) -> str:
    splits = report.splits()
    names = list(next(iter(splits.values()), {}))
    head = "".join(f"<th>{name}</th>" for name in ("", *names))
    rows = "".join(
        f"<tr><th>{_text(split)}</th>{''.join(f'<td>{counts[name]:,}</td>' for name in names)}</tr>"
        for split, counts in splits.items()
    )
    width = f"width: {report.widths()}" if report.widths() else ""
    facts = [f"{name}: {value}" for name, value in report.survey.samples.facts.items()]
    listed = "".join(f"<li>{_text(fact)}</li>" for fact in [width, *facts] if fact)
    return f"<section><h2>What there is</h2><table><tr>{head}</tr>{rows}</table><ul>{listed}</ul></section>"


def _findings(report: Report) -> Iterable[str]:
    if not report.findings:
        return
    yield "<nav><h2>Findings</h2><ul>"
    for finding in report.findings:
        yield f'<li class="{finding.severity}"><a href="#{finding.kind}">{_text(titled(finding))}</a></li>'
    yield "</ul></nav>"
    for finding in report.findings:
        yield _section(report, finding)


def _section(report: Report, finding: Finding) -> str:
    shown = finding.examples[:SHOWN]
    more = len(finding.examples) - len(shown)
    rest = f"<p>… and {more:,} more; <code>--json</code> lists all of them.</p>" if more else ""
    figures = "".join(_figure(report, example) for example in shown)
    return (
        f'<section id="{finding.kind}" class="{finding.severity}"><h2><b>{finding.severity}</b> '
        f"{_text(titled(finding))}</h2><p>{_advice(finding.advice)}</p><div>{figures}</div>{rest}</section>\n"
    )


def _figure(report: Report, example: Example) -> str:
    """The pictures of one example with ids and texts, and the remark."""
    survey = report.survey
    parts = []
    for row in example.rows[:COPIES]:
        text = survey.texts[row]
        split = f" <i>{_text(survey.splits[row] or '')}</i>" if survey.splits[row] else ""
        label = f'<q dir="auto">{_text(text)}</q>' if text else "<i>no text</i>"
        parts.append(f"{_picture(report, row)}<span>{label}</span><small>{_text(survey.ids[row])}{split}</small>")
    if len(example.rows) > COPIES:
        parts.append(f"<small>… and {len(example.rows) - COPIES:,} more</small>")
    remark = f"<strong>{_text(example.remark)}</strong>" if example.remark else ""
    return f"<figure>{remark}{''.join(parts)}</figure>"


def _picture(report: Report, row: int) -> str:
    """The image as a small picture inside the page; a word in its place if it cannot be read."""
    if row in report.survey.unreadable:
        return '<em class="none">unreadable</em>'
    try:
        image = report.survey.samples[row].load()
    except UserError:
        return '<em class="none">unreadable</em>'
    height, width = THUMBNAIL
    scale = min(1.0, height / image.shape[0], width / image.shape[1])
    small = to_height(image, max(1, round(image.shape[0] * scale)), 3 if image.ndim == 3 else 1, width)
    buffer = io.BytesIO()
    Image.fromarray(small).save(buffer, "JPEG", quality=QUALITY)
    data = base64.b64encode(buffer.getvalue()).decode()
    size = f'width="{small.shape[1]}" height="{small.shape[0]}"'
    return f'<img alt="" {size} src="data:image/jpeg;base64,{data}"/>'


def _characters(report: Report) -> str:
    """Every character with its counts; rare ones and those that train lacks stand out."""
    counts = report.characters()
    if not counts:
        return ""
    trained = {split for found in counts.values() for split in found} & {"train", "no split"}
    cells = []
    for sign, found in counts.items():
        total = sum(found.values())
        kind = "unknown" if trained and not trained & found.keys() else "rare" if total < RARE else ""
        split = ", ".join(f"{name} {count:,}" for name, count in found.items())
        label = "␣" if sign == " " else visible(sign)
        cells.append(
            f'<li class="{kind}" title="{escape(code(sign))}: {split}">{escape(label)}<small>{total:,}</small></li>'
        )
    legend = f'<b class="rare">fewer than {RARE} times</b>, <b class="unknown">not in train</b>'
    return (
        f'<section id="characters"><h2>{len(counts)} characters</h2><p>{legend}; the mouse shows name and splits.</p>'
        f"<ol>{''.join(cells)}</ol></section>"
    )
