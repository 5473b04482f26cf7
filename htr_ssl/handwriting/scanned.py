"""Paper of real scans: the ink is taken out of an image of a line, and what is left is written on."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from htr_ssl.handwriting.strokes import Array, Rng

_REACH = 0.35
"""Strokes up to so wide are ink, in heights of the image; what is wider and dark is paper."""
_INK = 0.6
"""Share of Otsu's threshold above which a pixel is ink: its soft edges are taken out with it."""
_EDGE = np.ones((5, 5), np.uint8)
_GRAIN = 1.5
"""Standard deviation of the blur that tells grain from tone [px]."""


def without_ink(image: Array, rng: Rng) -> Array:
    """The paper of a line, uint8, of its shape: tone and stains go on below the ink, grain is drawn anew there.

    Args:
        image: uint8, (H, W) gray or (H, W, 3) RGB, dark ink on lighter paper.
        rng: of the grain.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if image.ndim == 3 else image
    size = max(3, round(_REACH * len(gray))) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    paper = cv2.morphologyEx(cv2.GaussianBlur(gray, (0, 0), 1.0), cv2.MORPH_CLOSE, kernel)
    darker = cv2.subtract(cv2.GaussianBlur(paper, (0, 0), size / 4), gray)
    threshold, _ = cv2.threshold(darker, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    ink = cv2.dilate((darker > _INK * threshold).astype(np.uint8), _EDGE)
    covered = ink > 0
    if covered.all():
        return np.full_like(image, np.percentile(image, 80))
    filled = cv2.inpaint(image, ink, 3, cv2.INPAINT_TELEA)
    tone = cv2.GaussianBlur(filled, (0, 0), _GRAIN).astype(np.float32)
    grain = (image - tone)[~covered]
    result = image.astype(np.float32)
    result[covered] = tone[covered] + rng.choice(grain, int(covered.sum()))
    return cast(Array, np.clip(result + 0.5, 0, 255).astype(np.uint8))
