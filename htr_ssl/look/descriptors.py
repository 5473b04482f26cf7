"""One vector for each word image, made without labels, and a score of how well equal words find each other.

An image is cut into bins of equal width. The frames of a bin are averaged, and the averages of all bins are joined to
one vector. Each number of the vector is standardised over the collection; otherwise a few large numbers would decide
alone. The similarity of two images is the cosine of their vectors. The frames are those of the backbone, because the
frames of the context see the whole word everywhere (benchmarks/diary.md compares the choices).

Letters: N images, T frames, D features, K bins, E = K*D numbers of a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from htr_ssl.data.batch import Images
from htr_ssl.data.loading import Strips
from htr_ssl.data.sampling import sorted_batches
from htr_ssl.layers.frames import Frames

BINS = 12
"""Bins of an encoder's frames; short words have few more parts of letters."""
PIXEL_BINS = 16
"""Bins of raw pixels; more or fewer retrieve worse."""
_BATCH = 32  # images described together
_BLOCK = 256  # queries compared with all images together


@dataclass(frozen=True, slots=True)
class Score:
    """How well the images of a word find each other.

    Attributes:
        mean_precision: mean average precision over the queries, in [0, 1].
        first: share of the queries whose nearest image shows the same word, in [0, 1].
        queries: images whose word occurs again.
    """

    mean_precision: float
    first: float
    queries: int


def binned(frames: Frames, bins: int) -> Tensor:
    """(N, K, D) means over `bins` parts of equal width; a frame on a border counts in both, each for its share."""
    time = torch.arange(frames.features.shape[1], device=frames.features.device)
    step = (frames.lengths / bins)[:, None, None]  # [frames]
    start = torch.arange(bins, device=time.device)[None, :, None] * step
    share = (torch.minimum(time + 1, start + step) - torch.maximum(time, start)).clamp(min=0)  # (N, K, T)
    return share @ frames.features.float() / step


def pixels(images: Images) -> Frames:
    """Columns of the image as frames: what there is without an encoder."""
    return Frames((1 - images.pixels).flatten(1, 2).transpose(1, 2), images.widths)


@torch.inference_mode()
def described(
    strips: Strips,
    frames_of: Callable[[Images], Frames],
    bins: int,
    device: torch.device,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Vectors of all images, (N, E) of length 1, on the CPU.

    Args:
        strips: images.
        frames_of: e.g. the backbone of an encoder; it is given images on the device.
        bins: K.
        device: where it computes.
        progress: called with the number of images of each batch that is done.
    """
    vectors = torch.empty(0)
    for batch in sorted_batches(strips.widths, _BATCH):
        found = binned(frames_of(strips[batch].to(device).images()), bins).flatten(1).cpu()
        if not len(vectors):
            vectors = torch.empty(len(strips), found.shape[1])
        vectors[batch] = found
        if progress is not None:
            progress(len(batch))
    spread, mean = torch.std_mean(vectors, 0, correction=0)
    vectors.sub_(mean).div_(spread.clamp(min=1e-6))
    return vectors.div_(vectors.norm(dim=1, keepdim=True).clamp(min=1e-6))


def similarities(vectors: Tensor, rows: Sequence[int], groups: Tensor) -> Tensor:
    """Cosine of some images with all, (Q, N); -inf for images of the same group, the image itself among them."""
    cosine = vectors[list(rows)] @ vectors.T
    return cosine.masked_fill_(groups[list(rows), None] == groups, -torch.inf)


def numbered(values: Sequence[str | None]) -> Tensor:
    """(N,) a number for each value. Equal values have the same number; a missing or empty value has its own."""
    numbers: dict[str | int, int] = {}
    return torch.tensor([numbers.setdefault(value or row, len(numbers)) for row, value in enumerate(values)])


def repeated(words: Tensor, groups: Tensor) -> list[int]:
    """Rows of the images whose word occurs again in another group."""
    found = []
    for start in range(0, len(words), _BLOCK):
        block = slice(start, start + _BLOCK)
        again = (words[block, None] == words) & (groups[block, None] != groups)
        found += (again.any(1).nonzero()[:, 0] + start).tolist()
    return found


def scored(vectors: Tensor, words: Tensor, groups: Tensor) -> Score:
    """Score over all images whose word occurs again; there has to be at least one.

    Args:
        vectors: (N, E) of length 1.
        words, groups: (N,), see `numbered`; images of one group do not find each other.
    """
    queries = repeated(words, groups)
    precision, first = 0.0, 0
    ranks = torch.arange(1, len(words) + 1)
    for start in range(0, len(queries), _BLOCK):
        rows = queries[start : start + _BLOCK]
        order = similarities(vectors, rows, groups).argsort(dim=1, descending=True, stable=True)
        allowed = groups[order] != groups[rows, None]
        right = (words[order] == words[rows, None]) & allowed
        first += int(right[:, 0].sum())
        precision += float(((right.cumsum(1) / ranks) * right).sum(1).div(right.sum(1)).sum())
    return Score(precision / len(queries), first / len(queries), len(queries))
