"""Paired comparison of two cells of different tables, which read the same test samples.

    python benchmarks/wacc/compare.py word runs/wacc/copiste_words_15000_steps/supervised/f005_s0 \\
        runs/wacc/copiste_words_6000_steps/rotation/f005_s0
"""

from __future__ import annotations

import argparse
from pathlib import Path

from htr_ssl.experiments.evaluate import PREDICTIONS, grouping, read_predictions
from htr_ssl.text import metrics


def main() -> None:
    """Prints the second's rates less the first's, with interval and p-value."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("level", choices=("word", "line"))
    parser.add_argument("first", type=Path, help="folder of a cell")
    parser.add_argument("second", type=Path, help="folder of another")
    options = parser.parse_args()
    first, second = (read_predictions(path / PREDICTIONS) for path in (options.first, options.second))
    if [item.id for item in first] != [item.id for item in second]:
        raise SystemExit("the two did not read the same samples in the same order")
    groups, unit = grouping(first)
    print(f"{len(set(groups))} {unit}s")
    counts = [
        metrics.count([item.written for item in cell], [item.read for item in cell], options.level)
        for cell in (first, second)
    ]
    for metric in ("wacc", "cer"):
        found = metrics.compare(counts[0], counts[1], groups, metric)
        low, high = (100 * end for end in found.interval)
        print(f"{metric}: {100 * found.difference:+.1f} [{low:+.1f}, {high:+.1f}], p = {found.p:.4f}")


if __name__ == "__main__":
    main()
