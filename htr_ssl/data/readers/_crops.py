"""Samples that are regions of page images: cut out along their outline when they are asked for."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from htr_ssl import environment
from htr_ssl.data.page_images import fits, page_image
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.layout.crop import MIN_SIDE, cut
from htr_ssl.layout.document import Line

PAGES = 2 + environment.cores()
"""Decoded pages kept: neighbouring rows are of one page, and every thread works on another."""


@dataclass(slots=True)
class Region:
    """A word or line on a page image.

    Attributes:
        page: the image file.
        line: its outline and baseline [px of a page of `size`].
        size: width and height of the page the outline was made for [px]; (0, 0) = those of the image.
        number: which page of a PDF or TIFF file, from 0.
    """

    page: Path
    line: Line
    size: tuple[int, int] = (0, 0)
    number: int = 0


@dataclass(slots=True)
class _Slot:
    """A page that one thread decodes and the others wait for."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    image: np.ndarray | None = None
    error: UserError | None = None


class CropSamples(Samples):
    """Regions of page images; what lies outside of an outline has the paper's tone, colour is kept."""

    def __init__(
        self,
        regions: list[Region],
        columns: dict[str, list[str | None]],
        level: Level,
        sheets: Sequence[Path] = (),
    ) -> None:
        """Regions in an order that keeps those of a page together, their columns, and the files with their outlines."""
        super().__init__(columns, level)
        self.regions, self._sheets = regions, tuple(sheets)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._pages: OrderedDict[tuple[Path, int, tuple[int, int]], _Slot] = OrderedDict()

    def image(self, index: int) -> np.ndarray:
        """Image of one region, uint8, (h, w) or (h, w, 3).

        Raises:
            UserError: the page image is missing, damaged, or not the one the outlines were made for, or the outline
                encloses nothing on it.
        """
        region = self.regions[index]
        piece = self._cut(region)[0]
        if max(piece.shape[:2]) <= MIN_SIDE:
            raise UserError(f"{region.page}: the outline of {region.line.id} encloses nothing on the page; correct it")
        return piece

    def outline(self, index: int) -> np.ndarray | None:
        """Of the region."""
        return self._cut(self.regions[index])[1]

    def _cut(self, region: Region) -> tuple[np.ndarray, np.ndarray]:
        page = self._page(region.page, region.number, region.size)
        return cut(page, _scaled(region, page))

    def paths(self) -> list[Path]:
        """The pages, and the files with the outlines."""
        return [*dict.fromkeys(region.page for region in self.regions), *self._sheets]

    def _page(self, path: Path, number: int, stated: tuple[int, int]) -> np.ndarray:
        key = (path, number, stated)
        with self._lock:
            slot = self._pages.setdefault(key, _Slot())
            self._pages.move_to_end(key)
            while len(self._pages) > PAGES:
                self._pages.popitem(last=False)
        with slot.lock:
            if slot.image is None and slot.error is None:
                try:
                    slot.image = page_image(path, number, stated)
                except UserError as error:
                    slot.error = error
        if slot.error is not None:
            raise slot.error
        assert slot.image is not None
        return slot.image

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_lock", "_pages")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()


def box(left: float, top: float, width: float, height: float) -> np.ndarray:
    """Outline (4, 2) of a box [px]."""
    right, bottom = left + width, top + height
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def _scaled(region: Region, page: np.ndarray) -> Line:
    """The outline in the pixels of the image, which may be a larger or smaller copy of the one it was made for."""
    height, width = page.shape[:2]
    stated_width, stated_height = region.size
    if not stated_width or not stated_height or region.size == (width, height):
        return region.line
    across, down = width / stated_width, height / stated_height
    if not fits((width, height), region.size):
        raise UserError(
            f"{region.page}: outlines are for an image of {stated_width} x {stated_height} pixels, but it has "
            f"{width} x {height}; put the right image there"
        )
    line, scale = region.line, np.array([across, down])
    baseline = None if line.baseline is None else line.baseline * scale
    return replace(line, polygon=line.polygon * scale, baseline=baseline)
