"""What the stages of a row run (pretraining, synthetic handwriting, pseudo-labels), and the last training."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from htr_ssl.config import FinetuneConfig, PretrainConfig, Stage, TableConfig
from htr_ssl.config.yaml_files import dump_config
from htr_ssl.experiments import plan
from htr_ssl.experiments.rows import rows
from htr_ssl.experiments.statistics import Cell
from htr_ssl.files import write_text
from htr_ssl.seeds import derive

Config = TypeVar("Config", PretrainConfig, FinetuneConfig)


def run(config: TableConfig, cell: Cell, index: int, init: Path | None, folder: Path, progress: bool) -> Path:
    """Runs a stage, or goes on with it, and returns its file: an encoder, a recognizer or pseudo-labels.

    Args:
        config: the table.
        cell: whose stage it is.
        index: of the stage in the cell's row.
        init: file of the stage before.
        folder: the stage's, see `plan.stage_folder`.
        progress: print the trainings' bars.
    """
    stages = config.rows[cell.row]
    if stages[index].method is not None:
        shared = plan.shared(stages[: index + 1])
        seed = plan.pretrain_seed(config, cell) if shared else cell.seed
        return _pretrain(config, stages[index], init, seed, folder if shared else folder / "pretrain", progress)
    run_stage = _synthetic if stages[index].synthetic is not None else _pseudo
    return run_stage(config, cell, index, init, folder, progress)


def final(config: TableConfig, cell: Cell, init: Path | None, pseudo: Path | None) -> FinetuneConfig:
    """The last training of a cell: but for `init` and `pseudo` it is the same in every row."""
    return FinetuneConfig(
        name=cell.row,
        seed=cell.seed,
        data=config.data,
        encoder=config.encoder,
        init=str(init) if init else None,
        charset="new",
        fraction=cell.fraction,
        subset_by=config.subset_by,
        select=config.select,
        pseudo=str(pseudo) if pseudo else None,
        probe=cell.probe,
        lm=config.lm,
        augment=config.augment,
        train=plan.cell_train(config, cell),
    )


def trainings(config: TableConfig, out: Path, cell: Cell) -> list[Path]:
    """Folders of all trainings that a cell needs, the shared ones included."""
    found = []
    for index, stage in enumerate(rows(config)[cell.row]):
        folder = plan.stage_folder(config, out, cell, index)
        alone = plan.shared(config.rows[cell.row][: index + 1])
        found.append(folder if alone else folder / ("pretrain" if stage.method else "finetune"))
    return [*found, cell.folder / "finetune"]


def adopted(config: Config, folder: Path) -> Config:
    """The configuration, also put into a run that is there already.

    The folder's hash says that the run differs in hardware and paths at most, so that it may go on.
    """
    path = folder / plan.CONFIG
    if path.exists():
        write_text(path, dump_config(config))
    return config


def _pretrain(config: TableConfig, stage: Stage, init: Path | None, seed: int, folder: Path, progress: bool) -> Path:
    from htr_ssl.training import pretrain

    known = {"method": stage.method} if stage.method else {}
    training = PretrainConfig(
        name=folder.name,
        seed=seed,
        data=config.unlabelled or config.data,
        encoder=config.encoder,
        init=str(init) if init else None,
        scope=stage.scope,
        evaluated=config.data,
        transductive=config.transductive,
        train=stage.train,
        **known,
    )
    return pretrain.run(adopted(training, folder), folder, progress)


def _labelled(config: TableConfig, cell: Cell, index: int, init: Path | None, name: str) -> FinetuneConfig:
    """A training of everything on labels, amid a row, with the stage's schedule."""
    train = config.rows[cell.row][index].train
    return final(config, cell, init, None).model_copy(
        update={"name": name, "probe": "none", "train": train, "lm": None}
    )


def _synthetic(config: TableConfig, cell: Cell, index: int, init: Path | None, folder: Path, progress: bool) -> Path:
    """File of a training on synthetic handwriting, whose texts come from the cell's labels alone."""
    from htr_ssl.data.loading import read_samples
    from htr_ssl.training import finetune

    training = _labelled(config, cell, index, init, f"{folder.parent.name} synthetic")
    samples = read_samples(config.data)
    labelled, _, _ = finetune.rows_to_train(samples, training, folder)
    texts = samples.column("text")
    path = folder / "texts.txt"
    write_text(path, "".join(f"{texts[row]}\n" for row in labelled))
    image = {"height": config.data.height, "colour": config.data.channels == 3}
    options = {**(config.rows[cell.row][index].synthetic or {}), **image, "text": str(path)}
    # Another seed than the data's: a synthetic source has its test images from that one.
    own = {"source": "synthetic", "format": "auto", "splits": None, "test": 0.0, "synthetic": options}
    own["seed"] = derive(cell.seed, "synthetic", index) % 2**31
    data = config.data.model_copy(update=own)
    joint = config.rows[cell.row][index].joint
    if joint:
        joint = joint.model_copy(update={"data": config.unlabelled or config.data, "evaluated": config.data})
    # The best on synthetic validation images: no label of the data decides.
    whole = {"fraction": 1.0, "subset_by": "sample", "select": "validation", "transductive": config.transductive}
    training = training.model_copy(update={"data": data, "joint": joint, **whole})
    return finetune.run(adopted(training, folder / "finetune"), folder / "finetune", progress)


def _pseudo(config: TableConfig, cell: Cell, index: int, init: Path | None, folder: Path, progress: bool) -> Path:
    """File of the readings of a recognizer that the row so far and the cell's labels have made."""
    from htr_ssl.training import finetune, pseudo

    stage = config.rows[cell.row][index].pseudo
    assert stage is not None
    training = _labelled(config, cell, index, init, f"{folder.parent.name} before pseudo-labels")
    model = finetune.run(adopted(training, folder / "finetune"), folder / "finetune", progress)
    return pseudo.make(model, training, stage, folder)
