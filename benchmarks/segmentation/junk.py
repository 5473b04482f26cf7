"""What confidence tells stains from writing: ``python benchmarks/segmentation/junk.py MODEL pages-*.parquet``.

Lines found on the validation and test pages, told by whether they lie on a marked line, and crops where nothing is
marked or found. Prints what share of each would be left out at each confidence of the network, as a Markdown table.
"""

from __future__ import annotations

import sys

import numpy as np

from htr_ssl.layout.crop import crop
from htr_ssl.layout.document import Line
from htr_ssl.models import shelf
from htr_ssl.pages.finder.measure import base_of, covers, line_distance
from htr_ssl.pages.finder.page_scores import Known, pages_of_table
from htr_ssl.pages.segmenters import segmenter
from htr_ssl.recognizers.aligned import Reading, read_aligned
from htr_ssl.recognizers.reader import Reader

LEVELS = (0.05, 0.1, 0.15, 0.2, 0.3)
EMPTY = 8  # crops of a page


def empty(page: Known, found: list[Line], distance: float, rng: np.random.Generator) -> list[Line]:
    """Boxes of the size of lines that touch neither a marked nor a found line."""
    size = np.array(page.image.shape[1::-1])
    taken = [(line.polygon.min(0), line.polygon.max(0)) for line in (*found, *page.lines)]
    boxes: list[Line] = []
    for _ in range(60):
        room = np.array([rng.uniform(3, 15), rng.uniform(0.7, 1.3)]) * distance
        if (room >= size).any() or len(boxes) == EMPTY:
            continue
        start = rng.uniform(0, size - room)
        if all((start > high).any() or (start + room < low).any() for low, high in taken):
            boxes.append(Line("box", np.array([start, start + room * [1, 0], start + room, start + room * [0, 1]])))
    return boxes


def main() -> None:
    """Prints the table."""
    reader, find, rng = Reader.load(shelf.find(sys.argv[1]), "cpu", 1), segmenter("learned"), np.random.default_rng(0)
    groups: dict[str, list[Reading]] = {"found on a marked line": [], "found on none": [], "no line": []}
    for page in (
        one for split in ("validation", "test") for file in sys.argv[2:] for one in pages_of_table(file, split)
    ):
        found, distance = list(find(page.image)), line_distance(page.lines)
        shares = covers([base_of(line) for line in found], [base_of(line) for line in page.lines], distance)[0]
        for line, share in zip(found, shares.max(1, initial=0.0), strict=True):
            if share >= 0.5 or share < 0.2:
                kind = "found on a marked line" if share >= 0.5 else "found on none"
                groups[kind] += read_aligned(reader, [crop(page.image, line)])
        groups["no line"] += read_aligned(
            reader, [crop(page.image, line) for line in empty(page, found, distance, rng)]
        )
    print("| | lines |", " | ".join(f"below {level:g}" for level in LEVELS), "|")
    print("| --- | ---: |", " | ".join(["---:"] * len(LEVELS)), "|")
    for name, readings in groups.items():
        sure = np.array([one.ink or 0.0 if one.text else 0.0 for one in readings])
        print(f"| {name} | {len(sure)} |", " | ".join(f"{100 * (sure < level).mean():.1f} %" for level in LEVELS), "|")


if __name__ == "__main__":
    main()
