"""Rows × fractions × seeds under one protocol, cell by cell, resumable; the folders are described in `plan`."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from htr_ssl.config import DataConfig, TableConfig
from htr_ssl.config.yaml_files import dump_config, load_config
from htr_ssl.data.samples import Samples
from htr_ssl.data.splits import identity, subsets
from htr_ssl.data.splits.splitting import refuse_mixed
from htr_ssl.errors import UserError
from htr_ssl.experiments import compute, final_runs, plan, render, stages
from htr_ssl.experiments.evaluate import RESULT, Prediction, evaluate, grouping, labelled_rows
from htr_ssl.experiments.rows import matched, rows
from htr_ssl.experiments.statistics import Cell, Table, summarise
from htr_ssl.files import sha256, write_json, write_text

_OLDER = ["report=test", "select=validation", "matched=false"]
"""What a table did whose config.yaml is older than these choices."""


def run(config: TableConfig, out: Path, progress: bool = True) -> Table:
    """Runs what is missing, failed or configured differently, and writes the table after every cell.

    A cell that fails is noted in its error.txt and in `Table.failed`; the others go on.

    Args:
        config: the protocol.
        out: folder of the table.
        progress: print a line per cell and the trainings' bars.

    Raises:
        UserError: the configuration asks for something impossible, or the data cannot be read or has no test labels.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same call continues.
    """
    out = Path(out).resolve()
    plan.check(config)
    config = _with_matched_steps(config)
    text = dump_config(config)
    facts, sources = _check_data(config, out)
    write_text(out / plan.CONFIG, text)
    for cell in plan.plan(config, out):
        plan.turn(cell.folder, config.report)
    table = collect(out)
    identity.check(out, sources, {}, any(cell.result for cell in table.cells))
    for cell in table.cells:
        refuse_mixed(facts, cell.result or {}, (config.data.source, str(cell.folder)))
    runner = _Runner(table.config, out, progress)
    for number, cell in enumerate(table.cells, start=1):
        if cell.result is None:
            if progress:
                _announce(cell, number, table)
            runner.run(cell)
            table = _collected(table.config, out)
            render.write(table)
    render.write(table)
    return table


def _with_matched_steps(config: TableConfig) -> TableConfig:
    """The configuration with the steps of the row of the same compute in it, so that nobody needs the data for them."""
    if not matched(config):
        return config.model_copy(update={"matched_steps": None})
    steps = plan.matched_steps(config.model_copy(update={"matched_steps": None}))
    if config.matched_steps not in (None, steps):
        raise UserError(
            f"matched_steps: the row of the same compute has {steps} steps, not {config.matched_steps}; leave it out, "
            "or have no such row (matched=false)"
        )
    return config.model_copy(update={"matched_steps": steps})


def collect(out: Path) -> Table:
    """Table of a folder from the cells that are there and belong to its config.yaml; runs and writes nothing.

    Raises:
        UserError: there is no config.yaml of a table.
    """
    out = Path(out).resolve()
    path = out / plan.CONFIG
    older = [] if path.exists() and "\nreport:" in path.read_text(encoding="utf-8") else _OLDER
    config = load_config(path, older, TableConfig)
    plan.check(config)
    return _collected(config, out)


def _collected(config: TableConfig, out: Path) -> Table:
    """Table of the cells that are there; another process may be running other rows of the folder."""
    return summarise(config, out, [plan.read(config, cell) for cell in plan.plan(config, out)])


@dataclass
class _Runner:
    """Runs the cells of one table.

    Attributes:
        broken: stages that failed in this process, so that no other cell tries them again.
    """

    config: TableConfig
    out: Path
    progress: bool
    broken: dict[Path, Exception] = field(default_factory=dict)

    def run(self, cell: Cell) -> None:
        """Trains and scores one cell; an error is written down, not raised."""
        mark = plan.cell_hash(self.config, cell)
        try:
            plan.claim(cell.folder, mark, self.out)
            (cell.folder / plan.ERROR).unlink(missing_ok=True)
            init, pseudo, seconds = self._stages(cell)
            start = time.perf_counter()
            result = self._finetune(cell, init, pseudo)
            seconds += time.perf_counter() - start
            write_json(cell.folder / RESULT, result | {"cell_seconds": seconds, "cell_sha256": mark})
        except Exception as error:
            sentence = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            text = " ".join(sentence.split()) + "\n\n" + "".join(traceback.format_exception(error))
            write_text(cell.folder / plan.ERROR, text)

    def _finetune(self, cell: Cell, init: Path | None, pseudo: Path | None) -> dict[str, Any]:
        """Content of the cell's result.json."""
        from htr_ssl.training import finetune

        folder = cell.folder / "finetune"
        config = stages.final(self.config, cell, init, pseudo)
        model = finetune.run(stages.adopted(config, folder), folder, self.progress)
        hardware = self.config.train.device, self.config.train.threads
        report, unit = self.config.report, self.config.interval_unit
        result = evaluate(model, config.data, report, cell.folder, *hardware, unit=unit, lm="none")
        if self.config.lm:
            result["with_lm"] = evaluate(model, config.data, report, cell.folder / "with_lm", *hardware, unit=unit)
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        subset = subsets.read(folder / "subset.txt")
        labels = {"labels": summary.get("labels", len(subset)), "labels_drawn": len(subset)}
        labels |= {key: summary.get(key) for key in ("labels_selection", "labels_lm")}
        cost = compute.of_runs(stages.trainings(self.config, self.out, cell))
        return result | labels | {"row": cell.row, "training_seconds": summary.get("seconds"), "cost": cost}

    def _stages(self, cell: Cell) -> tuple[Path | None, Path | None, float]:
        """Files of the weights and pseudo-labels to start from, and the time spent on stages of few cells [s]."""
        init, pseudo, seconds = None, None, 0.0
        for index, stage in enumerate(rows(self.config)[cell.row]):
            start = time.perf_counter()
            made = self._stage(cell, index, init)
            if stage.pseudo is None:
                init = made
            else:
                pseudo = made
            if not plan.shared(self.config.rows[cell.row][: index + 1]):
                seconds += time.perf_counter() - start
        return init, pseudo, seconds

    @cached_property
    def _dropped(self) -> list[str]:
        """Ids of unlabelled images that are left out, found once per run of the table."""
        from htr_ssl.data import transductive

        config = self.config
        if config.unlabelled is None or config.transductive:
            return []
        return transductive.dropped(config.unlabelled, config.data)

    def _stage(self, cell: Cell, index: int, init: Path | None) -> Path:
        """File of a stage, run or gone on with if it is not there yet."""
        folder = plan.stage_folder(self.config, self.out, cell, index)
        if folder in self.broken:
            raise self.broken[folder]
        try:
            shared = plan.shared(self.config.rows[cell.row][: index + 1])
            plan.claim(folder, plan.stage_hash(self.config, cell, index, self._dropped if shared else ()), self.out)
            return stages.run(self.config, cell, index, init, folder, self.progress)
        except Exception as error:
            self.broken[folder] = error
            raise


def _check_data(config: TableConfig, out: Path) -> tuple[dict[str, str], dict[str, Samples]]:
    """Facts of the data, and all data by names that go with its options; a final run is written down.

    Fails before the first training if there is nothing to score, a source is not there, or a unit is not known.
    """
    from htr_ssl.data.loading import read_samples

    samples = read_samples(config.data)
    ids, pages, writers, texts = (samples.column(name) for name in ("id", "page", "writer", "text"))
    known = [
        Prediction(ids[row] or "", pages[row] or "", writers[row] or "", texts[row] or "", "", 0.0)
        for row in labelled_rows(samples, config.report, config.data.source)
    ]
    if config.interval_unit:
        grouping(known, config.interval_unit)
    _check_groups(config, samples)
    sources: dict[str, Samples] = {_name(config.data): samples}
    if config.unlabelled:
        sources[_name(config.unlabelled)] = read_samples(config.unlabelled)
    if config.report == "test":
        cells = [plan.cell_hash(config, cell) for cell in plan.plan(config, out)]
        final_runs.note(out, [(item.id, item.written) for item in known], cells)
    return samples.facts, sources


def _check_groups(config: TableConfig, samples: Samples) -> None:
    """Refuses subsets of pages or writers where a label has none: of train, or of validation that is drawn like it."""
    if config.subset_by == "sample":
        return
    names, splits, texts = (samples.column(key) for key in (config.subset_by, "split", "text"))
    labelled_rows(samples, "train", config.data.source)
    for split in ("train", "validation") if config.select != "validation" else ("train",):
        missing = sum(
            bool(text) and own == split and not name for name, own, text in zip(names, splits, texts, strict=True)
        )
        if missing:
            raise UserError(
                f"subset_by: {missing} {split} labels of {config.data.source} have no {config.subset_by}; name them in "
                "the data, or draw samples"
            )


def _name(data: DataConfig) -> str:
    return f"{data.source}#{sha256(data.model_dump_json(exclude={'cache'}))[:16]}"


def _announce(cell: Cell, number: int, table: Table) -> None:
    """One line: which cell of how many, and when all will be done."""
    from rich.console import Console

    spent = [cell.result["cell_seconds"] for cell in table.cells if cell.result]
    waiting = sum(other.result is None for other in table.cells[number - 1 :])
    minutes = sum(spent) / len(spent) * waiting / 60 if spent else 0.0
    left = f"about {minutes / 60:.1f} h" if minutes >= 90 else f"about {max(1, round(minutes))} min"
    state = f"{len(spent)} done, {left} left" if spent else "none done"
    text = f"[bold]cell {number} of {len(table.cells)}[/bold]: {cell.place} ({state})"
    Console(stderr=True).print(text, highlight=False, soft_wrap=True)
