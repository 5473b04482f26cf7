"""Fills the tables of plugins in docs/ from the plugins themselves: ``python scripts/tables.py``; ``--check`` compares.

A page says where: a line `<!-- table: NAME -->`, the table, a line `<!-- end -->`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from htr_ssl import plugins
from htr_ssl.data.splits import named_splits
from htr_ssl.training.cost import cost, presets

DOCS = Path(__file__).parent.parent / "docs"
HEIGHT, WIDTH = 40, 544  # of the line whose operations are counted [px]


def listed(package: str, title: str) -> list[str]:
    """Name and first sentence of each plugin."""
    return _table([title, "what it is"], [(f"`{name}`", _first(package, name)) for name in plugins.names(package)])


def methods() -> list[str]:
    """Name, first sentence and papers of each method."""
    rows = []
    for name in plugins.names("htr_ssl.methods"):
        text = plugins.load("htr_ssl.methods", name).__doc__ or ""
        papers = dict.fromkeys(re.findall(r"\b\d{4}\.\d{4,5}\b", text))
        links = ", ".join(f"[{paper}](https://arxiv.org/abs/{paper})" for paper in papers)
        rows.append((f"`{name}`", _first("htr_ssl.methods", name), links))
    return _table(["method", "what it does", "arXiv"], rows)


def encoders() -> list[str]:
    """Parameters, operations and frames of each encoder and preset."""
    import torch

    rows = []
    for name in plugins.names("htr_ssl.encoders"):
        for number, preset in enumerate(presets(name)):
            found = cost(name, preset, HEIGHT, WIDTH, torch.device("cpu"), 1, 0)
            rows.append(
                (
                    f"`{name}`",
                    preset,
                    f"{found.parameters / 1e6:.1f}",
                    f"{found.flops / 1e9:.1f}",
                    str(found.stride),
                    "" if number else _first("htr_ssl.encoders", name),
                )
            )
    return _table(["encoder", "preset", "M weights", "GFLOP a line", "px a frame", "what it is"], rows)


def splits() -> list[str]:
    """Data set and counts of each published split."""
    rows = []
    for name in named_splits.names():
        split = named_splits.load(name)
        unit = "page" if "page" in split.expected else split.unit
        counts = split.expected.get("page", split.counts)
        parts = ", ".join(f"{part} {number:,}" for part, number in counts.items())
        rows.append((f"`{name}`", split.dataset, f"{unit}s: {parts}"))
    return _table(["split", "data set", "parts"], rows)


TABLES: dict[str, Callable[[], list[str]]] = {
    "methods": methods,
    "encoders": encoders,
    "splits": splits,
    "readers": lambda: listed("htr_ssl.data.readers", "format"),
    "formats": lambda: listed("htr_ssl.pages.formats", "format"),
    "finders": lambda: listed("htr_ssl.pages.segment", "finder"),
}
_PLACE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """The page with its tables made anew."""
    return _PLACE.sub(lambda found: found[1] + "\n".join(TABLES[found[2]]()) + "\n" + found[3], text)


def _first(package: str, name: str) -> str:
    """First paragraph of a plugin's docstring, in one line."""
    text = inspect.getdoc(importlib.import_module(f"{package}.{name}")) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("|", "\\|")


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (titles, ["---"] * len(titles), *rows)]


def main() -> int:
    """Writes the pages; with --check, names those that are out of date."""
    stale = []
    for page in sorted(DOCS.glob("*.md")):
        text = page.read_text(encoding="utf-8")
        if filled(text) != text:
            stale.append(page)
    if "--check" in sys.argv[1:]:
        print(*(f"{page}: run python scripts/tables.py" for page in stale), sep="\n")
        return int(bool(stale))
    for page in stale:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
