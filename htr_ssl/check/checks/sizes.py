"""Images that are tiny, squeezed, or far wider or narrower than the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from htr_ssl.check.finding import Example, Finding, graver_if_many
from htr_ssl.check.robust import spread
from htr_ssl.check.survey import Survey
from htr_ssl.data.images import MIN_WIDTH

TINY = 12
"""Height [px] below which handwriting cannot be read."""
FAR = 6.0
"""Robust standard deviations of the logarithm of the width from which it is an outlier."""


def find(survey: Survey) -> Iterator[Finding]:
    """Tiny images, images wider than `data.max_width` allows, outliers of the width among images without text."""
    heights, columns = survey.sizes[:, 0], survey.sizes[:, 1]
    if not len(heights):
        return
    tiny = (heights < TINY) | (columns < MIN_WIDTH)
    if tiny.any():
        yield Finding(
            "tiny",
            graver_if_many(int(tiny.sum()), len(survey.ids)),
            "tiny",
            f"Below {TINY} px of height or {MIN_WIDTH} px of width nothing can be read. "
            "Export them larger, or take them away.",
            _examples(survey, tiny, heights),
        )
    data = survey.training.data
    squeezed = survey.widths > data.max_width
    if squeezed.any():
        yield Finding(
            "squeezed",
            graver_if_many(int(squeezed.sum()), len(survey.ids)),
            "wider than data.max_width",
            f"At {data.height} px of height they are wider than {data.max_width} px and will be squeezed: "
            "several lines or a page in one image? Else raise data.max_width.",
            _examples(survey, squeezed, -survey.widths),
        )
    unread = np.array([not survey.texts[row] for row in survey.readable.tolist()])  # else see text_fit
    far = (_sided(np.log(survey.widths)) > FAR) & ~tiny & ~squeezed & unread
    if far.any():
        yield Finding(
            "width_outlier",
            "warning",
            "width far from that of the others",
            "Perhaps something else than one line or word: a margin, a ruled line, two columns; look at them.",
            _examples(survey, far, -np.abs(np.log(survey.widths / np.median(survey.widths)))),
        )


def _sided(values: np.ndarray) -> np.ndarray:
    """Distances from the median in robust standard deviations of their own side: last lines are short, none is long."""
    distance = np.abs(values - np.median(values))
    above = values > np.median(values)
    result = np.zeros_like(values)
    for side in (above, ~above):
        result[side] = distance[side] / spread(distance[side])
    return result


def _examples(survey: Survey, chosen: np.ndarray, rank: np.ndarray) -> list[Example]:
    """The chosen images, lowest rank first, with their sizes."""
    places = np.flatnonzero(chosen)
    places = places[np.argsort(rank[places], kind="stable")]
    return [
        Example((int(survey.readable[place]),), "{1} x {0} px".format(*survey.sizes[place].tolist()))
        for place in places.tolist()
    ]
