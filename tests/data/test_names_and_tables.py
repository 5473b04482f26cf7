"""Every label on its own image: names with dots, accents and marks, and tables of any delimiter and quoting."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from htr_ssl.data import importing
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError
from htr_ssl.partners import Images, pair


def image(path, tone=200):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((20, 60), tone, np.uint8)).save(path)
    return path


def texts(root):
    samples = read(root)
    return {
        name: text for name, text in zip(samples.column("id"), samples.column("text"), strict=True) if text
    }, samples


@pytest.mark.parametrize(
    ("images", "labels", "expected"),
    [
        (["1858.png", "1858.03.14.png"], ["1858"], {"1858.png": "1858"}),
        (["1858.03.14.png"], ["1858"], {}),
        (["a.b.c.png", "a.b.png", "a.png"], ["a.b", "a.b.c"], {"a.b.png": "a.b", "a.b.c.png": "a.b.c"}),
        (["x.bin.png"], ["x"], {"x.bin.png": "x"}),
        (["x.bin.png", "x.png"], ["x"], {"x.png": "x"}),
        (["x.nrm.png", "x.bin.png"], ["x"], {"x.nrm.png": "x"}),
        (["p.1.bin.nrm.png"], ["p.1"], {"p.1.bin.nrm.png": "p.1"}),
        (["x.png"], ["x.png"], {"x.png": "x.png"}),
        (["x.jpg"], ["x.png"], {"x.jpg": "x.png"}),
        (["A.PNG"], ["a"], {"A.PNG": "a"}),
        (["Zoe\u0308.png"], ["Zo\u00eb"], {"Zoe\u0308.png": "Zo\u00eb"}),
        (["a 1.png", "a 10.png"], ["a 1"], {"a 1.png": "a 1"}),
        (["x.png", "x.jpg"], ["x"], {}),
        (["a/x.png", "b/x.png"], ["a/x"], {"a/x.png": "a/x"}),
    ],
)
def test_a_text_belongs_to_its_own_image(tmp_path, images, labels, expected):
    for name in images:
        image(tmp_path / name)
    for name in labels:
        (tmp_path / f"{name}.gt.txt").write_text(name, encoding="utf-8")
    found, samples = texts(tmp_path)
    assert found == expected
    for name in set(labels) - set(expected.values()):
        assert any(name.split("/")[-1] in problem for problem in samples.problems)


def test_nothing_is_used_twice(tmp_path):
    images = [tmp_path / name for name in ("a.png", "a.bin.png", "b.png")]
    labels = [tmp_path / name for name in ("a.gt.txt", "b.gt.txt", "b.bin.gt.txt")]
    found, _ = pair(labels, images, ".gt.txt")
    assert found == {images[0]: labels[0], images[2]: labels[1]}


def test_names_of_other_machines(tmp_path):
    inside = image(tmp_path / "scans" / "My Page.JPG")
    other = image(tmp_path / "scans" / "b.png")
    images, folder = Images(tmp_path), tmp_path / "xml"
    for name in (
        "My%20Page.JPG",
        "../scans/My Page.JPG",
        "scans/my page.jpg",
        r"C:\Users\me\scans\My Page.JPG",
        "file:///home/me/My%20Page.JPG",
        "https://example.org/iiif/My%20Page.JPG?size=max",
        "my page.tif",
    ):
        assert images.find(folder, name) == [inside], name
    assert images.find(folder, "/etc/hostname") == []
    assert images.find(folder, "../../../../etc/passwd") == []
    twin = image(tmp_path / "more" / "b.png")
    images = Images(tmp_path)
    assert set(images.find(folder, "B.png")) == {other, twin}
    assert images.find(folder, "more/B.png") == [twin]


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("heads", [True, False])
@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@pytest.mark.parametrize(
    "labels",
    [
        ["plain", "two words", "three"],
        ['"Ja," sagte er', "zweite", "dritte"],
        ['"open', "zweite", 'vierte" Zeile'],
        ["1858", "0012", "3.50"],
        ["nan", "NULL", "-1"],
        ["a ; b, c | d", "x", "y"],
    ],
)
def test_tables_written_without_quoting(tmp_path, delimiter, heads, suffix, labels):
    rows = [[f"{i}.png", text] for i, text in enumerate(labels)]
    for name, _ in rows:
        image(tmp_path / name)
    lines = [delimiter.join(row) for row in ([["file_name", "text"]] if heads else []) + rows]
    (tmp_path / f"labels.{suffix}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert texts(tmp_path)[0] == dict(rows)


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("quoting", [0, 1])  # where needed, everywhere
def test_tables_written_with_quoting(tmp_path, delimiter, quoting):
    import csv

    rows = [["0.png", 'he said "yes"; twice, | or\tmore'], ["1.png", '"quoted"'], ["2.png", "plain"]]
    for name, _ in rows:
        image(tmp_path / name)
    with open(tmp_path / "labels.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=delimiter, quoting=quoting).writerows([["image", "text"], *rows])
    assert texts(tmp_path)[0] == {name: " ".join(text.split()) for name, text in rows}


def test_paddle_and_unknown_lists(tmp_path):
    for name in ("train/w_1.png", "train/w_2.png"):
        image(tmp_path / name)
    (tmp_path / "rec_gt.txt").write_text('train/w_1.png\t"Ja\ntrain/w_2.png\t12\n')
    assert texts(tmp_path)[0] == {"train/w_1.png": '"Ja', "train/w_2.png": "12"}
    (tmp_path / "rec_gt.txt").rename(tmp_path / "gt.json")
    found, samples = texts(tmp_path)
    assert not found
    assert "gt.json" in samples.problems[0]


def test_numbers_and_wrong_labels_in_json(tmp_path):
    for i in range(5):
        image(tmp_path / f"{i}.png")
    values = [1858, 3.50, True, "\ud83d half", ["list"]]
    lines = [json.dumps({"file_name": f"{i}.png", "text": value}) for i, value in enumerate(values)]
    (tmp_path / "metadata.jsonl").write_text("\n".join([*lines, "{broken"]))
    found, samples = texts(tmp_path)
    assert found == {"0.png": "1858", "1.png": "3.5", "2.png": "true"}
    for named in ("3.png", "jsonl:5", "jsonl:6"):
        assert sum(named in problem for problem in samples.problems) == 1
    assert importing.write(samples, tmp_path.parent / f"{tmp_path.name}.parquet").labelled == 3


@pytest.mark.parametrize("name", ["a.xml", "labels.csv", "a.txt", "data.json", "more.zip"])
def test_what_seems_to_hold_labels_and_is_not_read_is_named(tmp_path, name):
    image(tmp_path / "a.png")
    (tmp_path / name).write_bytes(b"" if name == "a.xml" else b"nothing\twe know")
    if name == "a.xml":
        with pytest.raises(UserError, match=r"a\.xml"):
            read(tmp_path)
        assert len(read(tmp_path, "images")) == 1
    else:
        assert any(name in problem for problem in read(tmp_path).problems)
    (tmp_path / "README.txt").write_text("words")
    assert not any("README" in problem for problem in read(tmp_path, "images").problems)


def test_every_line_of_the_guide_names_a_test_that_is_there():
    root = Path(__file__).parents[2]
    guide = (root / "docs" / "bad-input.md").read_text(encoding="utf-8")
    rows = [line for line in guide.split("\n") if line.startswith("| ") and not line.startswith(("| input", "| ---"))]
    assert len(rows) > 50
    assert [row for row in rows if not re.search(r"`test_\w+`", row.rsplit(" | ", 1)[1])] == []
    named = set(re.findall(r"`(test_\w+)`", guide))
    code = "\n".join(path.read_text(encoding="utf-8") for path in (root / "tests").rglob("test_*.py"))
    assert not {name for name in named if f"def {name}(" not in code}


def test_several_lines_for_one_image_and_a_folder_called_test(tmp_path):
    for i in range(3):
        image(tmp_path / "Test" / f"{i}.png")
        (tmp_path / "Test" / f"{i}.gt.txt").write_text("one\n\ntwo\n" if i == 2 else "" if i else "one\r\n")
    samples = read(tmp_path)
    assert samples.column("text") == ["one", None, None]
    assert ["2 lines" in problem for problem in samples.problems] == [True]
    assert any("1.gt.txt: it is empty" in note for note in samples.notes)
    assert any("'test'" in note and "called" in note for note in samples.notes)
    assert not any("called" in note for note in read(tmp_path / "Test").notes)
