"""Decoding: every kind of image file becomes the same upright uint8 array; damaged ones are named."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from htr_ssl.data.images import INK_LEVEL, MAX_PIXELS, MIN_WIDTH, decode, normalise_levels, to_height
from htr_ssl.data.sample import Sample
from htr_ssl.errors import UserError

RNG = np.random.default_rng(0)
GRAY = np.ascontiguousarray(cv2.GaussianBlur(RNG.integers(0, 256, (40, 90), np.uint8), (9, 9), 3))
COLOUR = np.ascontiguousarray(np.stack([GRAY, GRAY[::-1], 255 - GRAY], axis=2))


def encoded(image: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """An 8-bit gray PNG that says it has this size."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    ]
    body = b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("image", [GRAY, COLOUR], ids=["gray", "colour"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("BMP", {}),
        ("PPM", {}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_kinds_are_exact(image, kind, options):
    found = decode(encoded(image, kind, **options), "x")
    assert found.dtype == np.uint8
    if found.ndim == 3 and image.ndim == 2:  # WebP has no gray
        assert (found == found[..., :1]).all()
        found = found[..., 0]
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("image", [GRAY, COLOUR], ids=["gray", "colour"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_kinds_are_near(image, kind):
    found = decode(encoded(image, kind, quality=95), "x").astype(float)
    wanted = np.broadcast_to(image[..., None], (*image.shape, 3)) if found.ndim > image.ndim else image
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).mean() < 6


def test_sixteen_bits():
    deep = GRAY.astype(np.uint16) * 257
    for data in (encoded(deep, "PNG"), encoded(deep, "TIFF"), cv2.imencode(".tiff", deep)[1].tobytes()):
        np.testing.assert_array_equal(decode(data, "x"), GRAY)
    colour = cv2.imencode(".tiff", (COLOUR.astype(np.uint16) * 257)[..., ::-1])[1].tobytes()
    np.testing.assert_array_equal(decode(colour, "x"), COLOUR)


def test_one_bit():
    found = decode(encoded(Image.fromarray(GRAY).convert("1"), "PNG"), "x")
    assert found.shape == GRAY.shape
    assert set(np.unique(found)) == {0, 255}


def test_palettes():
    colour = Image.fromarray(COLOUR).quantize(256)
    np.testing.assert_array_equal(decode(encoded(colour, "PNG"), "x"), np.asarray(colour.convert("RGB")))
    gray = Image.fromarray(GRAY).convert("P")
    np.testing.assert_array_equal(decode(encoded(gray, "PNG"), "x"), GRAY)
    np.testing.assert_array_equal(decode(encoded(gray, "GIF"), "x"), GRAY)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_alpha_is_laid_on_white(kind):
    picture = Image.fromarray(COLOUR).convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 45, 40))
    found = decode(encoded(picture, kind, **({"lossless": True} if kind == "WEBP" else {})), "x")
    assert (found[:, :45] == 255).all()
    np.testing.assert_array_equal(found[:, 45:], COLOUR[:, 45:])


def test_gray_with_transparent_colour():
    found = decode(encoded(np.full((4, 4), 7, np.uint8), "PNG", transparency=7), "x")
    assert (found == 255).all()


def test_cmyk():
    cmyk = Image.fromarray(COLOUR).convert("CMYK")
    found = decode(encoded(cmyk, "TIFF"), "x").astype(int)
    assert np.abs(found - COLOUR).max() <= 1
    found = decode(encoded(cmyk, "JPEG", quality=100), "x").astype(int)
    assert np.abs(found - COLOUR).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_orientation(kind, orientation):
    """The picture comes out upright: white stays top left."""
    upright = np.zeros((20, 30), np.uint8)
    upright[:8, :12] = 255
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = Image.fromarray(upright) if undo is None else Image.fromarray(upright).transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    found = decode(encoded(stored, kind, exif=exif), "x")
    found = found[..., 0] if found.ndim == 3 else found
    assert found.shape == upright.shape
    assert np.abs(found.astype(int) - upright).mean() < 12


def test_first_frame_of_many():
    pages = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY)]
    data = encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(decode(data, "x"), GRAY)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(kind, share):
    data = encoded(COLOUR, kind)
    with pytest.raises(UserError, match=r"^scan: "):
        decode(data[: int(len(data) * share)], "scan")


@pytest.mark.parametrize("content", [b"not an image", b"\x00" * 1000, b"<html></html>", b"II*\0", b"RIFF____WEBPVP8 "])
def test_what_is_no_image(content):
    with pytest.raises(UserError, match=r"^letter\.txt: "):
        decode(content, "letter.txt")


def test_messages_name_the_way_out(tmp_path):
    with pytest.raises(UserError, match=r"x: the image is empty \(0 bytes\)"):
        decode(b"", "x")
    with pytest.raises(UserError, match="x: this is a PDF, not an image"):
        decode(b"%PDF-1.7 ...", "x")
    with pytest.raises(UserError, match="x: there is no file"):
        decode(tmp_path / "missing.png", "x")
    with pytest.raises(UserError, match="is a folder"):
        decode(tmp_path, "x")


@pytest.mark.parametrize("size", [(60_000, 60_000), (MAX_PIXELS, 2), (2**31 - 1, 2**31 - 1)])
def test_huge_headers_are_refused_before_decoding(size):
    with pytest.raises(UserError, match="million"):
        decode(png(*size), "bomb")


def test_header_without_pixels():
    for size in ((0, 5), (5, 0), (5, 5)):
        with pytest.raises(UserError):
            decode(png(*size), "x")


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=60), st.sampled_from(["PNG", "JPEG", "WEBP", "TIFF"]), st.data())
def test_damage_never_escapes(noise, kind, data):
    good = encoded(GRAY, kind)
    start = data.draw(st.integers(0, len(good)))
    try:
        found = decode(good[:start] + noise + good[start + len(noise) :], "x")
    except UserError as error:
        found = str(error)
    assert found.startswith("x: ") if isinstance(found, str) else (found.dtype == np.uint8 and found.ndim in (2, 3))


def test_arrays():
    np.testing.assert_array_equal(decode(GRAY[..., None], "x"), GRAY)
    np.testing.assert_array_equal(decode(GRAY.astype(np.uint16) << 8, "x"), GRAY)
    np.testing.assert_array_equal(decode(GRAY > 100, "x"), np.where(GRAY > 100, 255, 0))
    clear = np.dstack([COLOUR, np.zeros_like(GRAY)])
    assert (decode(clear, "x") == 255).all()
    for wrong in (np.zeros(3, np.uint8), np.zeros((0, 5), np.uint8), np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2))):
        with pytest.raises(UserError, match="is not an image"):
            decode(wrong, "x")


def test_sample_loads_paths(tmp_path):
    path = tmp_path / "a b ü.png"
    path.write_bytes(encoded(GRAY, "PNG"))
    np.testing.assert_array_equal(Sample("s", path).load(), GRAY)


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 90), st.integers(1, 300))),
    st.booleans(),
    st.integers(16, 80),
    st.sampled_from([1, 3]),
    st.integers(64, 400),
)
def test_to_height(image, colour, height, channels, max_width):
    source = np.dstack([image] * 3) if colour else image
    strip = to_height(source, height, channels, max_width)
    width = min(max(round(image.shape[1] * height / image.shape[0]), MIN_WIDTH), max_width)
    assert strip.shape == ((height, width) if channels == 1 else (height, width, 3))
    assert strip.dtype == np.uint8


def test_to_height_keeps_what_fits():
    np.testing.assert_array_equal(to_height(GRAY, 40, 1, 500), GRAY)


def test_levels_are_stretched():
    faint = (180 + GRAY.astype(float) * 60 / 255).astype(np.uint8)
    faint[5:10, 5:60] = 130
    for image in (faint, np.dstack([faint] * 3)):
        found = normalise_levels(image)
        assert found.shape == image.shape
        assert found[7, 20].max() <= INK_LEVEL + 5
        assert np.percentile(found, 85) == 255


@pytest.mark.parametrize("tone", [0, 1, 128, 254, 255])
def test_blank_paper_stays_blank(tone):
    found = normalise_levels(np.full((20, 30), tone, np.uint8))
    assert (found == found[0, 0]).all()
    assert found[0, 0] == 255


@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "1", "P", "I;16"])
def test_a_png_of_few_bytes_that_states_many_pixels_is_refused_before_decoding(kind, monkeypatch):
    """Before memory is taken for them; what is blank in truth is read."""
    whole = encoded(Image.new(kind, (4000, 3000)), "PNG")
    assert decode(whole, "blank").shape[:2] == (3000, 4000)
    head = struct.pack(">II", 13200, 13200) + whole[24:29]
    data = whole[:16] + head + struct.pack(">I", zlib.crc32(b"IHDR" + head)) + whole[33:1000]
    monkeypatch.setattr(cv2, "imdecode", None)
    monkeypatch.setattr(Image, "open", None)
    with pytest.raises(UserError, match=r"x: .*cannot hold 13200 x 13200 pixels"):
        decode(data, "x")


def test_a_png_with_a_chunk_that_leads_out_of_it_takes_no_memory(monkeypatch):
    """OpenCV takes memory for what the chunk states, which took 24 s and 2.8 GB."""
    pixels = (np.arange(4800) % 251).astype(np.uint8).reshape(40, 120)
    whole = encoded(Image.fromarray(pixels), "PNG")
    place = whole.index(b"IDAT") - 4
    size = int.from_bytes(whole[place : place + 4], "big")
    parts = whole[place + 8 : place + 8 + size // 2], whole[place + 8 + size // 2 : place + 8 + size]
    first = struct.pack(">I", len(parts[0])) + b"IDAT" + parts[0] + struct.pack(">I", zlib.crc32(b"IDAT" + parts[0]))
    data = whole[:place] + first + struct.pack(">I", 1 << 30) + b"IDAT" + parts[1] + whole[place + 8 + size :]
    monkeypatch.setattr(cv2, "imdecode", None)
    assert np.array_equal(decode(data, "x"), pixels)
