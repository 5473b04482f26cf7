"""One door to all readers: finds the format of a source and reads it."""

from __future__ import annotations

import difflib
from pathlib import Path
from types import ModuleType

from htr_ssl import plugins
from htr_ssl.data.hub import HUB, catalogue, fetched
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError

READERS = "htr_ssl.data.readers"


def read(source: str | Path, format: str = "auto", level: Level = "line") -> Samples:
    """Samples of a file, a folder, or a data set of the Hugging Face Hub (``hf://OWNER/NAME``).

    Images are fetched when asked for; what was left out is in ``.problems``.

    Raises:
        UserError: no such path or format, or nothing in it that a reader knows.
    """
    if str(source).startswith(HUB):
        source = fetched(str(source))
    root = Path(source).expanduser()
    reader = None if format == "auto" else plugins.load(READERS, format)
    if not root.exists():
        raise UserError(_missing(root))
    reader = reader or _detect(root)
    samples: Samples = reader.read(root, level)
    known = {**catalogue(root), "format": reader.__name__.rpartition(".")[2]}
    samples.facts, samples.root = {**known, **samples.facts}, root
    return samples


def _detect(root: Path) -> ModuleType:
    """The one reader that knows the source; readers marked FALLBACK count only if no other does."""
    modules = {name: plugins.load(READERS, name) for name in plugins.names(READERS)}
    for fallback in (False, True):
        able = [name for name, module in modules.items() if getattr(module, "FALLBACK", False) == fallback]
        found = [name for name in able if modules[name].detect(root)]
        if len(found) > 1:
            raise UserError(
                f"{root}: it could be {' or '.join(found)}; say which: data import {found[0]}, or "
                f"--format {found[0]}, or data.format={found[0]} in a configuration"
            )
        if found:
            return modules[found[0]]
    raise UserError(f"{root}: no image or data file in it is known; formats are {', '.join(modules)}")


def _missing(root: Path) -> str:
    """Message for a path that does not exist, with the nearest one that does."""
    part = root
    while not part.parent.exists():
        part = part.parent
    near = difflib.get_close_matches(part.name, [path.name for path in part.parent.iterdir()], n=1, cutoff=0.6)
    hint = f"did you mean {part.parent / near[0]}?" if near else f"the nearest folder that exists is {part.parent}"
    return f"{root}: there is no such file or folder; {hint}"
