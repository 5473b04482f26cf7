"""What finds the lines, by name: a module of `segment`, or the file of a learned line finder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from htr_ssl import plugins
from htr_ssl.layout.document import Line

FOLDER = "htr_ssl.pages.segment"
"""Package whose modules find lines."""


def segmenter(name: str) -> Callable[[np.ndarray], list[Line]]:
    """The function that finds the lines of a page image.

    Args:
        name: of a module in `htr_ssl.pages.segment`, or a `.safetensors` file that `htr-ssl segment train` wrote.

    Raises:
        UserError: no such module or file.
    """
    if name.endswith(".safetensors"):
        from htr_ssl.pages.finder.weights import load
        from htr_ssl.pages.segment.learned import find

        return partial(find, load(Path(name)).fused())
    found: Callable[[np.ndarray], list[Line]] = plugins.load(FOLDER, name).segment
    return found
