"""Which cells a table has, where they lie, and whether what lies there belongs to the configuration.

Layout of a table's folder::

    config.yaml  table.md  table.csv  table.tex  cells.csv  curve.png
    final.json                             when the test split was read
    pretrain/<row>_<stage>/                one self-supervised pretraining, shared by all cells that start from it
    pretrain/<row>_<stage>_s1/             that of another seed, if every seed has its own
    stages/<row>_<stage>/f005_s0/          a stage that depends on the labels, shared by rows and probes that need it
    <row>/f005_s0/{finetune/, result.json, predictions.csv, error.txt}
    <row>/f005_s0_linear/                  the same under a probe
    <row>/f005_s0/{result,predictions}.validation.*   scores on the other split, once the test split was read
    replaced/<hash>/…                      what an earlier config.yaml left; comes back with it
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from htr_ssl.config import BEFORE_THE_CHOICE, HARDWARE, DataConfig, Probe, Stage, TableConfig, TrainConfig
from htr_ssl.errors import UserError
from htr_ssl.experiments.evaluate import PREDICTIONS, RESULT
from htr_ssl.experiments.rows import MATCHED, matched, rows
from htr_ssl.experiments.statistics import Cell
from htr_ssl.files import sha256, write_json

ERROR = "error.txt"
CONFIG = "config.yaml"
_MARK = "belongs_to.json"
_RESERVED = ("pretrain", "stages", "replaced")
_NEUTRAL = {
    "pseudo": None,
    "continue_from": None,
    "joint": None,
    "pipeline": None,
    "width_groups": 1,
    "parts": 0,
    "most": 0,
    "optimiser": BEFORE_THE_CHOICE,
    "evaluated": None,
    "transductive": False,
    "select": "validation",
    "subset_by": "sample",
    "detokenise": False,
    "direction": "auto",
    **dict.fromkeys(("perspective", "crop", "fading", "bleed", "texture", "margin", "cut"), 0.0),
}
"""Keys younger than some table on somebody's disk, and the value with which everything is as before: not hashed."""


def check(config: TableConfig) -> None:
    """Checks what the types of the configuration cannot.

    Raises:
        UserError: an impossible row, stage, fraction or seed.
    """
    if config.unlabelled and _pixels(config.unlabelled) != _pixels(config.data):
        raise UserError(
            "unlabelled: its images are of another height or number of channels than data's; give both the same"
        )
    if not config.rows or not config.fractions:
        raise UserError("table: rows or fractions are empty; name one of each at least")
    if config.baseline not in (None, *config.rows):
        raise UserError(f"baseline: there is no row {config.baseline!r}; rows are {', '.join(config.rows)}")
    for row, stages in config.rows.items():
        if row in _RESERVED or (row == MATCHED and config.matched and stages) or not re.fullmatch(r"\w[\w.+ -]*", row):
            raise UserError(f"rows: {row!r} cannot name a folder of the table; use letters, digits, - and _")
        for index, stage in enumerate(stages):
            key = f"rows.{row}.{index}"
            if sum(kind is not None for kind in (stage.method, stage.synthetic, stage.pseudo)) != 1:
                raise UserError(f"{key}: a stage is a method, synthetic or pseudo; give exactly one of the three")
            if stage.joint and (stage.synthetic is None or stage.joint.data):
                raise UserError(
                    f"{key}.joint: an objective stands beside synthetic handwriting, and sees the table's images; give "
                    "synthetic too, and leave data out"
                )
            if stage.pseudo and stage is not stages[-1]:
                raise UserError(
                    f"{key}.pseudo: pseudo-labels are for the fine-tuning; make it the last stage of its row"
                )
            if (stage.synthetic or {}).get("text"):
                raise UserError(f"{key}.synthetic.text: it is always the text of the labelled subset; leave it out")
    _check_patience(config)
    if not config.probes or len(set(config.probes)) < len(config.probes):
        raise UserError("probes: the list is empty or names one twice; give each of none, linear, bilstm once at most")
    for fraction in config.fractions:
        if not 0 < fraction <= 1 or config.fractions.count(fraction) > 1:
            raise UserError(f"fractions: {fraction:g} is outside (0, 1] or there twice; give each share once")
        if isinstance(config.seeds, dict) and fraction not in config.seeds:
            raise UserError(f"seeds: there are none for fraction {fraction:g}; give a list of them")
        if not seeds_of(config, fraction):
            raise UserError(f"seeds: the list for fraction {fraction:g} is empty; give one seed at least")


def _check_patience(config: TableConfig) -> None:
    """Refuses early stopping of trainings that ask no validation label, before anything runs."""
    trains = {"train": config.train} if "none" in config.probes else {}
    if config.probes != ["none"]:
        trains |= {"probe_train" if config.probe_train else "train": config.probe_train or config.train}
    stages = [(f"rows.{row}.{index}.train", one) for row, own in config.rows.items() for index, one in enumerate(own)]
    trains |= {key: stage.train for key, stage in stages if stage.pseudo}
    for key, train in trains.items():
        if config.select == "last" and train.patience:
            raise UserError(
                f"{key}.patience={train.patience}: select=last asks no validation label, so it cannot stop early; set "
                "it to 0, or select to proportional or validation"
            )


def _pixels(data: DataConfig) -> tuple[int, int]:
    """Height [px] and channels of the images."""
    return data.height, data.channels


def plan(config: TableConfig, out: Path) -> list[Cell]:
    """Cells in the order they run: seed by seed, then fraction by fraction, row by row, and probe by probe."""
    return [
        Cell(row, fraction, seed, out / row / (_cell_name(fraction, seed) + f"_{probe}" * (probe != "none")), probe)
        for seed in all_seeds(config)
        for fraction in sorted(config.fractions)
        if seed in seeds_of(config, fraction)
        for row in rows(config)
        for probe in config.probes
        if row != MATCHED or not matched(config) or probe == "none"
    ]


def seeds_of(config: TableConfig, fraction: float) -> list[int]:
    """Seeds of a fraction, ascending."""
    seeds = config.seeds[fraction] if isinstance(config.seeds, dict) else config.seeds
    return sorted(set(seeds))


def all_seeds(config: TableConfig) -> list[int]:
    """Seeds of all fractions, ascending; the first is that of the shared pretraining."""
    return sorted({seed for fraction in config.fractions for seed in seeds_of(config, fraction)})


def shared(stages: Sequence[Stage]) -> bool:
    """Whether these stages do not depend on a cell's labels, so that they are run once."""
    return bool(stages) and all(stage.method is not None for stage in stages)


def stage_folder(config: TableConfig, out: Path, cell: Cell, index: int) -> Path:
    """Folder of a cell's stage; rows that begin alike share that of the first of them, probes that of their row."""
    stages = config.rows[cell.row][: index + 1]
    owner = next(name for name, others in config.rows.items() if others[: index + 1] == stages)
    if shared(stages):
        seed = pretrain_seed(config, cell)
        return out / "pretrain" / (f"{owner}_{index}" + f"_s{seed}" * (seed != all_seeds(config)[0]))
    return out / "stages" / f"{owner}_{index}" / _cell_name(cell.fraction, cell.seed)


def pretrain_seed(config: TableConfig, cell: Cell) -> int:
    """Seed of a pretraining that needs no labels."""
    return cell.seed if config.pretrain_seeds == "own" else all_seeds(config)[0]


def stage_hash(config: TableConfig, cell: Cell, index: int, dropped: Sequence[str] = ()) -> str:
    """Hash of everything that decides the result of a cell's stages up to one.

    Args:
        config: the table.
        cell: whose stage it is.
        index: of the stage in the cell's row.
        dropped: ids of the unlabelled images that are left out for being validation or test images of the table. They
            depend on the table's data; where there are none, tables of other data share a pretraining.
    """
    stages = config.rows[cell.row][: index + 1]
    if shared(stages):
        seed: dict[str, Any] = {"seed": pretrain_seed(config, cell)}
        if dropped:
            seed["dropped"] = sha256("\n".join(dropped))
        return _hash(config, config.unlabelled or config.data, stages, {**seed, **_evaluated(config, stages)})
    own: dict[str, Any] = {"seed": cell.seed, "fraction": cell.fraction, "shared_seed": pretrain_seed(config, cell)}
    own |= {"subset_by": config.subset_by, **_evaluated(config, stages)}
    if any(stage.pseudo for stage in stages):
        own["select"] = config.select
    return _hash(config, config.data, stages, {**own, "augment": config.augment.model_dump(mode="json")})


def _evaluated(config: TableConfig, stages: Sequence[Stage]) -> dict[str, Any]:
    """What is added to the hash of stages that see unlabelled images."""
    return {"transductive": config.transductive} if any(stage.method or stage.joint for stage in stages) else {}


def final_train(config: TableConfig, probe: Probe) -> TrainConfig:
    """Schedule of the last training of a cell."""
    return config.train if probe == "none" else config.probe_train or config.train


def cell_train(config: TableConfig, cell: Cell) -> TrainConfig:
    """The same of a cell; the row of the same compute has more steps."""
    train = final_train(config, cell.probe)
    return train.model_copy(update={"steps": matched_steps(config)}) if is_matched(config, cell.row) else train


def is_matched(config: TableConfig, row: str) -> bool:
    """Whether it is the row of the same compute."""
    return row == MATCHED and matched(config)


def matched_steps(config: TableConfig) -> int:
    """Steps of supervised training that send as much image through the encoder as the most expensive row does.

    Raises:
        UserError: images whose width counts cannot be read.
    """
    from htr_ssl.experiments import budget

    if config.matched_steps is not None:
        return config.matched_steps
    width = budget.width_ratio(config.unlabelled, config.data)
    most = max(budget.passes(stages, config.encoder, config.data, width) for stages in config.rows.values())
    return config.train.steps + math.ceil(most / config.train.batch_size)


def cell_hash(config: TableConfig, cell: Cell) -> str:
    """Hash of everything that decides a cell's result, but for the split that is read."""
    stages = rows(config)[cell.row]
    own: dict[str, Any] = {"seed": cell.seed, "fraction": cell.fraction, "shared_seed": pretrain_seed(config, cell)}
    train = cell_train(config, cell)
    own |= {"augment": config.augment.model_dump(mode="json"), "train": train.model_dump(mode="json")}
    own |= {"select": config.select, "subset_by": config.subset_by, **_evaluated(config, stages)}
    if cell.probe != "none":
        own["probe"] = cell.probe
    if config.lm:
        own["lm"] = config.lm.model_dump(mode="json")
        if any(stage.pseudo for stage in stages):
            own["lm"] |= {"of": "labels and readings"}  # of the labels alone before
    if not stages:
        del own["shared_seed"]
    return _hash(config, config.data, stages, own)


def turn(folder: Path, report: str) -> None:
    """Makes the files of a cell those of a split: what another split left gets its name, and comes back with it."""
    split = _json(folder / RESULT).get("split")
    for name in (RESULT, PREDICTIONS):
        stem, dot, suffix = name.partition(".")
        path, aside = folder / name, folder / f"{stem}.{report}{dot}{suffix}"
        if path.exists() and split not in (None, report):
            path.rename(folder / f"{stem}.{split}{dot}{suffix}")
        if aside.exists() and not path.exists():
            aside.rename(path)


def claim(folder: Path, mark: str, out: Path) -> None:
    """Makes a folder that of the configuration with hash `mark`.

    What another configuration left there moves to ``replaced/``; what this one left there comes back.
    """
    name = folder.relative_to(out)
    old = _owner(folder)
    if old == mark:
        return
    if old:
        aside = out / "replaced" / old[:12] / name
        shutil.rmtree(aside, ignore_errors=True)
        aside.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(aside)
    earlier = out / "replaced" / mark[:12] / name
    if earlier.exists() and not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        earlier.rename(folder)
    write_json(folder / _MARK, {"sha256": mark})


def read(config: TableConfig, cell: Cell) -> Cell:
    """The cell with its result or error, if its folder belongs to the configuration."""
    mark = cell_hash(config, cell)
    if _owner(cell.folder) != mark:
        return cell
    error = cell.folder / ERROR
    if error.exists():
        return replace(cell, error=error.read_text(encoding="utf-8").partition("\n")[0])
    result = _json(cell.folder / RESULT)
    whole = result.get("cell_sha256") == mark and (cell.folder / PREDICTIONS).exists()
    whole = whole and result.get("split", config.report) == config.report
    return replace(cell, result=result) if whole else cell


def _cell_name(fraction: float, seed: int) -> str:
    """``f005_s0`` for 0.05, ``f000.5_s0`` for 0.005."""
    whole, dot, rest = f"{100 * fraction:.6g}".partition(".")
    return f"f{whole:0>3}{dot}{rest}_s{seed}"


def _owner(folder: Path) -> str:
    return str(_json(folder / _MARK).get("sha256", ""))


def _json(path: Path) -> dict[str, Any]:
    """Content of a JSON file; empty if there is none or it is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _hash(config: TableConfig, data: DataConfig, stages: Sequence[Stage], own: dict[str, Any]) -> str:
    value = {
        "data": _data(data),
        "encoder": config.encoder.model_dump(mode="json"),
        "stages": [stage.model_dump(mode="json") for stage in stages],
        **own,
    }
    if config.unlabelled and data is not config.unlabelled and any(stage.method or stage.joint for stage in stages):
        value["unlabelled"] = _data(config.unlabelled)
    for train in [value.get("train", {}), *(stage["train"] for stage in value["stages"])]:
        for key in HARDWARE:
            train.pop(key, None)
    return sha256(json.dumps(_without_neutral(value), sort_keys=True))


def _data(data: DataConfig) -> dict[str, Any]:
    """What decides the images: all but the cache."""
    return data.model_dump(mode="json", exclude_none=True, exclude={"cache"})


def _without_neutral(value: Any) -> Any:
    """The value without the keys of `_NEUTRAL` that change nothing, at any depth."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in _NEUTRAL or v != _NEUTRAL[k]}
        return {key: _without_neutral(inner) for key, inner in kept.items()}
    return [_without_neutral(inner) for inner in value] if isinstance(value, list) else value
