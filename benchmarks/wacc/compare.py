"""Paired comparison of cells of different tables, which read the same test samples.

    python benchmarks/wacc/compare.py word runs/wacc/copiste_words_15000_steps/supervised/f005_s0 \\
        runs/wacc/copiste_words_6000_steps/rotation/f005_s0

More pairs may follow, such as those of other seeds. `--out` keeps scores, seconds and differences.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from htr_ssl.experiments.evaluate import PREDICTIONS, RESULT, grouping, read_predictions
from htr_ssl.files import write_json
from htr_ssl.text import metrics


def main() -> None:
    """Prints the second's rates less the first's, with interval and p-value, for every pair."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("level", choices=("word", "line"))
    parser.add_argument("cells", type=Path, nargs="+", metavar="FIRST SECOND", help="folders of cells")
    parser.add_argument(
        "--unit", choices=("writer", "page", "sample"), help="what is resampled (default: as tables do)"
    )
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    if len(options.cells) % 2:
        parser.error("cells are given in pairs")
    found = []
    for first, second in zip(options.cells[::2], options.cells[1::2], strict=True):
        found.append(compared(options.level, first, second, options.unit))
        print(f"{second} less {first}: {found[-1]['units']}")
        for metric, (difference, low, high, p) in found[-1]["difference"].items():
            print(f"{metric}: {100 * difference:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}], p = {p:.4f}")
    if options.out:
        write_json(options.out, found)


def compared(level: metrics.Level, first: Path, second: Path, unit: Any = None) -> dict[str, Any]:
    """Scores and seconds of two cells; of each rate the difference, its interval and its p-value."""
    cells = [read_predictions(path / PREDICTIONS) for path in (first, second)]
    if [item.id for item in cells[0]] != [item.id for item in cells[1]]:
        raise SystemExit(f"{first} and {second} did not read the same samples in the same order")
    groups, unit = grouping(cells[0], unit)
    counts = [metrics.count([item.written for item in cell], [item.read for item in cell], level) for cell in cells]
    said: dict[str, Any] = {"units": f"{len(set(groups))} {unit}s", "difference": {}}
    for name, path in (("first", first), ("second", second)):
        result = json.loads((path / RESULT).read_text(encoding="utf-8"))
        cost = result.get("cost") or {}
        said[name] = {"cell": "/".join(path.parts[-3:]), "seconds": cost.get("device_seconds")}
        said[name] |= {metric: result[metric] for metric in ("cer", "wacc")}
    for metric in ("wacc", "cer"):
        one = metrics.compare(counts[0], counts[1], groups, metric)
        said["difference"][metric] = [one.difference, *one.interval, one.p]
    return said


if __name__ == "__main__":
    main()
