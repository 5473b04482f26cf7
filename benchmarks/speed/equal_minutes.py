"""Equal labels, equal minutes: python benchmarks/speed/equal_minutes.py --minutes 10 --encoder encoder.safetensors

Fine-tuning from scratch, fine-tuning from a pretrained encoder, kraken and PyLaia with their defaults and kraken with a
small network train for the same minutes on the same subsets of the train labels, choose their weights on the validation
split (the others on an even choice of --validation-lines of it, because that takes them minutes) and read the same test
split. As many cells run at a time as --cpus names, each with one thread on a CPU of its own. A finished cell is never
run again. Leaves cells/*.json, summary.json, summary.md.

Minutes are those of the updates, loading included; validation is not counted for any tool. kraken and PyLaia stop at
the time; with --until-stop they validate after every pass, as they do by default, and may stop by themselves before.
Ours has a number of steps, so that its schedule ends: it is set from the speed measured in the cell itself just before,
beside the same neighbour; what it came to is in the cell's ``update_minutes``. Minutes of pretraining are not in it.
kraken's validations take longer, so that its last updates may run with the other CPU idle: it gains by that, we do not.
A cell may be alone at the end, or throughout with one CPU (``beside``).
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from _lines import export
from peers import ENVS, call, install

from htr_ssl.config import DataConfig, FinetuneConfig, TableConfig
from htr_ssl.config.yaml_files import dump_config, load_config
from htr_ssl.data.loading import read_samples, rows_of
from htr_ssl.data.samples import Samples
from htr_ssl.data.splits import subsets
from htr_ssl.environment import environment
from htr_ssl.errors import UserError
from htr_ssl.files import write_json, write_text
from htr_ssl.model_file import read_header
from htr_ssl.text import metrics

SYSTEMS = {
    "kraken": "kraken, default model and optimiser, batch 1",
    "kraken8": "kraken, default model and optimiser, batch 8",
    "kraken_pretrained": "kraken, first ketos pretrain (rate 1e-4), batch 1",
    "kraken_small": "kraken, small network of 40 px, batch 8",
    "kraken_small_pretrained": "kraken, small network of 40 px, first ketos pretrain (rate 1e-4), batch 8",
    "pylaia": "PyLaia, default model and optimiser, 128 px, batch 8",
    "scratch": "ours from scratch",
    "pretrained": "ours from the pretrained encoder",
}
SMALL = "[1,40,0,1 Cr3,3,16 Mp2,2 Cr3,3,32 Mp2,2 Cr3,3,64 Mp2,1 Cr3,3,128 Do0.1,2 S1(1x0)1,3 Lbx128 Do]"
"""kraken's network for short budgets: height, widths and LSTM as in ours, in the words it has for them."""
PYLAIA_HEIGHT = 128
"""PyLaia's default height [px]; it wants its images prepared."""
TOLERANCE = 0.1
"""Share of the minutes by which a cell may miss them before the table says so."""


class Bench:
    """What all cells share: options, configuration, samples, and folders of line images for kraken."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        table = load_config(options.config, [f"data.source={options.source}"], TableConfig)
        height = read_header(options.encoder)["height"] if options.encoder else table.data.height
        self.config = FinetuneConfig(
            data=table.data.model_copy(update={"height": height}),
            encoder=table.encoder,
            augment=table.augment,
            train=table.train.model_copy(update={"threads": 1}),
            seed=options.seed,
        )
        self.samples: Samples = read_samples(DataConfig(**self.config.data.model_dump()))
        self.rows = {split: rows_of(self.samples, split, labelled=True) for split in subsets.SPLITS}
        for split, count in (("validation", options.validation_lines), ("test", options.test_lines)):
            rows = self.rows[split]  # an even choice, so that all pages are in it
            self.rows[split] = (
                [rows[i * len(rows) // count] for i in range(count)] if count < len(rows) and count else rows
            )
        asked = {tool_of(name) for name in options.systems}
        self.pythons = {
            tool: install(tool, options.envs, python)
            for tool, python in (("kraken", options.python_kraken), ("pylaia", options.python_pylaia))
            if tool in asked
        }

    def folder(self, split: str, fraction: float = 1.0, height: int = 0) -> Path:
        """Line images of a split, or of the subset of its labels that a fine-tuning with this fraction takes."""
        rows = self.rows[split]
        if split == "train":
            ids = [str(self.samples.column("id")[row]) for row in rows]
            rows = [rows[i] for i in subsets.subset(ids, fraction, self.options.seed)]
        name = f"{split}_{fraction:g}_{len(rows)}" + (f"_{height}px" if height else "")
        return export(self.samples, rows, self.options.out.resolve() / "lines" / name, height)

    def score(self, reads: list[str]) -> dict[str, Any]:
        """CER, WAcc and WER of the test split, pages resampled for the intervals."""
        columns = {name: self.samples.column(name) for name in ("text", "page")}
        texts, pages = ([str(columns[name][row]) for row in self.rows["test"]] for name in ("text", "page"))
        return metrics.score(texts, reads, pages, "line", unit="page").to_dict()


def tool_of(system: str) -> str:
    """Which program a system is of."""
    return next((tool for tool in ("kraken", "pylaia") if system.startswith(tool)), "ours")


def kraken_settings(system: str) -> dict[str, Any]:
    """Batch size and network of one of the `SYSTEMS`."""
    small = "small" in system
    return {"batch_size": 8 if small or system == "kraken8" else 1, "spec": SMALL if small else None}


def kraken_encoder(bench: Bench, system: str, cpu: int) -> Path:
    """kraken's model after pretraining on all train lines, for the minutes that our encoder took; made once."""
    options = bench.options
    name = f"{system}_{options.pretraining_minutes:g}min_seed{options.seed}.safetensors"
    path: Path = options.out.resolve() / name
    if not path.exists():
        part = path.with_name("part_" + path.name)
        job = {
            "mode": "pretrain",
            "lines": str(bench.folder("train")),
            "validation": str(bench.folder("validation")),
            **kraken_settings(system),
            "precision": options.kraken_precision,
            "threads": 1,
            "workers": 0,
            "seed": options.seed,
            "seconds": 60 * options.pretraining_minutes,
            "model": str(part),
        }
        result = call(bench.pythons["kraken"], "kraken", job, ["taskset", "-c", str(cpu)])
        write_json(path.with_suffix(".json"), result)
        part.replace(path)
    return path


def kraken_cell(
    bench: Bench, system: str, fraction: float, folder: Path, cpu: int, encoder: Path | None
) -> dict[str, Any]:
    """Trains kraken and reads the test split with its best checkpoint."""
    python = bench.pythons["kraken"]
    options, pinned = bench.options, ["taskset", "-c", str(cpu)]
    batch_size = kraken_settings(system)["batch_size"]
    job = {
        "lines": str(bench.folder("train", fraction)),
        "validation": str(bench.folder("validation")),
        **kraken_settings(system),
        "precision": options.kraken_precision,
        "threads": 1,
        "workers": 0,
        "line_workers": 0,
        "seed": options.seed,
        "model": str(folder / "model.safetensors"),
        "folder": str(folder / "checkpoints"),
        "load": str(encoder) if encoder else None,
    }
    speed = call(python, "kraken", job | {"mode": "train", "warmup": 1, "steps": max(3, 24 // batch_size)}, pinned)
    passes = speed["lines_per_second"] * 60 * options.minutes / len(list(Path(job["lines"]).glob("*.png")))
    freq = passes / options.checks
    freq = 1.0 if options.until_stop else float(int(freq)) if freq > 1 else max(freq, 0.001)
    seconds = 60 * options.minutes
    run = call(python, "kraken", job | {"mode": "fit", "seconds": seconds, "freq": freq}, pinned)
    read = call(python, "kraken", job | {"mode": "read", "lines": str(bench.folder("test"))}, pinned)
    keys = ("lines_seen", "validation_accuracy", "checkpoint", "stopped_by_itself", "peak_mb", "torch", "wall_seconds")
    return {
        "update_minutes": run["update_seconds"] / 60,
        "probe_lines_per_second": speed["lines_per_second"],
        "read_lines_per_second": read["lines_per_second"],
        "parameters": speed["parameters"],
        "precision": options.kraken_precision,
        "validation_every_passes": freq,
        **{key: run[key] for key in keys},
        "texts": read["texts"],
    }


def pylaia_cell(bench: Bench, fraction: float, folder: Path, cpu: int) -> dict[str, Any]:
    """Trains PyLaia, validating after every pass, and reads the test split with its best model."""
    options, pinned = bench.options, ["taskset", "-c", str(cpu)]
    job = {
        "lines": str(bench.folder("train", fraction, PYLAIA_HEIGHT)),
        "validation": str(bench.folder("validation", height=PYLAIA_HEIGHT)),
        "height": PYLAIA_HEIGHT,
        "batch_size": 8,
        "threads": 1,
        "seed": options.seed,
        "seconds": 60 * options.minutes,
        "model": str(folder / "model"),
    }
    run = call(bench.pythons["pylaia"], "pylaia", job | {"mode": "fit"}, pinned)
    test = str(bench.folder("test", height=PYLAIA_HEIGHT))
    read = call(bench.pythons["pylaia"], "pylaia", job | {"mode": "read", "lines": test}, pinned)
    kept = ("lines_seen", "validation_accuracy", "stopped_by_itself", "parameters", "peak_mb", "torch", "wall_seconds")
    return {
        "update_minutes": run["update_seconds"] / 60,
        "read_lines_per_second": read["lines_per_second"],
        **{key: run[key] for key in kept},
        "texts": read["texts"],
    }


def our_cell(bench: Bench, fraction: float, folder: Path, cpu: int, encoder: Path | None) -> dict[str, Any]:
    """Fine-tunes by the command line, first a few steps for their speed, and reads the test split."""
    options = bench.options
    config = bench.config.model_copy(update={"fraction": fraction, "init": str(encoder) if encoder else None})
    write_text(folder / "finetune.yaml", dump_config(config))

    def finetune(name: str, steps: int, check_every: int) -> list[dict[str, str]]:
        command = [
            "taskset",
            "-c",
            str(cpu),
            sys.executable,
            "-m",
            "htr_ssl",
            "finetune",
            str(folder / "finetune.yaml"),
        ]
        command += [f"train.steps={steps}", f"train.check_every={check_every}", "--quiet", "--out", str(folder / name)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        if done.returncode:
            raise UserError(f"finetune failed: {done.stderr.strip()[-600:]}")
        with open(folder / name / "metrics.csv", newline="", encoding="utf-8") as handle:
            return list(csv.DictReader(handle))

    half = options.probe_steps // 2
    rate = half / float(finetune("probe", 2 * half, half)[-1]["seconds"])
    steps = max(2, round(60 * options.minutes * rate))
    shutil.rmtree(folder / "train", ignore_errors=True)
    start = time.perf_counter()
    rows = finetune("train", steps, max(1, -(-steps // options.checks)))
    wall = time.perf_counter() - start
    model = folder / "train" / "model.safetensors"
    job = {"mode": "read", "lines": str(bench.folder("test")), "model": str(model), "threads": 1}
    read = call(Path(sys.executable), "ours", job, ["taskset", "-c", str(cpu)])
    return {
        "update_minutes": sum(float(row["seconds"]) for row in rows) / 60,
        "probe_steps_per_second": rate,
        "read_lines_per_second": read["lines_per_second"],
        "steps": steps,
        "lines_seen": steps * config.train.batch_size,
        "validation_accuracy": 1 - min(float(row["val_cer"]) for row in rows),
        "height": config.data.height,
        "wall_seconds": wall,
        "torch": read["torch"],
        "texts": read["texts"],
    }


def cell(bench: Bench, system: str, fraction: float, cpu: int, beside: str | None) -> None:
    """Runs one cell unless its result is there, and writes the result."""
    options = bench.options
    name = f"{system}_{100 * fraction:g}_{_time(options)}_seed{options.seed}"
    result_path = options.out / "cells" / f"{name}.json"
    folder = options.out.resolve() / "runs" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    loads = [os.getloadavg()]
    if system.startswith("kraken"):
        encoder = kraken_encoder(bench, system, cpu) if system.endswith("_pretrained") else None
        result = kraken_cell(bench, system, fraction, folder, cpu, encoder)
    elif system == "pylaia":
        result = pylaia_cell(bench, fraction, folder, cpu)
    else:
        result = our_cell(bench, fraction, folder, cpu, options.encoder if system == "pretrained" else None)
    loads.append(os.getloadavg())
    texts = result.pop("texts")
    head = {"system": system, "fraction": fraction, "minutes": options.minutes, "seed": options.seed}
    head |= {"cpu": cpu, "beside": beside, "load_before_and_after": loads, "test_lines": len(texts)}
    write_json(result_path, head | result | {"scores": bench.score(texts), "texts": texts})


def groups(options: argparse.Namespace) -> list[list[tuple[str, float]]]:
    """Cells that are still to be run, as many at a time as CPUs, kraken beside ours while there is one of each."""
    cells = [(system, fraction) for system in options.systems for fraction in options.fractions]
    done = {(result["system"], result["fraction"]) for result in finished(options)}
    left = [pair for pair in cells if pair not in done]
    if len(options.cpus) == 1:
        return [[pair] for pair in sorted(left, key=lambda pair: pair[1])]
    theirs, ours = ([c for c in left if (tool_of(c[0]) != "ours") == kind] for kind in (True, False))
    mixed = [list(pair) for pair in zip(theirs, ours, strict=False)]
    rest = theirs[len(mixed) :] + ours[len(mixed) :]
    return mixed + [rest[start : start + 2] for start in range(0, len(rest), 2)]


def _time(options: argparse.Namespace) -> str:
    """How long cells train, in their names."""
    return f"{options.minutes:g}min" + "_at_most" * options.until_stop


def finished(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Results of the cells of these minutes and this seed."""
    paths = sorted((options.out / "cells").glob(f"*_{_time(options)}_seed{options.seed}.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def summarise(options: argparse.Namespace) -> str:
    """Writes summary.json and summary.md and returns the table."""
    results = {(r["system"], r["fraction"]): r for r in finished(options)}
    fractions = sorted({fraction for _, fraction in results})
    lines = [
        f"Test CER / WAcc [%] after {'at most ' * options.until_stop}{options.minutes:g} minutes of updates on one "
        f"thread, {len(options.cpus)} at a time; in brackets the lines seen, and the minutes where they differ by more "
        "than a tenth.",
        "",
        "| | " + " | ".join(f"{100 * fraction:g} % of the labels" for fraction in fractions) + " |",
        "| --- " * (len(fractions) + 1) + "|",
    ]
    for system, title in SYSTEMS.items():
        texts = [_entry(results.get((system, fraction)), options.minutes) for fraction in fractions]
        if any(texts):
            lines.append(f"| {title} | " + " | ".join(texts) + " |")
    if options.pretraining_minutes:
        lines += ["", f"Pretraining the encoder took another {options.pretraining_minutes:g} minutes, without labels."]
    text = "\n".join(lines) + "\n"
    write_text(options.out / "summary.md", text)
    cells = [{key: value for key, value in r.items() if key != "texts"} for r in results.values()]
    extra = {"pretraining_minutes": options.pretraining_minutes, "what": (__doc__ or "").split("\n\n", 1)[1]}
    write_json(options.out / "summary.json", {"environment": environment(), **extra, "cells": cells})
    return text


def _entry(result: dict[str, Any] | None, minutes: float) -> str:
    """Scores of a cell, lines seen, and its minutes if they are not those that were wanted."""
    if result is None:
        return ""
    scores, spent = result["scores"], result["update_minutes"]
    off = "" if abs(spent - minutes) <= TOLERANCE * minutes else f", {spent:.1f} min"
    off += ", stopped by itself" if result.get("stopped_by_itself") else ""
    return f"{100 * scores['cer']:.1f} / {100 * scores['wacc']:.1f} ({result['lines_seen']:,}{off})"


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="../shared/data/timeus_lines.parquet", help="labelled lines")
    parser.add_argument("--config", type=Path, default=Path("configs/timeus_lines.yaml"), help="table whose settings")
    parser.add_argument("--encoder", type=Path, help="pretrained encoder; without it that system is left out")
    parser.add_argument("--pretraining-minutes", type=float, default=0, help="what the encoder cost, for the summary")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.05, 0.1, 1.0])
    parser.add_argument("--systems", nargs="+", choices=list(SYSTEMS), default=["kraken", "scratch", "pretrained"])
    parser.add_argument("--checks", type=int, default=3, help="validations within the minutes")
    parser.add_argument(
        "--until-stop", action="store_true", help="peers validate after every pass and may stop by themselves"
    )
    parser.add_argument("--probe-steps", type=int, default=160, help="steps whose second half gives our speed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test-lines", type=int, default=0, help="read only the first of the test split (0 = all)")
    parser.add_argument("--validation-lines", type=int, default=0, help="of kraken, 0 = all")
    parser.add_argument("--kraken-precision", default="32-true", help="e.g. bf16-mixed")
    parser.add_argument("--envs", type=Path, default=ENVS)
    parser.add_argument("--python-kraken")
    parser.add_argument("--python-pylaia")
    parser.add_argument(
        "--cpus",
        type=int,
        nargs="+",
        default=[0, 1],
        choices=range(os.cpu_count() or 1),
        help="one or two CPUs that cells are pinned to",
    )
    parser.add_argument("--out", type=Path, default=Path("runs/equal_minutes"))
    options = parser.parse_args()
    if any(name.endswith("_pretrained") for name in options.systems) and not options.pretraining_minutes:
        parser.error("kraken's pretraining needs --pretraining-minutes")
    if not options.encoder:
        options.systems = [name for name in options.systems if name != "pretrained"]
    else:
        options.encoder = options.encoder.resolve()
    options.source = str(Path(options.source).resolve())
    return options


def main() -> int:
    """Runs what is missing."""
    options = arguments()
    bench, failed = Bench(options), 0
    for tool in bench.pythons:  # exported before the clocks start
        height = PYLAIA_HEIGHT if tool == "pylaia" else 0
        for fraction in options.fractions:
            bench.folder("train", fraction, height)
        for split in ("validation", "test"):
            bench.folder(split, height=height)
    for pair in groups(options):
        with ThreadPoolExecutor(len(pair)) as pool:
            names = [f"{system} {100 * fraction:g} %" for system, fraction in pair]
            print(" beside ".join(names), file=sys.stderr)
            futures = [
                pool.submit(cell, bench, *pair[i], options.cpus[i], names[1 - i] if len(pair) > 1 else None)
                for i in range(len(pair))
            ]
            for name, future in zip(names, futures, strict=True):
                try:
                    future.result()
                except UserError as error:
                    failed += 1
                    print(f"{name} failed: {error}", file=sys.stderr)
    print(summarise(options))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
