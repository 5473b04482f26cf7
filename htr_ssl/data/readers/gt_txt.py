"""Images with their transcription beside them: `name.png` and `name.gt.txt` (kraken, Calamari, OCRopus)."""

from __future__ import annotations

from pathlib import Path

from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image, read_text
from htr_ssl.partners import pair

SUFFIX = ".gt.txt"


def detect(root: Path) -> bool:
    """Whether there is a `.gt.txt` file."""
    return root.is_dir() and any(map(_is_label, files(root)))


def read(root: Path, level: Level) -> FileSamples:
    """Every image below `root`; those without a `.gt.txt` are unlabelled.

    Folders train, validation (val) and test name the splits. `name.bin.png` belongs to `name.gt.txt` too, if there is
    no `name.png`; see `partners.pair`. A transcription that is not UTF-8 is read as Windows-1252. That is a problem;
    others are a transcription without an image, one of several lines, and one that could belong to several images.

    Raises:
        UserError: there is no image.
    """
    found = list(files(root))
    images = list(filter(is_image, found))
    labels = list(filter(_is_label, found))
    partners, problems = pair(labels, images, SUFFIX)
    texts = [_text(partners[image], problems) if image in partners else None for image in images]
    samples = FileSamples(root, images, level, texts)
    used, said = set(partners.values()), "\n".join(problems)
    unused = [path for path in labels if path not in used and path.name not in said]
    samples.problems += [*problems, *(f"{path}: no image has this name; it is left out" for path in unused)]
    empty = [
        partners[image] for image, text in zip(images, texts, strict=True) if text is not None and not text.strip()
    ]
    if empty:
        samples.notes.append(
            f"{empty[0]}: it is empty, as {len(empty)} of {len(labels)} are; their images have no text"
        )
    return samples


def _is_label(path: Path) -> bool:
    return path.name.lower().endswith(SUFFIX)


def _text(path: Path, problems: list[str]) -> str | None:
    """Transcription of a file; what is wrong with it becomes a problem."""
    try:
        text, problem = read_text(path)
    except UserError as error:
        problems.append(str(error))
        return None
    problems += [problem] if problem else []
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1:
        problems.append(f"{path}: it has {len(lines)} lines of text, but an image shows one; its text is left out")
        return None
    return text
