"""Pages: every one of a TIFF or PDF file, of any bit depth, turned as the file or the outlines say."""

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from htr_ssl.data.images import decode
from htr_ssl.data.page_images import fits, page_count, page_image, pages_of
from htr_ssl.errors import UserError


def paper(tone: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.fromarray(np.full(size[::-1], tone, np.uint8))


@pytest.mark.parametrize("kind", ["tiff", "big", "deep", "pdf", "bilevel"])
def test_every_page_is_read(tmp_path, kind):
    tones = [40, 120, 200]
    path = tmp_path / ("book 1.pdf" if kind == "pdf" else "book 1.TIF")
    if kind == "pdf":
        pages = [paper(tone) for tone in tones]
        pages[0].save(path, "PDF", save_all=True, append_images=pages[1:], resolution=300)
    elif kind == "deep":  # colour of 16 bits, which Pillow does not know
        arrays = [np.full((40, 60, 3), tone * 257, np.uint16) for tone in tones]
        for array in arrays:
            array[0, 0] = 65535
        assert cv2.imwritemulti(str(path), arrays)
    elif kind == "bilevel":
        pages = [Image.new("1", (60, 40), tone > 100) for tone in tones]
        pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:], compression="group4")
    else:
        pages = [paper(tone) for tone in tones]
        pages[0].save(path, "TIFF", save_all=True, append_images=pages[1:], big_tiff=kind == "big")
    found = pages_of(path)
    assert [page.name for page in found] == [f"{path.name}/{number}" for number in (1, 2, 3)]
    expected = [0, 255, 255] if kind == "bilevel" else tones
    assert np.allclose([page.load().mean() for page in found], expected, atol=2)
    with pytest.raises(UserError, match="page 4"):
        page_image(path, 3)


def test_smaller_copies_in_a_tiff_file_are_no_pages(tmp_path):
    path = tmp_path / "pyramid.tif"
    small = TiffImagePlugin.ImageFileDirectory_v2()
    small[254] = 1
    with TiffImagePlugin.AppendingTiffWriter(str(path), True) as file:
        for tone, size, tags in ((200, (60, 40), None), (10, (30, 20), small), (90, (60, 40), None)):
            paper(tone, size).save(file, "TIFF", **({"tiffinfo": tags} if tags else {}))
            file.newFrame()
    assert page_count(path) == 2
    assert [round(page.load().mean()) for page in pages_of(path)] == [200, 90]


@pytest.mark.parametrize("bits", [9, 10, 11, 12, 14, 16])
@pytest.mark.parametrize("kind", ["gray.png", "gray.tif", "colour.png", "colour.tif", "array", "alpha.png"])
def test_few_bits_in_deep_files_keep_their_range(tmp_path, bits, kind):
    ramp = np.linspace(0, 2**bits - 1, 90).astype(np.uint16)[None].repeat(20, 0)
    if kind.startswith("colour"):
        ramp = np.stack([ramp] * 3, 2)
    if kind.startswith("alpha"):
        ramp = np.stack([ramp, ramp, ramp, np.full_like(ramp, 65535)], 2)
    if kind == "array":
        found = decode(ramp, "x")
    else:
        assert cv2.imwrite(str(tmp_path / kind), ramp)
        found = page_image(tmp_path / kind)
    assert found.dtype == np.uint8
    assert found.min() == 0
    assert found.max() >= (127 if bits % 2 else 254)
    assert (np.diff(found.reshape(20, 90, -1)[0, :, 0].astype(int)) >= 0).all()


def test_white_may_be_nought_in_deep_files(tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    picture = Image.fromarray(np.array([[0, 65535]] * 8, np.uint16))
    picture.save(tmp_path / "a.tif", tiffinfo=tags)
    data = bytearray((tmp_path / "a.tif").read_bytes())
    place = data.find((262).to_bytes(2, "little") + (3).to_bytes(2, "little"))
    data[place + 8] = 0  # photometric interpretation: 0 is white
    (tmp_path / "a.tif").write_bytes(data)
    assert page_image(tmp_path / "a.tif").tolist() == [[255, 0]] * 8


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "deep.png"])
def test_stored_pixels_where_outlines_are_for_them(tmp_path, turn, suffix):
    image = np.zeros((40, 60), np.uint8)
    image[:10, :10] = 250
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = turn
    if suffix == "deep.png":
        deep = np.stack([image.astype(np.uint16) * 257] * 3, 2)
        data = cv2.imencode(".png", deep)[1].tobytes()
        body = b"eXIf" + exif.tobytes().removeprefix(b"Exif\0\0")
        import zlib

        chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
        path.write_bytes(data[:33] + chunk + data[33:])
    else:
        Image.fromarray(image).save(path, exif=exif)
    upright = page_image(path)
    lying = turn >= 5
    assert upright.shape[:2] == ((60, 40) if lying else (40, 60))
    corner = upright.reshape(*upright.shape[:2], -1)[..., 0].astype(int)
    places = {(0, 0): [1, 5], (0, 1): [2, 6], (1, 1): [3, 7], (1, 0): [4, 8]}
    bright = max(places, key=lambda place: corner[-3 if place[0] else 2, -3 if place[1] else 2])
    assert turn in places[bright]
    for stated in ((60, 40), (120, 80)):  # also where the outlines are for a larger copy
        assert np.abs(page_image(path, 0, stated).reshape(40, 60, -1)[..., 0].astype(int) - image).mean() < 3
    if lying:
        assert page_image(path, 0, (40, 60)).shape[:2] == (60, 40)


def test_fits():
    assert fits((900, 700), (900, 700))
    assert fits((450, 350), (900, 700))
    assert not fits((700, 900), (900, 700))
    assert not fits((0, 0), (9, 7))
    assert not fits((9, 7), (0, 0))


@pytest.mark.parametrize("data", [b"", b"II*\0", b"II*\0\x08\0\0\0\xff\xff", b"MM\0+" + b"\0" * 12, b"%PDF-1.4"])
def test_damaged_files_are_named(tmp_path, data):
    for suffix in ("tif", "pdf"):
        path = tmp_path / f"bad.{suffix}"
        path.write_bytes(data)
        with pytest.raises(UserError, match="bad"):
            pages_of(path)[0].load()
