"""PAGE and ALTO go through the parsers and serializers of kraken and OCR-D and come back.

Needs HTR_SSL_KRAKEN, and HTR_SSL_OCRD, which name the Python of an environment with each.
"""

import importlib.util
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from htr_ssl.layout.document import Line, Page, Word
from htr_ssl.pages.segment.kraken import VARIABLE

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "data" / "other_parsers.py"
TEXTS = ["Je soussigné « Robert » & fils <1>", 'dit "l\'aîné"', "שלום (12) עולם", "e\u0301té ſs ꝑ 😀", "1 2", "upward"]
REGIONS = [None, "r 1", "é", "1x", "margin", "margin"]
KINDS = ["main", None, "between", "cell", "margin", "vertical"]


def box(left, top, width, height):
    return np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]], float)


def lines():
    """Lines of every kind, with and without places of words, the last one written up the page."""
    made = []
    for number, (text, region, kind) in enumerate(zip(TEXTS, REGIONS, KINDS, strict=True)):
        top = 40 * number + 5
        words = [Word(word, box(10 + 60 * i, top, 50, 20), 0.5) for i, word in enumerate(text.split())]
        base = np.array([[10.4, top + 18.5], [10.45, top + 18.5], [200, top + 17], [300, top + 18]])
        made.append(
            Line(f"l {number}", box(10, top, 300, 24), base, region, text, 0.7, kind, words=words[: number % 2 * 9])
        )
    made[-1].polygon, made[-1].baseline = box(400, 10, 30, 300), np.array([[425.0, 300], [425, 10]])
    return made


@pytest.mark.parametrize(("name", "variable", "tables"), [("kraken", VARIABLE, 4), ("OCR-D", "HTR_SSL_OCRD", 2)])
def test_pages_go_through_another_tool_and_come_back(tmp_path, name, variable, tables):
    if not os.environ.get(variable):
        pytest.skip(f"{variable} names no environment with {name}")
    spec = importlib.util.spec_from_file_location("other_parsers", SCRIPT)
    other_parsers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(other_parsers)
    (tmp_path / "text").mkdir()
    cv2.imwrite(str(tmp_path / "a é #1.png"), np.full((700, 500), 255, np.uint8))
    page = Page(tmp_path / "a é #1.png", 500, 700, lines())
    files = [(kind, page.save(tmp_path / "text" / f"a.{kind}.xml")) for kind in ("page", "alto")]
    (tool,) = [tool for tool in other_parsers.tools() if tool.name == name]
    rows = other_parsers.exchanged(tool, files, tmp_path)
    assert len(rows) == tables
    for row in rows:
        agreed = {title: row[title] for title in other_parsers.TITLES[3:] if row[title] is not None}
        assert agreed == dict.fromkeys(agreed, len(TEXTS)), row
