"""The folder is the registry: `methods/simclr.py` *is* `method.name: simclr`.

Names starting with an underscore are shared helpers of that folder, not plugins.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from types import ModuleType

from htr_ssl.errors import UserError


def names(package: str) -> list[str]:
    """Sorted plugin names in a package such as ``"htr_ssl.methods"``; none of them is imported."""
    path = importlib.import_module(package).__path__
    return sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """Imports exactly the plugin `name` of `package`.

    Raises:
        UserError: there is no such plugin; the message suggests the nearest name.
    """
    known = names(package)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"choose one of: {', '.join(known)}"
        raise UserError(f"{package.rsplit('.', 1)[-1]}: there is no {name!r}; {hint}")
    return importlib.import_module(f"{package}.{name}")
