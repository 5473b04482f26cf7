"""What the numbers of a table mean and under which protocol they came about, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from htr_ssl import plugins
from htr_ssl.config import Joint, Probe, Stage, TableConfig, TrainConfig
from htr_ssl.data.splits.splitting import MARK, NAME
from htr_ssl.experiments import final_runs, plan
from htr_ssl.experiments.evaluate import FEW
from htr_ssl.experiments.rows import MATCHED, rows
from htr_ssl.experiments.statistics import SIGNIFICANT, Table
from htr_ssl.text import metrics

PARTS: dict[Probe, str] = {
    "none": "Full fine-tuning",
    "linear": "Frozen encoder, linear probe",
    "bilstm": "Frozen encoder, BiLSTM probe",
}
"""Headings of a table with probes."""
_WACC = {
    "word": "WAcc is the share of word images read exactly",
    "line": "WAcc is the share of reference words that a minimal word alignment pairs with an equal word; it does not "
    "count inserted words, 1 − WER does",
}


MANY = 5
"""An interval over fewer seeds comes with a warning."""
_COVERED = {2: 60, 3: 80, 4: 83}
"""Simulated coverage [%] of an interval over so many seeds, where all the spread is that of seeds."""


def caption(table: Table) -> str:
    """The whole caption: the short one, then the notes."""
    return f"{short(table)} {notes(table)}"


def short(table: Table) -> str:
    """Two sentences: what was read, and what the numbers and marks are."""
    config, results = table.config, [cell.result for cell in table.cells if cell.result]
    marks = "" if table.baseline is None or len(table.rows) < 2 else f"; Δ: difference to {table.baseline}"
    values = "Mean over seeds in %, ± standard deviation over seeds" if _several(table) else "One seed, in %"
    return _sentences(
        [
            f"results on {Path(config.data.source).name}, {config.data.level} images, {config.report} split, "
            f"n = {_range(result['n'] for result in results)}",
            f"{values}, [ ] 95 % interval of {_resampled(table)}{marks}; "
            "bold: the best and all that is not separable from it",
        ]
    )


def notes(table: Table) -> str:
    """The protocol: data, labels, seeds, encoder, stages, normalisation, metrics, tests; and what is missing."""
    config = table.config
    results = [cell.result for cell in table.cells if cell.result]
    parts = [
        f"Data: {Path(config.data.source).name}; {_split(results)}{config.report} split",
        *_read(table),
        *_labels(table, results),
        f"Encoder of every row: {_options(config.encoder.model_dump(mode='json'))}",
        *_final(config),
        *_language(config),
        *_stages(config),
        *_transductive(table, results),
        *_compute(table),
        f"Text normalisation: {_join(sorted({result['normalisation'] for result in results})) or 'none yet'}",
        f"{_WACC[config.data.level]}; CER and WER are edits divided by reference length over the whole split",
        *_statistics(table),
    ]
    if len({result["samples_sha256"] for result in results}) > 1:
        parts.append(
            f"The {config.report} samples are not the same in all cells: the data names no such split, or images failed"
        )
    state = [(len(table.missing), "not run yet (–)"), (len(table.failed), "failed (!)")]
    parts += [f"{number} of {len(table.cells)} cells {text}" for number, text in state if number]
    return _sentences(parts)


def _sentences(parts: Iterable[str]) -> str:
    return ". ".join(part[0].upper() + part[1:] for part in parts) + "."


def _language(config: TableConfig) -> list[str]:
    """How the columns with a language model were read."""
    if config.lm is None:
        return []
    seen = (
        ", which are partly what the columns with LM of this table are scored on: too good a score"
        if config.report == "validation"
        else ""
    )
    more = f" and of {_join(Path(name).name for name in config.lm.text)}" if config.lm.text else ""
    return [
        f"With LM: prefix beam search with character {config.lm.order}-grams of the cell's own labels{more}, and of "
        "the start's language model where it has one; weights chosen on validation "
        f"labels{seen}; intervals and tests are of the columns without"
    ]


def _read(table: Table) -> list[str]:
    """Which split was read, and when."""
    found = final_runs.read(table.out)
    if table.config.report == "validation":
        chosen = (
            "" if table.config.select == "last" else ", of which labels also chose the checkpoint: too good a score"
        )
        opened = f"the test split was read{_times(found)}" if found else "the test split is not opened"
        return [f"The validation split is read once per cell, after training{chosen}; {opened}"]
    parts = [f"The test split is read once per cell, after training{_times(found)}"]
    others = [f"{other['table']} ({_time(other)})" for other in found.get("others", [])]
    if others:
        parts.append(
            f"These test samples had been read before by {len(others)} final run(s) of other configurations: "
            f"{_join(others)}; what was chosen after them is not blind to the test split"
        )
    return parts


def _times(found: dict[str, Any]) -> str:
    """When cells were first read in final runs, where it is known: once for all, or how many cells at which time."""
    cells: dict[str, int] = found.get("cells") or {found["when"]: 0} if "when" in found else {}
    if len(cells) < 2:
        return "".join(f", in a final run of {_time({'when': when})}" for when in cells)
    every = [f"{number} on {_time({'when': when})}" for when, number in cells.items()]
    return f", in final runs at different times; of these {sum(cells.values())} cells were first read {_join(every)}"


def _time(run: dict[str, Any]) -> str:
    """``2026-11-28 10:00 UTC``."""
    return f"{run['when'][:16].replace('T', ' ')} UTC" if "when" in run else ""


_SELECT = {
    "last": "the weights after the last step are scored, no validation label decides",
    "validation": "the weights with the lowest CER on all validation labels are scored",
    "proportional": "the weights with the lowest CER on a share of the validation labels, as small as the fraction and "
    "nested like it, are scored",
}


def _labels(table: Table, results: list[dict[str, Any]]) -> list[str]:
    """Labels of training and of selection, and seeds, of every fraction."""
    counts, config = [], table.config
    for fraction in sorted(config.fractions):
        found = [result for result in results if result["fraction"] == fraction]
        labels, drawn, chosen = (
            _range(result[key] for result in found if result.get(key) is not None)
            for key in ("labels", "labels_drawn", "labels_selection")
        )
        asked = _range(result["labels_lm"] for result in found if result.get("labels_lm") is not None)
        left = f" (of {drawn} drawn; the others cannot be learnt)" if drawn not in ("?", labels) else ""
        select = f", {chosen} of validation" if chosen != "?" else ""
        select += f", {asked} of validation for the language model" if config.lm and asked != "?" else ""
        seeds = _join(plan.seeds_of(config, fraction))
        counts.append(f"{percent(fraction)}: {labels} labels{left}{select}, seeds {seeds}")
    by = "" if config.subset_by == "sample" else f" of whole {config.subset_by}s"
    tuned = ", but for the weights of the language model" if config.lm and config.select == "last" else ""
    return [
        f"Labels{by} that were learnt, that chose the weights, and seeds per fraction: {'; '.join(counts)}; smaller "
        f"subsets lie inside larger ones of the same seed{_lists(results)}",
        _SELECT[config.select] + tuned,
    ]


def _transductive(table: Table, results: list[dict[str, Any]]) -> list[str]:
    """Copies of validation and test images among the unlabelled ones."""
    copies = max((result.get("copies") or 0 for result in results), default=0)
    if any(result.get("transductive") for result in results):
        return [f"TRANSDUCTIVE: {copies} of the unlabelled images are validation or test images and were kept"]
    if copies:
        return [f"{copies} of the unlabelled images are validation or test images and were left out"]
    old = [result for result in results if result.get("transductive") is None and result.get("init")]
    return ["Whether validation or test images are among the unlabelled ones was not looked at"] if old else []


def _compute(table: Table) -> list[str]:
    """What the cost of a cell means, and which row has the same."""
    parts = []
    if any(cell.result and cell.result.get("cost") for cell in table.cells):
        parts.append(
            "Compute per cell has every stage that the row needs, shared ones in full and resumed ones whole: images "
            "sent through the encoder and its moving averages, images seen (each view counts), and seconds of the "
            "updates × processes (on a CPU × threads), without checks and reading"
        )
    if plan.is_matched(table.config, MATCHED):
        steps = plan.matched_steps(table.config)
        parts.append(
            f"the row {MATCHED} sends as much image (passes × mean width) through the encoder as the most expensive "
            f"row: no stages, {steps} steps of fine-tuning with the same schedule stretched"
        )
    return parts


def _several(table: Table) -> bool:
    """Whether a score is a mean over seeds."""
    return not table.summaries or any(len(summary.seeds) > 1 for summary in table.summaries.values())


def _resampled(table: Table) -> str:
    """Number and kind of the units, e.g. ``18 writers``."""
    units = sorted({(summary.unit, summary.units) for summary in table.summaries.values()})
    return _join(f"{number} {unit}s" for unit, number in units) or "units"


def _statistics(table: Table) -> list[str]:
    """What was resampled, how rows are compared, and for how many comparisons the p-values are corrected."""
    units, config = _resampled(table), table.config
    values, both = "Values are of one seed in %; [ ] is", ""
    if _several(table):
        values = "Values are means over seeds in %; ± is the standard deviation over seeds (n − 1), [ ]"
        both = " and over seeds, so that it has the variance of both"
    parts = [
        f"{values} the 95 % bootstrap interval over {units}{both}; a rate of 0 or 100 % in every unit has Wilson's "
        "interval for that many units"
    ]
    results = [cell.result for cell in table.cells if cell.result]
    counts = {
        f"{result['unit_named']} of {result['n']}"
        for result in results
        if "unit_named" in result and result["unit"] == table.unit
    }
    if counts:
        parts.append(
            f"{table.unit}s are known for {_join(sorted(counts))} samples; each of the others is a unit of its own"
        )
    if any(summary.units < FEW for summary in table.summaries.values()):
        parts.append(
            f"There are only {units}, fewer than {FEW}: intervals and p-values are rough, claims need more of them"
        )
    alone = [fraction for (_, fraction, _), summary in table.summaries.items() if len(summary.seeds) == 1]
    if alone:
        shares = _join(dict.fromkeys(map(percent, sorted(alone))))
        parts.append(
            f"Where a row has one seed ({shares}), intervals and p-values speak of other {table.unit}s, not of "
            "another training, which may differ by more than they say"
        )
    least = min((len(summary.seeds) for summary in table.summaries.values() if len(summary.seeds) > 1), default=MANY)
    if least < MANY:
        parts.append(
            f"There are only {least} seeds, fewer than {MANY}: intervals over seeds are too narrow; where all the "
            f"spread is that of seeds, {_COVERED[least]} of 100 hold the true mean instead of 95"
        )
    compared = max(len(table.rows_of(probe)) for probe in config.probes) - 1
    if compared and table.baseline is not None:
        parts.append(
            f"Δ is the difference to {table.baseline} on the same samples and seeds with its paired bootstrap "
            f"interval; p is that of a two-sided sign-flip test over {units} (of all flips, or of "
            f"{metrics.FLIPS} random ones where counting all is too much) for the trainings there are, Holm's p is "
            f"corrected for the {compared} comparisons of a column"
        )
    if compared:
        parts.append(
            "Bold are the best mean of a column and all rows that are not separable from it (paired, Holm's "
            f"p ≥ {SIGNIFICANT:g} over the comparisons with the best)"
        )
    return parts


def percent(fraction: float) -> str:
    """``5 %`` for 0.05."""
    return f"{100 * fraction:g} %"


def row_title(config: TableConfig, row: str, probe: Probe) -> str:
    """A row's name; under a probe it says which encoder was never trained."""
    untrained = probe != "none" and all(stage.pseudo is not None for stage in rows(config)[row])
    return f"{row} (random frozen encoder)" if untrained else row


def _final(config: TableConfig) -> list[str]:
    """Sentences on the last training of every cell."""
    parts = []
    if "none" in config.probes:
        parts.append(f"All rows have the same fine-tuning (augmentation, at most {_schedule(config.train, True)})")
    probes = [probe for probe in config.probes if probe != "none"]
    if probes:
        train = plan.final_train(config, probes[0]).model_copy(update={"optimiser": "adamw"})  # no encoder learns
        parts.append(
            "Under a probe the encoder is frozen (no gradient, evaluation mode) and only what stands on it is trained, "
            f"in all rows alike (augmentation, at most {_schedule(train, True)}); a row without stages has an encoder "
            "with random weights then, and the others are compared with that"
        )
        alone = [row for row, stages in config.rows.items() if _backbone_alone(stages)]
        parts += [f"Of {_join(alone)} the backbone's frames are probed, for nothing else is handed on"] if alone else []
    return parts


def _backbone_alone(stages: Sequence[Stage]) -> bool:
    """Whether a row's last weights are those of a backbone without context model."""
    last = next((stage for stage in reversed(stages) if stage.pseudo is None), None)
    return last is not None and last.method is not None and last.scope == "backbone"


def _stages(config: TableConfig) -> list[str]:
    """Sentences on what the rows do before the last training, with which hyper-parameters, and what of it is shared."""
    every_row = [f"{row}: {' then '.join(map(_stage, stages)) or 'none'}" for row, stages in config.rows.items()]
    parts = [f"Stages before the last training: {'; '.join(every_row)}; what is not named here has its default"]
    every = [stage for stages in config.rows.values() for stage in stages]
    budgets = {
        row: sum(map(_unlabelled, stages)) for row, stages in config.rows.items() if any(map(_unlabelled, stages))
    }
    if len(set(budgets.values())) == 1 < len(budgets):
        images = next(iter(budgets.values()))
        parts.append(f"Self-supervision sees {images} images (steps × batch size) in every row that has some")
    elif len(budgets) > 1:
        found = _join(f"{row} {images}" for row, images in budgets.items())
        parts.append(f"Self-supervision does not see equally many images (steps × batch size): {found}")
    if any(plan.shared(stages[:1]) for stages in config.rows.values()):
        seen = f" of {Path(config.unlabelled.source).name}" if config.unlabelled else ""
        parts.append(f"Self-supervised pretraining sees the train images{seen} without text{_pretrain_seeds(config)}")
    if any(stage.synthetic is not None for stage in every):
        parts.append(
            "Synthetic texts are drawn from the labelled subset of each cell alone, so this stage is run per subset"
        )
    if any(stage.joint for stage in every):
        seen = Path((config.unlabelled or config.data).source).name
        parts.append(f"What stands beside it sees the train images of {seen} without text, in the same updates")
    if any(stage.pseudo for stage in every):
        parts.append(
            "Pseudo-labels: the row so far, fine-tuned on the labelled subset, reads the other train images, and its "
            "most confident readings are labels too in the last training, which starts where this one did"
        )
    return parts


def _pretrain_seeds(config: TableConfig) -> str:
    """How often a pretraining is run, and what ± and the interval then cover."""
    if config.pretrain_seeds == "own":
        seeds = plan.all_seeds(config)
        covered = ", so that ± covers it" if len(seeds) > 1 else ""
        return f"; every seed has a pretraining of its own (seeds {_join(seeds)}){covered}"
    return (
        f"; it is run once per row (rows that begin alike share it), with seed {plan.all_seeds(config)[0]}, and shared "
        "by all fractions and seeds, so that neither ± nor the interval covers its variation"
    )


def _split(results: list[dict[str, Any]]) -> str:
    """Name and checksum of the published split."""
    marks = {(result[NAME], result[MARK]) for result in results if result.get(MARK)}
    return "".join(f"published split {name} (SHA-256 {mark[:12]}…), " for name, mark in sorted(marks))


def _lists(results: list[dict[str, Any]]) -> str:
    """Committed lists that the subsets are from, if all are."""
    lists = {result.get("subset_list") for result in results}
    return f", as listed in {_join(sorted(filter(None, lists)))}" if lists and None not in lists else ""


def _stage(stage: Stage) -> str:
    """What a stage is, with its schedule and the options that are not the defaults."""
    if stage.method is not None:
        name, options = stage.method.name, stage.method.options()
        known = plugins.load("htr_ssl.methods", name).Config().model_dump(mode="json")
    elif stage.synthetic is not None:
        name, options = "CTC on synthetic handwriting", stage.synthetic
        known = plugins.load("htr_ssl.data", "synthetic").Config().model_dump(mode="json")
    else:
        assert stage.pseudo is not None
        groups = {"width groups": stage.pseudo.width_groups} if stage.pseudo.width_groups > 1 else {}
        name, options, known = "pseudo-labels", {"keep": percent(stage.pseudo.keep), **groups}, {}
    backbone = ["backbone only"] if stage.method and stage.scope == "backbone" else []
    beside = [f"beside it {_joint(stage.joint)}"] if stage.joint else []
    return f"{name} ({', '.join([_schedule(stage.train), *_changed(options, known), *backbone, *beside])})"


def _joint(joint: Joint) -> str:
    """What is learnt beside CTC."""
    known = plugins.load("htr_ssl.methods", joint.method.name).Config().model_dump(mode="json")
    own = {"weight": joint.weight, "images": f"{joint.batch_size} per step"}
    parts = [f"{key} {value}" for key, value in own.items()] + _changed(joint.method.options(), known)
    return ", ".join([joint.method.name, *parts, *(["backbone only"] if joint.scope == "backbone" else [])])


def _unlabelled(stage: Stage) -> int:
    """Unlabelled images that a stage shows to an objective."""
    size = stage.train.batch_size if stage.method else stage.joint.batch_size if stage.joint else 0
    return stage.train.steps * size


def _changed(options: dict[str, Any], known: dict[str, Any], above: str = "") -> list[str]:
    """Options whose value is not the known one; mappings with other keys than the known one in full."""
    parts: list[str] = []
    for key, value in options.items():
        old = known.get(key)
        if key == "parts" and isinstance(value, dict):
            parts += [_part(name, own) for name, own in value.items()]
        elif isinstance(value, dict) and isinstance(old, dict) and value.keys() == old.keys():
            parts += _changed(value, old, f"{above}{key}.")
        elif value != old:
            parts.append(f"{above}{key} {value}")
    return parts


def _part(name: str, options: dict[str, Any]) -> str:
    """A part of a sum of methods, with its weight and its options that are not the defaults."""
    known = {"weight": 1.0, **plugins.load("htr_ssl.methods", name).Config().model_dump(mode="json")}
    return " ".join(["+ " + name, *_changed(options, known)])


def _schedule(train: TrainConfig, final: bool = False) -> str:
    optimiser = {"muon": "Muon", "adamw": "AdamW"}[train.optimiser]
    text = f"{train.steps} steps of {train.batch_size} images, {optimiser}, peak learning rate {train.lr:g}"
    return f"{text}, {_patience(train.patience)}" if final else text


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
