"""Rows × fractions × seeds under one protocol, cell by cell, resumable; the folders are described in `plan`."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from htr_ssl.config import FinetuneConfig, PretrainConfig, TableConfig
from htr_ssl.config_files import dump_config, load_config
from htr_ssl.data import subsets
from htr_ssl.data.splitting import refuse_mixed
from htr_ssl.errors import UserError
from htr_ssl.experiments import plan, render
from htr_ssl.experiments.evaluate import RESULT, evaluate, labelled_rows
from htr_ssl.experiments.statistics import Cell, Table, summarise
from htr_ssl.files import write_json, write_text
from htr_ssl.seeds import derive

Config = TypeVar("Config", PretrainConfig, FinetuneConfig)


def run(config: TableConfig, out: Path, progress: bool = True) -> Table:
    """Runs what is missing, failed or configured differently, and writes the table after every cell.

    A cell that fails is noted in its error.txt and in `Table.failed`; the others go on.

    Args:
        config: the protocol.
        out: folder of the table.
        progress: print a line per cell and the trainings' bars.

    Raises:
        UserError: the configuration asks for something impossible, or the data has no test labels.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the same call continues.
    """
    out = Path(out).resolve()
    text = dump_config(config)
    plan.check(config)
    facts = _check_data(config)
    write_text(out / plan.CONFIG, text)
    table = collect(out)
    for cell in table.cells:
        refuse_mixed(facts, cell.result or {}, (config.data.source, str(cell.folder)))
    runner = _Runner(table.config, out, progress)
    for number, cell in enumerate(table.cells, start=1):
        if cell.result is None:
            if progress:
                _announce(cell, number, table)
            runner.run(cell)
            table = collect(out)
            render.write(table)
    render.write(table)
    return table


def collect(out: Path) -> Table:
    """Table of a folder from the cells that are there and belong to its config.yaml; runs and writes nothing.

    Raises:
        UserError: there is no config.yaml of a table.
    """
    out = Path(out).resolve()
    config = load_config(out / plan.CONFIG, [], TableConfig)
    plan.check(config)
    return summarise(config, out, [plan.read(config, cell) for cell in plan.plan(config, out)])


@dataclass
class _Runner:
    """Runs the cells of one table.

    Attributes:
        broken: shared pretrainings that failed in this process, so that no other cell tries them again.
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
            init, seconds = self._stages(cell)
            start = time.perf_counter()
            result = self._finetune(cell, init)
            seconds += time.perf_counter() - start
            write_json(cell.folder / RESULT, result | {"cell_seconds": seconds, "cell_sha256": mark})
        except Exception as error:
            sentence = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            text = " ".join(sentence.split()) + "\n\n" + "".join(traceback.format_exception(error))
            write_text(cell.folder / plan.ERROR, text)

    def _finetune(self, cell: Cell, init: Path | None) -> dict[str, Any]:
        """Content of the cell's result.json."""
        from htr_ssl.training import finetune

        folder = cell.folder / "finetune"
        config = _finetune_config(self.config, cell, init)
        model = finetune.run(_adopted(config, folder), folder, self.progress)
        result = evaluate(model, None, "test", cell.folder, self.config.train.device, self.config.train.threads)
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        labels = len(subsets.read(folder / "subset.txt"))
        return result | {"row": cell.row, "labels": labels, "training_seconds": summary.get("seconds")}

    def _stages(self, cell: Cell) -> tuple[Path | None, float]:
        """File of the last stage, and the time spent on stages of this cell alone [s]."""
        stages = self.config.rows[cell.row]
        init, seconds = None, 0.0
        for index in range(len(stages)):
            if plan.shared(stages[: index + 1]):
                init = self._shared(cell.row, index, init)
                continue
            start = time.perf_counter()
            if stages[index].synthetic is None:
                init = self._pretrain(cell.row, index, init, cell.seed, cell.folder / f"pretrain_{index}")
            else:
                init = self._synthetic(cell, index, init)
            seconds += time.perf_counter() - start
        return init, seconds

    def _shared(self, row: str, index: int, init: Path | None) -> Path:
        """File of a pretraining that is the same for all cells of the row."""
        folder = plan.shared_folder(self.config, self.out, row, index)
        if folder in self.broken:
            raise self.broken[folder]
        try:
            plan.claim(folder, plan.stages_hash(self.config, self.config.rows[row][: index + 1]), self.out)
            return self._pretrain(row, index, init, plan.all_seeds(self.config)[0], folder)
        except Exception as error:
            self.broken[folder] = error
            raise

    def _pretrain(self, row: str, index: int, init: Path | None, seed: int, folder: Path) -> Path:
        from htr_ssl.training import pretrain

        stage = self.config.rows[row][index]
        known = {"method": stage.method} if stage.method else {}
        config = PretrainConfig(
            name=folder.name,
            seed=seed,
            data=self.config.data,
            encoder=self.config.encoder,
            init=str(init) if init else None,
            scope=stage.scope,
            train=stage.train,
            **known,
        )
        return pretrain.run(_adopted(config, folder), folder, self.progress)

    def _synthetic(self, cell: Cell, index: int, init: Path | None) -> Path:
        """File of a training on synthetic handwriting, whose texts come from the cell's labels alone."""
        from htr_ssl.data.loading import read_samples
        from htr_ssl.training import finetune

        stage, final = self.config.rows[cell.row][index], _finetune_config(self.config, cell, init)
        samples = read_samples(self.config.data)
        rows, _, _ = finetune.labelled_rows(samples, final, cell.folder)
        texts = samples.column("text")
        path = cell.folder / "texts.txt"
        write_text(path, "".join(f"{texts[row]}\n" for row in rows))
        image = {"height": self.config.data.height, "colour": self.config.data.channels == 3}
        options = {**(stage.synthetic or {}), **image, "text": str(path)}
        # Another seed than the data's: a synthetic source has its test images from that one.
        own = {"source": "synthetic", "format": "auto", "splits": None, "test": 0.0, "synthetic": options}
        own["seed"] = derive(cell.seed, "synthetic", index) % 2**31
        data = self.config.data.model_copy(update=own)
        config = final.model_copy(
            update={"name": f"{cell.row} synthetic", "data": data, "fraction": 1.0, "train": stage.train}
        )
        folder = cell.folder / f"synthetic_{index}"
        return finetune.run(_adopted(config, folder), folder, self.progress)


def _finetune_config(config: TableConfig, cell: Cell, init: Path | None) -> FinetuneConfig:
    """The fine-tuning of a cell: but for `init` it is the same in every row."""
    return FinetuneConfig(
        name=cell.row,
        seed=cell.seed,
        data=config.data,
        encoder=config.encoder,
        init=str(init) if init else None,
        charset="new",
        fraction=cell.fraction,
        augment=config.augment,
        train=config.train,
    )


def _adopted(config: Config, folder: Path) -> Config:
    """The configuration, also put into a run that is there already.

    The folder's hash says that the run differs in hardware and paths at most, so that it may go on.
    """
    path = folder / plan.CONFIG
    if path.exists():
        write_text(path, dump_config(config))
    return config


def _check_data(config: TableConfig) -> dict[str, str]:
    """Facts of the data; fails before the first training if there is nothing to test on."""
    from htr_ssl.data.loading import read_samples

    samples = read_samples(config.data)
    labelled_rows(samples, "test", config.data.source)
    return samples.facts


def _announce(cell: Cell, number: int, table: Table) -> None:
    """One line: which cell of how many, and when all will be done."""
    from rich.console import Console

    spent = [cell.result["cell_seconds"] for cell in table.cells if cell.result]
    waiting = sum(other.result is None for other in table.cells[number - 1 :])
    minutes = sum(spent) / len(spent) * waiting / 60 if spent else 0.0
    left = f"about {minutes / 60:.1f} h" if minutes >= 90 else f"about {max(1, round(minutes))} min"
    state = f"{len(spent)} done, {left} left" if spent else "none done"
    where = f"{cell.row}, {100 * cell.fraction:g} %, seed {cell.seed}"
    Console(stderr=True).print(f"[bold]cell {number} of {len(table.cells)}[/bold]: {where} ({state})", highlight=False)
