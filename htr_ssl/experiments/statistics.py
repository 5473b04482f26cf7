"""What the cells of a table say together: means over seeds, intervals, paired comparison with the supervised row."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from htr_ssl import metrics
from htr_ssl.config import Probe, TableConfig
from htr_ssl.experiments.evaluate import PREDICTIONS, grouping, read_predictions

Metric = Literal["wacc", "cer", "wer"]
METRICS: tuple[Metric, ...] = ("wacc", "cer", "wer")
SIGNIFICANT = 0.05
"""A difference with a smaller p-value is called significant; not corrected for the number of rows."""


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
        interval: 95 % bootstrap over groups (pages), the seeds' counts summed in each.
        comparison: with the baseline under the same probe on the same samples and seeds, None for the baseline itself.
    """

    mean: float
    deviation: float | None
    interval: metrics.Interval
    comparison: metrics.Comparison | None

    @property
    def significant(self) -> bool:
        """Whether the difference to the supervised row is."""
        return self.comparison is not None and self.comparison.p < SIGNIFICANT


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


@dataclass(frozen=True)
class Table:
    """Cells of a configuration, and their summaries by row, fraction and probe (only where a cell is finished)."""

    config: TableConfig
    out: Path
    cells: list[Cell]
    summaries: dict[tuple[str, float, Probe], Summary] = field(default_factory=dict)

    @property
    def failed(self) -> list[Cell]:
        """Cells that ended with an error."""
        return [cell for cell in self.cells if cell.error]

    @property
    def missing(self) -> list[Cell]:
        """Cells that have not been run."""
        return [cell for cell in self.cells if cell.result is None and not cell.error]

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

    def best(self, fraction: float, metric: Metric, probe: Probe = "none") -> str | None:
        """Row with the best mean at a fraction if its difference to the baseline is significant.

        The baseline itself counts as best only if every other row differs significantly.
        """
        found = {row: self.summary(row, fraction, probe) for row in self.config.rows}
        rates = {row: summary.rates[metric] for row, summary in found.items() if summary}
        if len(rates) < 2 or self.baseline not in rates:
            return None
        row = (max if metric == "wacc" else min)(rates, key=lambda name: rates[name].mean)
        judged = [rates[row]] if row != self.baseline else [rates[name] for name in rates if name != row]
        return row if all(rate.significant for rate in judged) else None


def baseline(config: TableConfig) -> str | None:
    """Name of the row that the others are compared with: the configured one, else the first without stages."""
    return config.baseline or next((row for row, stages in config.rows.items() if not stages), None)


def summarise(config: TableConfig, out: Path, cells: Sequence[Cell]) -> Table:
    """Table of cells whose predictions lie in their folders."""
    finished: dict[tuple[str, float, Probe], dict[int, Cell]] = {}
    for cell in cells:
        if cell.result is not None:
            finished.setdefault((cell.row, cell.fraction, cell.probe), {})[cell.seed] = cell
    first = baseline(config)
    summaries = {}
    for key, of_seed in finished.items():
        reference = finished.get((first or "", *key[1:]), {}) if key[0] != first else {}
        sources, others = (tuple(_source(cells[seed]) for seed in sorted(cells)) for cells in (of_seed, reference))
        summaries[key] = _summary(key, sources, others, config.data.level)
    return Table(config, out, list(cells), summaries)


class _Source(NamedTuple):
    """Predictions of a cell: hashable, and another one if the file changes."""

    seed: int
    path: Path
    changed: int
    rates: tuple[float, ...]


class _Counts(NamedTuple):
    """Count table of a cell with the id and group of each sample."""

    ids: list[str]
    groups: list[str]
    unit: str
    counts: NDArray[np.int64]

    def take(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of the given ids, in their order."""
        position = {name: i for i, name in enumerate(self.ids)}
        return self.counts[[position[name] for name in ids]]


def _source(cell: Cell) -> _Source:
    path, result = cell.folder / PREDICTIONS, cell.result or {}
    rates = tuple(float(result[metric]) for metric in METRICS)
    return _Source(cell.seed, path, path.stat().st_mtime_ns if path.exists() else 0, rates)


@lru_cache(maxsize=64)
def _counts(source: _Source, level: metrics.Level) -> _Counts:
    predictions = read_predictions(source.path)
    groups, unit = grouping(predictions)
    counts = metrics.count([item.written for item in predictions], [item.read for item in predictions], level)
    return _Counts([item.id for item in predictions], groups, unit, counts)


@lru_cache(maxsize=1024)  # the table is written anew after every cell
def _summary(
    key: tuple[str, float, Probe],
    sources: tuple[_Source, ...],
    reference: tuple[_Source, ...],
    level: metrics.Level,
) -> Summary:
    """Summary of the cells of one row, fraction and probe, by seed."""
    cells = {source.seed: _counts(source, level) for source in sources}
    others = {source.seed: _counts(source, level) for source in reference}
    tables = np.concatenate([cell.counts for cell in cells.values()])
    groups = [group for cell in cells.values() for group in cell.groups]
    scores = metrics.score_counts(tables, groups, seed=0, unit=next(iter(cells.values())).unit)
    pairs = [(others[seed], cell) for seed, cell in cells.items() if seed in others]
    comparisons = _compare(pairs) if pairs else {}
    rates: dict[Metric, Rate] = {}
    for metric, values in zip(METRICS, zip(*(source.rates for source in sources), strict=True), strict=True):
        deviation = statistics.stdev(values) if len(values) > 1 else None
        interval = getattr(scores, f"{metric}_ci")
        rates[metric] = Rate(statistics.fmean(values), deviation, interval, comparisons.get(metric))
    return Summary(*key, tuple(cells), rates, scores.unit, scores.units)


def _compare(pairs: Sequence[tuple[_Counts, _Counts]]) -> dict[Metric, metrics.Comparison]:
    """Comparison of (reference, row) over the samples both read, seeds together."""
    first, second, groups = [], [], []
    for left, right in pairs:
        common = set(left.ids) & set(right.ids)
        ids = [name for name in right.ids if name in common]
        first.append(left.take(ids))
        second.append(right.take(ids))
        groups += [group for name, group in zip(right.ids, right.groups, strict=True) if name in common]
    if not groups:
        return {}
    tables = np.concatenate(first), np.concatenate(second)
    return {metric: metrics.compare(*tables, groups, metric) for metric in METRICS}
