"""Pairs of similar images among very many, without comparing all of them.

An image is described by the low frequencies of its ink (a perceptual hash that keeps its values): like images have
like values, so that most of the signs agree. The signs are cut into bands; only images that share a whole band are
compared (locality-sensitive hashing), and in a crowded band only with the next few.
"""

from __future__ import annotations

from collections import defaultdict

import cv2
import numpy as np

ACROSS, DOWN = 32, 8
"""Frequencies kept of the strip's width and height."""
PROPORTION = 1.15
"""Largest ratio of the proportions (width : height) of an image and its copy."""
ALIKE = 0.87
"""Least cosine of two descriptions that are of one image; `benchmarks/data/copies.py` measures what it finds."""
_NEXT = 8  # images of a band that one is compared with
_SIGNS = 80  # differing signs of 256 above which ALIKE is out of reach
_BATCH = 1 << 16

_HEIGHT, _WIDTH = 32, 192
_AROUND = 31  # pixels over which paper and contrast are taken


def describe(gray: np.ndarray) -> np.ndarray:
    """Signed low frequencies of an image's ink, int8, (DOWN * ACROSS,), lowest first.

    Paper, lighting and contrast are divided out; the square root of each frequency is kept, so that the fine ones,
    which tell one writing from another, count as much as the coarse ones.
    """
    strip = cv2.resize(gray, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_AREA).astype(np.float32)
    distance = strip - cv2.blur(strip, (_AROUND, _AROUND))
    ink = distance / (np.sqrt(cv2.blur(distance**2, (_AROUND, _AROUND))) + 8)
    values = cv2.dct(ink.clip(-3, 3))[:DOWN, 1 : ACROSS + 1].ravel()[_ORDER]
    values = np.sign(values) * np.sqrt(np.abs(values))
    largest = float(np.abs(values).max())
    described: np.ndarray = np.rint(values * (127 / largest if largest else 0.0)).astype(np.int8)
    return described


def groups(vectors: np.ndarray, proportions: np.ndarray) -> list[list[int]]:
    """Positions of images that are like each other, directly or through others; those alone are left out.

    Args:
        vectors: descriptions, int8, (N, DOWN * ACROSS).
        proportions: width : height of each image, (N,).
    """
    signs = np.packbits(vectors > 0, axis=1)
    bands, hashes = signs.view(np.uint16), signs.view(np.uint64)
    roots = np.arange(len(vectors))  # of each image's group
    for band in range(bands.shape[1]):
        order = np.lexsort((bands[:, (band + 1) % bands.shape[1]], bands[:, band]))
        keys = bands[order, band]
        for step in range(1, min(_NEXT, len(order) - 1) + 1):
            same = np.flatnonzero(keys[step:] == keys[:-step])
            if not len(same):
                break
            left, right = order[same], order[same + step]
            new = roots[left] != roots[right]
            new &= np.bitwise_count(hashes[left] ^ hashes[right]).sum(axis=1) <= _SIGNS
            new &= np.abs(np.log(proportions[left] / proportions[right])) <= np.log(PROPORTION)
            left, right = left[new], right[new]
            alike = _cosines(vectors, left, right) >= ALIKE
            if alike.any():
                roots = _merged(roots, left[alike], right[alike])
    members: defaultdict[int, list[int]] = defaultdict(list)
    for position, root in enumerate(roots.tolist()):
        members[root].append(position)
    return [group for group in members.values() if len(group) > 1]


def _cosines(vectors: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Cosine of each pair, in batches, so that memory stays small."""
    found = [np.empty(0, np.float32)]
    for start in range(0, len(left), _BATCH):
        first, second = (vectors[side[start : start + _BATCH]].astype(np.float32) for side in (left, right))
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        found.append(np.einsum("nd,nd->n", first, second) / np.maximum(norms, 1.0))
    return np.concatenate(found)


def _merged(roots: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Roots after the groups of each pair have become one (union-find)."""
    parent = roots.tolist()

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    for one, other in zip(left.tolist(), right.tolist(), strict=True):
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return np.array([root(position) for position in range(len(parent))])


def _lowest_first() -> np.ndarray:
    """Places of the frequencies in order of their size, so that the first bands are the steadiest."""
    down, across = np.mgrid[0:DOWN, 1 : ACROSS + 1]
    return np.argsort((down / DOWN + across / ACROSS).ravel(), kind="stable")


_ORDER = _lowest_first()
