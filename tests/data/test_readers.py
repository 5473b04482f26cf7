"""Readers: what is found in folders and Parquet files, and what is said of those that cannot be used."""

import io
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniatures import alto
from PIL import Image

from htr_ssl import plugins
from htr_ssl.data.readers import parquet
from htr_ssl.data.reading import READERS, read
from htr_ssl.data.samples import clean_text, split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import natural


def picture(tone: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (20 + tone, 10), tone).save(buffer, "PNG")
    return buffer.getvalue()


def tone(sample) -> int:
    return int(sample.load()[0, 0])


def put(root: Path, *names: str) -> Path:
    """Images 1, 2, … under these names; names of other kinds become text files."""
    for number, name in enumerate(names, start=1):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return root


def table(path: Path, rows: int = 3, **columns) -> Path:
    images = [{"bytes": picture(number + 1), "path": f"{number}.png"} for number in range(rows)]
    pq.write_table(pa.table({"image": images, **columns}), path)
    return path


def test_readers_are_found():
    assert {"gt_txt", "images", "parquet"} <= set(plugins.names(READERS))


@pytest.mark.parametrize("name", plugins.names(READERS))
def test_every_reader_refuses_an_empty_folder(tmp_path, name):
    with pytest.raises(UserError, match="there is no"):
        read(tmp_path, name)


def test_images_in_natural_order(tmp_path):
    put(tmp_path, "page10.png", "page2.png", "page1.JPG", "sub/x.tif", ".hidden.png", "__MACOSX/page1.png")
    (tmp_path / "notes.txt").write_text("nothing")
    samples = read(tmp_path)
    assert samples.column("id") == ["page1.JPG", "page2.png", "page10.png", "sub/x.tif"]
    assert [tone(sample) for sample in samples] == [3, 2, 1, 4]
    assert {sample.text for sample in samples} == {sample.split for sample in samples} == {None}
    assert [sample.id for sample in samples[1:3]] == ["page2.png", "page10.png"]
    assert samples[-1].id == "sub/x.tif"
    with pytest.raises(IndexError):
        samples[4]


def test_one_image(tmp_path):
    put(tmp_path, "x.png")
    (sample,) = read(tmp_path / "x.png", level="word")
    assert (sample.id, sample.level, tone(sample)) == ("x.png", "word", 1)


def test_folders_name_splits(tmp_path):
    put(tmp_path, "train/a.png", "val/deep/b.png", "Test/c.png", "other/test/d.png", "e.png")
    samples = read(tmp_path)
    splits = dict(zip(samples.column("id"), samples.column("split"), strict=True))
    assert splits == {
        "train/a.png": "train",
        "val/deep/b.png": "validation",
        "Test/c.png": "test",
        "other/test/d.png": None,
        "e.png": None,
    }


def test_links_are_followed_once(tmp_path):
    put(tmp_path, "a/x.png")
    os.symlink(tmp_path, tmp_path / "a" / "again")
    assert read(tmp_path).column("id") == ["a/x.png"]


def test_texts_beside_images(tmp_path):
    put(tmp_path, "train/1.png", "train/2.bin.png", "3.jpg", "4.png")
    (tmp_path / "train/1.gt.txt").write_text(" Cafe\u0301  noir\n", encoding="utf-8")
    (tmp_path / "train/2.gt.txt").write_text("\ufeffzwei", encoding="utf-8")
    (tmp_path / "4.gt.txt").write_text("\n")
    samples = read(tmp_path)
    known = dict(zip(samples.column("id"), samples.column("text"), strict=True))
    assert known == {"train/1.png": "Café noir", "train/2.bin.png": "zwei", "3.jpg": None, "4.png": None}
    assert samples.column("split")[samples.column("id").index("train/1.png")] == "train"


def test_text_without_image_is_named(tmp_path):
    put(tmp_path, "1.png")
    for name in ("1", "2", "3"):
        (tmp_path / f"{name}.gt.txt").write_text(name)
    samples = read(tmp_path)
    assert samples.column("text") == ["1"]
    assert [problem.split(": ")[1] for problem in samples.problems] == ["no image has this name; it is left out"] * 2
    assert "2.gt.txt" in samples.problems[0]


def test_texts_that_are_not_utf8(tmp_path):
    """Those of old Windows programs are read all the same, and named."""
    put(tmp_path, "1.png", "2.png")
    (tmp_path / "1.gt.txt").write_bytes("été".encode("latin-1"))
    (tmp_path / "2.gt.txt").write_text("été", encoding="utf-16")
    samples = read(tmp_path)
    assert samples.column("text") == ["été", "été"]
    assert len(samples.problems) == 1
    assert "1.gt.txt: it is not UTF-8 and was read as Windows-1252" in samples.problems[0]


def test_parquet_columns(tmp_path):
    path = table(
        tmp_path / "x.parquet",
        text=["a  b", None, ""],
        writer=["w", "w", None],
        page=[1, 2, 3],
        split=["train", "val", "TEST"],
    )
    samples = read(path, level="word")
    assert samples.column("id") == ["0.png", "1.png", "2.png"]
    assert samples.column("text") == ["a b", None, None]
    assert samples.column("split") == ["train", "validation", "test"]
    assert (samples[0].writer, samples[0].page, samples[0].level) == ("w", "1", "word")
    assert [tone(sample) for sample in samples] == [1, 2, 3]


def test_parquet_with_images_only(tmp_path):
    samples = read(table(tmp_path / "x.parquet"))
    assert samples.column("text") == samples.column("split") == [None] * 3


def test_parquet_with_plain_bytes(tmp_path):
    pq.write_table(pa.table({"image": [picture(1), picture(2)]}), tmp_path / "x.parquet")
    samples = read(tmp_path / "x.parquet")
    assert [tone(sample) for sample in samples] == [1, 2]
    assert samples.column("id") == ["x:0", "x:1"]


def test_parquet_with_paths(tmp_path):
    put(tmp_path, "images/a.png")
    pq.write_table(pa.table({"image": [{"bytes": None, "path": "images/a.png"}]}), tmp_path / "x.parquet")
    assert tone(read(tmp_path / "x.parquet")[0]) == 1


def test_parquet_without_an_image_in_a_row(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    images = pa.array([None, {"bytes": picture(2), "path": None}], kind)
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet")
    samples = read(tmp_path / "x.parquet")
    with pytest.raises(UserError, match="x:0: the image is empty"):
        samples[0].load()
    assert tone(samples[1]) == 2


def test_two_parquet_files_with_splits_in_their_names(tmp_path):
    table(tmp_path / "train-00000-of-00001.parquet", rows=2, text=["a", "b"])
    table(tmp_path / "test-00000-of-00001.parquet", rows=1)
    samples = read(tmp_path)
    assert samples.column("split") == ["test", "train", "train"]
    assert samples.column("text") == [None, "a", "b"]
    assert samples.column("id") == ["0.png#0", "0.png#1", "1.png"]
    assert [tone(sample) for sample in samples] == [1, 1, 2]


def test_many_row_groups_and_pickling(tmp_path):
    images = [{"bytes": picture(number), "path": f"{number}.png"} for number in range(50)]
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet", row_group_size=7)
    samples = read(tmp_path / "x.parquet")
    order = np.random.default_rng(0).permutation(50).tolist()
    assert [tone(samples[row]) for row in order] == order
    again = pickle.loads(pickle.dumps(samples))
    assert [tone(again[row]) for row in order] == order


def test_few_row_groups_are_kept_whoever_asks(tmp_path, monkeypatch):
    """Threads ask at random for images of 20 row groups of which two fit into the memory given."""
    rows = 200
    images = [{"bytes": bytes([row]) * 1000, "path": f"{row}.png"} for row in range(rows)]
    pq.write_table(pa.table({"image": images}), tmp_path / "x.parquet", row_group_size=10)
    monkeypatch.setattr(parquet, "CACHE_BYTES", 25_000)
    samples = read(tmp_path / "x.parquet")
    order = np.random.default_rng(0).integers(0, rows, 1000).tolist()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(samples.image, order)) == [bytes([row]) * 1000 for row in order]
    assert len(samples._cache) == 2


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"picture": [b"x"]}, "there is no column 'image', only picture; rename"),
        ({"image": [3]}, "column 'image' is int64; expected a struct of bytes and path"),
        ({"image": [b"x"], "split": ["training set"]}, "split 'training set' is unknown; write train"),
        ({"image": [b"x"], "text": [["a"]]}, "column 'text' is list"),
        ({"image": pa.array([], pa.binary())}, "there is no row in it"),
    ],
)
def test_parquet_that_cannot_be_used(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(UserError, match=message) as caught:
        read(tmp_path / "x.parquet")
    assert "x.parquet" in str(caught.value)


def test_damaged_parquet(tmp_path):
    whole = table(tmp_path / "x.parquet", rows=20).read_bytes()
    for data in (b"", b"PAR1", whole[: len(whole) // 2], whole[:100] + whole[200:]):
        (tmp_path / "x.parquet").write_bytes(data)
        with pytest.raises(UserError, match="copy it again"):
            [sample.load() for sample in read(tmp_path / "x.parquet")]


def test_missing_sources(tmp_path):
    (tmp_path / "words.parquet").touch()
    with pytest.raises(UserError, match=r"there is no such file or folder; did you mean .*words\.parquet\?"):
        read(tmp_path / "word.parquet")
    with pytest.raises(UserError, match="the nearest folder that exists is"):
        read(tmp_path / "qqq" / "zzz")
    with pytest.raises(UserError, match="readers: there is no 'parqet'; did you mean 'parquet'"):
        read(tmp_path, "parqet")
    (tmp_path / "words.parquet").unlink()
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(UserError, match="no image or data file in it is known; formats are"):
        read(tmp_path)


def test_two_formats_in_one_folder(tmp_path):
    put(tmp_path, "1.png")
    (tmp_path / "1.gt.txt").write_text("one")
    table(tmp_path / "x.parquet")
    with pytest.raises(UserError, match="it could be gt_txt or parquet; say which"):
        read(tmp_path)
    assert read(tmp_path, "gt_txt").column("text") == ["one"]
    assert len(read(tmp_path, "parquet")) == 3


@given(st.text())
def test_clean_text_is_stable(text):
    clean = clean_text(text)
    assert clean is None or (clean == clean.strip() != "" and clean_text(clean) == clean)


@given(st.lists(st.text(st.sampled_from("a1 0B²٣"), min_size=1), min_size=2, max_size=6, unique=True))
def test_natural_order_is_total(names):
    """No two names are equal to it, so that the order of a folder does not depend on the file system."""
    ordered = sorted(map(natural, names))
    assert all(left < right for left, right in pairwise(ordered))


def test_split_names():
    names = {"Train": "train", " val ": "validation", "dev": "validation", "testing": "test", "tests": None, "": None}
    assert {name: split_of(name) for name in names} == names


ODD = "e\u0301te\u0301\u00a0ici"


def odd_gt_txt(root: Path) -> None:
    put(root, "0.png", "1.png")
    (root / "0.gt.txt").write_text(f" {ODD}\n", encoding="utf-8")
    (root / "1.gt.txt").write_text("  deux  mots\r\n", encoding="utf-8")


def odd_table(root: Path) -> None:
    put(root, "0.png", "1.png")
    (root / "list.tsv").write_text(f"0.png\t{ODD}\n1.png\tdeux  mots\n", encoding="utf-8")


def odd_parquet(root: Path) -> None:
    table(root / "x.parquet", 2, text=[ODD, "deux  mots"])


def odd_page_xml(root: Path) -> None:
    Image.new("L", (100, 100), 200).save(root / "x.png")
    lines = "".join(
        f'<TextLine id="l{number}"><Coords points="0,{top} 90,{top} 90,{top + 30} 0,{top + 30}"/>'
        f"<TextEquiv><Unicode>\n  {text}\n</Unicode></TextEquiv></TextLine>"
        for number, (top, text) in enumerate([(0, ODD), (50, "deux  mots")])
    )
    start = '<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">'
    page = f'<Page imageFilename="x.png" imageWidth="100" imageHeight="100"><TextRegion id="r">{lines}'
    (root / "x.xml").write_text(f"{start}{page}</TextRegion></Page></PcGts>", encoding="utf-8")


@pytest.mark.parametrize("make", [odd_gt_txt, odd_table, odd_parquet, odd_page_xml])
def test_texts_are_clean_and_known_as_written(tmp_path, make):
    """Training gets composed letters and plain spaces; what the file has besides plain spaces is not forgotten."""
    make(tmp_path)
    samples = read(tmp_path)
    assert samples.column("text") == [sample.text for sample in samples] == ["\u00e9t\u00e9 ici", "deux mots"]
    assert {row: text.strip() for row, text in samples.as_written().items()} == {0: ODD}
    assert pickle.loads(pickle.dumps(samples)).as_written() == samples.as_written()


def test_lines_without_boxes_of_words_are_named(tmp_path):
    """A String that holds a whole line is no word; an export of lines must not end as a few words without complaint."""
    alto(tmp_path)
    samples = read(tmp_path, level="word")
    assert len(samples) == 2
    assert [problem.removeprefix(str(tmp_path)) for problem in samples.problems] == [
        "/a.xml: there are no boxes of single words in 1 of its 1 lines, these are left out"
    ]
