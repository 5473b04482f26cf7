"""Images with their transcription beside them: `name.png` and `name.gt.txt` (kraken, Calamari, OCRopus)."""

from __future__ import annotations

from pathlib import Path

from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image, read_text

SUFFIX = ".gt.txt"


def detect(root: Path) -> bool:
    """Whether there is a `.gt.txt` file."""
    return root.is_dir() and any(path.name.endswith(SUFFIX) for path in files(root))


def read(root: Path, level: Level) -> FileSamples:
    """Every image below `root`; those without a `.gt.txt` are unlabelled.

    Folders train, validation (val) and test name the splits. `name.bin.png` also belongs to `name.gt.txt`.

    A transcription that is not UTF-8 is read as Windows-1252; that, and one without an image, is a problem.

    Raises:
        UserError: there is no image.
    """
    found = list(files(root))
    images = list(filter(is_image, found))
    texts = {path for path in found if path.name.endswith(SUFFIX)}
    partners = [_partner(image, texts) for image in images]
    found_texts, problems = _read_all(partners)
    samples = FileSamples(root, images, level, found_texts)
    samples.problems += problems
    samples.problems += [
        f"{path}: no image has this name; it is left out" for path in sorted(texts.difference(partners))
    ]
    return samples


def _partner(image: Path, texts: set[Path]) -> Path | None:
    """Transcription file of an image, or None."""
    for stem in (image.stem, image.name.split(".", 1)[0]):
        candidate = image.with_name(stem + SUFFIX)
        if candidate in texts:
            return candidate
    return None


def _read_all(paths: list[Path | None]) -> tuple[list[str | None], list[str]]:
    """Transcriptions, and what is wrong with their files."""
    texts: list[str | None] = []
    problems: list[str] = []
    for path in paths:
        text = problem = None
        try:
            if path is not None:
                text, problem = read_text(path)
        except UserError as error:
            problem = str(error)
        texts.append(text)
        problems += [problem] if problem else []
    return texts, problems
