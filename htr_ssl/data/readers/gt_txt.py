"""Images with their transcription beside them: `name.png` and `name.gt.txt` (kraken, Calamari, OCRopus)."""

from __future__ import annotations

import warnings
from pathlib import Path

from htr_ssl.data.readers._common import FileSamples, clean_text, files, is_image
from htr_ssl.data.sample import Level
from htr_ssl.errors import UserError

SUFFIX = ".gt.txt"


def detect(root: Path) -> bool:
    """Whether there is a `.gt.txt` file."""
    return root.is_dir() and any(path.name.endswith(SUFFIX) for path in files(root))


def read(root: Path, level: Level) -> FileSamples:
    """Every image below `root`; those without a `.gt.txt` are unlabelled.

    Folders train, validation (val) and test name the splits. `name.bin.png` also belongs to `name.gt.txt`.

    Raises:
        UserError: there is no image, or a transcription is not UTF-8.
    """
    found = list(files(root))
    images = list(filter(is_image, found))
    texts = {path for path in found if path.name.endswith(SUFFIX)}
    partners = [_partner(image, texts) for image in images]
    lonely = texts.difference(partners)
    if lonely:
        warnings.warn(
            f"{min(lonely)}: no image has this name; {len(lonely)} such {SUFFIX} file(s) are left out", stacklevel=2
        )
    return FileSamples(root, images, level, _read_all(partners))


def _partner(image: Path, texts: set[Path]) -> Path | None:
    """Transcription file of an image, or None."""
    for stem in (image.stem, image.name.split(".", 1)[0]):
        candidate = image.with_name(stem + SUFFIX)
        if candidate in texts:
            return candidate
    return None


def _read_all(paths: list[Path | None]) -> list[str | None]:
    """Clean transcriptions; all files are looked at before the first wrong one is reported with their number."""
    texts: list[str | None] = []
    wrong: list[str] = []
    for path in paths:
        text = None
        if path is not None:
            try:
                text = path.read_bytes().decode("utf-8-sig")
            except UnicodeDecodeError as error:
                wrong.append(f"{path}: byte {error.start} is not UTF-8; convert it, e.g. iconv -f latin1 -t utf-8")
            except OSError as error:
                wrong.append(f"{path}: cannot be read ({error.strerror}); check its permissions")
        texts.append(clean_text(text))
    if wrong:
        more = f" ({len(wrong) - 1} more transcriptions have such faults)" if len(wrong) > 1 else ""
        raise UserError(wrong[0] + more)
    return texts
