"""PyLaia tables: `train.txt` with `image t o k e n s <space> …`, images in folders beside.

Source: <https://github.com/jpuigcerver/PyLaia/wiki/train-ctc> (train.txt, train_ids.txt, train_eval.txt, syms.txt), and
its later documentation, which calls the third file train_text.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from htr_ssl.data.readers._listed import Row, samples_of
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples, split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image, read_text

SPACE = "<space>"
"""Token between two words."""
SYMBOLS = "syms.txt"
"""List of the tokens, which lies beside the tables."""
PLAIN = ("_eval", "_text")
"""Endings of tables whose texts are not cut into tokens; read where the other kind is missing."""
_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".pgm", ".bmp")


def detect(root: Path) -> bool:
    """Whether there is a `syms.txt` and a table beside it."""
    return any(path.name == SYMBOLS and _tables(path.parent) for path in files(root)) if root.is_dir() else False


def read(root: Path, level: Level) -> FileSamples:
    """Rows of train.txt, val.txt and test.txt; names without a suffix get that of the image there.

    Raises:
        UserError: there is no table, or no image of it.
    """
    if root.is_file():
        tables = {root: split_of(root.stem)}
    else:
        folders = dict.fromkeys(path.parent for path in files(root) if path.name == SYMBOLS) or {root: None}
        tables = {path: split for folder in folders for path, split in _tables(folder).items()}
    if not tables:
        raise UserError(
            f"{root}: there is no train.txt, val.txt or test.txt in it; give the folder with PyLaia's tables"
        )
    problems: list[str] = []
    return samples_of(root, _rows(tables, problems), level, problems, "table of PyLaia")


def _tables(folder: Path) -> dict[Path, str | None]:
    """Tables in a folder and their splits: those with tokens, else those with plain text."""
    found: dict[Path, str | None] = {}
    for path in sorted(folder.glob("*.txt")):
        split = split_of(path.stem)
        if split:
            found[path] = split
        for ending in PLAIN:
            split = split_of(path.stem.removesuffix(ending)) if path.stem.endswith(ending) else None
            if (
                split
                and split not in found.values()
                and not (folder / f"{path.stem.removesuffix(ending)}.txt").exists()
            ):
                found[path] = split
    return found


def _rows(tables: dict[Path, str | None], problems: list[str]) -> Iterator[Row]:
    for path, split in tables.items():
        try:
            text, problem = read_text(path)
        except UserError as error:
            problems.append(str(error))
            continue
        problems += [problem] if problem else []
        plain = path.stem.endswith(PLAIN)
        places = (path.parent, *sorted(folder for folder in path.parent.iterdir() if folder.is_dir()))
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                name, _, rest = line.strip().partition(" ")
                tokens = rest.split(" ")
                label = rest if plain else "".join(" " if token == SPACE else token for token in tokens)
                names = (name,) if is_image(Path(name)) else tuple(name + suffix for suffix in _SUFFIXES)
                yield Row(f"{path}:{number}", places, names, label, split)
