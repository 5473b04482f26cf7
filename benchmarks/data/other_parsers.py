"""PAGE and ALTO through another tool's parser: ``python benchmarks/data/other_parsers.py SCANS… [--out FILE.json]``.

Transcribes the scans, lets kraken (its environment's Python is in HTR_SSL_KRAKEN) or OCR-D (HTR_SSL_OCRD; PAGE alone)
parse the files and write them again, and reads those with our import. Prints how many lines agree in each respect, as a
Markdown table: as the tool reads what we wrote, and as we read what it made of it. Ends with code 1 where they differ.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from htr_ssl.data import reading
from htr_ssl.files import write_json
from htr_ssl.layout.document import Line
from htr_ssl.layout.xml import read_xml
from htr_ssl.models import shelf
from htr_ssl.pages.segment.kraken import VARIABLE, interpreter
from htr_ssl.pages.transcribe import transcribe
from htr_ssl.partners import Images
from htr_ssl.recognizers.aligned import read_aligned
from htr_ssl.recognizers.reader import Reader

READERS = {"page": "page_xml", "alto": "alto"}
"""Formats, each with the reader of our import."""
OCRD = "HTR_SSL_OCRD"
"""Environment variable with the Python of an environment that has OCR-D (`pip install ocrd`)."""
TITLES = (
    "format",
    "who reads",
    "pages",
    "lines",
    "in order",
    "texts",
    "baselines",
    "outlines",
    "regions",
    "kinds",
    "imported",
)


def stated(line: Line) -> dict[str, Any]:
    """A line as the tool's side tells of one: points without repetition, and closed outlines left open."""
    baseline = line.baseline if line.baseline is not None else np.empty((0, 2))
    return {
        "id": line.id,
        "text": line.text or "",
        "baseline": plain(baseline.tolist()),
        "outline": plain(line.polygon.tolist()),
        "region": line.region,
        "kind": line.kind,
    }


def plain(points: list[Any] | None) -> list[tuple[int, int]]:
    """Whole points, each once in a row."""
    whole = [(round(x), round(y)) for x, y in points or []]
    return [point for place, point in enumerate(whole) if not place or point != whole[place - 1]]


def agreeing(sent: list[dict[str, Any]], got: list[dict[str, Any]]) -> dict[str, int]:
    """How many lines have the same place in the order, text, baseline, outline, region and kind."""
    known = {line["id"]: line for line in got}
    pairs = [(line, known.get(line["id"], {})) for line in sent]
    counts = {"lines": len(sent), "in order": sum(a["id"] == b["id"] for a, b in zip(sent, got, strict=False))}
    counts["texts"] = sum(a["text"] == b.get("text") for a, b in pairs)
    for name in ("baseline", "outline"):
        counts[f"{name}s"] = sum(a[name] == plain(b.get(name)) for a, b in pairs)
    for name in ("region", "kind"):
        counts[f"{name}s"] = sum(a[name] == b.get(name, "") for a, b in pairs)
    return counts


class Tool(NamedTuple):
    """Another tool: its name, the Python of its environment, its side of this script, and the formats it knows."""

    name: str
    python: str
    script: str
    kinds: tuple[str, ...]


def tools() -> list[Tool]:
    """Those whose environment is named."""
    known = [Tool("kraken", interpreter(), "_kraken_xml.py", ("page", "alto"))] if os.environ.get(VARIABLE) else []
    ocrd = os.environ.get(OCRD)
    return known + ([Tool("OCR-D", ocrd, "_ocrd_xml.py", ("page",))] if ocrd else [])


def exchanged(tool: Tool, all_files: list[tuple[str, Path]], folder: Path) -> list[dict[str, Any]]:
    """Counts of agreement for each format, before and after the tool has written the files again.

    Args:
        tool: the other one.
        all_files: formats and paths in `folder`, where their images are too.
        folder: takes what the tool writes, a folder for each format.
    """
    files = [(kind, path) for kind, path in all_files if kind in tool.kinds]
    own = folder / tool.name
    own.mkdir()
    job = [{"kind": kind, "source": str(path), "back": str(own / kind / path.name)} for kind, path in files]
    pages = [read_xml(path, images=Images(folder)) for _, path in files]
    for item, page in zip(job, pages, strict=True):
        Path(item["back"]).parent.mkdir(exist_ok=True)
        shutil.copy(page.image, Path(item["back"]).parent)
    write_json(own / "job.json", job)
    script = Path(__file__).with_name(tool.script)
    command = [tool.python, "-I", "-W", "ignore", str(script), str(own / "job.json"), str(own / "result.json")]
    subprocess.run(command, check=True)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for item, page, result in zip(job, pages, json.loads((own / "result.json").read_text()), strict=True):
        assert Path(result["image"]).resolve() == page.image.resolve(), "another image"
        assert result["size"] == [page.width, page.height], "another size of the page"
        assert all(order == [line.id for line in page.lines] for order in result["orders"].values()), "another order"
        back = read_xml(Path(item["back"]))
        for who, got in (
            (tool.name, result["lines"]),
            (f"ours, {tool.name}'s file", [stated(line) for line in back.lines]),
        ):
            row = rows.setdefault((item["kind"], who), {"format": item["kind"], "who reads": who, "pages": 0})
            for key, count in {"pages": 1, **agreeing([stated(line) for line in page.lines], got)}.items():
                row[key] = row.get(key, 0) + count
    for (kind, who), row in rows.items():
        samples = [] if who == tool.name else list(reading.read(own / kind, READERS[kind]))
        row["imported"] = len([sample for sample in samples if sample.text]) if samples else None
    return list(rows.values())


def transcribed(scans: list[Path], model: str, folder: Path) -> list[tuple[str, Path]]:
    """Formats and paths of the files that `transcribe` writes."""
    (folder / "scans").mkdir()
    for scan in scans:
        shutil.copy(scan, folder / "scans")
    reader = Reader.load(shelf.find(model), "cpu")
    transcribe(partial(read_aligned, reader), [folder / "scans"], folder / "text", list(READERS))
    return [(kind, path) for kind in READERS for path in sorted((folder / "text").glob(f"*.{kind}.xml"))]


def main() -> int:
    """Compares and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = transcribed(options.scans, options.model, Path(folder))
        rows = [row for tool in tools() for row in exchanged(tool, files, Path(folder))]
    if options.out:
        write_json(options.out, rows)
    print(f"| {' | '.join(TITLES)} |\n|{' --- |' * len(TITLES)}")
    for row in rows:
        print(f"| {' | '.join('' if row[title] is None else str(row[title]) for title in TITLES)} |")
    wrong = [row for row in rows if any(row[title] not in (row["lines"], None) for title in TITLES[4:])]
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())
