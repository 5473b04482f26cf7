"""Pictures of results as PNG bytes: the curve of a table, contact sheets of images, readings below their images."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from htr_ssl.config import Probe
from htr_ssl.experiments.caption import PARTS, row_title
from htr_ssl.experiments.marks import marked
from htr_ssl.experiments.statistics import Metric, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, distinguishable with every colour vision; black is the supervised row.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#7F7F7F")
_MARKERS = "osD^vPX"  # fewer than colours: no two rows look the same
_INSIDE = 8
"""Most rows whose legend is put among the lines; that of more stands beside them."""


def curve(table: Table, metric: Metric = "wacc") -> bytes:
    """Rate over the share of labels (logarithmic), one line per row with 95 % intervals; probes side by side."""
    probes = table.config.probes
    beside = len(table.config.rows) > _INSIDE
    figure = _figure((9.2 if beside else 7.2) * len(probes), 4.6)
    places = figure.subplots(1, len(probes), squeeze=False, sharey=True)[0]
    for place, probe in zip(places, probes, strict=True):
        _lines(place, table, metric, probe)
        title = f"{table.config.data.level}s, test split, 95 % intervals"
        place.set_title(
            f"{PARTS[probe]}: {title}" if table.divided else f"{table.config.name}: {title}", loc="left", fontsize=10
        )
    label = {"wacc": "word accuracy", "cer": "character error rate", "wer": "word error rate"}[metric]
    places[0].set_ylabel(f"{label} [%]")
    if table.divided:
        figure.suptitle(table.config.name, x=0.01, ha="left", fontsize=10)
    return _png(figure)


def _lines(axes: Any, table: Table, metric: Metric, probe: Probe) -> None:
    """The lines of one probe."""
    rows, fractions = list(table.config.rows), sorted(table.config.fractions)
    colours = iter(range(len(rows)))
    for place, row in enumerate(rows):
        base = row == table.baseline
        number = 0 if base else next(colours)
        found = [(at, table.summary(row, at, probe)) for at in fractions]
        points = [(at, summary.rates[metric]) for at, summary in found if summary]
        if not points:
            continue
        # A small sidestep keeps the intervals of different rows apart.
        x = [at * 1.025 ** (place - (len(rows) - 1) / 2) for at, _ in points]
        y = np.array([100 * rate.mean for _, rate in points])
        ends = 100 * np.array([rate.interval for _, rate in points]).T
        axes.errorbar(
            x,
            y,
            yerr=np.maximum([y - ends[0], ends[1] - y], 0),
            label=row_title(table.config, row, probe),
            color="black" if base else _COLOURS[number % len(_COLOURS)],
            linestyle="--" if base else "-" if number < len(_COLOURS) else "-.",
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=5,
            linewidth=1.6,
            capsize=3,
        )
    axes.set_xscale("log")
    axes.set_xticks(fractions, [f"{100 * at:g} %" for at in fractions])
    axes.minorticks_off()
    axes.set_xlabel("share of the train labels")
    axes.grid(True, color="0.9", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.containers:
        aside = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if len(rows) > _INSIDE else {}
        axes.legend(frameon=False, **aside)


def sheet(images: Sequence[np.ndarray], captions: Sequence[str] = (), columns: int = 3) -> bytes:
    """Contact sheet: images, (H, W) or (H, W, 3) uint8, at one scale in rows of `columns`, a caption below each."""
    captions = captions or [""] * len(images)
    rows = max(1, -(-len(images) // columns))
    tall = max((image.shape[0] for image in images), default=1)
    wide = max((image.shape[1] for image in images), default=5)
    width = 11 / columns
    lines = max((len(textwrap.wrap(text, 44)) for text in captions), default=0)
    figure = _figure(11, rows * (width * tall / wide + 0.17 * lines + 0.12))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for place in grid:
        place.axis("off")
    for place, image, text in zip(grid, images, captions, strict=False):
        _show(place, image)
        place.set(xlim=(-0.5, wide - 0.5), ylim=(tall - 0.5, -0.5))  # one scale for all
        place.text(0, -0.04, "\n".join(textwrap.wrap(text, 44)), transform=place.transAxes, **_TEXT)
    return _png(figure)


def readings(images: Sequence[np.ndarray], written: Sequence[str], read: Sequence[str]) -> bytes:
    """Images with what is written and what was read below; characters that differ are red and underlined."""
    count = max(1, len(images))
    figure = _figure(8, 1.05 * count)
    grid = figure.subplots(count, 1, squeeze=False).ravel()
    for place in grid:
        place.axis("off")
    for place, image, truth, text in zip(grid, images, written, read, strict=False):
        _show(place, image)
        right, wrong = marked(truth, text)
        options: dict[str, Any] = {**_TEXT, "transform": place.transAxes, "family": "monospace"}
        for height, label, parts in ((-0.05, "written", right), (-0.33, "read   ", wrong)):
            place.text(0, height, f"{label}  " + "".join(part for part, _ in parts), **options)
            # The same line once more with only the errors, in red over the black.
            errors = "".join(part if bad else " " * len(part) for part, bad in parts)
            place.text(0, height, " " * 9 + errors, **{**options, "color": "#C00000", "fontweight": "bold"})
    return _png(figure)


_TEXT: dict[str, Any] = {"va": "top", "ha": "left", "fontsize": 8, "parse_math": False}


def _show(place: Any, image: np.ndarray) -> None:
    place.imshow(image, cmap="gray", vmin=0, vmax=255, aspect="equal")
    place.set_anchor("NW")


def _figure(width: float, height: float) -> Figure:
    """Figure without a window or a global state [inches]."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
