"""Validation CER against minutes of training: python benchmarks/minutes.py runs/timeus_lines_hour --out curve.png

Reads the metrics.csv of a fine-tuning, prints a Markdown table and draws a curve. Minutes are those of the updates;
validation is not counted.
"""

from __future__ import annotations

import argparse
import csv
from itertools import accumulate
from pathlib import Path


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, help="picture")
    parser.add_argument("--every", type=float, default=5, help="minutes between two lines of the table")
    options = parser.parse_args()
    with open(options.run / "metrics.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    minutes = [seconds / 60 for seconds in accumulate(float(row["seconds"]) for row in rows)]
    rates = [100 * float(row["val_cer"]) for row in rows]
    print("| minutes | step | validation CER [%] |\n| ---: | ---: | ---: |")
    due = 0.0
    for place, (minute, row, rate) in enumerate(zip(minutes, rows, rates, strict=True)):
        if minute >= due or place == len(rows) - 1:
            print(f"| {minute:.0f} | {row['step']} | {rate:.1f} |")
            due = minute + options.every
    if options.out:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.8), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(minutes, rates, color="black", marker=".")
        axes.set(xlabel="minutes of training", ylabel="validation CER [%]", yscale="log")
        axes.set_yticks(ticks := [5, 10, 20, 50, 100], [str(tick) for tick in ticks])
        axes.grid(True, color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(options.out, dpi=150)


if __name__ == "__main__":
    main()
