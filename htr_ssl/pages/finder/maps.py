"""The net's maps of a page of any size: scaled, padded, in strips where the page is large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch

from htr_ssl.pages.finder.net import (
    ABOVE,
    BASELINE,
    BELOW,
    COARSE,
    ENDS,
    GRID,
    STEP,
    TEXT,
    UNIT,
    FinderNet,
    fast_half,
    scaled,
)

Array = np.ndarray[Any, np.dtype[Any]]

_PAD = 16  # border around the page, which the net sees as outside [px]
_STRIP = 2_000_000  # most pixels the net sees at once
_OVERLAP = 128  # of strips [px]


@dataclass(slots=True)
class Maps:
    """What the net says about a page, in cells of `1 / scale` px of the page.

    Attributes:
        baseline: (h, w) in [0, 1].
        ends: (h, w) in [0, 1].
        text: (h, w) in [0, 1].
        above: (h, w), height of the outline above the baseline [cells].
        below: (h, w), and below it [cells].
        turn: (4, h / 8, w / 8) in [0, 1], for text turned right by 0, 90, 180, 270 degrees.
        scale: cells per pixel of the page, (x, y).
    """

    baseline: Array
    ends: Array
    text: Array
    above: Array
    below: Array
    turn: Array
    scale: Array

    @property
    def height(self) -> float:
        """Usual height of a line [cells], 0 without any."""
        there = (self.baseline > 0.5) & (self.ends < 0.5)
        return float(np.median((self.above + self.below)[there])) if there.sum() > 8 else 0.0

    def turns(self) -> Array:
        """Share of the text that lies turned right by 0, 90, 180, 270 degrees (4,); zeros without text."""
        height, width = self.turn.shape[1:]
        text = cv2.resize(self.text, (width, height), interpolation=cv2.INTER_AREA)
        text[text < 0.3] = 0
        total = float(text.sum())
        return np.asarray((self.turn * text).sum((1, 2)) / total if total > 0.5 else np.zeros(4))


def maps_of(net: FinderNet, gray: Array, scale: float) -> Maps:
    """Maps of a gray page, uint8 (H, W), that the net sees at `scale`."""
    height, width = (max(8, round(side * scale)) for side in gray.shape)
    small = gray
    if (height, width) != gray.shape:
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(gray, (width, height), interpolation=way)
    rows, columns = (-(-(side + 2 * _PAD) // STEP) * STEP for side in (height, width))
    padded = np.zeros((2, rows, columns), np.uint8)
    padded[0, _PAD : _PAD + height, _PAD : _PAD + width] = small
    padded[1, _PAD : _PAD + height, _PAD : _PAD + width] = 1
    maps, turns = _in_strips(net, padded)
    start, stop = _PAD // GRID, ((_PAD + height) // GRID, (_PAD + width) // GRID)
    maps = maps[:, start : stop[0], start : stop[1]]
    coarse = _PAD // COARSE
    turns = turns[:, coarse : coarse + -(-height // COARSE), coarse : coarse + -(-width // COARSE)]
    exp = np.exp(np.clip(maps[[ABOVE, BELOW]], -4, 4)) * (UNIT / GRID)
    odds = np.clip(maps[[BASELINE, ENDS, TEXT]], -15, 15)
    chance = 1 / (1 + np.exp(-odds))
    share = np.exp(turns - turns.max(0))
    cells = np.array([width / GRID / gray.shape[1], height / GRID / gray.shape[0]])
    return Maps(chance[0], chance[1], chance[2], exp[0], exp[1], share / share.sum(0), cells)


def _in_strips(net: FinderNet, image: Array) -> tuple[Array, Array]:
    """Maps (5, H / 2, W / 2) and orientation logits (4, H / 16, W / 16) of an image (2, H, W)."""
    _, rows, columns = image.shape
    step = max(STEP, (_STRIP // columns - 2 * _OVERLAP) // STEP * STEP)
    if rows <= step + 2 * _OVERLAP:
        return _seen(net, image)
    parts = []
    for top in range(0, rows, step):
        low, high = max(0, top - _OVERLAP), min(rows, top + step + _OVERLAP)
        maps, turns = _seen(net, image[:, low:high])
        end = min(rows, top + step)
        parts.append(
            (
                maps[:, (top - low) // GRID : (end - low) // GRID],
                turns[:, (top - low) // COARSE : (end - low) // COARSE],
            )
        )
    return np.concatenate([part[0] for part in parts], 1), np.concatenate([part[1] for part in parts], 1)


@torch.inference_mode()
def _seen(net: FinderNet, image: Array) -> tuple[Array, Array]:
    pixels = torch.from_numpy(np.ascontiguousarray(image)).float()[None]
    pixels[:, 0] = scaled(pixels[:, 0], pixels[:, 1])
    with torch.autocast("cpu", torch.bfloat16, enabled=fast_half()):
        maps, turns = net(pixels.contiguous(memory_format=torch.channels_last))
    return maps[0].float().numpy(), turns[0].float().numpy()
