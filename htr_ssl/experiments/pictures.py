"""Pictures of results as PNG bytes: the curve of a table, contact sheets of images, readings below their images."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from htr_ssl.config import Probe
from htr_ssl.experiments.caption import PARTS, row_title
from htr_ssl.experiments.marks import marked
from htr_ssl.experiments.statistics import Metric, Rate, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from htr_ssl.recognizers.calibration import Reliability

# Okabe and Ito's colours, distinguishable with every colour vision; black is the supervised row.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#7F7F7F")
_MARKERS = "osD^vPX"  # fewer than colours: no two rows look the same


def curve(table: Table, metric: Metric | None = None) -> bytes:
    """Rates over the share of labels (logarithmic), a line per row with 95 % intervals; bars if there is one share.

    Args:
        table: the results.
        metric: which one, probes side by side; None = WAcc and CER beside each other, a row of pictures per probe.
    """
    probes, config = table.config.probes, table.config
    metrics: tuple[Metric, ...] = (metric,) if metric else ("wacc", "cer")
    bars = len(config.fractions) == 1
    size = (6.0, 1.2 + 0.34 * len(config.rows)) if bars else (6.0, 4.4)
    down, across = (1, len(probes)) if metric else (len(probes), 2)
    figure = _figure(size[0] * across + (0 if bars else 2.2), size[1] * down + 0.3)
    places = figure.subplots(down, across, squeeze=False)
    for place, (probe, name) in zip(places.ravel(), product(probes, metrics), strict=True):
        (_bars if bars else _lines)(place, table, name, probe)
        place.spines[["top", "right"]].set_visible(False)
        if table.divided:
            place.set_title(PARTS[probe], loc="left", fontsize=10)
    title = f"{config.name}: {config.data.level}s, {config.report} split, 95 % intervals"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10)
    handles, labels = places[0][0].get_legend_handles_labels()
    if handles and not bars:
        figure.legend(handles, labels, frameon=False, loc="outside right upper")
    return _png(figure)


def reliability(found: Mapping[str, Reliability]) -> bytes:
    """Share of characters that are right over the confidence they are read with; on the diagonal both agree."""
    figure = _figure(5.2, 4.6)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle=":")
    for (name, one), colour, marker in zip(found.items(), _COLOURS, _MARKERS, strict=False):
        filled = one.size > 0
        sizes = 15 + 140 * np.sqrt(one.size[filled] / max(1, one.size.sum()))
        label = f"{name}: off by {100 * one.error:.1f} points"
        axes.plot(one.confidence[filled], one.right[filled], color=colour, linewidth=1.2)
        axes.scatter(one.confidence[filled], one.right[filled], s=sizes, color=colour, marker=marker, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence of a character", ylabel="share that is right")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    return _png(figure)


_LABELS: dict[Metric, str] = {"wacc": "word accuracy", "cer": "character error rate", "wer": "word error rate"}


def _lines(axes: Any, table: Table, metric: Metric, probe: Probe) -> None:
    """The lines of one probe; a sidestep keeps the intervals of different rows apart."""
    rows, fractions = table.rows_of(probe), sorted(table.config.fractions)
    gap = min(np.diff(np.log(fractions)))
    step = min(0.05, 0.6 * gap / max(1, len(rows) - 1))
    for place, row in enumerate(rows):
        found = [(at, table.summary(row, at, probe)) for at in fractions]
        points = [(at, summary.rates[metric]) for at, summary in found if summary]
        if not points:
            continue
        x = [at * np.exp(step * (place - (len(rows) - 1) / 2)) for at, _ in points]
        y, errors = _spans([rate for _, rate in points])
        axes.errorbar(x, y, yerr=errors, **_look(table, row, probe), markersize=5, linewidth=1.6, capsize=3)
    axes.set_xscale("log")
    axes.set_xticks(fractions, [f"{100 * at:g} %" for at in fractions])
    axes.minorticks_off()
    axes.set_xlabel("share of the train labels")
    axes.set_ylabel(f"{_LABELS[metric]} [%]")
    axes.set_ylim(bottom=0)
    axes.grid(True, color="0.9", linewidth=0.8)


def _bars(axes: Any, table: Table, metric: Metric, probe: Probe) -> None:
    """A bar for each row at the only share of labels, the first row at the top."""
    rows, (fraction,) = table.rows_of(probe), table.config.fractions
    for place, row in enumerate(rows):
        summary = table.summary(row, fraction, probe)
        if summary:
            y, errors = _spans([summary.rates[metric]])
            axes.barh(
                [place], y, xerr=errors, height=0.7, color=_look(table, row, probe)["color"], ecolor="0.45", capsize=3
            )
    axes.set_yticks(range(len(rows)), [row_title(table.config, row, probe) for row in rows], parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"{_LABELS[metric]} [%] with {100 * fraction:g} % of the train labels")
    axes.grid(True, axis="x", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def _spans(rates: Sequence[Rate]) -> tuple[np.ndarray, np.ndarray]:
    """Rates, (n,), and how far their intervals reach below and above them, (2, n) [%]."""
    y = np.array([100 * rate.mean for rate in rates])
    low, high = 100 * np.array([rate.interval for rate in rates]).T
    return y, np.maximum([y - low, high - y], 0)


def _look(table: Table, row: str, probe: Probe) -> dict[str, Any]:
    """Colour, line and marker of a row, the same in every picture."""
    rows = list(table.rows)
    others = [name for name in rows if name != table.baseline]
    base, number = row == table.baseline, others.index(row) if row in others else 0
    return {
        "label": row_title(table.config, row, probe),
        "color": "black" if base else _COLOURS[number % len(_COLOURS)],
        "linestyle": "--" if base else "-" if number < len(_COLOURS) else "-.",
        "marker": _MARKERS[rows.index(row) % len(_MARKERS)],
    }


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
