"""Images cut into cells whose content changes places, and sets of permutations.

Letters: N batch, C channels, H height, W width, K cells along the line, G groups, P cells of a group along the line, R
rows of cells. The P * R cells of a group are numbered from left to right, top before bottom in each column.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from htr_ssl.data.batch import Images


@dataclass(slots=True)
class Plan:
    """How a batch is cut and shuffled.

    Attributes:
        pieces: P.
        rows: R.
        size: (N,) width of a cell [px].
        margin: (N,) width painted over with paper on every side of a place [px].
        cells: (N,) number of cells along the line.
        order: (N, G, P * R) cell of the group that is shown in each place, int64.
        classes: (N,) number of the permutation.
        counted: (N, K) bool, True = the place has an answer.
        shift: (N, K * R, 2) of what a place shows, in its cell, x and y; at most the margin [px].
        tone: (N, K * R, 2): factor of the ink, and tone of the paper (0 = white).
    """

    pieces: int
    rows: int
    size: Tensor
    margin: Tensor
    cells: Tensor
    order: Tensor
    classes: Tensor
    counted: Tensor
    shift: Tensor
    tone: Tensor

    def paste(self, images: Images, order: Tensor) -> Images:
        """Images whose places show the cells of `order`; columns right of the last cell stay as they are."""
        pixels, device = images.pixels, images.widths.device
        n, c, height, width = pixels.shape
        size, margin = self.size[:, None, None], self.margin[:, None, None]  # (N, 1, 1)
        x, y = torch.arange(width, device=device), torch.arange(height, device=device)[:, None]
        tall = height // self.rows
        row = (y // tall).clamp(max=self.rows - 1)
        inner_x, inner_y = x % size, y - row * tall  # (N, 1, W), (H, 1)
        place = (x // size).clamp(max=self.counted.shape[1] - 1)
        slot = (place * self.rows + row).flatten(1)  # (N, H*W)
        cell = order.flatten(1).gather(1, slot).view(n, height, width)  # within its group
        shift, tone = (
            values.gather(1, slot[..., None].expand(-1, -1, 2)).view(n, height, width, 2)
            for values in (self.shift, self.tone)
        )
        column = place // self.pieces * self.pieces + cell // self.rows
        from_x = (column * size + inner_x + shift[..., 0]).clamp(0, width - 1)
        from_y = (cell % self.rows * tall + inner_y + shift[..., 1]).clamp(0, height - 1)
        index = (from_y * width + from_x).flatten(1)[:, None].expand(-1, c, -1)
        ink = 1 - pixels.flatten(2).gather(2, index).view(n, c, height, width)
        ink = (ink * tone[:, None, ..., 0] + tone[:, None, ..., 1]).clamp(0, 1)
        shown = (inner_x >= margin) & (inner_x < size - margin) & (inner_y >= margin) & (inner_y < tall - margin)
        ink = torch.where(shown[:, None], ink, 0.0)
        moved = x < (self.cells * self.size)[:, None, None, None]
        return Images(torch.where(moved, 1 - ink, pixels), images.widths)


def distant_permutations(length: int, count: int) -> np.ndarray:
    """`count` permutations of `length` far from each other, (count, length): algorithm 1 of arXiv 1603.09246.

    The next one is always that with the largest sum of Hamming distances to those chosen before. The paper starts with
    a random one, here it is the order itself; of several equally far the first in lexical order is taken.
    """
    candidates = np.array(list(itertools.permutations(range(length))), dtype=np.int8)
    distance = np.zeros(len(candidates), dtype=np.int64)
    chosen = [0]
    while len(chosen) < count:
        distance += (candidates != candidates[chosen[-1]]).sum(1)
        distance[chosen[-1]] = np.iinfo(np.int64).min // 2  # never twice
        chosen.append(int(distance.argmax()))
    return candidates[chosen]
