"""A line finder for one's own pages: the shipped one goes on learning on a few of them, and is measured on others."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from htr_ssl import seeds
from htr_ssl.errors import UserError
from htr_ssl.files import write_json
from htr_ssl.layout.document import Page
from htr_ssl.pages.finder import weights
from htr_ssl.pages.finder.measure import Score
from htr_ssl.pages.finder.net import FinderNet
from htr_ssl.pages.finder.page_scores import Known, evaluate
from htr_ssl.pages.finder.train import Plan, train
from htr_ssl.pages.finder.truth import from_image

PLAN = Plan(steps=120, batch=4, rate=4e-4, warm=10, decay=0.6, every=20, late=1 << 30)
"""Some minutes on one core."""


def fine_tune(
    pages: Sequence[Known],
    out: Path,
    find: Callable[[FinderNet, Any], Any],
    start: Path = weights.SHIPPED,
    plan: Plan = PLAN,
    progress: Callable[[int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Writes `finder.safetensors`, `result.json`, `curve.csv` and overlays before and after into `out`.

    A third of the pages is kept for validation, at least one. If their lines are found no better than before, the file
    holds the net it began with, and the result says so.

    Args:
        pages: with their lines marked, two or more.
        out: folder of the run; the same call goes on where a killed one stopped.
        find: (net, image) to the lines.
        start: the finder to begin with.
        plan: length and learning rates.
        progress: see `train`.

    Raises:
        UserError: fewer than two pages.
    """
    if len(pages) < 2:
        raise UserError(f"{len(pages)} page with marked lines: give two or more, one of them is kept for validation")
    order = seeds.rng(plan.seed, "finder pages").permutation(len(pages))
    held = [pages[int(i)] for i in order[: max(1, len(pages) // 3)]]
    learned = [pages[int(i)] for i in order[len(held) :]]
    begin = time.monotonic()
    before = _measured(weights.load(start), held, find, out / "before")
    true = [from_image(page.name, page.image, page.lines) for page in learned]
    net = train(true, out, replace(plan), weights.load(start), progress)
    after = _measured(net.eval(), held, find, out / "after")
    better = _worth(after) > _worth(before)
    card = {
        **weights.card(start),
        "fine_tuned_on": [page.name for page in learned] if better else [],
        "steps": plan.steps if better else 0,
    }
    weights.write(net if better else weights.load(start), out / "finder.safetensors", card)
    result = {
        "train": [page.name for page in learned],
        "validation": [page.name for page in held],
        "before": asdict(before),
        "after": asdict(after),
        "kept": "after" if better else "before",
        "seconds": round(time.monotonic() - begin, 1),
    }
    write_json(out / "result.json", result)
    return result


def _worth(score: Score) -> float:
    """Harmonic mean of recall and precision at three quarters of the baseline."""
    return 2 * score.most / max(1, score.true + score.found)


def _measured(net: FinderNet, pages: Sequence[Known], find: Callable[[FinderNet, Any], Any], out: Path) -> Score:
    from htr_ssl.pages.formats import overlay

    total = Score()
    for page in pages:
        total = total + evaluate(page, lambda image: find(net, image)).score
        if page.path.is_file():
            height, width = page.image.shape[:2]
            out.mkdir(parents=True, exist_ok=True)
            overlay.write(Page(page.path, width, height, list(find(net, page.image))), out / f"{page.name}.overlay.png")
    return total
