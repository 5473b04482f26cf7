"""From scans to labels without a tool between: what `transcribe` wrote and somebody corrected is training data."""

import json
import re
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from htr_ssl import plugins
from htr_ssl.cli import app
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError
from htr_ssl.handwriting.page import page
from htr_ssl.layout.crop import crop
from htr_ssl.layout.document import Glyph, Line, Page, Word
from htr_ssl.pages.formats import json as stored
from htr_ssl.pages.transcribe import transcribe

FORMATS = plugins.names("htr_ssl.pages.formats")
READABLE = [name for name in FORMATS if hasattr(plugins.load("htr_ssl.pages.formats", name), "texts")]
ENDING = {name: plugins.load("htr_ssl.pages.formats", name).EXTENSION for name in FORMATS}


def reading(word="old"):
    return lambda images: [(f"{word} {number}", 0.9) for number, _ in enumerate(images)]


def draw(path, rows=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("L", (400, 100 + 70 * rows), 250)
    for row in range(rows):
        for x in range(40, 340, 14):
            ImageDraw.Draw(image).line([x, 60 + 70 * row, x + 8, 80 + 70 * row], fill=20, width=4)
    image.save(path)


def run(folder, formats=("txt",), word="old", **options):
    return transcribe(
        reading(word),
        [folder / "scans"],
        folder / "text",
        formats,
        options.pop("segmenter", "projection"),
        reader=word,
        **options,
    )


@pytest.fixture
def archive(tmp_path):
    for name in ("a", "b", "box/c"):
        draw(tmp_path / f"scans/{name}.png")
    run(tmp_path)
    return tmp_path


def texts(samples):
    return dict(zip(samples.column("id"), samples.column("text"), strict=True))


def test_only_corrected_pages_have_labels(archive):
    path = archive / "text/a.txt"
    path.write_text(path.read_text().replace("old 1", "né 1"), encoding="utf-8")
    samples = read(archive / "text")
    assert samples.facts["format"] == "transcribed"
    found = texts(samples)
    assert len(found) == 9
    assert [text for name, text in found.items() if name.startswith("a/")] == ["old 0", "né 1", "old 2"]
    assert {text for name, text in found.items() if not name.startswith("a/")} == {None}
    assert samples.column("page") == ["a"] * 3 + ["b"] * 3 + ["box/c"] * 3
    assert any("1 of 3 pages were corrected" in note for note in samples.notes)


def test_the_images_are_those_that_were_read(archive):
    seen = []
    transcribe(
        lambda images: seen.extend(images) or [("x", 0.9)] * len(images),
        [archive / "scans/a.png"],
        archive / "again",
        ["txt"],
    )
    samples = read(archive / "again")
    entry = json.loads((archive / "again/.htr-ssl/pages/a.json").read_text(encoding="utf-8"))
    lines = stored.read(entry["page"].encode(), archive / "scans/a.png").lines
    image = np.asarray(Image.open(archive / "scans/a.png"))
    for place, line in enumerate(lines):
        assert np.array_equal(np.asarray(samples[place].load()), crop(image, line))


def test_a_page_is_read_without_the_places_of_its_words(archive):
    """Of thousands of pages they would be most of the time and memory."""
    words = [
        Word('"words": [', np.zeros((4, 2)), 0.5, [Glyph("]}", np.zeros((4, 2)), 0.5)]),
        Word("a", np.ones((4, 2)), None),
    ]
    lines = [Line(f"l{number}", np.ones((4, 2)), text='"words": []}, {', words=words[:number]) for number in range(3)]
    data = stored.render(Page(archive / "scans/a.png", 10, 10, lines), archive)
    whole, bare = stored.read(data, archive), stored.read(data, archive, words=False)
    assert [len(line.words) for line in whole.lines] == [0, 1, 2]
    assert [len(line.words) for line in bare.lines] == [0, 0, 0]
    assert [(line.id, line.text) for line in whole.lines] == [(line.id, line.text) for line in bare.lines]


@pytest.mark.parametrize("quarter", range(4))
def test_lines_of_turned_pages_are_upright(tmp_path, quarter):
    """On a page on its head no baseline tells a line from one that is written so: the turn is kept with the page."""
    (tmp_path / "scans").mkdir()
    upright = page(3, lines=6, width=1000)[0]
    Image.fromarray(np.ascontiguousarray(np.rot90(upright, quarter))).save(tmp_path / "scans/a.png")
    seen = []

    def read_lines(images):
        seen.extend(images)
        return [("x", 0.9)] * len(images)

    transcribe(read_lines, [tmp_path / "scans"], tmp_path / "text", ["txt"], reader="r")
    entry = tmp_path / "text/.htr-ssl/pages/a.json"
    for older in (False, True):  # what an earlier version kept of a line has no turn
        if older:
            kept = json.loads(entry.read_text(encoding="utf-8"))
            older_page, count = re.subn(r'"orientation": [^,]+, "polygon"', '"polygon"', kept["page"])
            assert count == 6
            entry.write_text(json.dumps(kept | {"page": older_page}), encoding="utf-8")
        samples = read(tmp_path / "text")
        assert len(samples) == len(seen) == 6
        for sample, image in zip(samples, seen, strict=True):
            small = [
                cv2.resize(one, (60, 12), interpolation=cv2.INTER_AREA).astype(float) for one in (sample.load(), image)
            ]
            assert np.abs(small[0] - small[1]).mean() < 4 < np.abs(small[0] - small[1][::-1, ::-1]).mean()


@pytest.mark.parametrize("name", READABLE)
def test_any_format_that_holds_text_may_be_corrected(archive, name):
    run(archive, [name])
    path = archive / f"text/a{ENDING[name]}"
    if name == "docx":
        import docx

        document = docx.Document(str(path))
        for paragraph in document.paragraphs:
            for part in paragraph.runs:
                part.text = part.text.replace("1", "Éins")
        document.save(str(path))
    else:
        text = path.read_text(encoding="utf-8")
        for old, new in (("old 1", "old Éins"), ('CONTENT="1"', 'CONTENT="Éins"'), (">1</span>", ">Éins</span>")):
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")
    found = texts(read(archive / "text"))
    assert [text for key, text in found.items() if key.startswith("a/")] == ["old 0", "old Éins", "old 2"], name


@pytest.mark.parametrize(
    "change",
    [lambda data: data.replace(b"\n", b"\r\n"), lambda data: b"\xef\xbb\xbf" + data, lambda data: data.rstrip()],
)
def test_a_file_that_was_only_saved_anew_is_no_correction(archive, change):
    """Programs change line ends, and then all pages would be labelled with what was read, right or wrong."""
    for path in (archive / "text").rglob("*.txt"):
        path.write_bytes(change(path.read_bytes()))
    assert not any(read(archive / "text").column("text"))


def test_text_that_is_not_utf8_is_named(archive):
    (archive / "text/a.txt").write_bytes("né\nzwei\ndrei\n".encode("cp1252"))
    samples = read(archive / "text")
    assert not any(samples.column("text"))
    assert any("a.txt: it is not UTF-8" in problem for problem in samples.problems)


def test_a_line_removed_in_another_program_is_no_line(archive):
    run(archive, ["json"])
    path = archive / "text/a.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["lines"][1]
    path.write_text(json.dumps(content), encoding="utf-8")
    samples = read(archive / "text")
    assert [text for text in samples.column("text") if text] == ["old 0", "old 2"]


def test_an_emptied_line_is_no_line(archive):
    (archive / "text/b.txt").write_text("old 0\n\nold 2\n", encoding="utf-8")
    samples = read(archive / "text")
    assert [text for key, text in texts(samples).items() if key.startswith("b/")] == ["old 0", "old 2"]
    assert any("1 lines that were emptied or removed" in note for note in samples.notes)


def test_another_number_of_lines_is_said_and_gives_no_label(archive):
    (archive / "text/b.txt").write_text("one\ntwo\n", encoding="utf-8")
    samples = read(archive / "text")
    assert not any(samples.column("text"))
    assert any("b.txt: it has 2 lines, the page 3" in problem for problem in samples.problems)


def whole(image):
    height, width = image.shape[:2]
    return [Line("x", np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1.0]]))]


def test_corrections_stay_with_the_lines_they_were_made_for(archive, monkeypatch):
    """Another model or finder finds other lines; what was corrected before is still worth something."""
    (archive / "text/a.txt").write_text("eins\nzwei\ndrei\n", encoding="utf-8")
    first = read(archive / "text")
    monkeypatch.setattr(
        plugins.load("htr_ssl.pages.segment", "learned"), "segment", lambda image, direction="ltr": whole(image)
    )
    for word in ("new", "newer"):
        run(archive, word=word, segmenter="learned")
        samples = read(archive / "text")
        assert [text for text in samples.column("text") if text] == ["eins", "zwei", "drei"]
        for place in range(3):
            assert np.array_equal(first[place].load(), samples[place].load())
        assert len(samples) == 3 + 2
        assert not samples.problems
    beside = archive / "text/a.new.txt"
    beside.write_text("alles\n", encoding="utf-8")
    samples = read(archive / "text")  # the file that was changed last decides
    assert [text for text in samples.column("text") if text] == ["alles"]
    assert any("a.txt: it is of an earlier reading" in problem for problem in samples.problems)


def test_a_further_format_has_the_lines_of_the_corrected_text(archive, monkeypatch):
    (archive / "text/a.txt").write_text("eins\nzwei\ndrei\n", encoding="utf-8")
    monkeypatch.setattr(
        plugins.load("htr_ssl.pages.segment", "learned"), "segment", lambda image, direction="ltr": whole(image)
    )
    run(archive, word="new", segmenter="learned")
    run(archive, ("txt", "json"), word="new", segmenter="learned")
    assert list(stored.texts(archive / "text/a.json").values()) == ["eins", "zwei", "drei"]
    assert list(stored.texts(archive / "text/b.json").values()) == ["new 0"]


def test_nothing_corrected_is_said(archive):
    samples = read(archive / "text")
    assert not any(samples.column("text"))
    assert any("nobody has corrected a page of its 3" in note for note in samples.notes)
    result = CliRunner().invoke(app, ["learn", str(archive / "text"), "--out", str(archive / "course")])
    assert "correct some pages" in str(result.exception)


def test_a_scan_that_is_gone_is_a_problem(archive):
    (archive / "text/a.txt").write_text("eins\nzwei\ndrei\n", encoding="utf-8")
    (archive / "scans/b.png").unlink()
    samples = read(archive / "text")
    assert len(samples) == 6
    assert any("b.png" in problem and "put it back" in problem for problem in samples.problems)
    shutil.rmtree(archive / "scans")
    with pytest.raises(UserError, match="put it back"):
        read(archive / "text")


def test_a_damaged_entry_is_a_problem(archive):
    (archive / "text/.htr-ssl/pages/a.json").write_text("{", encoding="utf-8")
    entry = archive / "text/.htr-ssl/pages/b.json"
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"page": '{"lines": [3]}'}), encoding="utf-8")
    samples = read(archive / "text")
    assert len(samples) == 3
    assert sum("transcribe the page again" in problem for problem in samples.problems) == 2


def test_pages_of_a_book_are_corrected_one_by_one(tmp_path):
    draw(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as image:
        (tmp_path / "scans").mkdir()
        image.save(tmp_path / "scans/book.pdf", save_all=True, append_images=[image])
    run(tmp_path)
    one, volume = tmp_path / "text/book#002.txt", tmp_path / "text/book.txt"
    one.write_text(one.read_text().replace("old", "neu"), encoding="utf-8")
    samples = read(tmp_path / "text")
    labelled = [sample for sample in samples if sample.text]
    assert [sample.text for sample in labelled] == ["neu 0", "neu 1", "neu 2"]
    assert labelled[0].load().size
    assert not samples.problems
    volume.write_text(volume.read_text().replace("old 1", "anders"), encoding="utf-8")
    assert any("book.txt: it was changed, but" in problem for problem in read(tmp_path / "text").problems)


def test_from_scans_to_labels(tmp_path, monkeypatch):
    """With the recognizer that comes with the package: transcribe, correct, import."""
    (tmp_path / "scans").mkdir()
    for number in (1, 2):
        Image.fromarray(page(number, lines=4, width=700)[0]).save(tmp_path / f"scans/{number}.jpg")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["transcribe", "scans", "--out", "text"])
    assert done.exit_code == 0, done.output
    path = tmp_path / "text/1.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines
    path.write_text("\n".join(f"{line} mein" for line in lines), encoding="utf-8")
    done = CliRunner().invoke(app, ["data", "import", "auto", "text", "lines.parquet"])
    assert done.exit_code == 0, done.output
    made = read("lines.parquet")
    assert [text for text in made.column("text") if text] == [f"{line} mein" for line in lines]
