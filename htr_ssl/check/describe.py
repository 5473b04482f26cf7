"""What a source holds in numbers, and how it is divided anew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from htr_ssl.data.samples import Samples
from htr_ssl.data.splits.subsets import SPLITS, assign_splits
from htr_ssl.errors import UserError
from htr_ssl.seeds import rng

SIZED = 1000
"""Images opened to know the sizes; chosen at random if there are more."""

By = Literal["writer", "page", "row"]


def describe(samples: Samples, seed: int = 0) -> dict[str, Any]:
    """Counts of each split and sizes of the images (of `SIZED` at most), without judging anything; see `data.check`."""
    return {
        "level": samples.level,
        "images": len(samples),
        "left_out": len(samples.problems),
        "splits": split_counts(*(samples.column(name) for name in ("split", "text", "writer", "page"))),
        "sizes": _sizes(samples, seed),
        "facts": samples.facts,
    }


def split_counts(
    splits: Sequence[str | None],
    texts: Sequence[str | None],
    writers: Sequence[str | None],
    pages: Sequence[str | None],
) -> dict[str, dict[str, int]]:
    """Split -> what it has of images, texts, words, characters, writers and pages."""
    found: dict[str, dict[str, int]] = {}
    for split in sorted({name or "" for name in splits}, key=lambda name: (*SPLITS, name).index(name)):
        rows = [row for row, name in enumerate(splits) if (name or "") == split]
        own = [text for row in rows if (text := texts[row])]
        found[split or "no split"] = {
            "images": len(rows),
            "labelled": len(own),
            "words": sum(len(text.split()) for text in own),
            "characters": sum(map(len, own)),
            "alphabet": len(set("".join(own))),
            "writers": len({writers[row] for row in rows} - {None}),
            "pages": len({pages[row] for row in rows} - {None}),
        }
    return found


def _sizes(samples: Samples, seed: int) -> dict[str, Any]:
    """Percentiles 5, 50 and 95 of height, width and width per height, and the share of colour images."""
    rows = sorted(rng(seed, "sizes").permutation(len(samples))[:SIZED].tolist())
    shapes = []
    for row in rows:
        try:
            shapes.append(samples[row].load().shape)
        except UserError:  # the doctor's business
            continue
    if not shapes:
        return {"opened": 0}
    height, width = np.array([shape[:2] for shape in shapes], float).T
    values = {"height": height, "width": width, "proportion": width / height}
    percentiles = {name: np.round(np.percentile(value, (5, 50, 95)), 1).tolist() for name, value in values.items()}
    return {"opened": len(shapes), **percentiles, "rgb": round(float(np.mean([len(s) == 3 for s in shapes])), 3)}


def draw(samples: Samples, by: By, validation: float, test: float, seed: int) -> list[str | None]:
    """Split of every sample, drawn anew; what belongs to one writer or page stays together, unlabelled samples too.

    Raises:
        UserError: writers or pages are unknown, or fewer than parts, or nothing has a text.
    """
    ids = samples.column("id")
    texts = samples.column("text")
    groups: Sequence[str | None] = [None] * len(ids) if by == "row" else samples.column(by)
    if by != "row" and None in groups:
        missing = Counter(groups)[None]
        other = "row" if by == "page" or None in samples.column("page") else "page"
        raise UserError(f"{missing} of {len(ids)} images name no {by}; try --by {other}")
    if not any(texts):
        raise UserError("no image has a text, so that there is nothing to validate or test with; import the texts too")
    parts = 1 + (validation > 0) + (test > 0)
    with_text = {group for group, text in zip(groups, texts, strict=True) if text}
    if by != "row" and len(with_text) < parts:
        counted = f"{len(with_text)} {by}{'s' if len(with_text) > 1 else ''} with texts"
        raise UserError(f"{counted} cannot be divided into {parts} parts; use --by row")
    names = [str(name) for name in ids]
    drawn = assign_splits(names, texts, groups, [None] * len(ids), validation, test, seed)
    where = {group: split for group, split, text in zip(groups, drawn, texts, strict=True) if text and group}
    return [where.get(group, split) if group else split for group, split in zip(groups, drawn, strict=True)]
