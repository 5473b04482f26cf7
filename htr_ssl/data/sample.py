"""One handwriting image with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

Level = Literal["word", "line", "page"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A word, line or page image, decoded only when `load` is called.

    Attributes:
        id: unique within its source; names the sample in messages.
        image: encoded bytes, a path, or a decoded array (H, W) or (H, W, 3), uint8, RGB.
        text: transcription in Unicode NFC, or None for unlabelled data.
        level: word, line or page.
        split: train, validation or test; None if the source names none.
        writer: id of the hand, None if unknown.
        page: id of the page, None if unknown.
        polygon: outline on the page [px], shape (K, 2), or None.
    """

    id: str
    image: bytes | Path | np.ndarray = field(repr=False)
    text: str | None = None
    level: Level = "line"
    split: str | None = None
    writer: str | None = None
    page: str | None = None
    polygon: np.ndarray | None = field(default=None, repr=False)

    def load(self) -> np.ndarray:
        """Decoded image, uint8, (H, W) gray or (H, W, 3) RGB.

        Raises:
            UserError: unreadable, empty or too large; names the sample.
        """
        from htr_ssl.data.images import decode

        return decode(self.image, self.id)
