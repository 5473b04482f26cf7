"""Image files of every kind become uint8 arrays, and arrays become strips of one height.

A decoded image is (H, W) gray or (H, W, 3) RGB. Plain PNG and WebP, the bulk of word and line sets, take a short path
through OpenCV; everything else goes through Pillow, which knows orientation, palettes, alpha and CMYK and, unlike
OpenCV, complains about truncated files.
"""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from htr_ssl.errors import UserError

Array = np.ndarray[Any, np.dtype[np.uint8]]

MAX_PIXELS = 175_000_000
"""Largest image decoded [px]; just below the size at which Pillow itself refuses (A4 at 1200 dpi is 139 million)."""
MAX_BYTES = 1 << 30
"""Largest image file read [bytes]."""
MIN_WIDTH = 8
"""Narrowest strip `to_height` makes [px]."""
INK_LEVEL = 30
"""Gray level that the darkest hundredth of an image is stretched to."""
MIN_CONTRAST = 40
"""Least distance of paper and ink assumed by `normalise_levels`, so that blank paper is not blown up to noise."""

MAX_DEFLATE = 1040
"""Bytes that a byte of a PNG file can stand for at most; deflate reaches 1032."""

_NOT_PLAIN = frozenset((b"tRNS", b"eXIf", b""))  # chunks of a PNG that Pillow has to see
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the colour type of PNG
_BITS = (8, 10, 12, 14, 16)
_BACK = {turn: {6: 8, 8: 6}.get(turn, turn) for turn in range(1, 9)}  # EXIF orientation that undoes another
_REMEDY = "save it again as PNG or JPEG, or leave it out"


def decode(source: bytes | Path | np.ndarray | Image.Image, name: str, frame: int = 0, upright: bool = True) -> Array:
    """Image of encoded bytes, a file, an array or a Pillow image: uint8, (H, W) gray or (H, W, 3) RGB, alpha on white.

    The number of pixels is taken from the header before anything is decoded.

    Args:
        source: encoded bytes, the path of a file, an array, or a Pillow image.
        name: what messages start with.
        frame: which image of a TIFF or GIF file, from 0.
        upright: turn the image as its EXIF orientation says; False gives the pixels as they are stored.

    Raises:
        UserError: empty, truncated, too large or not an image; the message starts with `name`.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source, name)
    if isinstance(source, Image.Image):
        _check_size(source.size, name)
        return _from_picture(source)
    source = Path(source) if isinstance(source, str) else source
    data = _read(source, name) if isinstance(source, Path) else bytes(source)
    if not data:
        raise UserError(f"{name}: the image is empty (0 bytes); copy it again or leave it out")
    _check_png(data, name)
    size = _plain_size(data)
    if size is None:
        return _decode_any(data, name, frame, upright)
    _check_size(size, name)
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        return _decode_any(data, name, frame, upright)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if image.ndim == 3 else image  # type: ignore[return-value]


def to_height(image: np.ndarray, height: int, channels: int, max_width: int) -> Array:
    """Image scaled to `height` [px] in proportion: (height, W) for 1 channel, (height, W, 3) for 3.

    W lies in [MIN_WIDTH, max_width]; what falls outside is squeezed or widened to it.
    """
    if channels == 1 and image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    rows, columns = image.shape[:2]
    width = min(max(round(columns * height / rows), MIN_WIDTH), max_width)
    if (rows, columns) != (height, width):
        # Averaging areas keeps thin strokes when shrinking; cubic keeps edges firm when enlarging.
        shrinks = rows > height or columns > width
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    if channels == 3 and image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    return image


def normalise_levels(image: np.ndarray) -> Array:
    """Image whose paper is stretched to 255 and whose darkest hundredth to about `INK_LEVEL`; same shape.

    Paper is the 80th percentile of the luminance. A colour image gets the luminance's curve in every channel, which
    keeps the tint roughly.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    counts = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel().cumsum()
    ink, paper = np.searchsorted(counts, counts[-1] * np.array([0.01, 0.8]))
    ink = min(ink, paper - MIN_CONTRAST)
    curve = INK_LEVEL + (np.arange(256) - ink) * ((255 - INK_LEVEL) / (paper - ink))
    return cv2.LUT(image, curve.clip(0, 255).astype(np.uint8))  # type: ignore[return-value]


def _check_png(data: bytes, name: str) -> None:
    """Refuses a PNG that states more pixels than its bytes can hold, before memory is taken for them."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or len(data) < 33 or data[12:16] != b"IHDR":
        return
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    _check_size((width, height), name)
    bits = depth * _CHANNELS.get(colour, 1)
    if width * height * bits // 8 > MAX_DEFLATE * len(data):
        raise UserError(
            f"{name}: the image is damaged or truncated ({len(data)} bytes cannot hold {width} x {height} pixels); "
            "copy it again or leave it out"
        )


def _plain_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) [px] of a complete 8-bit gray or RGB PNG or a WebP without extras, else None."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) > 45 and data[-8:-4] == b"IEND":
        width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", data[16:29])
        plain = depth == 8 and colour in (0, 2) and not interlace and width and height
        return (width, height) if plain and _NOT_PLAIN.isdisjoint(_chunks(data)) else None
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) > 30:
        if len(data) < 8 + int.from_bytes(data[4:8], "little"):
            return None
        if data[12:16] == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
            width, height = struct.unpack("<HH", data[26:30])
            return width & 0x3FFF, height & 0x3FFF
    return None


def _chunks(data: bytes) -> Iterator[bytes]:
    """Kinds of the chunks of a PNG; an empty one for a chunk that leads out of it, which OpenCV takes memory for."""
    place = 8
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "big")
        kind = data[place + 4 : place + 8]
        place += 12 + size
        yield kind if place <= len(data) else b""


def _decode_any(data: bytes, name: str, frame: int, upright: bool) -> Array:
    """Decodes through Pillow, and colour of 16 bits, which Pillow cuts to 8 or does not know, through OpenCV."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # large images and odd metadata: our own limit and errors speak instead
            with Image.open(io.BytesIO(data)) as picture:
                picture.seek(frame)
                _check_size(picture.size, name)
                if _is_deep_colour(picture) and (deep := _deep_colour(data, name, frame)) is not None:
                    return _turned(deep, _orientation(picture)) if upright else deep
                back = _BACK[_orientation(picture)] if picture.format == "TIFF" and not upright else 1
                picture.load()
                return _turned(_from_picture(picture, upright), back)
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{name}: the image is larger than {MAX_PIXELS // 10**6} million pixels; make it smaller"
        ) from error
    except UnidentifiedImageError as error:
        image = _deep_colour(data, name, frame) if _is_tiff(data) else None
        if image is None:
            kind = "a PDF, not an image" if data[:5] == b"%PDF-" else "not an image of a known kind"
            raise UserError(f"{name}: this is {kind}; {_REMEDY}") from error
        return image
    except UserError:
        raise
    except MemoryError as error:
        raise UserError(f"{name}: not enough memory to decode the image; make it smaller") from error
    except EOFError as error:
        raise UserError(f"{name}: there is no image {frame + 1} in the file; copy it again") from error
    except Exception as error:  # damaged files make decoders fail in every way there is
        raise UserError(
            f"{name}: the image is damaged or truncated ({error}); copy it again or leave it out"
        ) from error


def _is_deep_colour(picture: Image.Image) -> bool:
    """Whether a file has colour or alpha of 16 bits, of which Pillow would keep the upper 8 only."""
    if picture.format == "TIFF":
        bits: Any = picture.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
        return len(bits) in (3, 4) and min(bits) > 8
    return picture.format == "PNG" and picture.mode != "I;16" and ";16B" in str(getattr(picture, "tile", "")[:1])


def _deep_colour(data: bytes, name: str, frame: int) -> Array | None:
    """Image as stored, decoded through OpenCV; None if it cannot."""
    try:
        done, images = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED, range=(frame, frame + 1))
    except cv2.error:
        return None
    if not done or not len(images):
        return None
    image = images[0]
    order = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}.get(image.shape[2] if image.ndim == 3 else 1)
    return _from_array(image if order is None else cv2.cvtColor(image, order), name)


def _from_picture(picture: Image.Image, upright: bool = True) -> Array:
    """uint8 array of a loaded Pillow image."""
    inverted = picture.format == "TIFF" and picture.tag_v2.get(262) == 0  # type: ignore[attr-defined]
    if upright and picture.format != "TIFF":  # Pillow turns these by itself
        with contextlib.suppress(Exception):  # unreadable EXIF data says nothing about the pixels
            picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    elif picture.mode.startswith(("I", "F")):
        levels = _to_8_bit(np.asarray(picture))
        return 255 - levels if inverted else levels  # Pillow turns only levels of 8 bits
    elif picture.mode not in ("L", "RGB"):
        gray = picture.mode == "1" or (picture.mode == "P" and _is_gray_palette(picture))
        picture = picture.convert("L" if gray else "RGB")
    return np.asarray(picture).copy()


def _orientation(picture: Image.Image) -> int:
    """EXIF orientation, 1 if there is none."""
    try:
        value = picture.getexif().get(0x0112, 1)
    except Exception:  # unreadable EXIF data says nothing about the pixels
        return 1
    return value if value in range(1, 9) else 1


def _turned(image: Array, orientation: int) -> Array:
    """Stored pixels as their EXIF orientation says they are to be seen."""
    if orientation >= 5:
        image = np.swapaxes(image, 0, 1)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _is_gray_palette(picture: Image.Image) -> bool:
    palette = np.asarray((picture.getpalette("RGB") or [])[: 3 * 256]).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _to_8_bit(values: np.ndarray) -> Array:
    """8-bit levels of 16-bit, 32-bit or real values.

    White is the largest value of the fewest bits (8, 10, 12, 14 or 16) that hold the brightest pixel, for cameras and
    scanners write 10 or 12 bits into files of 16. Reals up to 1 count as shares of white.
    """
    if values.dtype.kind in "iu" and (most := int(values.max(initial=0))) <= 65535:
        bits = next(bits for bits in _BITS if most < 1 << bits)
        return (values.clip(0) >> (bits - 8)).astype(np.uint8)
    values = np.nan_to_num(values.astype(np.float32))
    top = float(values.max(initial=0.0))
    white = 1.0 if top <= 1.0 else next((2.0**bits - 1 for bits in _BITS if top < 2**bits), top)
    levels: Array = (values * (255.0 / white)).round().clip(0, 255).astype(np.uint8)
    return levels


def _from_array(array: np.ndarray, name: str) -> Array:
    """Checks an array that is already decoded; 16-bit and boolean values are brought to 8 bits."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    shaped = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not shaped or not array.size or array.dtype not in (np.uint8, np.uint16, np.bool_):
        raise UserError(
            f"{name}: an array of shape {array.shape} and type {array.dtype} is not an image; "
            "give (H, W) or (H, W, 3) of uint8, with H and W above 0"
        )
    _check_size(array.shape[1::-1], name)
    if array.dtype == np.uint16:
        colour = array[:, :, :3] if array.ndim == 3 else array
        alpha = array[:, :, 3:] if array.ndim == 3 else array[:0]
        array = np.concatenate([_to_8_bit(colour), _to_8_bit(alpha)], axis=-1) if alpha.size else _to_8_bit(colour)
    elif array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    if array.ndim == 3 and array.shape[2] == 4:
        alpha = array[:, :, 3:].astype(np.float32) / 255
        array = (array[:, :, :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)
    return np.ascontiguousarray(array)


def _is_tiff(data: bytes) -> bool:
    return data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _check_size(size: Any, name: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise UserError(
            f"{name}: {width} x {height} pixels are more than the {MAX_PIXELS // 10**6} million allowed; "
            "make the image smaller or cut it into pages"
        )


def _read(path: Path, name: str) -> bytes:
    """Bytes of an image file."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{name}: the file is larger than 1 GiB; {_REMEDY}")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{name}: there is no file {path}; check the path") from None
    except IsADirectoryError:
        raise UserError(f"{name}: {path} is a folder; give an image file") from None
    except OSError as error:
        reason = f"{path} cannot be read ({error.strerror})"
        raise UserError(f"{name}: {reason}; copy it again or check its permissions") from error
