"""One door to all readers: finds the format of a source and reads it."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from htr_ssl import plugins
from htr_ssl.data.sample import Level, Sample
from htr_ssl.errors import UserError

READERS = "htr_ssl.data.readers"


def read(source: str | Path, format: str = "auto", level: Level = "line") -> Sequence[Sample]:
    """Samples of a file or folder; images are fetched when asked for.

    Every reader's sequence has ``.column(name)`` for id, text, writer, page and split.

    Raises:
        UserError: no such path or format, or nothing in it that a reader knows.
    """
    root = Path(source).expanduser()
    reader = None if format == "auto" else plugins.load(READERS, format)
    if not root.exists():
        raise UserError(_missing(root))
    reader = reader or _detect(root)
    samples: Sequence[Sample] = reader.read(root, level)
    return samples


def _detect(root: Path) -> ModuleType:
    """The one reader that knows the source; readers marked FALLBACK count only if no other does."""
    modules = {name: plugins.load(READERS, name) for name in plugins.names(READERS)}
    for fallback in (False, True):
        able = [name for name, module in modules.items() if getattr(module, "FALLBACK", False) == fallback]
        found = [name for name in able if modules[name].detect(root)]
        if len(found) > 1:
            raise UserError(f"{root}: it could be {' or '.join(found)}; say which, e.g. data.format={found[0]}")
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
