"""The table of all objectives on one corpus, or a part of it; the same command goes on where it was stopped.

    python benchmarks/wacc/unlabelled.py ../shared/data --out runs/wacc/unlabelled.parquet
    python benchmarks/wacc/run.py ../shared/data poilus_words

Pretrainings see the train images of all corpora, so that one of each serves the three tables: they lie in
`pretrain/` of the optimiser's folder in the output folder. Two processes may share the work if they have other rows
(`--rows`). Tables and pretrainings of another encoder (`strips.yaml`) lie in a folder of its name.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

from htr_ssl.config import TableConfig
from htr_ssl.experiments import table

HERE = Path(__file__).parent
CORPORA: dict[str, dict[str, Any]] = {
    "poilus_words": {},
    "copiste_words": {},
    # A line is as long as three words; half as many of them per batch.
    # One archive: its column `writer` repeats the page.
    "timeus_lines": {"level": "line", "batch_size": 8, "steps": 1200, "synthetic": {"samples": 4000, "steps": 800}},
}
HEIGHT = 32
ENCODER = {"name": "crnn", "preset": "small"}


def main() -> None:
    """Runs the cells that are missing and writes the table of those asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the corpora's Parquet files")
    parser.add_argument("corpus", choices=CORPORA)
    parser.add_argument("--out", type=Path, default=Path("runs/wacc"))
    parser.add_argument("--config", type=Path, default=HERE / "table.yaml")
    parser.add_argument("--rows", nargs="+", help="of the configuration (default: all)")
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.05, 0.1, 1.0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--few-label-seeds", nargs="+", type=int, help="seeds of fractions below 100 %% (default: --seeds)"
    )
    parser.add_argument(
        "--optimiser", choices=["muon", "adamw"], default="muon", help="of every training; adamw's tables lie apart"
    )
    parser.add_argument("--steps", type=int, help="of the fine-tuning, in a table of its own (default: as configured)")
    parser.add_argument("--final", action="store_true", help="read the test split; without, validation")
    options = parser.parse_args()
    few = options.few_label_seeds or options.seeds
    value = configured(options.config, options.data, options.corpus, options.out)
    top = options.out / options.optimiser
    top = top if value["encoder"] == ENCODER else top / value["encoder"]["name"]
    out = top / (options.corpus + (f"_{options.steps}_steps" if options.steps else ""))
    share_pretraining(top, out)
    if options.steps:
        value["train"] |= {"steps": options.steps, "check_every": options.steps // 4}
    value["rows"] = {name: value["rows"][name] for name in options.rows or value["rows"]}
    value["fractions"] = options.fractions
    value["seeds"] = {fraction: few if fraction < 1 else options.seeds for fraction in options.fractions}
    for stage in (stage for stages in value["rows"].values() for stage in stages):
        stage["train"] = stage.get("train", {}) | {"optimiser": options.optimiser}
    value["train"]["optimiser"] = options.optimiser
    value["report"] = "test" if options.final else "validation"
    table.run(TableConfig.model_validate(value), out)


def configured(path: Path, data: Path, corpus: str, out: Path) -> dict[str, Any]:
    """The configuration with a corpus in it: its data, and for lines its own batches."""
    value: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    special = CORPORA[corpus]
    level = special.get("level", "word")
    value["name"] = corpus
    value["data"] = {"source": str(data / f"{corpus}.parquet"), "level": level, "height": HEIGHT}
    value["data"]["cache"] = str(out / "cache")
    value["unlabelled"] = {"source": str(out / "unlabelled.parquet"), "level": "word", "height": HEIGHT}
    value.setdefault("encoder", ENCODER)
    if level == "line":
        value["interval_unit"] = "page"
        batch = {"batch_size": special["batch_size"]}
        final = batch | {"steps": special["steps"], "check_every": special["steps"] // 2}
        value["train"] = value["train"] | final
        for stage in (stage for stages in value["rows"].values() for stage in stages):
            if "pseudo" in stage:
                stage["train"] = stage["train"] | final
            if "synthetic" in stage:
                steps = special["synthetic"]["steps"]
                stage["synthetic"] = stage["synthetic"] | {"samples": special["synthetic"]["samples"]}
                stage["train"] = stage["train"] | batch | {"steps": steps, "check_every": steps // 2}
    return value


def share_pretraining(top: Path, out: Path) -> None:
    """Makes `pretrain/` of a table that of all of them."""
    (top / "pretrain").mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "pretrain").is_symlink():
        (out / "pretrain").symlink_to(Path("..") / "pretrain", target_is_directory=True)


if __name__ == "__main__":
    main()
