"""The pages of ../shared as ALTO, and as PAGE made from it, beside the lines that others cut from the same pages."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from htr_ssl.data.reading import read
from htr_ssl.layout.xml import read_xml

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not (DATA / "pages").is_dir(), reason="there is no ../shared/data")


@pytest.fixture(scope="module")
def published():
    """Text of every published line by page and number in the ALTO file."""
    found = {}
    for name in ("poilus", "timeus"):
        samples = read(DATA / f"{name}_lines.parquet", "parquet")
        rows = zip(samples.column("id"), samples.column("text"), samples.column("page"), strict=True)
        for line, text, page in rows:
            key = re.sub(r"\W", "_", page.removeprefix("timeus_1858_").removeprefix("timeus_1878_"))
            found.setdefault(key, {})[int(line.removesuffix(".webp").rsplit("_", 1)[1])] = text
    return found


def plain(text):
    return text.replace("’", "'")


def test_lines_are_those_of_the_published_files(published):
    """258 of 265 lines are in both, in the same order, with the same text; the rest its README leaves out by rule."""
    samples = read(DATA / "pages", "alto")
    assert len(samples) == 265
    assert samples.problems == []
    numbers, same, left_out = {}, 0, []
    for row, (page, text) in enumerate(zip(samples.column("page"), samples.column("text"), strict=True)):
        key = re.sub(r"\W", "_", page.split("_", 1)[1])
        number = numbers[page] = numbers.get(page, -1) + 1
        if number in published[key]:
            assert published[key].pop(number) == plain(text)
            same += 1
        else:
            steep = np.ptp(samples.regions[row].line.baseline, axis=0)
            left_out.append("marks" if set(text) & set("<>_*{}") else "upright" if steep[1] > steep[0] else text)
    assert same == 258
    assert sorted(left_out) == ["marks"] * 2 + ["upright"] * 5
    assert not any(published[re.sub(r"\W", "_", page.split("_", 1)[1])] for page in numbers)


def test_page_xml_gives_what_alto_gives(tmp_path):
    """Outlines, baselines, texts and pixels."""
    spec = importlib.util.spec_from_file_location("importing_benchmark", ROOT / "benchmarks/data/importing.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    path = DATA / "pages" / "timeus_PH 1858-57.xml"
    (tmp_path / "alto").mkdir()
    (tmp_path / "page").mkdir()
    for folder in ("alto", "page"):
        (tmp_path / folder / f"{path.stem}.jpg").symlink_to(path.with_suffix(".jpg"))
    (tmp_path / "alto" / path.name).symlink_to(path)
    benchmark.as_page_xml(read_xml(path), tmp_path / "page" / path.name)
    alto, page = read(tmp_path / "alto"), read(tmp_path / "page")
    assert alto.column("text") == page.column("text")
    assert len(alto) == 15
    for row in range(len(alto)):
        assert np.array_equal(alto[row].load(), page[row].load())
