"""Line images with .gt.txt from any source that htr_ssl reads, for tools that read folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from htr_ssl.data.samples import Samples
from htr_ssl.files import write_json
from htr_ssl.text.charset import normalise


def export(samples: Samples, rows: Sequence[int], folder: Path, height: int = 0) -> Path:
    """Writes gray PNG of one height [px] (0 = as they are) and their normalised text; done once.

    Names are positions in `rows`, so that the order of the files is that of the rows.
    """
    mark, ids = folder / "ids.json", [str(samples.column("id")[row]) for row in rows]
    if mark.exists() and json.loads(mark.read_text(encoding="utf-8")) == ids:
        return folder
    if folder.exists():
        for old in [*folder.glob("*.png"), *folder.glob("*.gt.txt")]:
            old.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for position, row in enumerate(rows):
        sample = samples[row]
        image = Image.fromarray(scaled(sample.load(), height)).convert("L")
        image.save(folder / f"{position:06d}.png")
        text = normalise(sample.text or "")
        (folder / f"{position:06d}.gt.txt").write_text(text, encoding="utf-8")
    write_json(mark, ids)
    return folder


def scaled(image: np.ndarray, height: int) -> np.ndarray:
    """Image at a height [px], its width in proportion; unchanged with height 0 or the same height."""
    if height in (0, image.shape[0]):
        return image
    width = max(1, round(image.shape[1] * height / image.shape[0]))
    kind = cv2.INTER_AREA if height < image.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=kind)
