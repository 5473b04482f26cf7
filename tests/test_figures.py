"""A figure of README or docs that comes from a result file is the one in that file: `figures.yaml` says which."""

import csv
import json
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FIGURES = yaml.safe_load((Path(__file__).parent / "figures.yaml").read_text(encoding="utf-8"))


def value(place: str) -> float:
    name, _, key = place.partition("#")
    path = ROOT / name
    if path.suffix == ".json":
        found = json.loads(path.read_text(encoding="utf-8"))
        for part in key.split("."):
            found = found[int(part)] if isinstance(found, list) else found[part]
        return float(found)
    wanted, _, column = key.rpartition(":")
    pairs = [pair.split("=", 1) for pair in wanted.split(",")]
    with open(path, encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if all(row[name] == text for name, text in pairs)]
    assert len(rows) == 1, f"{place}: {len(rows)} rows"
    return float(rows[0][column])


def plain(text: str) -> str:
    return " ".join(text.replace("**", "").split())


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: f"{figure['page']}: {figure['text'][:40]}")
def test_the_page_says_what_the_file_says(figure):
    form = figure.get("as", "{:.1f}")
    scale = 1 if "as" in figure else 100
    said = {name: form.format(scale * value(place)) for name, place in figure["values"].items()}
    assert plain(figure["text"].format(**said)) in plain((ROOT / figure["page"]).read_text(encoding="utf-8"))


def test_a_stale_figure_is_noticed():
    figure = FIGURES[0]
    wrong = dict.fromkeys(figure["values"], "0.0")
    assert plain(figure["text"].format(**wrong)) not in plain((ROOT / figure["page"]).read_text(encoding="utf-8"))
