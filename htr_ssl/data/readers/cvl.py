"""CVL Database 1.1: `trainset/` and `testset/`, each with `words/`, `lines/` and `pages/`; the file names say the rest.

`words/0052/0052-1-0-0-Imagine.tif` is word 0 of line 0 of text 1 by writer 0052, and its text;
`lines/0052/0052-1-0.tif` is the line. Source: Kleber et al., "CVL-DataBase: An Off-Line Database for Writer Retrieval,
Writer Identification and Word Spotting", ICDAR 2013, <https://zenodo.org/records/1492267>.
"""

from __future__ import annotations

import re
from pathlib import Path

from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image

_SETS = {"trainset": "train", "testset": "test"}
_WORD = re.compile(r"(\d{3,5})-(\d+)-(\d+)-(\d+)-(.*)", re.DOTALL)
_LINE = re.compile(r"(\d{3,5})-(\d+)-(\d+)")


def detect(root: Path) -> bool:
    """Whether there is a word or line image named as CVL's are, in a folder `words` or `lines`."""
    return any(is_image(path) and (_match(path, "word") or _match(path, "line")) for path in files(root))


def read(root: Path, level: Level) -> FileSamples:
    """All words or lines; a line's text is that of its words, because the line images carry none.

    The words' names lack punctuation, and so do the texts. Ids are file names without suffix, the page is writer and
    text, as ``0052-1``. There is no validation split: one is drawn from train unless `data.splits` names one.

    Raises:
        UserError: there is no such image.
    """
    problems: list[str] = []
    found: dict[str, Path] = {}
    words: dict[str, dict[int, str]] = {}  # line -> number of the word -> text
    for path in filter(is_image, files(root)):
        match = _match(path, "word")
        if match:
            words.setdefault("-".join(match.groups()[:3]), {})[int(match[4])] = match[5]
        elif path.parent.parent.name == level + "s":
            match = _match(path, level)
            if match is None:
                problems.append(f"{path}: it is not named as the {level}s of CVL are; it is left out")
        match = _match(path, level)
        if match and path.stem in found:
            problems.append(f"{path}: {path.stem} is there twice; this one is left out")
        elif match:
            found[path.stem] = path
    if not found:
        raise UserError(f"{root}: there is no {level} of CVL in it; give the folder with trainset/ and testset/")
    rows = {name: re.split("-", name, maxsplit=4) for name in found}
    texts: list[str | None] = []
    for name, parts in rows.items():
        spoken = words.get(name, {})
        texts.append(parts[4] if level == "word" else " ".join(spoken[key] for key in sorted(spoken)))
    samples = FileSamples(
        root,
        list(found.values()),
        level,
        texts,
        id=list(rows),
        writer=[parts[0] for parts in rows.values()],
        page=["-".join(parts[:2]) for parts in rows.values()],
        split=[_split(path) for path in found.values()],
    )
    samples.problems += problems
    return samples


def _match(path: Path, level: Level) -> re.Match[str] | None:
    """Parts of the name of an image in ``words/WRITER/`` or ``lines/WRITER/``."""
    if path.parent.parent.name != level + "s":
        return None
    return (_WORD if level == "word" else _LINE).fullmatch(path.stem)


def _split(path: Path) -> str | None:
    return next((_SETS[part] for part in reversed(path.parts) if part in _SETS), None)
