"""A table for people and programs: Markdown, CSV, LaTeX (booktabs) and the list of its cells."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

from htr_ssl.config import Probe
from htr_ssl.experiments.caption import PARTS, caption, percent, row_title
from htr_ssl.experiments.statistics import METRICS, Metric, Rate, Table
from htr_ssl.files import write_bytes, write_text

NAMES: dict[Metric, str] = {"wacc": "WAcc", "cer": "CER", "wer": "WER"}
"""How the metrics are written."""
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "Δ": r"$\Delta$",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


class Entry(NamedTuple):
    """Text of one place in the table."""

    text: str
    bold: bool = False


def write(table: Table) -> None:
    """Writes table.md, table.csv, table.tex, cells.csv and curve.png into the table's folder."""
    from htr_ssl.experiments import pictures

    write_text(table.out / "table.md", markdown(table))
    write_text(table.out / "table.csv", csv_text(table))
    write_text(table.out / "table.tex", latex(table))
    write_text(table.out / "cells.csv", cells_csv(table))
    write_bytes(table.out / "curve.png", pictures.curve(table))


def grid(table: Table, metric: Metric, probe: Probe = "none") -> tuple[list[str], list[list[Entry]]]:
    """Head and rows of one metric's table; the differences to the supervised row stand below each other row."""
    fractions = sorted(table.config.fractions)
    head = [f"{NAMES[metric]} [%]", *(percent(fraction) for fraction in fractions)]
    rows: list[list[Entry]] = []
    for row in table.config.rows:
        entries, differences = [Entry(row_title(table.config, row, probe))], [Entry("Δ")]
        for fraction in fractions:
            summary = table.summary(row, fraction, probe)
            entries.append(_entry(table, row, fraction, metric, probe))
            differences.append(Entry(_difference(summary.rates[metric]) if summary else ""))
        rows.append(entries)
        if any(entry.text for entry in differences[1:]):
            rows.append(differences)
    return head, rows


def markdown(table: Table) -> str:
    """One Markdown table per probe and metric, and the caption."""
    parts = [f"# {_plain_md(table.config.name)}", ""]
    for probe in table.config.probes:
        parts += [f"## {PARTS[probe]}", ""] if table.divided else []
        for metric in METRICS:
            head, rows = grid(table, metric, probe)
            parts += [_md_row(head), "| --- |" + " ---: |" * (len(head) - 1)]
            for row in rows:
                parts.append(_md_row(f"**{_plain_md(e.text)}**" if e.bold else _plain_md(e.text) for e in row))
            parts.append("")
    parts.append(_plain_md(caption(table)))
    failed = [f"- {cell.place}: {cell.error}" for cell in table.failed]
    if failed:
        parts += ["", "Failed cells:", "", *map(_plain_md, failed)]
    return "\n".join(parts) + "\n"


def latex(table: Table) -> str:
    """A table environment for the package booktabs, one block per probe and metric."""
    columns = len(table.config.fractions)
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering", r"\footnotesize"]
    lines += [rf"\begin{{tabular}}{{l{'r' * columns}}}", r"\toprule"]
    for number, (probe, metric) in enumerate(product(table.config.probes, METRICS)):
        head, rows = grid(table, metric, probe)
        lines += [r"\midrule"] if number else []
        if table.divided and metric == METRICS[0]:
            lines += [rf"\multicolumn{{{columns + 1}}}{{l}}{{\emph{{{_tex(PARTS[probe])}}}}} \\", r"\midrule"]
        lines += [_tex_row(map(_tex, head)), r"\midrule"]
        lines += [_tex_row(rf"\textbf{{{_tex(e.text)}}}" if e.bold else _tex(e.text) for e in row) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}", rf"\caption{{{_tex(caption(table))}}}", r"\end{table}"]
    return "\n".join(lines) + "\n"


def csv_text(table: Table) -> str:
    """Long form, one line per row, fraction, probe and metric; rates in [0, 1]."""
    names = ["mean", "deviation", "low", "high", "difference", "difference_low", "difference_high", "p"]
    rows: list[Sequence[Any]] = []
    for (row, fraction, probe), summary in table.summaries.items():
        for metric in METRICS:
            rate = summary.rates[metric]
            other = rate.comparison
            compared = (other.difference, *other.interval, other.p) if other else ("",) * 4
            deviation = "" if rate.deviation is None else rate.deviation
            known = (
                row,
                fraction,
                probe,
                " ".join(map(str, summary.seeds)),
                metric,
                rate.mean,
                deviation,
                *rate.interval,
                *compared,
            )
            rows.append((*known, summary.unit, summary.units))
    return _csv(["row", "fraction", "probe", "seeds", "metric", *names, "unit", "units"], rows)


def cells_csv(table: Table) -> str:
    """One line per cell, in the order they run; rates in [0, 1]."""
    keys = [*METRICS, "n", "labels", "empty", "subset_sha256", "model_sha256", "cell_seconds"]
    rows = []
    for cell in table.cells:
        state = "failed" if cell.error else "done" if cell.result else "missing"
        values = [(cell.result or {}).get(key, "") for key in keys]
        rows.append([cell.row, cell.fraction, cell.probe, cell.seed, state, *values, cell.error])
    return _csv(["row", "fraction", "probe", "seed", "state", *keys, "error"], rows)


def _entry(table: Table, row: str, fraction: float, metric: Metric, probe: Probe) -> Entry:
    """Mean, deviation and interval; ! where a cell failed, – where one is missing."""
    key = (row, fraction, probe)
    failed = any((cell.row, cell.fraction, cell.probe) == key for cell in table.failed)
    missing = any((cell.row, cell.fraction, cell.probe) == key for cell in table.missing)
    mark = "!" * failed + "–" * missing
    summary = table.summaries.get(key)
    if summary is None:
        return Entry(mark)
    rate = summary.rates[metric]
    spread = f" ± {100 * rate.deviation:.1f}" if rate.deviation is not None else ""
    low, high = rate.interval
    text = f"{100 * rate.mean:.1f}{spread} [{100 * low:.1f}, {100 * high:.1f}]"
    return Entry(f"{text} {mark}".strip(), not mark and table.best(fraction, metric, probe) == row)


def _difference(rate: Rate) -> str:
    if rate.comparison is None:
        return ""
    difference, (low, high), p = rate.comparison
    value = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return f"{_signed(difference)} [{_signed(low)}, {_signed(high)}], {value}"


def _signed(value: float) -> str:
    text = f"{100 * value:+.1f}".replace("-", "−")
    return "0.0" if text[1:] == "0.0" else text


def _csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return buffer.getvalue()


def _plain_md(text: str) -> str:
    return re.sub(r"([\\|*_`]|<(?=[A-Za-z/!?]))", r"\\\1", text)


def _md_row(values: Iterable[str]) -> str:
    return f"| {' | '.join(values)} |"


def _tex(text: str) -> str:
    return "".join(_ESCAPES.get(character, character) for character in text)


def _tex_row(values: Iterable[str]) -> str:
    return " & ".join(values) + r" \\"
