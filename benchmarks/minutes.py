"""Validation CER against minutes of training: python benchmarks/minutes.py RUN... --out curve.png

Reads the metrics.csv of one or more fine-tunings, prints a Markdown table and draws all curves in one picture, labelled
with the names of the run folders. Minutes are those of the updates; validation is not counted.
"""

from __future__ import annotations

import argparse
import csv
from itertools import accumulate
from pathlib import Path


def curve(run: Path) -> tuple[list[float], list[int], list[float]]:
    """Minutes, steps and validation CER [%] of the checks of a run."""
    with open(run / "metrics.csv", newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    minutes = [seconds / 60 for seconds in accumulate(float(row["seconds"]) for row in rows)]
    return minutes, [int(row["step"]) for row in rows], [100 * float(row["val_cer"]) for row in rows]


def table(run: Path, every: float) -> list[str]:
    """Rows of Markdown, at least `every` minutes apart, and the last check."""
    rows, due = [], 0.0
    minutes, steps, rates = curve(run)
    for place, (minute, step, rate) in enumerate(zip(minutes, steps, rates, strict=True)):
        if minute >= due or place == len(steps) - 1:
            rows.append(f"| {run.name} | {minute:.1f} | {step} | {rate:.1f} |")
            due = minute + every
    return rows


def draw(runs: list[Path], out: Path) -> None:
    """One curve for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for run, marker in zip(runs, "os^Dv*P" * len(runs), strict=False):
        minutes, _, rates = curve(run)
        axes.plot(
            minutes, rates, marker=marker, markersize=3.5, label=run.name, color="black" if len(runs) == 1 else None
        )
    axes.set(xlabel="minutes of training", ylabel="validation CER [%]", yscale="log")
    axes.set_yticks(ticks := [5, 10, 20, 50, 100], [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.grid(True, color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    if len(runs) > 1:
        axes.legend(frameon=False)
    figure.savefig(out, dpi=150)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, help="picture")
    parser.add_argument("--every", type=float, default=5, help="minutes between two lines of the table")
    options = parser.parse_args()
    print("| run | minutes | step | validation CER [%] |\n| --- | ---: | ---: | ---: |")
    print("\n".join(row for run in options.runs for row in table(run, options.every)))
    if options.out:
        draw(options.runs, options.out)


if __name__ == "__main__":
    main()
