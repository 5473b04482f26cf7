"""What somebody corrected is never overwritten, whatever is repeated, and further formats take it over."""

import json
import multiprocessing
import os
import signal

import numpy as np
import pytest
from PIL import Image, ImageDraw

from htr_ssl import plugins
from htr_ssl.layout import ledger
from htr_ssl.layout.document import Line
from htr_ssl.pages.one_page import Options
from htr_ssl.pages.transcribe import transcribe

FORMATS = plugins.names("htr_ssl.pages.formats")
READABLE = [name for name in FORMATS if hasattr(plugins.load("htr_ssl.pages.formats", name), "texts")]
ENDING = {name: plugins.load("htr_ssl.pages.formats", name).EXTENSION for name in FORMATS}


def draw(path, size=(400, 300)):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", size, 250)
    for row in range(3):
        for x in range(40, size[0] - 60, 14):
            ImageDraw.Draw(image).line([x, 60 + 70 * row, x + 8, 80 + 70 * row], fill=20, width=4)
    image.save(path)
    return path


def reading(name):
    return lambda images: [(f"{name} {number}", 0.9) for number, _ in enumerate(images)]


def run(folder, formats, name="old", **options):
    options = {"reader": name, "out": folder / "out", **options}
    inputs = options.pop("inputs", [folder / "in"])
    read_lines = options.pop("read_lines", reading(name))
    return transcribe(read_lines, inputs, formats=formats, **options)


def contents(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and ".htr-ssl" not in str(path.relative_to(folder))]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def edit(path):
    """Changes one letter, or a byte where there is none to change."""
    data = path.read_bytes()
    changed = data.replace(b"old 1", b"my 1!") if b"old 1" in data else data + b"\n"
    path.write_bytes(changed)
    return changed


def other_finder(image):
    height, width = image.shape[:2]
    return [Line("x", np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1.0]]))]


WAYS = ["same", "other model", "further format", "other finder", "after a kill", "other order"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", FORMATS)
def test_an_edited_file_survives(tmp_path, monkeypatch, name, way):
    for page in "ab":
        draw(tmp_path / "in" / f"{page}.png")
    run(tmp_path, [name])
    path = tmp_path / "out" / f"a{ENDING[name]}"
    mine = edit(path)
    if way == "same":
        outcome = run(tmp_path, [name])
    elif way == "other model":
        outcome = run(tmp_path, [name], "new")
    elif way == "further format":
        outcome = run(tmp_path, [name, "json" if name == "txt" else "txt"])
    elif way == "other finder":
        outcome = run(tmp_path, [name], options=Options("found", 0.5))
    elif way == "after a kill":
        kill_within(tmp_path, monkeypatch, name)
        outcome = run(tmp_path, [name], "new")
    else:
        outcome = run(tmp_path, [name], inputs=[tmp_path / "in" / "b.png", tmp_path / "in" / "a.png"])
    assert path.read_bytes() == mine
    assert path in [kept for kept, _ in outcome.kept]
    assert not outcome.failed
    beside = [other for kept, other in outcome.kept if kept == path and other is not None]
    if way in ("other model", "after a kill"):
        assert [other.name for other in beside] == [f"a.new{ENDING[name]}"]
        assert beside[0].is_file()
        again = run(tmp_path, [name], "new")
        assert len(again.skipped) == 2
        third = run(tmp_path, [name], "third")
        assert [other for kept, other in third.kept if kept == path] == beside
    assert path.read_bytes() == mine
    run(tmp_path, [name], "fourth", overwrite=True)
    assert path.read_bytes() != mine


def kill_within(folder, monkeypatch, name):
    """A run that dies between writing its files and noting that they are written."""
    number = iter(range(100))
    plain = ledger.write_bytes

    def stop(path, data):
        plain(path, data)
        if next(number) == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        run(folder, [name], "new")
    monkeypatch.undo()


@pytest.mark.parametrize("name", READABLE)
def test_a_further_format_takes_the_corrected_text_without_reading_again(tmp_path, name):
    def refuse(images):
        raise AssertionError("read again")

    draw(tmp_path / "in" / "a.png")
    run(tmp_path, [name])
    path = tmp_path / "out" / f"a{ENDING[name]}"
    if name == "docx":
        import docx

        document = docx.Document(str(path))
        for paragraph in document.paragraphs:
            for part in paragraph.runs:
                if part.text == "1":
                    part.text = "Éins"
        document.save(str(path))
    else:
        text = path.read_text(encoding="utf-8")
        assert "1</span>" in text or "old 1" in text or 'CONTENT="1"' in text
        for old, new in (("old 1", "old Éins"), ('CONTENT="1"', 'CONTENT="Éins"'), ("1</span>", "Éins</span>")):
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    others = [other for other in READABLE if other != name]
    outcome = run(tmp_path, [name, *others], read_lines=refuse)
    assert [result.notes for result in outcome.results] == [[]]
    for other in others:
        module = plugins.load("htr_ssl.pages.formats", other)
        found = module.texts(tmp_path / "out" / f"a{ENDING[other]}")
        assert list(found.values() if isinstance(found, dict) else found) == ["old 0", "old Éins", "old 2"], other


def test_files_that_are_older_than_a_correction_are_named(tmp_path):
    for name in "ab":
        draw(tmp_path / "in" / f"{name}.png")
    assert run(tmp_path, ["txt", "pdf", "alto"]).older == []
    mine, out = tmp_path / "out" / "a.alto.xml", tmp_path / "out"
    for path in out.glob("*.*"):
        os.utime(path, ns=(10**18, 10**18))
    edit(mine)
    assert run(tmp_path, ["txt", "pdf", "alto"]).older == [out / "a.pdf", out / "a.txt"]
    assert run(tmp_path, ["pdf", "alto"]).older == [out / "a.pdf"]
    edit(out / "a.txt")
    assert run(tmp_path, ["txt", "pdf", "alto"]).older == [out / "a.pdf"]


def test_a_text_with_other_lines_is_kept_and_said(tmp_path):
    draw(tmp_path / "in" / "a.png")
    run(tmp_path, ["txt"])
    (tmp_path / "out" / "a.txt").write_text("one line\n")
    outcome = run(tmp_path, ["txt", "json"])
    assert "it has 1 lines, the page 3" in outcome.results[0].notes[0]
    assert (tmp_path / "out" / "a.txt").read_text() == "one line\n"


def test_a_file_that_was_there_before_is_the_users(tmp_path):
    draw(tmp_path / "in" / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("by hand")
    outcome = run(tmp_path, ["txt"])
    assert outcome.kept == [(tmp_path / "out" / "a.txt", tmp_path / "out" / "a.new.txt")]
    assert (tmp_path / "out" / "a.txt").read_text() == "by hand"


def test_another_page_of_the_same_name_takes_another_name(tmp_path):
    for folder in ("one", "two"):
        draw(tmp_path / folder / "a.png")
    run(tmp_path, ["txt"], inputs=[tmp_path / "one"])
    before = contents(tmp_path / "out")
    run(tmp_path, ["txt"], "new", inputs=[tmp_path / "two"])
    after = contents(tmp_path / "out")
    assert {name: after[name] for name in before} == before
    assert sorted(after) == ["a-2.txt", "a.txt"]
    assert len(run(tmp_path, ["txt"], "new", inputs=[tmp_path / "two", tmp_path / "one"]).skipped) == 1


def test_names_do_not_depend_on_the_order_of_the_pages(tmp_path):
    for name in ("x/two/p.png", "y/two/p.png", "p.png"):
        draw(tmp_path / name)
    inputs = [tmp_path / "x" / "two", tmp_path / "y" / "two", tmp_path / "p.png"]
    run(tmp_path, ["json"], inputs=inputs)
    run(tmp_path, ["json"], inputs=inputs[::-1], out=tmp_path / "other")
    first, second = ({n: json.loads(d)["image"] for n, d in contents(tmp_path / o).items()} for o in ("out", "other"))
    assert first == second


def test_a_folder_moved_with_its_pages_is_still_done(tmp_path):
    draw(tmp_path / "here" / "in" / "a.png")
    run(tmp_path / "here", ["txt"])
    os.rename(tmp_path / "here", tmp_path / "there")
    assert len(run(tmp_path / "there", ["txt"]).skipped) == 1


def test_a_page_that_is_gone_is_named_and_its_files_stay(tmp_path):
    for name in ("in/a.png", "in/sub/b.png", "other/c.png"):
        draw(tmp_path / name)
    run(tmp_path, ["txt"], inputs=[tmp_path / "in", tmp_path / "other"])
    assert run(tmp_path, ["txt"]).gone == []  # nobody asked for the other folder
    before = contents(tmp_path / "out")
    os.remove(tmp_path / "in/sub/b.png")
    outcome = run(tmp_path, ["txt"])
    assert [name.as_posix() for name in outcome.gone] == ["sub/b"]
    assert contents(tmp_path / "out") == before


def test_a_page_that_cannot_be_read_any_more_is_a_failure_and_not_gone(tmp_path):
    path = tmp_path / "in" / "book.tif"
    path.parent.mkdir()
    pages = [Image.open(draw(tmp_path / f"{number}.png")) for number in range(3)]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    draw(tmp_path / "in" / "a.png")
    run(tmp_path, ["txt"])
    pages[0].save(path, save_all=True, append_images=pages[1:2])
    assert [name.as_posix() for name in run(tmp_path, ["txt"]).gone] == ["book#003"]
    path.write_bytes(b"II*\0 nothing")
    outcome = run(tmp_path, ["txt"])
    assert outcome.gone == []
    assert [failed.name for failed, _ in outcome.failed] == ["book.tif"]


def test_a_copied_image_is_the_same_and_a_new_scan_is_read(tmp_path):
    image = draw(tmp_path / "in" / "a.png")
    run(tmp_path, ["txt"])
    os.utime(image, ns=(0, 1))
    assert len(run(tmp_path, ["txt"]).skipped) == 1
    draw(image, (420, 300))
    os.utime(image, ns=(0, 1))
    assert len(run(tmp_path, ["txt"]).done) == 1


def work(folder):
    run(folder, ["txt", "alto", "page"], jobs=2)


def test_killed_at_any_moment_a_restart_gives_the_same(tmp_path):
    """Kill -9 at six moments; ../benchmarks/reliability has a hundred."""
    for page in range(4):
        draw(tmp_path / "in" / f"{page}.png")
    Image.open(tmp_path / "in" / "0.png").save(
        tmp_path / "in" / "t.tif", save_all=True, append_images=[Image.open(tmp_path / "in" / "1.png")]
    )
    run(tmp_path, ["txt", "alto", "page"], out=tmp_path / "whole")
    context = multiprocessing.get_context("fork")
    for moment in range(6):
        process = context.Process(target=work, args=(tmp_path,))
        process.start()
        process.join(0.05 + 0.09 * moment)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
        process.join()
    outcome = run(tmp_path, ["txt", "alto", "page"])
    assert not outcome.kept
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("moment", range(4))
def test_stopped_before_any_write_a_restart_gives_the_same(tmp_path, monkeypatch, moment):
    draw(tmp_path / "in" / "a.png", (411, 307))
    formats = ["txt", "alto", "page", "json"]
    run(tmp_path, formats, out=tmp_path / "whole")
    number = iter(range(100))
    plain = ledger.write_bytes

    def stop(path, data):
        if next(number) == moment:
            raise KeyboardInterrupt
        plain(path, data)

    monkeypatch.setattr(ledger, "write_bytes", stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, formats)
    monkeypatch.undo()
    assert not run(tmp_path, formats).kept
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
