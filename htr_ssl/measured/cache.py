"""Figures that were measured once are remembered, a small JSON file of each kind in the user's cache folder.

`HTR_SSL_CACHE` names another folder, and `HTR_SSL_MEASURE=0` turns measuring off.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from htr_ssl import environment
from htr_ssl.files import write_json

Figures = dict[str, float]


def on() -> bool:
    """Whether anything is measured at all."""
    return os.environ.get("HTR_SSL_MEASURE") != "0"


def folder() -> Path:
    """The user's cache folder; it may not be there yet."""
    if os.environ.get("HTR_SSL_CACHE"):
        return Path(os.environ["HTR_SSL_CACHE"])
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = str(Path.home() / "Library" / "Caches")
    else:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "htr-ssl"


def network(header: Mapping[str, Any]) -> dict[str, Any]:
    """What decides how fast an encoder is, out of a model file's header."""
    return {key: header[key] for key in ("encoder", "height", "channels")}


def remembered(
    kind: str, facts: list[Any], measure: Callable[[Figures], Figures], sound: Callable[[], bool] = lambda: True
) -> Figures:
    """Figures of a kind for this processor and these facts.

    Args:
        kind: name of the file.
        facts: what the figures depend on besides the processor and the version of PyTorch.
        measure: gets the figures that are known and returns those that are missing; one process at a time measures.
        sound: asked afterwards whether what was measured may be kept for the next time.
    """
    import torch

    key = json.dumps([environment.hardware(), torch.__version__, *facts], sort_keys=True)
    path = folder() / f"{kind}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            cached = _read(path)
            known = cached.get(key, {})
            new = measure(known)
            if new and sound():
                write_json(path, cached | {key: known | new})
            return known | new
    except OSError:  # no place to remember it
        return measure({})


def _read(path: Path) -> dict[str, Figures]:
    """The cache; what is damaged counts as empty."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {
            str(key): {str(name): float(value) for name, value in dict(figures).items()}
            for key, figures in dict(content).items()
        }
    except (OSError, ValueError, TypeError):
        return {}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lets one process measure at a time, where the system has locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
