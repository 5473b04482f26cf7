"""Every page of the program: one file, light and dark, readable on a phone, nothing fetched, all text escaped."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError
from lxml import etree

import htr_ssl
from htr_ssl.webpage import part, render

TEMPLATES = Path(htr_ssl.__file__).parent / "templates"
PAGES = sorted(path.name for path in TEMPLATES.glob("*.html") if path.name not in ("base.html", "parts.html"))


@pytest.mark.parametrize("name", PAGES)
def test_every_page_extends_the_base(name):
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    assert text.startswith('{% extends "base.html" %}')
    assert "| safe" not in text
    assert "http" not in text


def test_the_base_is_whole_and_fetches_nothing():
    page = render("report.html", title="a < b", sections=[])
    root = etree.fromstring(page.removeprefix("<!DOCTYPE html>").encode())
    assert root.findtext("head/title") == "a < b"
    assert "default-src 'none'" in page
    assert "width=device-width" in page
    assert "prefers-color-scheme: dark" in page
    assert f"htr-ssl {htr_ssl.__version__}" in page


def test_text_is_escaped_and_parts_are_not():
    evil = '<script>"'
    section = type("Section", (), {"title": evil, "parts": [part("code", text=evil)]})
    page = render("report.html", title=evil, sections=[section])
    assert "<script" not in page
    assert page.count("&lt;script&gt;&#34;") == 4
    assert "<pre>&lt;script" in page


def test_tables_fit_the_page():
    """Cells wrap, and a table that is still too wide scrolls in its own box."""
    grids = [("", ["a"] * 9, [[type("Entry", (), {"text": "31.2 ± 1.0 [28.0, 34.4]", "bold": False})] * 9])]
    tables = [
        part("results", grids=grids, costs=[(["b"], [["1"]])], caption="c"),
        part("values", rows=[("k", "v")], head=("", "")),
    ]
    page = render("report.html", title="t", sections=[{"title": "t", "parts": tables}])
    root = etree.fromstring(page.removeprefix("<!DOCTYPE html>").encode())
    assert "nowrap" not in root.findtext("head/style")
    assert ".scroll { overflow-x: auto; }" in root.findtext("head/style")
    found = list(root.iter("table"))
    assert len(found) == 3
    assert all(any(above.get("class") == "scroll" for above in table.iterancestors("div")) for table in found)


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(UndefinedError):
        render("report.html", title="x")
