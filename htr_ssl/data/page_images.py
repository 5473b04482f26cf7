"""Pages of image files, of TIFF files with several pages, and of PDF files.

for page in pages_of(Path("book.pdf")):
    print(page.name, page.load().shape)  # book.pdf/1 (3508, 2480, 3)
"""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, TiffImagePlugin

from htr_ssl.archives.members import Member
from htr_ssl.data.images import MAX_BYTES, MAX_PIXELS, decode
from htr_ssl.errors import UserError

RESOLUTION = 300
"""Resolution at which PDF pages are drawn [dots per inch]."""
MAX_PAGES = 100_000
"""Most pages of one file."""
MAX_DISTORTION = 0.01
"""Largest relative difference between the proportions of an image and those that a file states for it."""

_PDFIUM = threading.Lock()  # the library is not safe for threads
_SUBFILE, _NOT_A_PAGE = 254, 0b101  # TIFF tag; a smaller copy or a mask


@dataclass(frozen=True, slots=True)
class PageImage:
    """One page of a file.

    Attributes:
        path: image, TIFF or PDF file.
        number: which page of the file, from 0.
        count: pages of the file.
    """

    path: Path
    number: int = 0
    count: int = 1

    @property
    def name(self) -> str:
        """Name of the file, and number of the page from 1 if there are several: ``book.pdf/3``."""
        return self.path.name if self.count == 1 else f"{self.path.name}/{self.number + 1}"

    def load(self, stated: tuple[int, int] = (0, 0)) -> np.ndarray:
        """The pixels, see `page_image`."""
        return page_image(self.path, self.number, stated)


def pages_of(path: Path) -> list[PageImage]:
    """Every page of an image, TIFF or PDF file.

    Raises:
        UserError: a PDF or TIFF that is damaged or has more pages than `MAX_PAGES`.
    """
    count = page_count(path)
    return [PageImage(path, number, count) for number in range(count)]


def page_count(path: Path) -> int:
    """Number of pages of a PDF or TIFF file; 1 for any other. Smaller copies in a TIFF file are no pages.

    Raises:
        UserError: a PDF or TIFF that is damaged, or has more pages than `MAX_PAGES`.
    """
    if not is_pdf(path):
        return len(_frames(path))
    with _PDFIUM:
        document = _document(path)
        count = len(document)
        document.close()
    if count > MAX_PAGES:
        raise UserError(f"{path}: it has {count} pages, more than {MAX_PAGES}; split it")
    if not count:
        raise UserError(f"{path}: there is no page in it; export it again")
    return count


def page_image(path: Path, number: int = 0, stated: tuple[int, int] = (0, 0)) -> np.ndarray:
    """One page, uint8, (H, W) gray or (H, W, 3) RGB; PDF pages are drawn at `RESOLUTION`.

    Args:
        path: image, TIFF or PDF file.
        number: which page, from 0.
        stated: width and height of the image that outlines were made for [px], (0, 0) if unknown. Where they fit the
            pixels as they are stored, these are given; else the image is turned as its EXIF orientation says.

    Raises:
        UserError: damaged, too large, or there is no such page.
    """
    if is_pdf(path):
        return _drawn(path, number)
    name = f"{path}, page {number + 1}" if number else str(path)
    frames = _frames(path)
    if number >= len(frames):
        raise UserError(f"{name}: there are only {len(frames)} page(s) in the file; copy it again")
    upright = stated == (0, 0) or orientation(path) == 1 or not fits(stored_size(path), stated)
    return decode(path, name, frames[number], upright)


def fits(size: tuple[int, int], stated: tuple[int, int]) -> bool:
    """Whether an image of `size` (width, height) is a larger or smaller copy of one of the size that a file states."""
    if not all((*size, *stated)):
        return False
    return abs(size[0] * stated[1] / (size[1] * stated[0]) - 1) <= MAX_DISTORTION


def orientation(path: Path) -> int:
    """EXIF orientation of an image file: 1 upright, 3 upside down, 6 and 8 lying, see `ImageOps.exif_transpose`."""
    return int(_head(path, "orientation", 1))


def stored_size(path: Path) -> tuple[int, int]:
    """Width and height of the pixels as they are stored [px]; (0, 0) if they cannot be read."""
    size: tuple[int, int] = _head(path, "size", (0, 0))
    return size


def is_pdf(path: Path) -> bool:
    """Whether the file's name ends as a PDF's does."""
    return path.suffix.lower() == ".pdf"


def _head(path: Path, what: str, otherwise: Any) -> Any:
    """Orientation or size from an image file's head."""
    try:
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file, Image.open(file) as picture:
            if what == "size":  # of TIFF files Pillow gives that of the turned image
                tags = getattr(picture, "tag_v2", {})
                return (tags[256], tags[257]) if picture.format == "TIFF" else picture.size
            value = picture.getexif().get(0x0112, 1)
            return value if value in range(1, 9) else 1
    except Exception:  # what is wrong with it is said when it is decoded
        return otherwise


def _frames(path: Path) -> list[int]:
    """Numbers of the images in a file that are pages; [0] for a file that is no TIFF."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return [0]
    try:
        with warnings.catch_warnings(action="ignore"), path.open("rb") as file:
            found = _directories(file)
    except Exception:  # what is wrong with it is said when it is decoded
        return [0]
    if len(found) > MAX_PAGES:
        raise UserError(f"{path}: it has more than {MAX_PAGES} pages; split it")
    pages = [number for number, kind in enumerate(found) if not kind & _NOT_A_PAGE]
    return pages or [0]


def _directories(file: BinaryIO) -> list[int]:
    """Kind (tag 254) of every image of a TIFF file, at most one more than `MAX_PAGES`."""
    head = file.read(8)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return []
    head += file.read(8) if 43 in head[2:4] else b""
    directory = TiffImagePlugin.ImageFileDirectory_v2(head)
    kinds: list[int] = []
    seen: set[int] = set()
    while (place := directory.next) and place not in seen and len(kinds) <= MAX_PAGES:
        seen.add(place)
        directory.reset()
        file.seek(place)
        directory.load(file)
        kinds.append(int(directory.get(_SUBFILE, 0)))
    return kinds


def _document(path: Path) -> Any:
    import pypdfium2

    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: the file is larger than 1 GiB; split it")
        return pypdfium2.PdfDocument(path.read_bytes() if isinstance(path, Member) else path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise UserError(f"{path}: the PDF is locked with a password; export it again without one") from error
        raise UserError(f"{path}: the PDF is damaged and cannot be opened; copy it again or leave it out") from error
    except OSError as error:
        raise UserError(f"{path}: the PDF cannot be read ({error.strerror or error}); check the file") from error


def _drawn(path: Path, number: int) -> np.ndarray:
    import pypdfium2

    with _PDFIUM:
        document = _document(path)
        try:
            page = document[number]
            width, height = page.get_size()  # in points, 72 to the inch
            scale = min(RESOLUTION / 72, (MAX_PIXELS / max(width * height, 1)) ** 0.5)
            pixels: np.ndarray = page.render(scale=scale, rev_byteorder=True).to_numpy()
            return decode(
                pixels[:, :, 0].copy() if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels.copy(), str(path)
            )
        except (IndexError, pypdfium2.PdfiumError) as error:
            raise UserError(f"{path}, page {number + 1}: it cannot be drawn ({error}); export it again") from error
        finally:
            document.close()
