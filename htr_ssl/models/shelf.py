"""Models by name: those that come with the package, and those in the user's own folder."""

from __future__ import annotations

import difflib
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

from htr_ssl import model_file
from htr_ssl.errors import UserError

SHIPPED = Path(__file__).parent / "weights"
"""Folder of the models that come with the package."""
SAMPLE = Path(__file__).parent / "sample" / "page.jpg"
"""Page that comes with the package, to see a reading at once; its source and licence are in NOTICE."""
DEFAULT = "base"
"""Model that reads where none is named."""
VARIABLE = "HTR_SSL_MODELS"
"""Environment variable that names the user's model folder."""
NO_MODEL = (
    "transcribe needs a model, and none is given; name a model.safetensors, which finetune writes from images with "
    "some transcriptions (htr-ssl finetune data.source=FOLDER)"
)


class Entry(NamedTuple):
    """A model on the shelf.

    Attributes:
        name: by which it is found.
        path: its file.
        header: what the file says of itself; empty if it cannot be read.
        fault: why not.
    """

    name: str
    path: Path
    header: dict[str, Any]
    fault: str


def folder() -> Path:
    """The user's model folder; it may not be there yet."""
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE])
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = str(Path.home() / "Library" / "Application Support")
    else:
        home = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(home) / "htr-ssl" / "models"


def paths() -> dict[str, Path]:
    """File of every name; the package's come first and are not replaced by the user's."""
    found: dict[str, Path] = {}
    for place in (SHIPPED, folder()):
        for path in sorted(place.glob("*.safetensors")):
            found.setdefault(path.stem, path)
    return found


def find(model: str | Path) -> Path:
    """File of a model.

    Args:
        model: a file, or a name without folder and ending.

    Raises:
        UserError: there is no model of this name.
    """
    path = Path(model)
    if path.suffix or path.name != str(model) or path.exists():
        return path
    known = paths()
    if path.name in known:
        return known[path.name]
    near = difflib.get_close_matches(path.name, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(known) or 'none'} (htr-ssl models list)"
    raise UserError(f"{model}: there is no model of this name, and no such file; {hint}")


def default() -> Path:
    """File of the model that reads where none is named.

    Raises:
        UserError: none comes with this installation.
    """
    known = paths()
    if DEFAULT not in known:
        raise UserError(NO_MODEL)
    return known[DEFAULT]


def is_name(model: str | Path) -> bool:
    """Whether this is a model's file or name rather than a page to read; what is there is never taken for a name."""
    path = Path(model)
    if path.suffix in (".safetensors", ".onnx"):
        return True
    plain = re.fullmatch(r"[\w.+-]+", str(model)) is not None
    return plain and not path.exists() and str(model) in paths()


def entries() -> list[Entry]:
    """All models, damaged ones too."""
    found = []
    for name, path in paths().items():
        try:
            found.append(Entry(name, path, model_file.read_header(path), ""))
        except UserError as error:
            found.append(Entry(name, path, {}, str(error)))
    return found
