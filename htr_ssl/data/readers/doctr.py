"""docTR's recognition sets: `labels.json` with {"file name": "text"} and a folder `images` beside it.

Source: <https://github.com/mindee/doctr/tree/main/references/recognition> ("Data format").
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from htr_ssl.data.readers._listed import Row, samples_of
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples, split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files, read_text

NAME = "labels.json"


def detect(root: Path) -> bool:
    """Whether there is a `labels.json`."""
    return any(path.name == NAME for path in files(root))


def read(root: Path, level: Level) -> FileSamples:
    """Every image that a `labels.json` below `root` names; folders train, val and test name the splits.

    Raises:
        UserError: there is no such file, none of its images, or it is docTR's format for detection.
    """
    problems: list[str] = []
    paths = [path for path in files(root) if path.name == NAME or path == root]
    if not paths:
        raise UserError(f"{root}: there is no {NAME} in it; give the folder with docTR's labels and images")
    return samples_of(root, _rows(root, paths, problems), level, problems, NAME)


def _rows(root: Path, paths: list[Path], problems: list[str]) -> Iterator[Row]:
    for path in paths:
        try:
            labels = _labels(path)
        except UserError as error:
            problems.append(str(error))
            continue
        parts = path.relative_to(root).parts[:-1] if path != root else ()
        split = next((split for split in map(split_of, parts) if split), None)
        for name, text in labels.items():
            if isinstance(text, str):
                yield Row(f"{path}: {name}", (path.parent / "images", path.parent), (name,), text, split)
            else:
                what = "boxes of docTR's detection format" if isinstance(text, dict) else type(text).__name__
                problems.append(f"{path}: {name!r} has {what} in place of a text; it is left out")


def _labels(path: Path) -> dict[str, Any]:
    try:
        labels = json.loads(read_text(path)[0], parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: this is not whole JSON ({error}); write it again") from error
    if not isinstance(labels, dict):
        raise UserError(f"{path}: it holds a {type(labels).__name__}; expected an object of file names and texts")
    return labels
