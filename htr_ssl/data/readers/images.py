"""A folder of images without transcriptions, or a single image."""

from __future__ import annotations

from pathlib import Path

from htr_ssl.data.sample import Level
from htr_ssl.data.samples import FileSamples
from htr_ssl.folders import files, is_image

FALLBACK = True
"""Chosen only if no other reader knows the source: most formats lie beside images."""


def detect(root: Path) -> bool:
    """Whether there is an image."""
    return any(map(is_image, files(root)))


def read(root: Path, level: Level) -> FileSamples:
    """Every image below `root` in natural order; folders train, validation (val) and test name the splits.

    Raises:
        UserError: there is no image.
    """
    return FileSamples(root, list(filter(is_image, files(root))), level)
