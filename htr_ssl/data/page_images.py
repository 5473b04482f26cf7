"""Pages of image files, of TIFF files with several pages, and of PDF files."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from htr_ssl.data.images import MAX_BYTES, MAX_PIXELS, decode
from htr_ssl.errors import UserError

RESOLUTION = 300
"""Resolution at which PDF pages are drawn [dots per inch]."""
MAX_PAGES = 100_000
"""Most pages of one file."""

_PDFIUM = threading.Lock()  # the library is not safe for threads


def page_count(path: Path) -> int:
    """Number of pages of a PDF or TIFF file; 1 for any other.

    Raises:
        UserError: a PDF or TIFF that is damaged, or has more pages than `MAX_PAGES`.
    """
    count = 1
    if is_pdf(path):
        with _PDFIUM:
            document = _document(path)
            count = len(document)
            document.close()
    elif path.suffix.lower() in (".tif", ".tiff"):
        try:
            with Image.open(path) as picture:
                count = getattr(picture, "n_frames", 1)
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
            return 1  # what is wrong with it is said when it is decoded
    if count > MAX_PAGES:
        raise UserError(f"{path}: it has {count} pages, more than {MAX_PAGES}; split it")
    return count


def page_image(path: Path, number: int = 0) -> np.ndarray:
    """One page, uint8, (H, W) gray or (H, W, 3) RGB; PDF pages are drawn at `RESOLUTION`.

    Raises:
        UserError: damaged, too large, or there is no such page.
    """
    if is_pdf(path):
        return _drawn(path, number)
    if not number:
        return decode(path, str(path))
    name = f"{path}, page {number + 1}"
    try:
        with Image.open(path) as picture:
            picture.seek(number)
            if picture.width * picture.height > MAX_PIXELS:
                raise UserError(f"{name}: it is larger than {MAX_PIXELS // 10**6} million pixels; make it smaller")
            buffer = io.BytesIO()
            picture.save(buffer, "PNG")
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise UserError(f"{name}: the page cannot be read ({error}); export it again") from error
    return decode(buffer.getvalue(), name)


def is_pdf(path: Path) -> bool:
    """Whether the file's name ends as a PDF's does."""
    return path.suffix.lower() == ".pdf"


def _document(path: Path) -> Any:
    import pypdfium2

    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: the file is larger than 1 GiB; split it")
        return pypdfium2.PdfDocument(path)
    except (OSError, pypdfium2.PdfiumError) as error:
        raise UserError(f"{path}: the PDF cannot be read ({error}); export it again, without a password") from error


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
