"""PAGE XML (2013, 2019): lines or words cut out of the page images.

The form in which Transkribus and eScriptorium export and in which READ 2016 and Bentham are published.
"""

from __future__ import annotations

from pathlib import Path

from htr_ssl.data.readers._crops import CropSamples
from htr_ssl.data.readers._xml import knows, read_sheets
from htr_ssl.data.sample import Level


def detect(root: Path) -> bool:
    """Whether there is a file with the root element of PAGE."""
    return knows(root, "page")


def read(root: Path, level: Level) -> CropSamples:
    """Every line below `root`, or every word that has a box of its own; see `read_sheets`."""
    return read_sheets(root, "page", level)
