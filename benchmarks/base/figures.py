"""Scores of the base recognizer on the test splits: ``python benchmarks/base/figures.py SHARED [MODEL]``.

Writes figures.json beside this file. README, the card and the docs quote it, and tests/figures.yaml compares them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from htr_ssl.config import DataConfig
from htr_ssl.environment import hardware
from htr_ssl.experiments.evaluate import evaluate
from htr_ssl.files import sha256, write_json
from htr_ssl.models import shelf

RATES = ("cer", "cer_ci", "wacc", "wacc_ci", "wer")


def scores(model: Path, source: Path) -> dict[str, Any]:
    """With the language model and without."""
    found = evaluate(model, DataConfig(source=str(source)), "test")
    kept = {name: found[name] for name in (*RATES, "n", "unit", "units", "samples_sha256")}
    return kept | {"greedy": {name: found["greedy"][name] for name in RATES}}


def main() -> None:
    """Writes the file and prints a line each."""
    folder = Path(sys.argv[1])
    model = shelf.find(sys.argv[2] if len(sys.argv) > 2 else "base")
    lines = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("base_lines-*.parquet"))])
    joined = Path("data/base_lines.parquet")
    joined.parent.mkdir(exist_ok=True)
    pq.write_table(lines, joined)
    sources = {"base": joined, "poilus": folder / "poilus_lines.parquet", "timeus": folder / "timeus_lines.parquet"}
    result: dict[str, Any] = {"model": model.name, "sha256": sha256(model.read_bytes()), "hardware": hardware()}
    for name, source in sources.items():
        result[name] = scores(model, source)
        print(name, {key: result[name][key] for key in ("n", "cer", "wacc")}, result[name]["greedy"]["cer"], flush=True)
    write_json(Path(__file__).with_name("figures.json"), result)


if __name__ == "__main__":
    main()
