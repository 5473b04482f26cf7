"""Measures a segmenter on page images with PAGE or ALTO truth beside them; prints a Markdown table.

A found line matches a true one if at least half of each one's baseline lies in the other's polygon; every line matches
at most once, the best pairs first. A true line without a match is missed, a found one spurious. `in_order` counts the
matched lines that need not be moved to come in the true order.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np

from htr_ssl import plugins
from htr_ssl.data.images import decode
from htr_ssl.layout.document import Line
from htr_ssl.layout.xml import read_xml

_POINTS = 200  # along a baseline


@dataclass(slots=True)
class Score:
    """Counts of lines of one page, or of all."""

    true: int = 0
    matched: int = 0
    missed: int = 0
    spurious: int = 0
    in_order: int = 0
    seconds: float = 0.0


def score(found: list[Line], true: list[Line], seconds: float) -> Score:
    """Compares the found lines of a page with the true ones."""
    cover = np.array([[_cover(a, b) for b in true] for a in found]).reshape(len(found), len(true))
    pairs: dict[int, int] = {}
    while cover.size and cover.max() >= 0.5:
        i, j = np.unravel_index(int(cover.argmax()), cover.shape)
        pairs[int(i)] = int(j)
        cover[i], cover[:, j] = 0, 0
    places = [pairs[i] for i in sorted(pairs)]
    matched = len(pairs)
    return Score(len(true), matched, len(true) - matched, len(found) - matched, _longest_rise(places), seconds)


def _cover(found: Line, true: Line) -> float:
    """Share of either baseline that lies in the other line's polygon, whichever is less."""
    return min(_inside(true, found), _inside(found, true))


def _inside(line: Line, other: Line) -> float:
    """Share of the points a little above the baseline of `line` that lie in the polygon of `other`."""
    baseline = line.baseline if line.baseline is not None else _lower_edge(line.polygon)
    order = np.linspace(0, len(baseline) - 1, _POINTS)
    points = np.stack([np.interp(order, np.arange(len(baseline)), baseline[:, k]) for k in (0, 1)], 1)
    points[:, 1] -= 3
    outline = np.round(other.polygon).astype(np.int32)
    return float(np.mean([cv2.pointPolygonTest(outline, (float(x), float(y)), False) >= 0 for x, y in points]))


def _lower_edge(polygon: np.ndarray) -> np.ndarray:
    """Baseline guessed for a line that has none."""
    (left, top), (right, bottom) = polygon.min(0), polygon.max(0)
    low = bottom - 0.3 * (bottom - top)
    return np.array([[left, low], [right, low]])


def _longest_rise(places: list[int]) -> int:
    """Length of the longest ascending subsequence: the lines that need not be moved."""
    best: list[int] = []
    for i, place in enumerate(places):
        best.append(1 + max((best[k] for k in range(i) if places[k] < place), default=0))
    return max(best, default=0)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="page images with XML of the same name")
    parser.add_argument("--segmenter", default="projection", help="name of a module in htr_ssl.pages.segment")
    options = parser.parse_args()
    segment = plugins.load("htr_ssl.pages.segment", options.segmenter).segment
    files = sorted(options.folder.glob("*.xml"))
    if not files:
        parser.error(f"{options.folder} holds no XML files; give a folder of page images with PAGE or ALTO beside them")
    total = Score()
    print("| page | " + " | ".join(field.name for field in fields(Score)) + " |")
    print("| --- " * 7 + "|")
    for file in files:
        page = read_xml(file)
        image = decode(page.image, str(page.image))
        start = time.perf_counter()
        found = segment(image)
        result = score(found, page.lines, time.perf_counter() - start)
        for field in fields(Score):
            setattr(total, field.name, getattr(total, field.name) + getattr(result, field.name))
        _print(page.image.stem, result)
    _print(f"**{len(files)} pages**", total)


def _print(name: str, result: Score) -> None:
    counts = [str(getattr(result, field.name)) for field in fields(Score)[:-1]]
    print(f"| {name} | " + " | ".join(counts) + f" | {result.seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
