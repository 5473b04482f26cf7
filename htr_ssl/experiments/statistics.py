"""What the cells of a table say together: means over seeds, intervals, paired comparison with the supervised row."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import combinations, product
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from htr_ssl.config import Probe, Stage, TableConfig, Unit
from htr_ssl.experiments import compute
from htr_ssl.experiments.compute import Compute
from htr_ssl.experiments.evaluate import PREDICTIONS, UNITS, Prediction, grouping, read_predictions, units_of
from htr_ssl.experiments.rows import baseline, rows
from htr_ssl.text import metrics

Metric = Literal["wacc", "cer", "wer"]
METRICS: tuple[Metric, ...] = ("wacc", "cer", "wer")
Shown = Literal["wacc", "1-wer", "cer", "wer"]
SIGNIFICANT = 0.05
"""A difference with a smaller p-value, corrected for the number of comparisons, is called significant."""


@dataclass(frozen=True)
class Cell:
    """One fine-tuning of a table.

    Attributes:
        row: name of the row.
        fraction: share of the train labels.
        seed: seed of the subset and the fine-tuning.
        folder: where its files are.
        probe: what was trained at the end.
        result: content of result.json; None if it is not there yet or failed.
        error: why it failed; empty otherwise.
    """

    row: str
    fraction: float
    seed: int
    folder: Path
    probe: Probe = "none"
    result: dict[str, Any] | None = None
    error: str = ""

    @property
    def place(self) -> str:
        """Which cell it is, for a person to read."""
        where = f"{self.row}, {100 * self.fraction:g} %, seed {self.seed}"
        return where if self.probe == "none" else f"{where}, {self.probe} probe"


class Rate(NamedTuple):
    """One rate of a row at a fraction, in [0, 1].

    Attributes:
        mean: over seeds.
        deviation: standard deviation over seeds (n - 1), None with one seed.
        interval: 95 % bootstrap over units, and over seeds if there are several.
        comparison: with the baseline under the same probe on the same samples and seeds, None for the baseline itself.
        corrected: p-value of the comparison, corrected by Holm for all rows of the column.
    """

    mean: float
    deviation: float | None
    interval: metrics.Interval
    comparison: metrics.Comparison | None
    corrected: float | None = None

    @property
    def significant(self) -> bool:
        """Whether the difference to the baseline is, after the correction."""
        return self.corrected is not None and self.corrected < SIGNIFICANT

    def complement(self) -> Rate:
        """The same of 1 − rate."""
        low, high = self.interval
        other = self.comparison
        if other is not None:
            other = other._replace(difference=-other.difference, interval=(-other.interval[1], -other.interval[0]))
        return self._replace(mean=1 - self.mean, interval=(1 - high, 1 - low), comparison=other)


def shown(level: str) -> tuple[Shown, ...]:
    """What a table shows: on lines 1 − WER beside WAcc, which does not count inserted words."""
    return ("wacc", "cer", "wer") if level == "word" else ("wacc", "1-wer", "cer", "wer")


def measured(name: Shown) -> Metric:
    """The metric that something shown is made of."""
    return "wer" if name == "1-wer" else name


class Pair(NamedTuple):
    """Two rows of one column: the second less the first, and the p-value corrected by Holm for all pairs."""

    first: str
    second: str
    comparison: metrics.Comparison
    corrected: float


@dataclass(frozen=True)
class Summary:
    """A row at a fraction, under one probe, over its finished seeds.

    Attributes:
        seeds: the finished ones.
        unit: what was resampled.
        units: how many of them.
    """

    row: str
    fraction: float
    probe: Probe
    seeds: tuple[int, ...]
    rates: dict[Metric, Rate]
    unit: str
    units: int

    def shown(self, name: Shown) -> Rate:
        """The rate of something shown."""
        return self.rates["wer"].complement() if name == "1-wer" else self.rates[name]


@dataclass(frozen=True)
class Table:
    """Cells of a configuration, and their summaries by row, fraction and probe (only where a cell is finished).

    Attributes:
        unit: what is resampled in all of it.
    """

    config: TableConfig
    out: Path
    cells: list[Cell]
    summaries: dict[tuple[str, float, Probe], Summary] = field(default_factory=dict)
    unit: Unit = "sample"

    @property
    def failed(self) -> list[Cell]:
        """Cells that ended with an error."""
        return [cell for cell in self.cells if cell.error]

    @property
    def missing(self) -> list[Cell]:
        """Cells that have not been run."""
        return [cell for cell in self.cells if cell.result is None and not cell.error]

    @property
    def rows(self) -> dict[str, list[Stage]]:
        """Row name -> stages, the row of the same compute included."""
        return rows(self.config)

    def rows_of(self, probe: Probe) -> list[str]:
        """Rows that have cells under a probe."""
        return [row for row in self.rows if any((cell.row, cell.probe) == (row, probe) for cell in self.cells)]

    @property
    def baseline(self) -> str | None:
        """The supervised row: the first without stages; under a probe it is the random frozen encoder."""
        return baseline(self.config)

    @property
    def divided(self) -> bool:
        """Whether it has a part for each probe, not just fine-tuning."""
        return self.config.probes != ["none"]

    def summary(self, row: str, fraction: float, probe: Probe = "none") -> Summary | None:
        """What the finished cells of a row say, None if there is none."""
        return self.summaries.get((row, fraction, probe))

    def best(self, fraction: float, metric: Metric, probe: Probe = "none") -> frozenset[str]:
        """Rows of a column that nothing shows to be worse than the best: that and all it is not separable from.

        Two rows are separable if their paired difference is significant after Holm's correction for all comparisons
        with the best. Empty if there are fewer than two rows.
        """
        rates = {row: found.rates[metric] for row in self.rows if (found := self.summary(row, fraction, probe))}
        if len(rates) < 2:
            return frozenset()
        first = (max if metric == "wacc" else min)(rates, key=lambda name: rates[name].mean)
        others = [row for row in rates if row != first]
        compared = [self.compare(first, row, fraction, metric, probe) for row in others]
        corrected = metrics.holm([1.0 if comparison is None else comparison.p for comparison in compared])
        return frozenset([first, *(row for row, p in zip(others, corrected, strict=True) if p >= SIGNIFICANT)])

    def cost(self, row: str, probe: Probe = "none", fraction: float | None = None) -> Compute | None:
        """Mean cost of the finished cells of a row, at one fraction or all; None if it was not counted."""
        cells = [cell for cell in self.cells if (cell.row, cell.probe) == (row, probe) and cell.result]
        return compute.mean(
            (cell.result or {}).get("cost", {}) for cell in cells if fraction is None or cell.fraction == fraction
        )

    def compare(
        self, first: str, second: str, fraction: float, metric: Metric, probe: Probe = "none"
    ) -> metrics.Comparison | None:
        """Rate of the second row less that of the first, on the samples and seeds of both; None if there are none."""
        sources = [self._sources(row, fraction, probe) for row in (first, second)]
        return _compare(sources[0], sources[1], self.unit, self.config.data.level).get(metric)

    def pairs(self, fraction: float, metric: Metric, probe: Probe = "none") -> list[Pair]:
        """All pairs of rows of a column, in the order of the rows."""
        rows = [row for row in self.rows if self.summary(row, fraction, probe)]
        compared = [(*pair, self.compare(*pair, fraction, metric, probe)) for pair in combinations(rows, 2)]
        found = [(first, second, comparison) for first, second, comparison in compared if comparison is not None]
        corrected = metrics.holm([comparison.p for _, _, comparison in found])
        return [Pair(*pair, p) for pair, p in zip(found, corrected, strict=True)]

    def _sources(self, row: str, fraction: float, probe: Probe) -> tuple[_Source, ...]:
        key = (row, fraction, probe)
        return tuple(
            _source(cell) for cell in self.cells if cell.result and (cell.row, cell.fraction, cell.probe) == key
        )


def summarise(config: TableConfig, out: Path, cells: Sequence[Cell]) -> Table:
    """Table of cells whose predictions lie in their folders."""
    finished: dict[tuple[str, float, Probe], list[_Source]] = {}
    for cell in cells:
        if cell.result is not None:
            finished.setdefault((cell.row, cell.fraction, cell.probe), []).append(_source(cell))
    level, first = config.data.level, baseline(config)
    unit = _unit([source for sources in finished.values() for source in sources], level, config.interval_unit)
    summaries = {}
    for key, sources in finished.items():
        reference = finished.get((first or "", *key[1:]), []) if key[0] != first else []
        summaries[key] = _summary(key, tuple(sources), tuple(reference), unit, level)
    return Table(config, out, list(cells), _corrected(summaries), unit)


def _corrected(summaries: dict[tuple[str, float, Probe], Summary]) -> dict[tuple[str, float, Probe], Summary]:
    """The summaries with p-values corrected for all rows of their column."""
    rates = {key: dict(summary.rates) for key, summary in summaries.items()}
    columns = {key[1:] for key in summaries}
    for column, metric in product(columns, METRICS):
        compared = [(key, rates[key][metric]) for key in rates if key[1:] == column and rates[key][metric].comparison]
        values = metrics.holm([rate.comparison.p for _, rate in compared if rate.comparison])
        for (key, rate), p in zip(compared, values, strict=True):
            rates[key][metric] = rate._replace(corrected=p)
    return {key: replace(summary, rates=rates[key]) for key, summary in summaries.items()}


class _Source(NamedTuple):
    """Predictions of a cell: hashable, and another one if the file changes."""

    seed: int
    path: Path
    changed: int
    rates: tuple[float, ...]


class _Counts(NamedTuple):
    """Count table of a cell with the id of each sample and the units it may belong to."""

    items: list[Prediction]
    counts: NDArray[np.int64]


def _source(cell: Cell) -> _Source:
    path, result = cell.folder / PREDICTIONS, cell.result or {}
    rates = tuple(float(result[metric]) for metric in METRICS)
    return _Source(cell.seed, path, path.stat().st_mtime_ns if path.exists() else 0, rates)


@lru_cache(maxsize=64)
def _counts(source: _Source, level: metrics.Level) -> _Counts:
    items = read_predictions(source.path)
    return _Counts(items, metrics.count([item.written for item in items], [item.read for item in items], level))


def _unit(sources: Sequence[_Source], level: metrics.Level, wanted: Unit | None) -> Unit:
    """The coarsest unit that all cells know."""
    found: set[Unit] = {grouping(_counts(source, level).items, wanted)[1] for source in sources}
    return max(found, key=UNITS.index, default="sample")


@lru_cache(maxsize=1024)  # the table is written anew after every cell
def _summary(
    key: tuple[str, float, Probe],
    sources: tuple[_Source, ...],
    reference: tuple[_Source, ...],
    unit: Unit,
    level: metrics.Level,
) -> Summary:
    """Summary of the cells of one row, fraction and probe."""
    cells = [(source.seed, _counts(source, level)) for source in sources]
    tables = np.concatenate([cell.counts for _, cell in cells])
    groups = [name for _, cell in cells for name in units_of(cell.items, unit)]
    runs = [seed for seed, cell in cells for _ in cell.items]
    scores = metrics.score_counts(tables, groups, seed=0, unit=unit, runs=runs)
    comparisons = _compare(reference, sources, unit, level)
    rates: dict[Metric, Rate] = {}
    for metric, values in zip(METRICS, zip(*(source.rates for source in sources), strict=True), strict=True):
        deviation = statistics.stdev(values) if len(values) > 1 else None
        interval = getattr(scores, f"{metric}_ci")
        rates[metric] = Rate(statistics.fmean(values), deviation, interval, comparisons.get(metric))
    seeds = tuple(source.seed for source in sources)
    return Summary(*key, seeds, rates, scores.unit, scores.units)


@lru_cache(maxsize=1024)
def _compare(
    first: tuple[_Source, ...], second: tuple[_Source, ...], unit: Unit, level: metrics.Level
) -> dict[Metric, metrics.Comparison]:
    """Comparison of two rows over the samples and seeds both read."""
    left, right, groups, runs = [], [], [], []
    others = {source.seed: _counts(source, level) for source in first}
    for source in second:
        if source.seed not in others:
            continue
        cell, other = _counts(source, level), others[source.seed]
        place = {item.id: position for position, item in enumerate(other.items)}
        common = [(place[item.id], position) for position, item in enumerate(cell.items) if item.id in place]
        left.append(other.counts[[position for position, _ in common]])
        right.append(cell.counts[[position for _, position in common]])
        groups += units_of([cell.items[position] for _, position in common], unit)
        runs += [source.seed] * len(common)
    if not groups:
        return {}
    tables = np.concatenate(left), np.concatenate(right)
    return {metric: metrics.compare(*tables, groups, metric, runs=runs) for metric in METRICS}
