"""The doctor: every kind of finding on data made to have it, and none on data that has not."""

import io
import json
import sys
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from htr_ssl.check.alike import TWINS
from htr_ssl.check.doctor import check
from htr_ssl.cli import main
from htr_ssl.config import FinetuneConfig
from htr_ssl.data.images import MIN_WIDTH
from htr_ssl.data.reading import read
from htr_ssl.errors import UserError
from htr_ssl.text.charset import frames_needed
from htr_ssl.training import finetune

KINDS = set(
    """
    refused unreadable nothing_labelled no_splits no_pages no_train no_test no_validation partly_split
    page_in_two_splits writer_in_two_splits duplicate duplicate_in_two_splits near_duplicate
    near_duplicate_in_two_splits contradicting_texts blank cut tiny squeezed width_outlier colour colour_differs
    infeasible text_too_wide text_too_narrow rare_characters unknown_in_validation unknown_in_test lookalike_letters
    lookalike_signs invisible_characters lost_characters decomposed unusual_spaces wrong_encoding
    """.split()  # noqa: SIM905
)
WORDS = ["maison", "terre", "notaire", "femme", "argent", "testament", "biens", "frère", "mère", "village"]


def scribble(seed: int, width: int = 200, height: int = 48) -> np.ndarray:
    """Strokes on gray paper, different for every seed."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width), 215, np.uint8)
    across = np.linspace(4, width - 5, max(3, width // 6))
    points = np.stack(
        [across + rng.normal(0, 3, len(across)), rng.uniform(height / 6, height * 5 / 6, len(across))], axis=1
    )
    cv2.polylines(pixels, [points.round().astype(np.int32)], False, 40, 2, cv2.LINE_AA)
    return pixels


def encoded(image: np.ndarray | bytes, kind: str = "PNG", **options) -> bytes:
    if isinstance(image, bytes):
        return image
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()


def row(seed: int, text: str | None = "", split: str | None = "train", image=None, **others) -> dict:
    """One image with its columns; a page and a writer of its own unless others are given."""
    text = WORDS[seed % len(WORDS)] if text == "" else text
    image = scribble(seed) if image is None else image
    return {"image": image, "text": text, "split": split, "page": f"p{seed}", "writer": f"w{seed}", **others}


def sound(count: int = 20) -> list[dict]:
    """Rows without a fault: each word is written twice or more in train, once in validation and test."""
    splits = ["train"] * (count - 4) + ["validation"] * 2 + ["test"] * 2
    return [row(seed, WORDS[seed % 2], split) for seed, split in enumerate(splits)]


def source(folder, rows: list[dict]):
    path = folder / "data.parquet"
    columns = {
        name: pa.array([item[name] for item in rows], pa.string()) for name in ("text", "page", "writer", "split")
    }
    images = [{"bytes": encoded(item["image"]), "path": str(number)} for number, item in enumerate(rows)]
    pq.write_table(pa.table({"image": images, **columns}), path)
    return path


@pytest.fixture
def diagnose(tmp_path):
    """Findings by kind on rows; the ids of their examples are row numbers."""

    def call(rows: list[dict], **options) -> dict:
        report = check(read(source(tmp_path, rows)), **options)
        kinds = [finding.kind for finding in report.findings]
        assert len(kinds) == len(set(kinds))
        assert set(kinds) <= KINDS
        assert report.sound == (not any(finding.severity == "error" for finding in report.findings))
        return {finding.kind: finding for finding in report.findings}

    return call


def rows_of(finding) -> list[tuple[int, ...]]:
    return [example.rows for example in finding.examples]


def test_nothing_is_found_in_sound_data(diagnose):
    assert diagnose(sound()) == {}


def test_what_is_refused_and_what_cannot_be_read(tmp_path, diagnose):
    found = diagnose([*sound(), row(30, image=b""), row(31, image=encoded(scribble(31))[:200])])
    assert found["unreadable"].severity == "error"
    assert rows_of(found["unreadable"]) == [(20,), (21,)]
    assert "empty" in found["unreadable"].examples[0].remark
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(scribble(0)))
    (folder / "a.gt.txt").write_text("mot")
    (folder / "lost.gt.txt").write_text("mot")
    report = check(read(folder))
    assert not report.sound
    (finding,) = [finding for finding in report.findings if finding.kind == "refused"]
    assert "lost.gt.txt: no image" in finding.examples[0].remark


def test_texts_are_needed_unless_for_pretraining(diagnose):
    rows = [row(seed, None) for seed in range(3)]
    assert diagnose(rows)["nothing_labelled"].severity == "error"
    assert diagnose(rows, unlabelled=True)["nothing_labelled"].severity == "note"


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (("train", "train", "validation", "test"), {}),
        (("train", "train", "train", "test"), {"no_validation": "note"}),
        (("train", "train", "validation", "validation"), {"no_test": "error"}),
        (("test", "test", "validation", "test"), {"no_train": "error"}),
        (("train", None, "validation", "test"), {"partly_split": "warning"}),
        ((None, None, None, None), {"no_splits": "note"}),
    ],
)
def test_splits_that_are_missing(diagnose, splits, expected):
    found = diagnose([row(seed, "un", split) for seed, split in enumerate(splits)])
    assert {kind: found[kind].severity for kind in found if kind.startswith(("no_", "partly"))} == expected


def test_neither_splits_nor_pages(diagnose):
    found = diagnose([row(seed, split=None, page=None, writer=None) for seed in range(4)])
    assert found["no_pages"].severity == "warning"


def test_a_page_in_two_splits(diagnose):
    rows = sound()
    rows[0]["page"] = rows[-1]["page"] = "shared"
    finding = diagnose(rows)["page_in_two_splits"]
    assert finding.severity == "error"
    assert rows_of(finding) == [(0, 19)]
    assert finding.examples[0].remark == "shared: 1 in train, 1 in test"


def test_a_writer_in_two_splits(diagnose):
    """Of many writers few: a slip. Nearly all: the test is meant for known hands."""
    rows = sound(30)
    for number, item in enumerate(rows):
        item["split"], item["writer"] = ("test" if number >= 24 else item["split"]), f"w{number}"
    rows[24]["writer"] = "w3"
    assert diagnose(rows)["writer_in_two_splits"].severity == "error"
    for number in range(24, 30):
        rows[number]["writer"] = f"w{number - 24}"
    assert diagnose(rows)["writer_in_two_splits"].severity == "warning"


def test_a_page_that_stands_for_the_writer_is_named_once(diagnose):
    rows = sound()
    for item in (rows[0], rows[-1]):
        item["page"] = item["writer"] = "shared"
    found = diagnose(rows)
    assert "page_in_two_splits" in found
    assert "writer_in_two_splits" not in found


def test_lines_that_the_edge_cuts(diagnose):
    half = [row(seed, image=scribble(seed)[12:36], split=None) for seed in range(20, 23)]
    found = diagnose([*sound(), *half])["cut"]
    assert sorted(rows_of(found)) == [(20,), (21,), (22,)]
    assert found.severity == "warning"
    assert diagnose([*sound(60), row(60, image=scribble(60)[12:36])])["cut"].severity == "note"
    ruled = scribble(1)
    ruled[:, 20:23] = 40  # a stroke down to the edge, as letters of the next line have them
    assert "cut" not in diagnose([*sound(), row(20, image=ruled)])


@pytest.mark.parametrize(("top", "bottom", "expected"), [(0.05, 0.95, 0), (0.35, 0.65, 3)])
def test_lines_that_their_outline_cuts(tmp_path, top, bottom, expected):
    """The outline counts, not the paper around it that the crop is filled up with."""
    height, width = 48, 200
    Image.fromarray(np.concatenate([scribble(seed) for seed in range(3)])).save(tmp_path / "p.png")
    shapes = []
    for number in range(3):
        y1, y2 = (round((number + share) * height) for share in (top, bottom))
        points = f"0,{y1} {width},{y1 + 1} {width},{y2 + 1} 0,{y2}"
        shapes.append(f'<TextLine id="l{number}"><Coords points="{points}"/></TextLine>')
    (tmp_path / "p.xml").write_text(
        f'<PcGts><Page imageFilename="p.png" imageWidth="{width}" imageHeight="{3 * height}"><TextRegion id="r">'
        + "".join(shapes)
        + "</TextRegion></Page></PcGts>"
    )
    report = check(read(tmp_path), unlabelled=True)
    assert sum(len(finding.examples) for finding in report.findings if finding.kind == "cut") == expected


def test_blank_images(diagnose):
    white = np.full((48, 200), 255, np.uint8)
    noise = np.random.default_rng(0).normal(0, 3, (48, 200))
    shaded = (np.linspace(120, 240, 200)[None].repeat(48, 0) + noise).astype(np.uint8)
    pencil = np.where(scribble(60) < 100, 190, 215).astype(np.uint8)
    rows = [*sound(40), row(60, image=pencil), row(61, image=white), row(62, None, image=shaded)]
    finding = diagnose(rows)["blank"]
    assert finding.severity == "warning"
    assert rows_of(finding) == [(41,), (42,)]
    assert rows_of(diagnose([row(seed, image=white) for seed in range(3)])["blank"]) == [(0,), (1,), (2,)]
    many = [*sound(), *(row(seed, image=white) for seed in range(30, 33))]
    assert diagnose(many)["blank"].severity == "error"


def test_sizes(diagnose):
    rows = [*sound(60), *(row(seed, None, image=scribble(seed, 110 + seed)) for seed in range(80, 100))]
    assert not {"tiny", "squeezed", "width_outlier"} & set(diagnose(rows))
    rows += [
        row(100, image=scribble(100, 40, 8)),
        row(101, image=scribble(101, 2500, 48)),
        row(102, None, image=scribble(102, 1500, 48)),
        row(103, "a long text on a wide line", image=scribble(103, 1500, 48)),
    ]
    found = diagnose(rows)
    assert rows_of(found["tiny"]) == [(80,)]
    assert rows_of(found["squeezed"]) == [(81,)]
    assert rows_of(found["width_outlier"]) == [(82,)]
    assert found["tiny"].severity == found["squeezed"].severity == found["width_outlier"].severity == "warning"


@settings(max_examples=25, deadline=None)
@given(text=st.text("ab", min_size=1, max_size=40), width=st.integers(8, 160))
def test_texts_that_ctc_cannot_write(tmp_path_factory, text, width):
    rows = [*sound(), row(50, text, image=scribble(50, width))]
    frames = -(-max(MIN_WIDTH, round(width * 40 / 48)) // 4)
    report = check(read(source(tmp_path_factory.mktemp("ctc"), rows)))
    found = [
        example.rows for finding in report.findings if finding.kind == "infeasible" for example in finding.examples
    ]
    assert found == ([(20,)] if frames_needed([ord(sign) for sign in text]) > frames else [])


def test_many_texts_that_ctc_cannot_write_are_an_error(diagnose):
    rows = [*sound(), row(50, "x" * 99), row(51, "x" * 99)]
    assert diagnose(rows)["infeasible"].severity == "error"
    assert diagnose([*sound(60), rows[-1]])["infeasible"].severity == "warning"


def test_texts_that_do_not_fit_the_width(diagnose):
    """Each hand has a width of its own: what is usual in one is not in another."""
    rng = np.random.default_rng(0)
    rows = []
    for seed in range(120):
        text = " ".join(rng.choice(WORDS, rng.integers(2, 6)))
        wide = 20 if seed % 2 else 9
        width = int(wide * len(text) * rng.uniform(0.92, 1.08))
        rows.append(row(seed, text, image=scribble(seed, width), writer=f"w{seed % 2}", split=None))
    assert not {"text_too_wide", "text_too_narrow"} & set(diagnose(rows))
    rows.append(row(200, " ".join(WORDS[:2]), image=scribble(200, 9 * 60), writer="w0", split=None))
    rows.append(row(201, " ".join(WORDS[:5]), image=scribble(201, 9 * 35), writer="w1", split=None))
    found = diagnose(rows)
    assert rows_of(found["text_too_wide"]) == [(120,)]
    assert rows_of(found["text_too_narrow"]) == [(121,)]


def test_colour(diagnose):
    def brown(seed):
        return np.stack([scribble(seed), scribble(seed), (scribble(seed) * 0.8).astype(np.uint8)], axis=2)

    gray = [row(seed, image=np.stack([scribble(seed)] * 3, axis=2), split=None) for seed in range(10)]
    assert "colour" not in diagnose(gray)
    assert (
        "25 %"
        in diagnose([*gray[:9], *(row(seed, image=brown(seed), split=None) for seed in range(3))])["colour"].title
    )
    rows = sound()
    for seed in (18, 19):
        rows[seed]["image"] = brown(seed)
    found = diagnose(rows)
    assert found["colour_differs"].severity == "warning"
    assert "test 100%" in found["colour_differs"].advice


def test_copies(diagnose):
    rows = sound()
    rows[3]["image"] = rows[2]["image"]
    found = diagnose(rows)
    assert rows_of(found["duplicate"]) == [(2, 3)]
    assert found["duplicate"].severity == "warning"
    assert found["contradicting_texts"].examples[0].remark == "'maison' / 'terre'"
    rows[19]["image"] = rows[5]["image"]
    found = diagnose(rows)
    assert rows_of(found["duplicate_in_two_splits"]) == [(5, 19)]
    assert found["duplicate_in_two_splits"].severity == "error"
    assert rows_of(found["duplicate"]) == [(2, 3)]
    assert not {"near_duplicate", "near_duplicate_in_two_splits"} & set(found)


def changed(pixels: np.ndarray, how: str) -> np.ndarray | bytes:
    noise = np.random.default_rng(0).normal(0, 10, pixels.shape)
    return {
        "smaller": lambda: cv2.resize(pixels, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA),
        "larger": lambda: cv2.resize(pixels, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
        "darker": lambda: (pixels * 0.6 + 10).astype(np.uint8),
        "jpeg": lambda: encoded(pixels, "JPEG", quality=40),
        "noisy": lambda: np.clip(pixels + noise, 0, 255).astype(np.uint8),
        "binary": lambda: cv2.threshold(pixels, 0, 255, cv2.THRESH_OTSU)[1],
        "colour": lambda: np.stack([pixels, pixels, (pixels * 0.8).astype(np.uint8)], axis=2),
        "trimmed": lambda: pixels[1:-1, 2:-2],
    }[how]()


@pytest.mark.parametrize("how", ["smaller", "larger", "darker", "jpeg", "noisy", "binary", "colour", "trimmed"])
def test_changed_copies(diagnose, how):
    rows = sound(200)
    rows[199]["image"] = changed(rows[7]["image"], how)
    rows[50]["image"] = changed(rows[40]["image"], how)
    found = diagnose(rows)
    assert rows_of(found["near_duplicate_in_two_splits"]) == [(7, 199)]
    assert found["near_duplicate_in_two_splits"].severity == "error"
    assert rows_of(found["near_duplicate"]) == [(40, 50)]
    assert found["near_duplicate"].severity == "warning"


def test_many_alike_do_not_take_forever():
    """All pairs of 48,000 images would be a thousand million; the worst are images that are nearly alike."""
    from htr_ssl.check import near

    rng = np.random.default_rng(0)
    base = near.describe(scribble(0)).astype(int)
    alike = np.clip(base + rng.normal(0, 40, (8000, base.size)), -127, 127).astype(np.int8)
    apart = rng.integers(-127, 128, (40_000, base.size)).astype(np.int8)
    copies = np.clip(apart[:100].astype(int) + rng.normal(0, 10, (100, base.size)), -127, 127).astype(np.int8)
    found = near.groups(np.concatenate([alike, apart, copies]), np.ones(48_100))
    assert [group for group in found if group[0] >= 8000] == [[8000 + i, 48_000 + i] for i in range(100)]


def test_characters_that_are_rare_or_unknown_to_train(diagnose):
    rows = sound(60)
    rows[0]["text"], rows[-1]["text"] = "Ætre", "terreß"
    found = diagnose(rows)
    assert [example.remark.split(" ")[0] for example in found["rare_characters"].examples] == ["'Æ'", "'ß'"]
    assert found["rare_characters"].examples[0].rows == (0,)
    assert found["unknown_in_test"].severity == "warning"  # once, if 1 of 12 characters
    assert found["unknown_in_test"].examples[0].remark == "'ß' U+00DF latin small letter sharp s ×1"
    rows[-2]["text"] = "ß" * 5
    assert diagnose(rows)["unknown_in_test"].severity == "error"
    rows[-2]["text"] = "ß" * 5 + "terre" * 150
    assert diagnose(rows)["unknown_in_test"].severity == "warning"


def lettered(texts: list[str]) -> list[dict]:
    return [row(seed, text, split=None) for seed, text in enumerate(texts)]


@settings(max_examples=30, deadline=None)
@given(twin=st.sampled_from(sorted(TWINS)), place=st.integers(0, 5))
def test_letters_of_another_script(tmp_path_factory, twin, place):
    """A letter that looks Latin is found in a Latin word, and named as what it is."""
    word = "maison"[:place] + twin + "maison"[place:]
    samples = read(source(tmp_path_factory.mktemp("letters"), lettered(["maison"] * 30 + [word])))
    (finding,) = [finding for finding in check(samples).findings if finding.kind == "lookalike_letters"]
    assert rows_of(finding) == [(30,)]
    assert f"U+{ord(twin):04X}" in finding.examples[0].remark
    assert f"for {TWINS[twin]!r}" in finding.examples[0].remark


def test_whole_words_of_another_script(diagnose):
    """сор in Cyrillic looks like cop: not meant in French, but meant where there is Cyrillic, and so is слово."""
    assert "lookalike_letters" in diagnose(lettered(["maison"] * 200 + ["сор"]))
    assert "lookalike_letters" not in diagnose(lettered(["maison"] * 200 + ["слово"]))
    assert "lookalike_letters" not in diagnose(lettered(["maison"] * 20 + ["слово", "сор"] * 20))
    found = diagnose(lettered(["слово"] * 30 + ["c" + "лово"]))["lookalike_letters"]
    assert "U+0063 latin small letter c ×1 for 'с' U+0441" in found.examples[0].remark


def test_several_forms_of_a_sign(diagnose):
    found = diagnose(lettered(["l'eau"] * 20 + ["l’eau", "12–14"] + ["peut-être"] * 5))
    assert found["lookalike_signs"].severity == "warning"
    assert [example.remark.split(":")[0] for example in found["lookalike_signs"].examples] == ["apostrophes", "hyphens"]
    assert rows_of(found["lookalike_signs"]) == [(20,), (21,)]
    assert "lookalike_signs" not in diagnose(lettered(["l’eau", "12–14"] * 5))
    found = diagnose(lettered(["ofﬁce", "l’eau"]))
    assert found["lookalike_signs"].examples[0].remark.endswith("latin small ligature fi ×1 for 'fi'")


def test_characters_that_cannot_be_seen(diagnose):
    texts = [
        "mai\u200bson",
        "\ufeffmaison",
        "mai\u00adson",
        "mai\u200cson",
        "می\u200cخواهم",
        "mai\ufffdson",
        "\ue8b3re",
    ]
    found = diagnose(lettered([*texts, "maison"]))
    assert sorted(rows_of(found["invisible_characters"])) == [(0,), (1,), (2,), (3,)]
    assert sorted(rows_of(found["lost_characters"])) == [(5,), (6,)]


def test_texts_as_they_stand_in_the_files(diagnose):
    texts = [
        unicodedata.normalize("NFD", "élève"),
        "dix\u00a0mille",
        "dix\u2009mille\u00a0ans",
        "  deux  mots \n",
        "élève",
    ]
    found = diagnose(lettered(texts))
    assert found["decomposed"].severity == found["unusual_spaces"].severity == "note"
    assert rows_of(found["decomposed"]) == [(0,)]
    assert found["decomposed"].examples[0].remark == "U+0065 U+0301 -> 'é'"
    assert rows_of(found["unusual_spaces"]) == [(1, 2), (2,)]
    assert found["unusual_spaces"].examples[0].remark == "U+00A0 no-break space ×2"


def test_texts_in_the_wrong_encoding(diagnose):
    wrong = "élève à la mère".encode().decode("cp1252")
    found = diagnose(lettered(["élève", wrong, "RÉ» Â"]))
    assert rows_of(found["wrong_encoding"]) == [(1,)]
    assert "'Ã©' for 'é'" in found["wrong_encoding"].examples[0].remark


def faulty() -> list[dict]:
    """Rows with a fault of most kinds, and texts that would harm a careless page."""
    rows = sound(60)
    rows[0]["text"] = '<script>alert("x")</script> & \u202e\x07 \U0001f600'
    rows[1]["text"] = "te\u0301rre\u00a0l’eau"
    rows[2]["text"] = "l'eau"
    rows[3]["image"] = b""
    rows[4]["image"] = np.full((48, 200), 255, np.uint8)
    rows[59]["image"] = changed(rows[5]["image"], "jpeg")
    rows[58]["image"] = rows[6]["image"]
    rows[57]["page"] = rows[7]["page"] = "<b>page</b>"
    rows[8]["text"] = "x" * 99
    return rows


def test_the_page_is_whole_and_escaped(tmp_path):
    from lxml import etree

    from htr_ssl.check.html import page

    report = check(read(source(tmp_path, faulty())))
    text = page(report, "<i>name</i>.parquet")
    root = etree.fromstring(text.removeprefix("<!DOCTYPE html>").encode())
    assert not list(root.iter("script"))
    assert "&lt;i&gt;name&lt;/i&gt;.parquet" in text
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &lt;U+202E&gt;&lt;U+0007&gt;" in text
    links = [value for element in root.iter() for name, value in element.attrib.items() if name in ("href", "src")]
    assert links
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert "http://" not in text
    assert "https://" not in text
    assert {section.get("id") for section in root.iter("section") if section.get("id") != "characters"} - {None} == {
        finding.kind for finding in report.findings
    }


def test_the_page_shows_the_images(tmp_path):
    """The pictures of a finding are those of its images."""
    import base64

    from lxml import etree

    from htr_ssl.check.html import page

    rows = faulty()
    root = etree.fromstring(page(check(read(source(tmp_path, rows))), "x").removeprefix("<!DOCTYPE html>").encode())
    (section,) = root.iterfind(".//section[@id='duplicate_in_two_splits']")
    pictures = [image.get("src").partition(",")[2] for image in section.iter("img")]
    assert len(pictures) == 2
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[0]))))
    assert np.abs(shown.astype(int) - rows[6]["image"]).mean() < 4
    (unreadable,) = root.iterfind(".//section[@id='unreadable']")
    assert not list(unreadable.iter("img"))
    assert "unreadable" in [element.text for element in unreadable.iter("em")]


def test_json_is_the_same_every_time(tmp_path):
    import json

    samples = read(source(tmp_path, faulty()))
    first, second = (json.dumps(check(samples, threads).to_json()) for threads in (1, 4))
    assert first == second
    found = json.loads(first)
    assert found["sound"] is False
    assert found["splits"]["train"]["images"] == 56
    assert found["characters"]["e"]["train"] > 20
    (copies,) = [finding for finding in found["findings"] if finding["kind"] == "duplicate_in_two_splits"]
    assert copies == {
        "kind": "duplicate_in_two_splits",
        "severity": "error",
        "title": "same image in two splits",
        "advice": copies["advice"],
        "count": 1,
        "examples": [{"ids": ["6", "58"], "remark": "'maison'"}],
    }


def test_nothing_can_be_read(diagnose):
    found = diagnose([row(seed, image=b"") for seed in range(3)])
    assert len(found["unreadable"].examples) == 3
    assert {kind for kind, finding in found.items() if finding.severity == "error"} == {"unreadable", "no_test"}


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), min_size=1, max_size=5))
def test_no_text_breaks_the_report(tmp_path_factory, texts):
    import json

    from lxml import etree

    from htr_ssl.check.html import page

    folder = tmp_path_factory.mktemp("texts")
    report = check(read(source(folder, [row(seed, text, page=text[:9] or None) for seed, text in enumerate(texts)])))
    etree.fromstring(page(report, texts[0]).removeprefix("<!DOCTYPE html>").encode())
    assert json.loads(json.dumps(report.to_json(), ensure_ascii=False)) == report.to_json()


def test_reading_tells_how_far_it_is(tmp_path):
    calls = []
    check(read(source(tmp_path, sound(150))), 2, lambda done, total: calls.append((done, total)))
    assert calls == [(64, 150), (128, 150), (150, 150)]


def test_lmdb_is_opened_once_by_many_threads(tmp_path, monkeypatch):
    """A second opening in one process is an error of the library."""
    import time
    from concurrent.futures import ThreadPoolExecutor

    import miniatures

    from htr_ssl.data.readers import lmdb as module

    miniatures.lmdb(tmp_path)
    samples = read(tmp_path, "lmdb", "word")
    opened = []
    environment = module._environment

    def slow(path):
        opened.append(path)
        time.sleep(0.2)
        return environment(path)

    monkeypatch.setattr(module, "_environment", slow)
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(samples.image, [0] * 4))
    assert len(set(images)) == 1
    assert images[0]
    assert len(opened) == 1


def test_every_finding_is_explained():
    from pathlib import Path

    text = Path(__file__).parents[2].joinpath("docs", "check.md").read_text(encoding="utf-8")
    assert sorted(kind for kind in KINDS if f"`{kind}`" not in text) == []


def narrow(folder: Path, count: int = 60) -> Path:
    """Lines that give 10 frames at 40 px and 12 at 48 px; their labels need 11."""
    for number in range(count):
        path = folder / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scribble(number, width=48, height=48)).save(path)
        path.with_suffix(".gt.txt").write_text("abcdefghijk", encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("given", "infeasible"),
    [
        ([], 60),
        (["data.height=48"], 0),
        (["data.height=48", "data.max_width=64"], 0),
        (["data.height=160", "data.max_width=64"], 0),
        (["data.height=96", "encoder=vit_strips"], 0),
        (["data.height=32", "method=simclr"], 60),
        (["rows={a: []}", "data.height=44"], 0),
        (["rows={a: []}", "data.height=40"], 60),
    ],
)
def test_data_is_judged_as_training_will_see_it(tmp_path, capsys, monkeypatch, given, infeasible):
    """What the check calls sound is what finetune takes; what it refuses, finetune refuses."""
    folder = narrow(tmp_path / "lines", 60)
    monkeypatch.setattr(sys, "argv", ["htr-ssl", "data", "check", str(folder), *given, "--json", "--quiet"])
    with pytest.raises(SystemExit):
        main()
    report = json.loads(capsys.readouterr().out)
    counts = {finding["kind"]: finding["count"] for finding in report["findings"]}
    assert counts.get("infeasible", 0) == infeasible
    config = tmp_path / "run.yaml"
    config.write_text("data: {height: 48}\n" if not infeasible else "data: {height: 40}\n", encoding="utf-8")
    if not given:
        train = {"steps": 1, "threads": 1, "device": "cpu"}
        for height, wrong in ((40, True), (48, False)):
            run = FinetuneConfig(data={"source": str(folder), "height": height}, train=train)
            if wrong:
                with pytest.raises(UserError, match="every label is too long for its image"):
                    finetune.run(run, tmp_path / str(height), progress=False)
            else:
                finetune.run(run, tmp_path / str(height), progress=False)
        monkeypatch.setattr(
            sys, "argv", ["htr-ssl", "data", "check", str(folder), "--config", str(config), "--json", "-q"]
        )
        with pytest.raises(SystemExit):
            main()
        assert "px of height" in capsys.readouterr().out


def test_shares_of_the_splits_are_those_that_training_draws(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["htr-ssl", "data", "check", str(narrow(tmp_path, 4)), "data.test=0.3", "--quiet"])
    with pytest.raises(SystemExit):
        main()
    assert "10% and 30% of the labelled images" in capsys.readouterr().out
