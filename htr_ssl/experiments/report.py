"""One HTML file that explains a run: text, tables, pictures; it loads nothing from elsewhere and has no script."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from pathlib import Path

import numpy as np

from htr_ssl.experiments.caption import PARTS, caption
from htr_ssl.experiments.evaluate import Prediction
from htr_ssl.experiments.marks import Parts, marked
from htr_ssl.experiments.render import grid
from htr_ssl.experiments.statistics import Table, shown
from htr_ssl.files import write_text

_STYLE = """
:root { color-scheme: light dark; --line: #d5d5d5; --soft: #666; --bad: #b00020; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --line: #444; --soft: #aaa; --bad: #ff8a80; } }
body { font: 16px/1.55 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.25rem; margin-top: 2.4rem; }
h1, h2 { line-height: 1.25; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; margin: 1rem 0; }
th, td { padding: .35rem .8rem; text-align: left; white-space: nowrap; }
thead th { border-bottom: 2px solid var(--line); } tbody tr { border-bottom: 1px solid var(--line); }
tr.difference td, figcaption, .caption { color: var(--soft); font-size: .85rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; background: var(--paper); border-radius: 3px; }
.reading { border-bottom: 1px solid var(--line); padding: .6rem 0; }
.reading img { max-height: 5rem; display: block; margin-bottom: .3rem; }
.reading span { font: .9rem ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.reading b { display: inline-block; width: 5rem; font-weight: 400; color: var(--soft); font-size: .85rem; }
mark { background: none; color: var(--bad); font-weight: 700; text-decoration: underline; }
pre { border: 1px solid var(--line); padding: .7rem; overflow-x: auto; border-radius: 4px; }
""".strip()


@dataclass(frozen=True)
class Section:
    """Part of a report: a heading and HTML made by the functions of this module, which escape all text."""

    title: str
    parts: Sequence[str]


def write(out: Path, title: str, sections: Iterable[Section]) -> None:
    """Writes the report as one HTML file.

    Args:
        out: the file.
        title: heading of the whole.
        sections: in order.
    """
    body = "\n".join(
        f"<section>\n<h2>{escape(section.title)}</h2>\n" + "\n".join(section.parts) + "\n</section>"
        for section in sections
    )
    write_text(
        Path(out),
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}\n</style>\n</head>\n"
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n",
    )


def text(value: str) -> str:
    """Paragraphs; an empty line parts them."""
    return "\n".join(f"<p>{escape(part)}</p>" for part in re.split(r"\n\s*\n", value.strip()))


def code(value: str) -> str:
    """Text as it is, e.g. a command."""
    return f"<pre>{escape(value)}</pre>"


def picture(data: bytes, description: str, visible: bool = True) -> str:
    """A PNG inside the page.

    Args:
        data: the PNG file.
        description: what it shows, for those who cannot see it.
        visible: whether the description stands below the picture too.
    """
    below = f"<figcaption>{escape(description)}</figcaption>" if visible else ""
    return f"<figure>{_image(data, description)}{below}</figure>"


def values(rows: Iterable[tuple[str, str]], head: tuple[str, str] = ("", "")) -> str:
    """Table of two columns."""
    top = f"<thead><tr><th>{escape(head[0])}</th><th>{escape(head[1])}</th></tr></thead>" if any(head) else ""
    body = "".join(f"<tr><td>{escape(key)}</td><td>{escape(value)}</td></tr>" for key, value in rows)
    return f'<div class="scroll"><table>{top}<tbody>{body}</tbody></table></div>'


def table(results: Table) -> str:
    """The metrics of a table of experiments with its caption."""
    parts, metrics = [], shown(results.config.data.level)
    for probe, metric in product(results.config.probes, metrics):
        head, rows = grid(results, metric, probe)
        if results.divided and metric == metrics[0]:
            parts.append(f"<h3>{escape(PARTS[probe])}</h3>")
        lines = []
        for row in rows:
            kind = ' class="difference"' if row[0].text == "Δ" else ""
            cells = "".join(f"<td>{_strong(entry.text, entry.bold)}</td>" for entry in row)
            lines.append(f"<tr{kind}>{cells}</tr>")
        top = "".join(f"<th>{escape(name)}</th>" for name in head)
        parts.append(f"<table><thead><tr>{top}</tr></thead><tbody>{''.join(lines)}</tbody></table>")
    return f'<div class="scroll">{"".join(parts)}</div>\n<p class="caption">{escape(caption(results))}</p>'


def predictions_section(
    title: str, images: Sequence[np.ndarray], predictions: Sequence[Prediction], introduction: str = ""
) -> Section:
    """Images with what is written and what was read; characters that differ are marked.

    Args:
        title: heading.
        images: uint8, (H, W) or (H, W, 3), of the predictions, in their order.
        predictions: see `evaluate`.
        introduction: text above.
    """
    parts = [text(introduction)] if introduction else []
    for image, item in zip(images, predictions, strict=True):
        written, read = marked(item.written, item.read)
        parts.append(
            f'<div class="reading">{_image(_png(image), "written: " + item.written)}'
            f"<b>written</b><span>{_marked(written)}</span><br>"
            f"<b>read</b><span>{_marked(read)}</span> "
            f'<span class="caption">(confidence {100 * item.confidence:.0f} %)</span></div>'
        )
    return Section(title, parts)


def _marked(parts: Parts) -> str:
    return "".join(f"<mark>{escape(part)}</mark>" if differs and part else escape(part) for part, differs in parts)


def _strong(value: str, bold: bool) -> str:
    return f"<strong>{escape(value)}</strong>" if bold else escape(value)


def _image(data: bytes, description: str) -> str:
    source = base64.b64encode(data).decode("ascii")
    return f'<img src="data:image/png;base64,{source}" alt="{escape(description, quote=True)}">'


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
