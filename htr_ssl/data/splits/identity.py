"""What a run was begun with: a hash of its ids, texts, splits, and of its files' sizes and times.

Whatever goes on where it was stopped compares it first, so that no half of a run is of other data than the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.files import sha256, write_json
from htr_ssl.folders import begin_run, files

FILE = "inputs.json"
"""File of a run that holds the hashes."""
_SAID = {"ids": "its images", "texts": "texts", "splits": "splits", "files": "sizes or times of its files"}


def mark(samples: Samples) -> dict[str, Any]:
    """Number of images, and hashes of what decides a training on them."""
    columns = {name: samples.column(column) for name, column in (("ids", "id"), ("texts", "text"), ("splits", "split"))}
    paths = samples.paths() or ([] if samples.root is None else list(files(samples.root)))
    return {
        "images": len(samples),
        **{name: sha256(json.dumps(values)) for name, values in columns.items()},
        "files": sha256(json.dumps([_state(path) for path in paths])),
    }


def check(folder: Path, sources: Mapping[str, Samples], paths: Mapping[str, str | None], begun: bool) -> None:
    """Compares what a run in `folder` reads now with what it was begun with, or notes it if it is just begun.

    Args:
        folder: of the run or table.
        sources: data by name; what stands behind a ``#`` tells apart data of one name and is not said.
        paths: other files by name, such as the model it starts from; what is not there is not compared.
        begun: whether there is something to go on with.

    Raises:
        UserError: something has changed; the sentence says what, and the ways out.
    """
    found: dict[str, Any] = {name: mark(samples) for name, samples in sources.items()}
    for name, path in paths.items():
        if path and Path(path).is_file():
            found[name] = sha256(Path(path).read_bytes())
    noted = folder / FILE
    before = _known(noted)
    known = before if begun else {}
    changes = [
        _change(name.partition("#")[0], known[name], now) for name, now in found.items() if known.get(name, now) != now
    ]
    if changes:
        raise UserError(
            f"{folder}: {'; '.join(changes)} since it was begun; give another name or remove the folder to begin anew, "
            f"put the old ones back to go on, or remove {noted} if they are only copied anew"
        )
    if before != {**before, **found}:
        begin_run(folder)
        write_json(noted, {**before, **found})


def _change(name: str, old: Any, new: Any) -> str:
    """One clause on what differs."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return f"the file of {name} has changed"
    what = [said for key, said in _SAID.items() if old.get(key) != new.get(key)]
    count = f" ({old.get('images')} images then, {new['images']} now)" if old.get("images") != new["images"] else ""
    return f"{' and '.join(what) or 'its images'} of {name} have changed{count}"


def _known(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _state(path: Path) -> list[Any]:
    """Name, size [bytes] and time of change [ns] of a file."""
    try:
        status = path.stat()
    except OSError:
        return [path.name]
    return [path.name, status.st_size, status.st_mtime_ns]
