"""A table for people and programs: Markdown, CSV, LaTeX (booktabs) and the list of its cells."""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any, NamedTuple

from htr_ssl.config import Probe
from htr_ssl.experiments.caption import PARTS, caption, notes, percent, row_title, short
from htr_ssl.experiments.compute import NAMES as COMPUTE
from htr_ssl.experiments.statistics import Pair, Rate, Shown, Table, measured, shown
from htr_ssl.files import write_bytes, write_text

NAMES: dict[Shown, str] = {"wacc": "WAcc", "1-wer": "1 − WER", "cer": "CER", "wer": "WER"}
"""How the metrics are written."""
_ESCAPES = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "−": r"$-$",
    "Δ": r"$\Delta$",
    "≥": r"$\ge$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"\textbar{}",
    "…": r"\ldots{}",
    "∅": r"$\emptyset$",
    "–": "--",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


class Entry(NamedTuple):
    """Text of one place in the table."""

    text: str
    bold: bool = False


def write(table: Table) -> None:
    """Writes table.md, table.csv, table.tex, cells.csv, curve.png, and pairs.md and pairs.csv if asked for."""
    from htr_ssl.experiments import pictures

    write_text(table.out / "table.md", markdown(table))
    write_text(table.out / "table.csv", csv_text(table))
    write_text(table.out / "table.tex", latex(table))
    write_text(table.out / "cells.csv", cells_csv(table))
    write_bytes(table.out / "curve.png", pictures.curve(table))
    if table.config.pairs:
        write_text(table.out / "pairs.md", pairs_markdown(table))
        write_text(table.out / "pairs.csv", pairs_csv(table))


def grid(table: Table, metric: Shown, probe: Probe = "none") -> tuple[list[str], list[list[Entry]]]:
    """Head and rows of one metric's table; the differences to the supervised row stand below each other row."""
    fractions = sorted(table.config.fractions)
    head = [f"{NAMES[metric]} [%]"]
    for fraction in fractions:
        head += [percent(fraction)] + [f"{percent(fraction)}, with LM"] * bool(table.config.lm)
    rows: list[list[Entry]] = []
    for row in table.rows_of(probe):
        entries, differences = [Entry(row_title(table.config, row, probe))], [Entry("Δ")]
        for fraction in fractions:
            summary = table.summary(row, fraction, probe)
            entries.append(_entry(table, row, fraction, metric, probe))
            differences.append(Entry(_difference(summary.shown(metric)) if summary else ""))
            if table.config.lm:
                entries.append(_with_lm(table, row, fraction, metric, probe))
                differences.append(Entry(""))
        rows.append(entries)
        if any(entry.text for entry in differences[1:]):
            rows.append(differences)
    return head, rows


def compute_grid(table: Table, probe: Probe = "none") -> tuple[list[str], list[list[str]]]:
    """Head and rows of what a cell costs on average, every stage included; no rows where nothing was counted."""
    costs = [(row, table.cost(row, probe)) for row in table.rows_of(probe)]
    head = ["per cell", "encoder passes", "images seen", "device seconds"]
    return head, [[row, *(f"{value:,.0f}" for value in cost)] for row, cost in costs if cost]


def markdown(table: Table) -> str:
    """One Markdown table per probe and metric, and the caption."""
    parts = [f"# {_plain_md(table.config.name)}", ""]
    for probe in table.config.probes:
        parts += [f"## {PARTS[probe]}", ""] if table.divided else []
        for metric in shown(table.config.data.level):
            head, rows = grid(table, metric, probe)
            parts += [_md_row(head), "| --- |" + " ---: |" * (len(head) - 1)]
            for row in rows:
                parts.append(_md_row(f"**{_plain_md(e.text)}**" if e.bold else _plain_md(e.text) for e in row))
            parts.append("")
        head, costs = compute_grid(table, probe)
        if costs:
            parts += [_md_row(head), "| --- |" + " ---: |" * 3, *(_md_row(map(_plain_md, row)) for row in costs), ""]
    parts.append(_plain_md(caption(table)))
    failed = [f"- {cell.place}: {cell.error}" for cell in table.failed]
    if failed:
        parts += ["", "Failed cells:", "", *map(_plain_md, failed)]
    return "\n".join(parts) + "\n"


def latex(table: Table) -> str:
    """A table environment for the package booktabs: a short caption, one block per probe and metric, notes below."""
    columns = len(table.config.fractions) * (2 if table.config.lm else 1)
    metrics = shown(table.config.data.level)
    label = re.sub(r"\W+|_", "-", table.config.name)
    lines = [r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering"]
    lines += [rf"\caption{{{_tex(short(table))}}}", rf"\label{{tab:{label}}}", r"\footnotesize"]
    lines += [rf"\begin{{tabular}}{{l{'r' * columns}}}", r"\toprule"]
    for number, (probe, metric) in enumerate(product(table.config.probes, metrics)):
        head, rows = grid(table, metric, probe)
        lines += [r"\midrule"] if number else []
        if table.divided and metric == metrics[0]:
            lines += [rf"\multicolumn{{{columns + 1}}}{{l}}{{\emph{{{_tex(PARTS[probe])}}}}} \\", r"\midrule"]
        lines += [_tex_row(map(_tex, head)), r"\midrule"]
        lines += [_tex_row(rf"\textbf{{{_tex(e.text)}}}" if e.bold else _tex(e.text) for e in row) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}", "", r"\medskip", r"\begin{minipage}{\linewidth}", r"\scriptsize"]
    for probe in table.config.probes:
        head, costs = compute_grid(table, probe)
        if costs:
            lines[-3:-3] = [
                "",
                r"\medskip",
                r"\begin{tabular}{lrrr}",
                r"\toprule",
                _tex_row(map(_tex, head)),
                r"\midrule",
            ]
            lines[-3:-3] = [*(_tex_row(map(_tex, row)) for row in costs), r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join([*lines, _tex(notes(table)), r"\end{minipage}", r"\end{table}"]) + "\n"


def pairs_markdown(table: Table) -> str:
    """A matrix of all pairs of rows for every column and metric: row less column, and the p-value corrected by Holm."""
    parts = [f"# {_plain_md(table.config.name)}: all pairs of rows", ""]
    for probe, fraction, metric in _columns(table):
        found = table.pairs(fraction, measured(metric), probe)
        rows = list(dict.fromkeys(name for pair in found for name in pair[:2]))
        if not found:
            continue
        of = {(pair.second, pair.first): _pair_text(pair, metric) for pair in found}
        title = f"{NAMES[metric]} [%], {percent(fraction)}" + (f", {PARTS[probe]}" if table.divided else "")
        parts += [_md_row(map(_plain_md, [title, *rows[:-1]])), "| --- |" + " ---: |" * len(rows[:-1])]
        parts += [_md_row([_plain_md(row), *(of.get((row, other), "") for other in rows[:-1])]) for row in rows[1:]]
        parts.append("")
    parts.append(
        "Each place is the row's rate less that of the row named above, in points, with the p-value of the paired "
        "sign-flip test, corrected for all pairs of the matrix (Holm)."
    )
    return "\n".join(parts) + "\n"


def pairs_csv(table: Table) -> str:
    """All pairs of rows, one line per pair, column and metric; rates in [0, 1], the second row less the first."""
    rows: list[Sequence[Any]] = []
    for probe, fraction, metric in _columns(table):
        if metric == measured(metric):
            for first, second, (difference, interval, p), corrected in table.pairs(fraction, metric, probe):
                rows.append((first, second, fraction, probe, metric, difference, *interval, p, corrected))
    return _csv(["first", "second", "fraction", "probe", "metric", "difference", "low", "high", "p", "p_holm"], rows)


def _columns(table: Table) -> Iterable[tuple[Probe, float, Shown]]:
    return product(table.config.probes, sorted(table.config.fractions), shown(table.config.data.level))


def _pair_text(pair: Pair, metric: Shown) -> str:
    sign = -1 if metric == "1-wer" else 1
    return f"{_signed(sign * pair.comparison.difference)}, {_p(pair.corrected)}"


def csv_text(table: Table) -> str:
    """Long form, one line per row, fraction, probe and metric; rates in [0, 1]."""
    names = ["mean", "deviation", "low", "high", "difference", "difference_low", "difference_high", "p", "p_holm"]
    rows: list[Sequence[Any]] = []
    for (row, fraction, probe), summary in table.summaries.items():
        for metric in shown(table.config.data.level):
            rate = summary.shown(metric)
            other = rate.comparison
            compared = (other.difference, *other.interval, other.p, rate.corrected) if other else ("",) * 5
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
            cost = table.cost(row, probe, fraction) or ("",) * len(COMPUTE)
            rows.append((*known, summary.unit, summary.units, *cost))
    return _csv(["row", "fraction", "probe", "seeds", "metric", *names, "unit", "units", *COMPUTE], rows)


def cells_csv(table: Table) -> str:
    """One line per cell, in the order they run; rates in [0, 1]."""
    names = shown(table.config.data.level)
    keys = [*names, "n", "split", "labels", "labels_selection", "labels_lm", "empty"]
    keys += ["subset_sha256", "model_sha256", "cell_seconds"]
    more = [f"{name} with LM" for name in names] if table.config.lm else []
    rows = []
    for cell in table.cells:
        state = "failed" if cell.error else "done" if cell.result else "missing"
        result = cell.result or {}
        values = [*(result.get(key, "") for key in keys), *(result.get("cost", {}).get(key, "") for key in COMPUTE)]
        values += [result.get("with_lm", {}).get(name, "") for name in names] if more else []
        plain = ["" if value is None else value for value in values]
        rows.append([cell.row, cell.fraction, cell.probe, cell.seed, state, *plain, cell.error])
    return _csv(["row", "fraction", "probe", "seed", "state", *keys, *COMPUTE, *more, "error"], rows)


def _entry(table: Table, row: str, fraction: float, metric: Shown, probe: Probe) -> Entry:
    """Mean, deviation and interval; ! where a cell failed, – where one is missing."""
    key = (row, fraction, probe)
    failed = any((cell.row, cell.fraction, cell.probe) == key for cell in table.failed)
    missing = any((cell.row, cell.fraction, cell.probe) == key for cell in table.missing)
    mark = "!" * failed + "–" * missing
    summary = table.summaries.get(key)
    if summary is None:
        return Entry(mark)
    rate = summary.shown(metric)
    spread = f" ± {100 * rate.deviation:.1f}" if rate.deviation is not None else ""
    low, high = rate.interval
    text = f"{100 * rate.mean:.1f}{spread} [{100 * low:.1f}, {100 * high:.1f}]"
    return Entry(f"{text} {mark}".strip(), not mark and row in table.best(fraction, measured(metric), probe))


def _with_lm(table: Table, row: str, fraction: float, metric: Shown, probe: Probe) -> Entry:
    """Mean and deviation of what was read with the language model."""
    key = (row, fraction, probe)
    cells = [cell for cell in table.cells if (cell.row, cell.fraction, cell.probe) == key]
    values = [cell.result["with_lm"][measured(metric)] for cell in cells if cell.result and "with_lm" in cell.result]
    if not values:
        return Entry("")
    mean = statistics.fmean(values)
    spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return Entry(f"{100 * (1 - mean if metric == '1-wer' else mean):.1f}{spread}")


def _difference(rate: Rate) -> str:
    if rate.comparison is None:
        return ""
    difference, (low, high), p = rate.comparison
    holm = "" if rate.corrected is None else f", Holm {_p(rate.corrected)}"
    return f"{_signed(difference)} [{_signed(low)}, {_signed(high)}], {_p(p)}{holm}"


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


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
