import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise, product

import cv2
import numpy as np
import pytest
from handmade import WORDS, draw, predictions, put_result
from test_statistics import METHOD, collected

from htr_ssl.config import TableConfig
from htr_ssl.config.yaml_files import dump_config
from htr_ssl.experiments import final_runs, pictures, render, report, table
from htr_ssl.experiments.caption import caption
from htr_ssl.experiments.evaluate import Prediction, score
from htr_ssl.files import write_text
from htr_ssl.views.augment import VIEWS

SHARES = {"none": 0.8, "linear": 0.2, "bilstm": 0.5}
"""Words read correctly, by probe."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two rows, of which one cell at 100 % is missing; the better row has a name that needs escapes."""
    cells = {}
    for seed in (0, 1):
        for fraction in (0.05, 1.0):
            cells[("supervised", fraction, seed)] = predictions(0.4, seed)
            cells[("masked_image", fraction, seed)] = predictions(0.7, 10 + seed)
    del cells[("masked_image", 1.0, 1)]
    rows = {"supervised": [], "masked_image": METHOD}
    return collected(tmp_path_factory.mktemp("results"), cells, (0, 1), rows, (0.05, 1.0))


def pixels(png):
    image = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_markdown_has_every_value(results):
    text = render.markdown(results)
    rate = results.summaries["masked_image", 0.05, "none"].rates["wacc"]
    spread = f"± {100 * rate.deviation:.1f} [{100 * rate.interval[0]:.1f}, {100 * rate.interval[1]:.1f}]"
    assert f"| masked\\_image | **{100 * rate.mean:.1f} {spread}** |" in text
    rows = [line for line in text.split("\n") if line.startswith("| ")]
    assert {line.count("|") for line in rows} == {4}
    assert re.search(r"^\| Δ \| \+\d+\.\d \[\+.*\], p < 0\.001, Holm p < 0\.001 \|", text, re.MULTILINE)
    assert re.search(r"masked\\_image \| .* – \|$", text, re.MULTILINE)


def test_caption_states_the_protocol(results):
    text = caption(results)
    for part in (
        "Results on a.parquet, word images, validation split, n = 120",
        "5 %: 15 labels, seeds 0, 1; 100 %: 300 labels",
        "The weights after the last step are scored, no validation label decides",
        "The validation split is read once per cell, after training; the test split is not opened",
        "crnn (preset small",
        "masked_image (3000 steps of 32 images, Muon, peak learning rate 0.001)",
        "with seed 0, and shared by all fractions and seeds",
        "NFC, single spaces",
        "WAcc is the share of word images read exactly",
        "± is the standard deviation over seeds (n − 1), [ ] the 95 % bootstrap interval over 12 pages and over seeds",
        "difference to supervised",
        "sign-flip test over 12 pages (of all flips, or of 100000 random ones where counting all is too much)",
        "Holm's p is corrected for the 1 comparisons of a column",
        "Bold are the best mean of a column and all rows that are not separable from it",
        "1 of 8 cells not run yet",
    ):
        assert part in text, part


def test_caption_of_a_validation_table_says_when_test_was_read_and_what_a_language_model_saw(results, tmp_path):
    assert "There are only 2 seeds, fewer than 5: intervals over seeds are too narrow" in caption(results)
    assert "for the weights of the language model" not in caption(results)
    own = collected(tmp_path / "own", {}, lm={})
    text = caption(own)
    assert "no validation label decides, but for the weights of the language model" in text
    assert "which are partly what the columns with LM of this table are scored on: too good a score" in text
    final_runs.note(tmp_path / "own", [("a", "x")], ["c1"])
    assert "the test split was read, in a final run of 2" in caption(own)
    assert "not opened" not in caption(own)
    assert "partly what" not in caption(collected(tmp_path / "final", {}, lm={}, report="test"))


def test_caption_says_what_one_seed_does_not_tell(tmp_path):
    rows = {"supervised": [], "masked_image": METHOD}
    cells = {(row, 0.05, seed): predictions(0.4, seed) for row in rows for seed in (0, 1)}
    warning = "Where a row has one seed (5 %), intervals and p-values speak of other pages, not of another training"
    for seeds in ((0,), (0, 1)):
        own = {cell: read for cell, read in cells.items() if cell[2] in seeds}
        text = caption(collected(tmp_path / str(len(seeds)), own, seeds, rows, (0.05,), pretrain_seeds="own"))
        assert (warning in text) == (len(seeds) == 1)
        for part in ("Mean over seeds", "standard deviation over seeds (n − 1)", "so that ± covers it"):
            assert (part in text) == (len(seeds) == 2), part


def test_caption_says_if_cells_were_tested_on_different_samples(results, tmp_path):
    assert "not the same in all cells" not in caption(results)
    cells = {("supervised", 0.05, 0): predictions(0.4, 0), ("supervised", 0.05, 1): predictions(0.4, 0)[1:]}
    assert "not the same in all cells" in caption(collected(tmp_path, cells))


def test_caption_says_what_each_row_was_trained_with(tmp_path):
    def stage(name, **changes):
        return {"method": {"name": name, **changes}, "train": {"steps": 30, "batch_size": 10}}

    rows = {"supervised": [], "a": [stage("masked_image")]}
    rows["b"] = [stage("simclr", temperature=0.2, augment=VIEWS.model_dump() | {"blur": 0.0})]
    text = caption(collected(tmp_path / "same", {}, rows=rows))
    assert "a: masked_image (30 steps of 10 images, Muon, peak learning rate 0.001);" in text
    assert (
        "b: simclr (30 steps of 10 images, Muon, peak learning rate 0.001, temperature 0.2, augment.blur 0.0)" in text
    )
    assert "Self-supervision sees 300 images (steps × batch size) in every row that has some" in text
    rows["c"] = [{"synthetic": {"samples": 70}}, {**stage("simclr"), "scope": "backbone"}, {"pseudo": {"keep": 0.2}}]
    rows["d"] = [stage("rotation"), stage("simclr")]
    text = caption(collected(tmp_path / "other", {}, rows=rows))
    assert "Self-supervision does not see equally many images (steps × batch size): a 300, b 300, c 300, d 600" in text
    assert (
        "CTC on synthetic handwriting (3000 steps of 16 images, Muon, peak learning rate 0.002, samples 70) then"
        in text
    )
    assert (
        "backbone only) then pseudo-labels (3000 steps of 16 images, Muon, peak learning rate 0.002, keep 20 %)" in text
    )
    assert "Under a probe" not in text


def test_caption_names_the_parts_of_a_sum(tmp_path):
    """All of them, each with what differs from its defaults."""

    def text(name, parts):
        rows = {"supervised": [], "a": [{"method": {"name": "combined", "parts": parts}}]}
        return caption(collected(tmp_path / name, {}, rows=rows))

    parts = {"masked_image": {"weight": 1.0}}
    assert "learning rate 0.001, + masked_image)" in text("one", parts)
    parts["simclr"] = {"weight": 0.3}
    assert "learning rate 0.001, + masked_image, + simclr weight 0.3)" in text("weight", parts)
    parts["masked_image"] = {"ratio": 0.6}
    assert "+ masked_image ratio 0.6, + simclr weight 0.3)" in text("options", parts)


@pytest.fixture(scope="module")
def probed(tmp_path_factory):
    """Two rows and what a backbone alone hands on, fine-tuned and under both probes."""
    out = tmp_path_factory.mktemp("probed")
    rows = {"supervised": [], "masked_image": METHOD, "half": [{**METHOD[0], "scope": "backbone"}]}
    value = {"rows": rows, "fractions": [0.05, 1.0], "seeds": [0], "probes": [*SHARES], "matched": False}
    config = TableConfig.model_validate({**value, "data": {"source": "a.parquet", "level": "word"}})
    write_text(out / "config.yaml", dump_config(config))
    config = table.collect(out).config
    for number, (row, fraction, probe) in enumerate(product(rows, (0.05, 1.0), SHARES)):
        put_result(config, out, row, fraction, 0, predictions(SHARES[probe], number), probe)
    return table.collect(out)


def test_probes_are_parts_of_their_own(probed):
    text = render.markdown(probed)
    heads = [line for line in text.split("\n") if line.startswith("## ")]
    assert heads == ["## Full fine-tuning", "## Frozen encoder, linear probe", "## Frozen encoder, BiLSTM probe"]
    for part, share in zip(text.split("\n## ")[1:], SHARES.values(), strict=True):
        values = re.findall(r"^\| (?:supervised|masked)[^|]*\| \**(\d+\.\d)", part, re.MULTILINE)
        assert [float(value) for value in values[:2]] == pytest.approx([100 * share] * 2, abs=15)
    assert "Of half the backbone's frames are probed" in text
    assert caption(probed).count("Under a probe the encoder is frozen") == 1
    assert report.table(probed).count("<h3>") == 3
    one, both = pixels(pictures.curve(probed, "cer")), pixels(pictures.curve(probed))
    assert one.shape[1] > 2.5 * one.shape[0]
    assert both.shape[0] > 2.5 * one.shape[0], "a row of WAcc and CER for each probe"


def test_csv_is_long_and_exact(results):
    rows = list(csv.DictReader(io.StringIO(render.csv_text(results))))
    assert len(rows) == 2 * 2 * 3
    for row in rows:
        rate = results.summaries[row["row"], float(row["fraction"]), row["probe"]].rates[row["metric"]]
        assert float(row["mean"]) == rate.mean
        assert (float(row["low"]), float(row["high"])) == rate.interval
        assert (row["p"] == "") == (row["row"] == "supervised")
    cells = list(csv.DictReader(io.StringIO(render.cells_csv(results))))
    assert [row["state"] for row in cells] == ["done"] * 7 + ["missing"]


def test_latex_is_escaped_and_even(results):
    text = render.latex(results)
    body = text.split("\\toprule")[1].split("\\bottomrule")[0]
    rows = [line for line in body.split("\n") if line.endswith(r"\\")]
    assert {len(re.findall(r"(?<!\\)&", line)) for line in rows} == {2}
    assert r"masked\_image & \textbf{" in text
    assert not re.search(r"(?<!\\)[%#_]", text.split("\n", 1)[1])
    assert text.count("{") == text.count("}")
    assert not re.search("[±−–Δ×≥<]", text.replace("$<$", ""))
    short, notes = text.split("\\caption{")[1].split("\\label{tab:table}")
    assert len(short) < 300
    assert "Text normalisation" not in short
    assert "Text normalisation" in notes.split("\\end{tabular}")[1]


def test_latex_escapes_every_character_of_names(results, tmp_path):
    name = r"a<b>&c%d_e#f$g{h}i\j~k^l|m"
    made = replace(results, config=results.config.model_copy(update={"name": name}))
    data = made.config.data.model_copy(update={"source": f"{name}.parquet"})
    text = render.latex(replace(made, config=made.config.model_copy(update={"data": data})))
    escaped = r"a$<$b$>$\&c\%d\_e\#f\$g\{h\}i\textbackslash{}j\textasciitilde{}k\textasciicircum{}l\textbar{}m"
    assert text.count(escaped) == 2
    assert re.search(r"\\label\{tab:[\w-]+\}", text)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="LaTeX is not there")
def test_latex_compiles(results, probed, tmp_path):
    tables = [*(render.latex(found) for found in (results, probed))]
    name = "a<b>&c%d_e#f^g~h|i…"
    tables.append(render.latex(replace(results, config=results.config.model_copy(update={"name": name}))))
    body = "\n".join(tables)
    (tmp_path / "t.tex").write_text(
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    command = ["pdflatex", "-no-shell-escape", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "undefined" not in done.stdout.lower()


def test_lines_show_one_minus_wer_beside_wacc(tmp_path):
    """Inserted words cost nothing in WAcc: "a b" read as "a x y z b" is 100 %."""
    read = [("a b", "a x y z b")] * 5 + [("a b", "a b")] * 5
    items = [Prediction(str(i), f"p{i}", "", *texts, 1.0) for i, texts in enumerate(read)]
    value = {"data": {"source": "a.parquet", "level": "line"}, "rows": {"supervised": []}, "fractions": [1.0]}
    value["seeds"] = [0]
    config = TableConfig.model_validate(value)
    write_text(tmp_path / "config.yaml", dump_config(config))
    put_result(table.collect(tmp_path).config, tmp_path, "supervised", 1.0, 0, items)
    found = table.collect(tmp_path)
    text = render.markdown(found)
    assert text.index("| WAcc [%]") < text.index("| 1 − WER [%]") < text.index("| CER [%]")
    assert "| supervised | 100.0 [72.2, 100.0] |" in text
    assert re.search(r"1 − WER.*\n.*\n\| supervised \| 25\.0 \[", text)
    rows = {row["metric"]: row for row in csv.DictReader(io.StringIO(render.csv_text(found)))}
    assert float(rows["1-wer"]["mean"]) == 1 - float(rows["wer"]["mean"]) == 0.25
    assert float(rows["1-wer"]["low"]) == 1 - float(rows["wer"]["high"])
    assert score(items, "line")["1-wer"] == 0.25
    assert "1-wer" not in score(items, "word")
    assert "1 − WER does" in caption(found)


def test_few_units_come_with_a_warning(tmp_path):
    cells = {("supervised", 0.05, 0): predictions(0.4, 1, pages=8), ("masked", 0.05, 0): predictions(0.6, 2, pages=8)}
    text = caption(collected(tmp_path, cells, [0]))
    assert "only 8 pages, fewer than 10" in text


def test_all_pairs_are_written_on_request(tmp_path):
    rows = {"supervised": [], "a": METHOD, "b": METHOD * 2}
    cells = {(row, 0.1, 0): predictions(0.3 + 0.2 * place, place) for place, row in enumerate(rows)}
    found = collected(tmp_path, cells, [0], rows, [0.1])
    render.write(found)
    assert not (tmp_path / "pairs.md").exists()
    render.write(replace(found, config=found.config.model_copy(update={"pairs": True})))
    text = (tmp_path / "pairs.md").read_text(encoding="utf-8")
    assert text.count("| b | ") == 3
    written = list(csv.DictReader(io.StringIO((tmp_path / "pairs.csv").read_text())))
    assert len(written) == 3 * 3
    assert all(float(row["p"]) <= float(row["p_holm"]) for row in written)


@pytest.mark.parametrize("metric", ["wacc", "cer", "wer"])
def test_curve_shows_every_row_in_its_colour(results, metric):
    image = pixels(pictures.curve(results, metric)).astype(int)
    blue = (abs(image - [0xB2, 0x72, 0x00]).sum(2) < 30).sum()  # OpenCV has blue first
    black = (image.sum(2) < 30).sum()
    assert blue > 300
    assert black > 300


def test_axes_begin_at_zero_and_cer_stands_beside_wacc(results, monkeypatch):
    figures = []
    monkeypatch.setattr(pictures, "_png", lambda figure: figures.append(figure) or b"")
    pictures.curve(results)
    places = figures[0].axes
    assert [place.get_ylabel() for place in places] == ["word accuracy [%]", "character error rate [%]"]
    assert all(place.get_ylim()[0] == 0 for place in places)


def test_one_fraction_has_bars_that_do_not_lie_on_each_other(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(pictures, "_png", lambda figure: figures.append(figure) or b"")
    rows = {"supervised": [], **{f"row_{i}": METHOD * (i + 1) for i in range(9)}}
    cells = {(row, 0.1, 0): predictions(0.4, place) for place, row in enumerate(rows)}
    pictures.curve(collected(tmp_path, cells, [0], rows, [0.1]))
    for place in figures[0].axes:
        spans = sorted((bar.get_y(), bar.get_y() + bar.get_height()) for bar in place.patches)
        assert len(spans) == 10
        assert all(upper <= lower for (_, upper), (lower, _) in pairwise(spans))
        assert [text.get_text() for text in place.get_yticklabels()] == list(rows)
        assert place.get_xlim()[0] == 0


def test_lines_of_many_rows_do_not_lie_on_each_other(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(pictures, "_png", lambda figure: figures.append(figure) or b"")
    rows = {"supervised": [], **{f"row_{i}": METHOD * (i + 1) for i in range(12)}}
    cells = {(row, at, 0): predictions(0.4, 0) for row in rows for at in (0.1, 0.15)}
    pictures.curve(collected(tmp_path, cells, [0], rows, [0.1, 0.15]))
    points = sorted(float(x) for line in figures[0].axes[0].containers for x in line[0].get_xdata())
    assert len({round(x, 6) for x in points}) == 26
    assert sum(x < 0.1225 for x in points) == 13, "neighbouring fractions stay apart"


def test_curve_of_nothing_is_a_picture(tmp_path):
    empty = collected(tmp_path, {})
    assert pixels(pictures.curve(empty)).size
    assert "6 of 6 cells not run yet" in render.markdown(empty)


def test_sheets_are_pictures_whatever_the_text():
    images = [cv2.imdecode(np.frombuffer(draw(word), np.uint8), 0) for word in WORDS[:4]]
    one = pixels(pictures.sheet(images[:1], ["$x_$"]))
    four = pixels(pictures.sheet(images, ["a" * 60, "", "<b>", "é"], columns=2))
    assert four.shape[0] > one.shape[0]
    assert pixels(pictures.sheet([])).size
    colour = np.zeros((30, 90, 3), np.uint8)
    colour[..., 0] = 255
    assert (pixels(pictures.sheet([colour])) == [0, 0, 255]).all(2).mean() > 0.1
    right, wrong = (pixels(pictures.readings(images, WORDS[:4], read)) for read in (WORDS[:4], ["x"] * 4))

    def red(image):
        return (image[..., 2].astype(int) - image[..., 1] > 120).sum()

    assert red(right) == 0
    assert red(wrong) > 50


class Page(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def test_report_is_one_safe_file(results, tmp_path):
    evil = '<script>alert("x")</script> & "'
    image = np.zeros((20, 50), np.uint8)
    sections = [
        report.Section(evil, [report.text(f"one {evil}\n\ntwo"), report.code(evil), report.values([(evil, evil)])]),
        report.Section("Table", [report.table(results), report.picture(pictures.curve(results), evil)]),
        report.predictions_section("Read", [image], [Prediction("1", "", "", "mer " + evil, "mar " + evil, 0.7)], evil),
    ]
    report.write(tmp_path / "report.html", evil, sections)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    names = [tag for tag, _ in page.tags]
    assert "script" not in names
    assert not {"link", "iframe", "object"} & set(names)
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "href"]
        if tag == "img":
            assert attributes["src"].startswith("data:image/png;base64,")
            assert attributes["alt"]
    assert names.count("img") == 2
    assert names.count("table") == 1 + 3
    assert "url(" not in text
    assert "@import" not in text
    # Title twice, heading, two paragraphs… all of it as text.
    assert page.text.count('alert("x")') >= 9
    assert "<mark>e</mark>" in text
    assert "<mark>a</mark>" in text
