"""What finds the lines, by name: a module of `segment`, or the file of a learned line finder."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from htr_ssl import plugins
from htr_ssl.errors import UserError
from htr_ssl.layout.document import Line
from htr_ssl.text.direction import Direction

FOLDER = "htr_ssl.pages.segment"
"""Package whose modules find lines."""


def segmenter(name: str, direction: Direction = "ltr") -> Callable[[np.ndarray], list[Line]]:
    """The function that finds the lines of a page image.

    Args:
        name: of a module in `htr_ssl.pages.segment`, or a `.safetensors` file that `htr-ssl segment train` wrote. What
            stands after `=` goes to the module's `at`: `kraken=ENV/bin/python`.
        direction: of the script that will be read; columns and cells are ordered by it where the finder can.

    Raises:
        UserError: no such module or file, the module takes nothing after `=`, or what it needs is missing.
    """
    if name.endswith(".safetensors"):
        from htr_ssl.pages.finder.weights import load
        from htr_ssl.pages.segment.learned import find

        found: Callable[..., list[Line]] = partial(find, load(Path(name)).fused())
    else:
        plain, _, given = name.partition("=")
        module = plugins.load(FOLDER, plain)
        at = getattr(module, "at", None)
        if given and at is None:
            raise UserError(f"{name}: the line finder {plain} takes nothing after '='; leave it out")
        found = at(given) if at is not None else module.segment
    takes = "direction" in inspect.signature(found).parameters
    return partial(found, direction="ltr" if direction == "ltr" else "rtl") if takes else found
