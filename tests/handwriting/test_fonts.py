"""Synthetic handwriting set in a folder of fonts: which font writes what, what is drawn, and folders that are bad.

The fonts are those that Matplotlib comes with, which the package needs.
"""

import pickle
import shutil
import warnings
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from fontTools.ttLib.tables.TupleVariation import TupleVariation
from PIL import features
from typer.testing import CliRunner

from htr_ssl.cli import app
from htr_ssl.data import synthetic
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError
from htr_ssl.handwriting import fonts
from htr_ssl.handwriting.drawing import render
from htr_ssl.handwriting.fonts import FontPen, Fonts
from htr_ssl.handwriting.hand import Hand
from htr_ssl.handwriting.paper import Paper

SHIPPED = Path(matplotlib.get_data_path()) / "fonts/ttf"
SANS = SHIPPED / "DejaVuSans.ttf"
TEXTS = {
    "latin": "Fait à Orléans le 23 juillet",
    "greek": "Ἐν ἀρχῇ ἦν ὁ λόγος",
    "cyrillic": "Во имя Отца и Сына",
    "hebrew": "בראשית ברא אלהים",
    "arabic": "كتب هذا الكتاب",
}
STILL = Hand(0, slant=0.0, aspect=0.95, bend=0.0, jitter=0.0, wave=0.0, ink=(0.0, 0.0, 0.0))


@pytest.fixture
def folder(tmp_path):
    for name in ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf"):
        shutil.copy(SHIPPED / name, tmp_path / name)
    return tmp_path


def samples(folder, texts, count=8, level="line", seed=0, **options):
    config = synthetic.Config(samples=count, hands=40, order=0, fonts=str(folder), **options)
    return synthetic.samples(config, level, seed, texts)


def ink(image):
    """Columns with ink, from the first to the last."""
    columns = (image < 140).any(0)
    found = np.flatnonzero(columns)
    return columns[found[0] : found[-1] + 1]


def drawn(text, pen, hand=STILL, height=64):
    return render(text, hand, np.random.default_rng(0), height, Paper(), pen=pen)


@pytest.mark.parametrize("script", TEXTS)
def test_every_script_is_drawn(folder, script):
    """As Pillow sets it: the same black and white from left to right, up to the size."""
    text = TEXTS[script]
    direction = "rtl" if script in ("hebrew", "arabic") else "ltr"
    columns = ink(drawn(text, FontPen(SANS, 64, direction)))
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("L", (2000, 200), 255)
    shown, option = text, {"direction": direction} if features.check("raqm") else {}
    if not option:
        shown = fonts.order.visual(text, direction)
    ImageDraw.Draw(picture).text((50, 50), shown, 0, ImageFont.truetype(SANS, 60), **option)
    expected = ink(np.asarray(picture))
    width = 400
    one, other = (
        cv2.resize(c.astype(np.float32)[None], (width, 1), interpolation=cv2.INTER_AREA)[0] for c in (columns, expected)
    )
    assert np.abs(one - other).mean() < 0.12
    assert np.abs(one[::-1] - other).mean() > 0.2 or script == "arabic"


def test_right_to_left_text_begins_at_the_right():
    """A wide letter and narrow ones: the wide one is written first."""
    columns = ink(drawn("ש ווו", FontPen(SANS, 64, "rtl")))
    runs = np.diff(np.flatnonzero(np.diff(np.r_[0, columns.astype(int), 0])))[::2]
    assert runs[-1] > 2 * runs[0]


def test_arabic_letters_are_joined_where_pillow_can_and_else_it_is_said(monkeypatch):
    """Joined they are one piece of ink, apart they are several."""

    def pieces(image):
        return cv2.connectedComponents((image < 140).astype(np.uint8))[0] - 1

    alone = Fonts(str(SANS))
    if features.check("raqm"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            alone.check_layout(["ممم"])
        assert pieces(drawn("ممم", FontPen(SANS, 64, "rtl"))) == 1
    monkeypatch.setattr(fonts, "raqm", lambda: False)
    fonts._font.cache_clear()
    assert pieces(drawn("ممم", FontPen(SANS, 64, "rtl"))) == 3
    with pytest.warns(UserWarning, match="Arabic letters are not joined"):
        alone.check_layout(["ممم"])
    columns = ink(drawn("ש ווו", FontPen(SANS, 64, "rtl")))
    runs = np.diff(np.flatnonzero(np.diff(np.r_[0, columns.astype(int), 0])))[::2]
    assert runs[-1] > 2 * runs[0]
    fonts._font.cache_clear()


def test_the_same_seed_gives_the_same_fonts_and_images_also_in_another_process(folder):
    texts = [TEXTS["latin"], TEXTS["cyrillic"]]
    one, other = samples(folder, texts, 200), samples(folder, texts, 200)
    assert all((one.image(i) == other.image(i)).all() for i in (0, 50, 199))
    copy = pickle.loads(pickle.dumps(one))
    assert (copy.image(50) == one.image(50)).all()
    used = [pen.path.name for pen in one._pens]
    assert len(set(used)) == 3
    assert len({tuple(used[i : i + 8]) for i in range(0, 200, 8)}) <= 3 * 4  # a hand keeps to its font
    assert [pen.path.name for pen in samples(folder, texts, 200, seed=1)._pens] != used


def test_a_font_without_a_character_is_not_used_for_it(folder):
    """The sans has Hebrew, the others have not."""
    found = samples(folder, [TEXTS["hebrew"]], 80)
    assert {pen.path.name for pen in found._pens} == {"DejaVuSans.ttf"}
    assert set(found.column("text")) == {TEXTS["hebrew"]}


def test_a_character_that_no_font_has_is_named_once_and_left_out(folder):
    with pytest.warns(UserWarning, match="there is no font for") as caught:
        found = samples(folder, ["漢字 abc", "漢 def"], 40)
    assert [str(one.message) for one in caught] == ["synthetic: there is no font for 字 漢; left out"]
    assert set(found.column("text")) == {"abc", "def"}
    warned = pytest.warns(UserWarning, match="there is no font for")
    with warned, pytest.raises(UserError, match="nothing in it that can be written"):
        samples(folder, ["漢字"], 4)


def test_a_text_of_two_fonts_keeps_what_the_better_one_has(folder, tmp_path):
    (folder / "DejaVuSans.ttf").unlink()
    built(folder / "dots.ttf", {"漢": 500})
    with pytest.warns(UserWarning, match=r"no font has all characters of 8 of 8 texts, e.g. 'abc 漢'") as caught:
        found = samples(folder, ["abc 漢"])
    assert len(caught) == 1
    assert set(found.column("text")) == {"abc"}


def built(path, widths, variable=False, family="Bars"):
    """A font with a bar of a width for each character."""
    names = {character: f"g{i}" for i, character in enumerate(widths)}
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", *names.values()])
    font.setupCharacterMap({ord(character): name for character, name in names.items()})
    glyphs = {}
    for name, width in ((".notdef", 300), *((names[c], w) for c, w in widths.items())):
        pen = TTGlyphPen(None)
        for k, (x, y) in enumerate(((50, 0), (50, 700), (50 + width, 700), (50 + width, 0))):
            (pen.lineTo if k else pen.moveTo)((x, y))
        pen.closePath()
        glyphs[name] = pen.glyph()
    font.setupGlyf(glyphs)
    font.setupHorizontalMetrics(dict.fromkeys(glyphs, (700, 50)))
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({"familyName": family, "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    if variable:
        font.setupFvar([("wght", 100, 400, 900, "Weight")], [])
        deltas = [(0, 0), (0, 0), (80, 0), (80, 0), *[(0, 0)] * 4]
        font.setupGvar({name: [TupleVariation({"wght": (0, 1, 1)}, deltas)] for name in names.values()})
    font.save(path)


def test_a_variable_font_writes_as_it_is(tmp_path):
    built(tmp_path / "variable.ttf", {"a": 100, "b": 400}, variable=True)
    found = samples(tmp_path, ["ab"])
    assert found.column("text") == ["ab"] * 8
    runs = np.diff(
        np.flatnonzero(np.diff(np.r_[0, ink(drawn("ab", FontPen(tmp_path / "variable.ttf", 64))).astype(int), 0]))
    )
    assert runs[2] > 3 * runs[0]


def test_fonts_of_other_formats_are_read(tmp_path):
    from fontTools.ttLib import TTFont

    font = TTFont(SANS)
    font.flavor = "woff"
    font.save(tmp_path / "sans.woff")
    found = samples(tmp_path, [TEXTS["greek"]])
    assert found.image(0).std() > 5


def test_bad_folders_are_named(tmp_path):
    cases = tmp_path / "none", tmp_path / "empty", tmp_path / "others"
    cases[1].mkdir()
    cases[2].mkdir()
    (cases[2] / "notes.txt").write_text("no font")
    for place in cases:
        with pytest.raises(UserError, match=f"synthetic.fonts: .*{place.name}.*give a folder of fonts"):
            samples(place, ["abc"])


def test_files_that_are_no_fonts_are_named_and_left_out(folder):
    whole = SANS.read_bytes()
    (folder / "text.ttf").write_text("this is no font")
    (folder / "empty.otf").touch()
    (folder / "cut.ttf").write_bytes(whole[:2000])
    built(folder / "boxes.ttf", {"a": 300}, family="Last Resort")
    with pytest.warns(
        UserWarning,
        match=r"4 file\(s\) left out: .*boxes\.ttf draws no letters, only boxes; .*is not a font, or a broken one",
    ):
        found = samples(folder, ["abc"], 80)
    assert {pen.path.name for pen in found._pens} == {"DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf"}
    alone = folder / "alone"
    alone.mkdir()
    shutil.move(folder / "text.ttf", alone)
    with pytest.raises(UserError, match=r"has no font that can be used \(.*text\.ttf is not a font, or a broken one\)"):
        samples(alone, ["abc"])


def test_a_closed_file_is_said_with_its_reason(folder, monkeypatch):
    plain = Path.open

    def closed(self, *arguments, **options):
        if self.name == "DejaVuSerif.ttf":
            raise PermissionError(13, "Permission denied")
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Path, "open", closed)
    with pytest.warns(UserWarning, match=r"DejaVuSerif\.ttf cannot be read \(Permission denied\)"):
        samples(folder, ["abc"])


def test_the_command_writes_lines_of_a_script_without_strokes(folder, tmp_path):
    (tmp_path / "texts.txt").write_text("\n".join([TEXTS["greek"], TEXTS["cyrillic"]]), encoding="utf-8")
    out = tmp_path / "lines.parquet"
    options = [f"fonts={folder}", f"text={tmp_path / 'texts.txt'}", "order=3", "characters=[5,15]"]
    done = CliRunner().invoke(app, ["data", "synth", str(out), "--samples", "12", *options])
    assert done.exit_code == 0, done.output
    found = read(str(out), "auto", "line")
    known = set(TEXTS["greek"] + TEXTS["cyrillic"])
    assert set("".join(str(text) for text in found.column("text"))) <= known
    assert all(sample.load().shape[0] == 48 for sample in found)


def test_every_hand_and_paper_gives_an_image(folder):
    found = samples(folder, [TEXTS["latin"]], 160, colour=True)
    for i in range(0, 160, 8):
        image = found.image(i)
        assert image.shape[0] == 48
        assert image.std() > 3
