"""From files and folders to files in a folder, whatever is among them."""

import json
import os
import shutil
import unicodedata
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from htr_ssl.errors import UserError
from htr_ssl.layout.document import Line, Page
from htr_ssl.pages.formats import alto
from htr_ssl.pages.transcribe import transcribe


def read_lines(images):
    """Reads a line as its width, sure in proportion to its height."""
    return [(f"width {image.shape[1]}", min(image.shape[0] / 100, 1.0)) for image in images]


def draw(path, lines=3, size=(400, 300)):
    """A page with that many rows of letters."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size, 250)
    for row in range(lines):
        for x in range(40, size[0] - 60, 14):
            ImageDraw.Draw(image).line([x, 60 + 70 * row, x + 8, 80 + 70 * row], fill=20, width=4)
    image.save(path)
    return path


def boxes(*tops, size=(400, 300), image="p.png"):
    """A page whose lines are boxes of 100 px width."""
    corners = [np.array([[50.0, y], [150, y], [150, y + 30], [50, y + 30]]) for y in tops]
    lines = [Line(f"l{y}", box, box[[3, 2]], text="known") for y, box in zip(tops, corners, strict=True)]
    return Page(Path(image), *size, lines)


def names(folder):
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return sorted(path.as_posix() for path in paths if not path.parts[0].startswith(".htr-ssl"))


def test_image_is_segmented_and_written_in_every_format(tmp_path):
    image = draw(tmp_path / "in" / "p.png")
    outcome = transcribe(read_lines, [image], tmp_path / "out", ["txt", "json", "alto", "overlay"])
    assert (outcome.done, outcome.skipped, outcome.failed) == ([image], [], [])
    assert names(tmp_path / "out") == ["p.alto.xml", "p.json", "p.overlay.jpg", "p.txt"]
    texts = (tmp_path / "out" / "p.txt").read_text().splitlines()
    assert len(texts) == 3
    assert all(text.startswith("width ") for text in texts)
    stored = json.loads((tmp_path / "out" / "p.json").read_text())
    assert (stored["width"], stored["height"]) == (400, 300)
    tops = [min(y for _, y in line["polygon"]) for line in stored["lines"]]
    assert tops == sorted(tops)


def test_lines_come_from_the_xml_beside_an_image(tmp_path):
    image = draw(tmp_path / "in" / "p.png")
    alto.write(boxes(10, 200), tmp_path / "in" / "p.xml")
    outcome = transcribe(read_lines, [tmp_path / "in"], tmp_path / "out", ["txt", "json"])
    assert outcome.done == [image]
    assert names(tmp_path / "out") == ["p.json", "p.txt"]
    stored = json.loads((tmp_path / "out" / "p.json").read_text())["lines"]
    assert [line["id"] for line in stored] == ["l10", "l200"]
    assert all(line["text"].startswith("width ") for line in stored)


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_pages_in_archives(tmp_path, suffix):
    """Pages, XML and multi-page files in an archive read as in its folder; what is no page is said."""
    draw(tmp_path / "in" / "a" / "p.png")
    alto.write(boxes(10, 200), tmp_path / "in" / "a" / "p.xml")
    frames = [Image.open(draw(tmp_path / f"{number}.png", number)) for number in (1, 2)]
    frames[0].save(tmp_path / "in" / "book.tif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "in" / "book.pdf", save_all=True, append_images=frames[1:])
    (tmp_path / "in" / "more.zip").write_bytes(b"PK")
    packed = Path(shutil.make_archive(str(tmp_path / "x"), {"tar.gz": "gztar"}.get(suffix, suffix), tmp_path / "in"))
    assert packed.name == f"x.{suffix}"
    (tmp_path / "damaged.zip").write_bytes(b"PK")
    plain = transcribe(read_lines, [tmp_path / "in"], tmp_path / "plain", ["txt", "page"], summary=True)
    for _ in range(2):
        outcome = transcribe(
            read_lines, [packed, tmp_path / "damaged.zip"], tmp_path / "out", ["txt", "page"], summary=True
        )
        assert [path for path, _ in outcome.failed] == [tmp_path / "damaged.zip"]
        assert len(outcome.done) + len(outcome.skipped) == len(plain.done) == 5
        assert [path.name for path in outcome.ignored] == ["more.zip"]
    assert len(outcome.skipped) == 5
    texts = {path.relative_to(tmp_path / "plain"): path.read_bytes() for path in (tmp_path / "plain").rglob("*.txt")}
    texts.pop(Path("summary.txt"))
    assert {path: (tmp_path / "out" / path).read_bytes() for path in texts} == texts
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["in", "out", "plain"]


def test_xml_alone_names_its_image_and_a_glob_names_both(tmp_path):
    image = draw(tmp_path / "in" / "p.png")
    alto.write(boxes(10), tmp_path / "in" / "other.xml")
    for number, inputs in enumerate(([tmp_path / "in" / "other.xml"], list((tmp_path / "in").iterdir()))):
        out = tmp_path / f"out{number}"
        outcome = transcribe(read_lines, inputs, out, ["txt"])
        assert not outcome.failed
        assert [path.read_text().count("\n") for path in out.glob("*.txt")] == [1]
    assert outcome.done == [image]


def test_transkribus_folders(tmp_path):
    draw(tmp_path / "in" / "p.png")
    (tmp_path / "in" / "page").mkdir()
    alto.write(boxes(10), tmp_path / "in" / "page" / "p.xml")
    transcribe(read_lines, [tmp_path / "in"], tmp_path / "out", ["txt"])
    assert names(tmp_path / "out") == ["p.txt"]
    assert (tmp_path / "out" / "p.txt").read_text().count("\n") == 1


def test_lines_of_an_xml_for_a_larger_copy_are_scaled(tmp_path):
    draw(tmp_path / "in" / "p.png")
    alto.write(boxes(20, size=(800, 600)), tmp_path / "in" / "p.xml")
    transcribe(read_lines, [tmp_path / "in"], tmp_path / "out", ["json"])
    stored = json.loads((tmp_path / "out" / "p.json").read_text())
    assert (stored["width"], stored["height"]) == (400, 300)
    assert stored["lines"][0]["polygon"] == [[25, 10], [75, 10], [75, 25], [25, 25]]
    assert stored["lines"][0]["baseline"] == [[25, 25], [75, 25]]


def test_xml_of_another_image_is_a_failure(tmp_path):
    draw(tmp_path / "in" / "p.png")
    alto.write(boxes(20, size=(300, 400)), tmp_path / "in" / "p.xml")
    outcome = transcribe(read_lines, [tmp_path / "in"], tmp_path / "out", ["txt"])
    assert "300 x 400" in outcome.failed[0][1]


def test_a_second_run_skips_what_is_newer_than_its_sources(tmp_path):
    first, second = draw(tmp_path / "in" / "a.png"), draw(tmp_path / "in" / "b.png")
    alto.write(boxes(10), tmp_path / "in" / "b.xml")

    def run(*formats):
        outcome = transcribe(read_lines, [tmp_path / "in"], tmp_path / "out", formats)
        return outcome.done, outcome.skipped

    assert run("txt") == ([first, second], [])
    assert run("txt") == ([], [first, second])
    assert run("txt", "json") == ([first, second], [])
    (tmp_path / "out" / "a.json").unlink()
    assert run("txt", "json") == ([first], [second])
    later = (tmp_path / "out" / "b.txt").stat().st_mtime + 10
    os.utime(tmp_path / "in" / "b.xml", (later, later))
    assert run("txt")[0] == [second]
    os.utime(tmp_path / "in" / "b.xml", (later - 100, later - 100))
    os.utime(first, (later, later))
    assert run("txt") == ([first], [second])


def test_another_reader_makes_all_pages_anew_and_goes_on_after_a_stop(tmp_path):
    pages = [draw(tmp_path / "in" / f"{name}.png") for name in "ab"]
    options = {"out": tmp_path / "out", "formats": ["txt"]}
    assert len(transcribe(read_lines, pages, reader="old", **options).done) == 2
    assert len(transcribe(read_lines, pages, reader="old", **options).skipped) == 2

    def stopped(images):
        if (tmp_path / "out" / "a.txt").read_text().startswith("new"):
            raise KeyboardInterrupt
        return [("new", 1.0)] * len(images)

    with pytest.raises(KeyboardInterrupt):
        transcribe(stopped, pages, reader="new", **options)
    outcome = transcribe(lambda images: [("new", 1.0)] * len(images), pages, reader="new", **options)
    assert (len(outcome.skipped), len(outcome.done)) == (1, 1)
    assert all((tmp_path / "out" / f"{name}.txt").read_text().startswith("new") for name in "ab")


def test_failing_pages_are_named_and_the_others_done(tmp_path):
    good = draw(tmp_path / "in" / "z.png")
    (tmp_path / "in" / "broken.jpg").write_bytes(b"no image")
    draw(tmp_path / "in" / "cut.png")
    (tmp_path / "in" / "cut.xml").write_text('<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Layout>')
    draw(tmp_path / "in" / "empty.png")
    (tmp_path / "in" / "empty.xml").write_text("")
    (tmp_path / "in" / "lonely.xml").write_text('<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#"><Layout>')
    seen = []
    outcome = transcribe(
        read_lines, [tmp_path / "in"], tmp_path / "out", ["txt"], progress=lambda *state: seen.append(state)
    )
    assert outcome.done == [good]
    assert sorted(path.name for path, _ in outcome.failed) == ["broken.jpg", "cut.png", "empty.png", "lonely.xml"]
    for path, message in outcome.failed:
        assert path.stem in message
    assert names(tmp_path / "out") == ["z.txt"]
    assert [done for done, _, _ in seen] == [1, 2, 3, 4, 5]
    assert {total for _, total, _ in seen} == {5}


def test_a_reader_that_fails_on_one_page_does_not_stop_the_run(tmp_path):
    draw(tmp_path / "in" / "a.png", size=(500, 300))
    good = draw(tmp_path / "in" / "b.png")

    def picky(images):
        if max(image.shape[1] for image in images) > 400:
            raise RuntimeError("out of memory")
        return read_lines(images)

    for name in "ab":
        box = boxes(10, size=(500 if name == "a" else 400, 300))
        box.lines[0].polygon[1:3, 0] = 480 if name == "a" else 150
        alto.write(box, tmp_path / "in" / f"{name}.xml")
    outcome = transcribe(picky, [tmp_path / "in"], tmp_path / "out", ["txt"])
    assert outcome.done == [good]
    assert "out of memory" in outcome.failed[0][1]


def test_blank_page_gives_an_empty_text_and_a_warning(tmp_path):
    draw(tmp_path / "in" / "blank.png", lines=0)
    with pytest.warns(UserWarning, match=r"blank\.png: no line"):
        outcome = transcribe(read_lines, [tmp_path / "in"], tmp_path / "out", ["txt"])
    assert not outcome.failed
    assert (tmp_path / "out" / "blank.txt").read_text() == ""


def test_names_mirror_folders_and_never_clash(tmp_path):
    for name in ("a.png", "a.bmp", "sub/A.png", "sub/b.c.png", "Çà 文/ё.png", "p2.png", "p10.png"):
        draw(tmp_path / "one" / name)
    draw(tmp_path / "two" / "p2.png")
    draw(tmp_path / "three" / "two" / "p2.png")
    inputs = [tmp_path / "one", tmp_path / "two", tmp_path / "three" / "two", tmp_path / "one" / "p2.png"]
    outcome = transcribe(read_lines, inputs, tmp_path / "out", ["txt"])
    assert len(outcome.done) == 9
    assert not outcome.failed
    assert [path.name for path in outcome.done if path.parent == tmp_path / "one"] == [
        "a.bmp",
        "a.png",
        "p2.png",
        "p10.png",
    ]
    plain = ["a.bmp.txt", "a.png.txt", "sub/A.txt", "sub/b.c.txt", "Çà 文/ё.txt", "p10.txt"]
    clashing = ["one/p2.png.txt", "two/p2.png.txt", "two/p2.png-2.txt"]
    assert names(tmp_path / "out") == sorted([*plain, *clashing])
    again = transcribe(read_lines, inputs, tmp_path / "out", ["txt"])
    assert len(again.skipped) == 9


def test_names_that_differ_in_the_form_of_their_accents_do_not_clash(tmp_path):
    for folder, form in (("one", "NFC"), ("two", "NFD")):
        draw(tmp_path / folder / unicodedata.normalize(form, "É.png"))
    transcribe(read_lines, [tmp_path / "one", tmp_path / "two"], tmp_path / "out", ["txt"])
    assert len({unicodedata.normalize("NFC", name) for name in names(tmp_path / "out")}) == 2


@pytest.mark.parametrize("out", ["file", "file/below"])
def test_a_file_in_place_of_the_output_folder_is_refused_before_any_reading(tmp_path, out):
    image = draw(tmp_path / "in" / "p.png")
    (tmp_path / "file").write_text("by hand")

    def refuse(images):
        raise AssertionError("read")

    with pytest.raises(UserError, match="file: this is a file"):
        transcribe(refuse, [image], tmp_path / out, ["txt"])
    assert (tmp_path / "file").read_text() == "by hand"


def test_outputs_inside_the_input_folder_are_no_input(tmp_path):
    image = draw(tmp_path / "in" / "p.png")
    for _ in range(2):
        outcome = transcribe(read_lines, [tmp_path / "in"], tmp_path / "in" / "out", ["alto", "overlay"])
    assert (outcome.skipped, outcome.done, outcome.failed) == ([image], [], [])


def test_outputs_of_an_earlier_run_are_no_input(tmp_path):
    draw(tmp_path / "in" / "a.png")
    transcribe(read_lines, [tmp_path / "in"], tmp_path / "in" / "first", ["overlay"], reader="old")
    outcome = transcribe(read_lines, [tmp_path / "in"], tmp_path / "second", ["txt"], reader="new")
    assert outcome.done == [tmp_path / "in" / "a.png"]


@pytest.mark.parametrize("given", ["in", "in/p.png"])
def test_outputs_among_the_pages_are_refused(tmp_path, given):
    draw(tmp_path / "in" / "p.png")
    (tmp_path / "in" / "p.txt").write_text("by hand")
    with pytest.raises(UserError, match="folder of its own"):
        transcribe(read_lines, [tmp_path / given], tmp_path / "in", ["txt"])
    assert (tmp_path / "in" / "p.txt").read_text() == "by hand"


def test_wrong_requests_are_refused_before_any_work(tmp_path):
    image = draw(tmp_path / "in" / "p.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "mets.xml").write_text("<mets/>")
    (tmp_path / "note.txt").write_text("x")
    for inputs, formats, segmenter, message in [
        ([image], ["txt", "jsn"], "projection", "json"),
        ([image], ["txt"], "projecton", "projection"),
        ([image], [], "projection", "formats"),
        ([tmp_path / "empty"], ["txt"], "projection", "no page"),
        ([tmp_path / "note.txt"], ["txt"], "projection", "no page"),
        ([], ["txt"], "projection", "no page"),
        ([image, tmp_path / "gone.png"], ["txt"], "projection", r"gone\.png"),
    ]:
        with pytest.raises(UserError, match=message):
            transcribe(read_lines, inputs, tmp_path / "out", formats, segmenter)
    assert not (tmp_path / "out").exists()


def test_an_unsuitable_file_among_pages_is_a_failure_only_if_it_was_named(tmp_path):
    image = draw(tmp_path / "in" / "p.png")
    note = tmp_path / "in" / "note.txt"
    note.write_text("x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not transcribe(read_lines, [tmp_path / "in"], tmp_path / "a", ["txt"]).failed
        outcome = transcribe(read_lines, [image, note], tmp_path / "b", ["txt"])
    assert outcome.done == [image]
    assert [path for path, _ in outcome.failed] == [note]
