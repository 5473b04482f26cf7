"""Writes the tables of all objectives with Muon from the cells that are there, for the results folder.

    python benchmarks/wacc/objectives.py runs/wacc DATA benchmarks/results/wacc_muon/objectives

Nothing is trained: rows of which a cell is missing are left out. `hours.json` adds up the trainings of this folder.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import yaml
from cells import pack
from collect import hours
from run import CORPORA, HERE, configured

from htr_ssl.config import TableConfig
from htr_ssl.config.yaml_files import dump_config
from htr_ssl.experiments import plan, table
from htr_ssl.experiments.rows import MATCHED
from htr_ssl.files import write_json

FILES = ("table.md", "table.csv", "cells.csv", "curve.png", "pairs.md", "pairs.csv")


def main() -> None:
    """Writes the table of every corpus that has cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="output folder of run.py")
    parser.add_argument("data", type=Path, help="folder of the corpora's Parquet files")
    parser.add_argument("results", type=Path, help="folder to write to")
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.05])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--rows", nargs="+", help="of the configuration (default: all)")
    parser.add_argument("--final", action="store_true", help="what was read of the test split; without, of validation")
    parser.add_argument("--hours", default="hours.json", help="name of that file: one for each machine")
    options = parser.parse_args()
    for corpus in CORPORA:
        out = options.runs / "muon" / corpus
        value = configured(HERE / "objectives_muon.yaml", options.data, corpus, options.runs)
        value |= {"fractions": options.fractions, "seeds": options.seeds}
        value["rows"] = {row: value["rows"][row] for row in options.rows or value["rows"]}
        value["report"] = "test" if options.final else "validation"
        for stage in (stage for stages in value["rows"].values() for stage in stages):
            stage["train"] |= {"optimiser": "muon"}
        value["train"]["optimiser"] = "muon"
        config = TableConfig.model_validate(value)
        config = config.model_copy(update={"matched_steps": plan.matched_steps(config)})
        there = _rows(TableConfig.model_validate(yaml.safe_load(dump_config(config))), out)
        rows = [row for row in config.rows if row in there]
        if not rows:
            continue
        value["rows"] = {row: value["rows"][row] for row in rows}
        value["matched"] = MATCHED in there
        done = table.run(TableConfig.model_validate(value), out)
        assert not done.missing, done.missing
        target = options.results / corpus
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            if (out / name).exists():
                shutil.copy(out / name, target / name)
        own = [cell.folder.relative_to(out.resolve()).as_posix() for cell in done.cells]
        print(f"{target}: {pack(out, target, own)} cells, rows {', '.join(there)}")
    write_json(options.results / options.hours, hours(options.runs / "muon"))


def _rows(config: TableConfig, out: Path) -> list[str]:
    """Rows of which all cells are done; the configuration is whole, with the plugins' defaults, as a table keeps it.

    Cells that a table of other rows, with another row of the same compute, or of another split has put aside come back.
    """
    cells = plan.plan(config, out)
    for cell in cells:
        mark = plan.cell_hash(config, cell)
        if (out / "replaced" / mark[:12] / cell.folder.relative_to(out)).exists():
            plan.claim(cell.folder, mark, out)
        plan.turn(cell.folder, config.report)
    missing = {cell.row for cell in cells if plan.read(config, cell).result is None}
    return [row for row in dict.fromkeys(cell.row for cell in cells) if row not in missing]


if __name__ == "__main__":
    main()
