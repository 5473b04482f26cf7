"""Import of PAGE and ALTO files: lines/s and peak memory, one thread.

    python benchmarks/data/importing.py PAGES --out benchmarks/results/data_import.json

PAGES is a folder of page images with ALTO files; the PAGE files are made from these, with the same outlines, baselines
and texts. Each import runs in a process of its own, page images in the system's cache.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from lxml import etree

from htr_ssl.data.importing import write
from htr_ssl.data.reading import read
from htr_ssl.files import write_json
from htr_ssl.layout.document import Page
from htr_ssl.layout.xml import read_xml

NAMESPACE = "http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15"


def as_page_xml(page: Page, path: Path) -> None:
    """Writes a page as PAGE XML."""
    root = etree.Element(f"{{{NAMESPACE}}}PcGts", nsmap={None: NAMESPACE})  # type: ignore[dict-item]
    size = {"imageWidth": str(page.width), "imageHeight": str(page.height)}
    sheet = etree.SubElement(root, f"{{{NAMESPACE}}}Page", imageFilename=page.image.name, **size)
    region = etree.SubElement(sheet, f"{{{NAMESPACE}}}TextRegion", id="region")
    for line in page.lines:
        element = etree.SubElement(region, f"{{{NAMESPACE}}}TextLine", id=line.id)
        etree.SubElement(element, f"{{{NAMESPACE}}}Coords", points=_points(line.polygon))
        if line.baseline is not None:
            etree.SubElement(element, f"{{{NAMESPACE}}}Baseline", points=_points(line.baseline))
        text = etree.SubElement(element, f"{{{NAMESPACE}}}TextEquiv")
        etree.SubElement(text, f"{{{NAMESPACE}}}Unicode").text = line.text
    etree.ElementTree(root).write(str(path), encoding="UTF-8", xml_declaration=True)


def _points(points: np.ndarray) -> str:
    return " ".join(f"{x:.0f},{y:.0f}" for x, y in points)


def one(source: Path, out: Path, height: int) -> dict[str, Any]:
    """Imports once."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter(), time.process_time()
    samples = read(source)
    parsed = time.process_time()
    outcome = write(samples, out, height, threads=1)
    seconds, computed = time.perf_counter() - start[0], time.process_time() - start[1]
    return {
        "lines": outcome.rows,
        "left_out": len(outcome.problems),
        "seconds": round(seconds, 2),
        "cpu_seconds": round(computed, 2),
        "of_them_xml": round(parsed - start[1], 2),
        "lines_per_cpu_second": round(outcome.rows / computed, 1),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "rss_before_mb": round(before),
        "file_mb": round(out.stat().st_size / 1e6, 1),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", type=Path)
    parser.add_argument("--copies", type=int, default=1, help="of every page, to see whether the memory grows")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    runs: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folders = {kind: Path(name, kind) for kind in ("alto", "page_xml")}
        for folder in folders.values():
            folder.mkdir()
        for path in sorted(options.pages.glob("*.xml")):
            page = read_xml(path)
            for copy in range(options.copies):
                stem = f"{path.stem} {copy}" if copy else path.stem
                for folder in folders.values():
                    shutil.copyfile(page.image, folder / f"{stem}{page.image.suffix}")
                shutil.copyfile(path, folders["alto"] / f"{stem}.xml")
                page.image = page.image.with_name(f"{stem}{page.image.suffix}")
                as_page_xml(page, folders["page_xml"] / f"{stem}.xml")
                page.image = path.with_suffix(page.image.suffix)
        for kind, folder in folders.items():
            for height in (0, 64):
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    found = pool.apply(one, (folder, Path(name) / "out.parquet", height))
                runs[f"{kind}, {f'height {height}' if height else 'as cut'}"] = found
                print(kind, height, json.dumps(found), flush=True)
    if options.out:
        from htr_ssl.environment import environment

        write_json(options.out, {"environment": environment(), "threads": 1, "copies": options.copies, "runs": runs})


if __name__ == "__main__":
    main()
