"""Copies what the tables of `run.py` say into the results folder, and adds up the hours.

    python benchmarks/wacc/collect.py runs/wacc benchmarks/results/wacc

Pretraining and fine-tuning hours are those of the updates, checks not counted, as each run's summary.json has them.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from htr_ssl.files import write_json

TABLE = ("table.md", "table.csv", "cells.csv", "curve.png")
CORPORA = ("poilus_words", "copiste_words", "timeus_lines")


def main() -> None:
    """Copies the tables of all corpora and writes `hours.json` and `pretraining.json`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="output folder of run.py")
    parser.add_argument("results", type=Path, help="folder to copy to")
    parser.add_argument("--suffix", default="", help="added to the names of the corpora's folders")
    options = parser.parse_args()
    for corpus in CORPORA:
        for name in TABLE:
            if (source := options.runs / corpus / name).exists():
                target = options.results / (corpus + options.suffix) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)
    write_json(options.results / "pretraining.json", dict(pretrainings(options.runs)))
    write_json(options.results / "hours.json", hours(options.runs))


def pretrainings(runs: Path) -> list[tuple[str, dict[str, Any]]]:
    """Steps, time and what the monitor measured of every finished pretraining."""
    kept = ("steps", "seconds", "images_per_second", "loss", "encoder")
    return [
        (path.parent.name, {key: summary[key] for key in kept})
        for path in sorted((runs / "pretrain").glob("*/summary.json"))
        for summary in [json.loads(path.read_text(encoding="utf-8"))]
    ]


def hours(runs: Path) -> dict[str, Any]:
    """Hours of one core by kind of training, and the hardware."""
    found: dict[str, float] = {}
    hardware = set()
    kinds = {"pretraining": ["pretrain/*/summary.json"], "stages": ["*/stages/*/*/*/summary.json"]}
    kinds["fine-tuning"] = ["*/*/f*/finetune/summary.json", "*/replaced/*/*/f*/finetune/summary.json"]
    for kind, patterns in kinds.items():
        summaries = [json.loads(path.read_text()) for pattern in patterns for path in runs.glob(pattern)]
        found[kind] = round(sum(summary["seconds"] for summary in summaries) / 3600, 2)
        hardware |= {f"{summary['hardware']}, threads {summary['threads']}" for summary in summaries}
    return {"hours": found, "hardware": sorted(hardware)}


if __name__ == "__main__":
    main()
