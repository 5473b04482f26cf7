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


def test_a_value_that_is_missing_is_an_error():
    with pytest.raises(UndefinedError):
        render("report.html", title="x")
