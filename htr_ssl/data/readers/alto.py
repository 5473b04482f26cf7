"""ALTO 2 to 4, as eScriptorium, kraken and libraries write it: lines or words cut out of the page images."""

from __future__ import annotations

from pathlib import Path

from htr_ssl.data.readers._crops import CropSamples
from htr_ssl.data.readers._xml import knows, read_sheets
from htr_ssl.data.sample import Level


def detect(root: Path) -> bool:
    """Whether there is a file with the root element of ALTO."""
    return knows(root, "alto")


def read(root: Path, level: Level) -> CropSamples:
    """Every line below `root`, or every word that has a box of its own; see `read_sheets`."""
    return read_sheets(root, "alto", level)
