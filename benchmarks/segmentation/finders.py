"""Line finders side by side: ``python benchmarks/segmentation/finders.py PAGES… --out FILE.json [--model MODEL]``.

PAGES as for `htr-ssl segment evaluate`. One page and finder at a time goes into FILE.json; what is there already is not
measured again, so the command can be stopped and repeated. Prints a Markdown table by corpus. Computing is the
processor's time of this process and of kraken's (Linux), which other programs on the machine change little; every
finder has seen a blank page before, so that starting counts for none.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from htr_ssl.environment import hardware
from htr_ssl.files import write_json
from htr_ssl.models import shelf
from htr_ssl.pages.finder.measure import Score
from htr_ssl.pages.finder.page_scores import Result, evaluate, known_pages
from htr_ssl.pages.segmenters import segmenter
from htr_ssl.recognizers.reader import Reader

TITLES = (
    "pages", "finder", "lines", "found", "recall", "precision", "at 3/4", "outlines", "splits", "merges", "missed",
    "spurious", "in order", "computing [s a page]", "CER given", "CER marked", "CER found",
)  # fmt: skip


def computing() -> float:
    """Seconds of processor of this process and of its children that run [s]."""
    spent = time.process_time()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        if int(fields[1]) == os.getpid():
            spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def timed(name: str, spent: list[float]) -> Callable[[np.ndarray], Any]:
    """The finder, warm; the computing of each page goes into `spent`."""
    find = segmenter(name)
    find(np.full((900, 700), 240, np.uint8))

    def wrapped(image: np.ndarray) -> Any:
        start = computing()
        found = find(image)
        spent.append(computing() - start)
        return found

    return wrapped


def row(key: str, name: str, rows: list[dict[str, Any]]) -> str:
    """Line of the table."""
    score = sum((Score(**item["score"]) for item in rows), Score())
    shares = [score.recall, score.precision, score.most / max(1, score.true), score.outlines / max(1, score.true)]
    counts = [score.splits, score.merges, score.missed, score.spurious, f"{score.ordered} of {score.half}"]
    cells = [f"{key} ({score.pages})", name, score.true, score.found, *(f"{100 * share:.1f}" for share in shares)]
    cells += [*counts, f"{sum(item['computing'] for item in rows) / score.pages:.1f}"]
    for part in ("given", "marked", "found"):
        edits, total = np.sum([item[part] for item in rows], axis=0)
        cells.append(f"{100 * edits / total:.1f}" if total else "")
    return f"| {' | '.join(map(str, cells))} |"


def _all_last(item: tuple[tuple[str, str], Any]) -> tuple[bool, tuple[str, str]]:
    return item[0][0] == "all", item[0]


def main() -> None:
    """Measures what is missing and prints all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--finder", nargs="+", default=["learned", "projection", "kraken"])
    parser.add_argument("--model", help="recognizer that reads the lines, for the CER")
    options = parser.parse_args()
    known = json.loads(options.out.read_text())["rows"] if options.out.exists() else []
    done = {(item["corpus"], item["page"], item["finder"]) for item in known}
    read = Reader.load(shelf.find(options.model), "cpu").read if options.model else None
    for name in options.finder:
        find, spent = None, list[float]()
        for page in known_pages(options.pages):
            if (page.corpus, page.name, name) in done:
                continue
            find = find or timed(name, spent)
            result: Result = evaluate(page, find, read)
            known.append({"corpus": page.corpus, "page": page.name, "finder": name, "computing": round(spent[-1], 3)})
            known[-1] |= asdict(result)
            write_json(options.out, {"model": options.model, "hardware": hardware("cpu"), "rows": known})
    tables = defaultdict[tuple[str, str], list[dict[str, Any]]](list)
    for item in known:
        for key in (item["corpus"], "all"):
            tables[key, item["finder"]].append(item)
    print(f"| {' | '.join(TITLES)} |\n|{' --- |' * len(TITLES)}")
    print("\n".join(row(*key, rows) for key, rows in sorted(tables.items(), key=_all_last)))


if __name__ == "__main__":
    main()
