"""What the numbers of a table mean and under which protocol they came about, in sentences."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from htr_ssl.data.splitting import MARK, NAME
from htr_ssl.experiments import plan
from htr_ssl.experiments.statistics import SIGNIFICANT, Table

_WACC = {
    "word": "WAcc is the share of word images read exactly",
    "line": "WAcc is the share of reference words that a minimal word alignment pairs with an equal word",
}


def caption(table: Table) -> str:
    """Data, split, labels, seeds, encoder, stages, normalisation, metrics and marks; and what is missing."""
    config = table.config
    results = [cell.result for cell in table.cells if cell.result]
    fractions = sorted(config.fractions)
    seeds = {fraction: plan.seeds_of(config, fraction) for fraction in fractions}
    labels = {
        fraction: _range(result["labels"] for result in results if result["fraction"] == fraction)
        for fraction in fractions
    }
    counts = "; ".join(
        f"{percent(fraction)}: {labels[fraction]} labels, seeds {_join(seeds[fraction])}" for fraction in fractions
    )
    units = sorted({(summary.unit, summary.units) for summary in table.summaries.values()})
    resampled = _join(f"{number} {unit}s" for unit, number in units) or "pages"
    parts = [
        f"Data: {Path(config.data.source).name}, {config.data.level} images; {_split(results)}test split, "
        f"n = {_range(result['n'] for result in results)}",
        f"Train labels and seeds per fraction: {counts}; smaller subsets lie inside larger ones of the same seed"
        f"{_lists(results)}",
        f"Encoder of every row: {_options(config.encoder.model_dump(mode='json'))}; all rows have the same fine-tuning "
        f"(augmentation, at most {config.train.steps} steps, {_patience(config.train.patience)}) and the test split is "
        "read once per cell, after training",
        *_stages(table),
        f"Text normalisation: {_join({result['normalisation'] for result in results}) or 'none yet'}",
        f"{_WACC[config.data.level]}; CER and WER are edits divided by reference length over the whole split",
        "Values are means over seeds in %; ± is the standard deviation over seeds (n − 1), [ ] the 95 % bootstrap "
        f"interval over {resampled} with the seeds' counts summed",
    ]
    if table.baseline is not None and len(config.rows) > 1:
        parts.append(
            f"Δ is the difference to {table.baseline} on the same samples and seeds with its paired bootstrap interval "
            "and the p-value of a two-sided permutation test; bold is the best of a column if its difference is "
            f"significant (p < {SIGNIFICANT:g}, not corrected for the number of rows)"
        )
    if len({result["samples_sha256"] for result in results}) > 1:
        parts.append("The test samples are not the same in all cells: the data names no test split, or an image failed")
    state = [(len(table.missing), "not run yet (–)"), (len(table.failed), "failed (!)")]
    parts += [f"{number} of {len(table.cells)} cells {text}" for number, text in state if number]
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."


def percent(fraction: float) -> str:
    """``5 %`` for 0.05."""
    return f"{100 * fraction:g} %"


def _stages(table: Table) -> list[str]:
    """Sentences on what the rows do before fine-tuning, and what of it is shared."""
    config = table.config
    rows = []
    for row, stages in config.rows.items():
        steps = [
            f"{stage.method.name if stage.method else 'CTC on synthetic handwriting'} ({stage.train.steps} steps)"
            for stage in stages
        ]
        rows.append(f"{row}: {' then '.join(steps) or 'none'}")
    parts = [f"Stages before fine-tuning: {'; '.join(rows)}"]
    if any(plan.shared(stages[:1]) for stages in config.rows.values()):
        parts.append(
            "Self-supervised pretraining sees the train images without text; it is run once per row (rows that begin "
            f"alike share it), with seed {plan.all_seeds(config)[0]}, and shared by all fractions and seeds, so that ± "
            "does not cover its variation"
        )
    if any(stage.synthetic is not None for stages in config.rows.values() for stage in stages):
        parts.append(
            "Synthetic texts are drawn from the labelled subset of each cell alone, so this stage is run per cell"
        )
    return parts


def _split(results: list[dict[str, Any]]) -> str:
    """Name and checksum of the published split."""
    marks = {(result[NAME], result[MARK]) for result in results if result.get(MARK)}
    return "".join(f"published split {name} (SHA-256 {mark[:12]}…), " for name, mark in sorted(marks))


def _lists(results: list[dict[str, Any]]) -> str:
    """Committed lists that the subsets are from, if all are."""
    lists = {result.get("subset_list") for result in results}
    return f", as listed in {_join(sorted(filter(None, lists)))}" if lists and None not in lists else ""


def _options(encoder: dict[str, Any]) -> str:
    rest = ", ".join(f"{key} {value}" for key, value in encoder.items() if key != "name")
    return f"{encoder['name']} ({rest})" if rest else str(encoder["name"])


def _patience(checks: int) -> str:
    return f"patience {checks} checks" if checks else "no early stopping"


def _range(values: Iterable[int]) -> str:
    numbers = sorted(set(values))
    return "?" if not numbers else f"{numbers[0]}" + (f"–{numbers[-1]}" if len(numbers) > 1 else "")


def _join(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values))
