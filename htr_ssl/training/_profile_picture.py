"""Picture of a profile as PNG bytes: the mean step as one bar, and every step below it."""

from __future__ import annotations

import io
from typing import Any

# Okabe and Ito's colours, distinguishable with every colour vision; what is not computing is red or grey.
_COLOURS = {
    "wait": "#D55E00",
    "decode": "#E69F00",
    "transfer": "#CC79A7",
    "augment": "#56B4E9",
    "forward": "#0072B2",
    "backward": "#009E73",
    "optimiser": "#8C564B",
    "other": "#BBBBBB",
}


def picture(result: dict[str, Any]) -> bytes:
    """Stacked bar of the mean step [ms] and stacked bars of all timed steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.6), layout="constrained", facecolor="white")
    mean, single = figure.subplots(2, 1, height_ratios=(1, 2.2))
    _mean(mean, result)
    _steps(single, result["per_step_ms"][1:])
    for axes in (mean, single):
        axes.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _mean(axes: Any, result: dict[str, Any]) -> None:
    left = 0.0
    for name, stage in result["stages"].items():
        axes.barh(0, stage["ms"], left=left, color=_COLOURS[name], label=f"{name} {100 * stage['share']:.1f} %")
        if stage["share"] >= 0.07:
            axes.text(left + stage["ms"] / 2, 0, f"{stage['ms']:.0f}", ha="center", va="center", color="white")
        left += stage["ms"]
    axes.set(yticks=[], xlim=(0, left), xlabel="mean step [ms]")
    axes.legend(frameon=False, ncols=4, loc="lower left", bbox_to_anchor=(0, 1), fontsize=8)
    axes.set_title(
        f"{result['kind']} {result['name']}: {result['images_per_second']:.1f} images/s, "
        f"loader {100 * result['loader_share']:.1f} % of the time",
        loc="left",
        fontsize=10,
        pad=36,
    )


def _steps(axes: Any, steps: list[dict[str, float]]) -> None:
    base = [0.0] * len(steps)
    for name in (name for name in _COLOURS if name in steps[0]):
        heights = [step[name] for step in steps]
        axes.bar(range(1, len(steps) + 1), heights, 0.9, bottom=base, color=_COLOURS[name])
        base = [low + height for low, height in zip(base, heights, strict=True)]
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="step", ylabel="time [ms]", xlim=(0.4, len(steps) + 0.6))
