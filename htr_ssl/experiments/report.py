"""One HTML file that explains a run: text, tables, pictures; it loads nothing from elsewhere and has no script."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from markupsafe import Markup

from htr_ssl.experiments.caption import PARTS, caption
from htr_ssl.experiments.evaluate import Prediction
from htr_ssl.experiments.marks import marked
from htr_ssl.experiments.render import compute_grid, grid
from htr_ssl.experiments.statistics import Table, shown
from htr_ssl.files import write_text
from htr_ssl.webpage import part, picture_source, render


@dataclass(frozen=True)
class Section:
    """Part of a report: a heading and pieces of HTML made by the functions of this module."""

    title: str
    parts: Sequence[Markup]


def write(out: Path, title: str, sections: Iterable[Section]) -> None:
    """Writes the report as one HTML file.

    Args:
        out: the file.
        title: heading of the whole.
        sections: in order.
    """
    write_text(Path(out), render("report.html", title=title, sections=list(sections)))


def text(value: str) -> Markup:
    """Paragraphs; an empty line parts them."""
    return part("paragraphs", texts=re.split(r"\n\s*\n", value.strip()))


def code(value: str) -> Markup:
    """Text as it is, e.g. a command."""
    return part("code", text=value)


def picture(data: bytes, description: str, visible: bool = True) -> Markup:
    """A PNG or JPEG inside the page.

    Args:
        data: the file.
        description: what it shows, for those who cannot see it.
        visible: whether the description stands below the picture too.
    """
    return part(
        "picture",
        source=picture_source(data, "jpeg" if data[:2] == b"\xff\xd8" else "png"),
        description=description,
        visible=visible,
    )


def values(rows: Iterable[tuple[str, str]], head: tuple[str, str] = ("", "")) -> Markup:
    """Table of two columns."""
    return part("values", rows=list(rows), head=head)


def table(results: Table) -> Markup:
    """The metrics of a table of experiments with its caption."""
    metrics = shown(results.config.data.level)
    grids = [
        (PARTS[probe] if results.divided and metric == metrics[0] else "", *grid(results, metric, probe))
        for probe, metric in product(results.config.probes, metrics)
    ]
    costs = [compute_grid(results, probe) for probe in results.config.probes]
    return part("results", grids=grids, costs=[cost for cost in costs if cost[1]], caption=caption(results))


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
            part(
                "reading",
                source=picture_source(_png(image), "png"),
                text=item.written,
                written=written,
                read=read,
                confidence=f"{100 * item.confidence:.0f}",
            )
        )
    return Section(title, parts)


def _png(image: np.ndarray) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
