"""Language models from text: interpolated modified Kneser-Ney n-grams of characters, pruned to a size; mixtures.

Sources: Chen and Goodman, "An empirical study of smoothing techniques for language modeling", 1998 (TR-10-98);
Heafield et al., "Scalable modified Kneser-Ney language model estimation", ACL 2013 (counts at a text's beginning, fixed
discounts for little text); pruning by weighted differences: Seymore and Rosenfeld, "Scalable backoff language models",
ICSLP 1996. Each text has its own beginning and end; n-grams do not cross them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htr_ssl.errors import UserError
from htr_ssl.text.charset import normalise
from htr_ssl.text.lm import END, NEVER, SPECIAL, START, LanguageModel

FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where the text is too small to estimate them."""
LIMITS = (1, 12)
"""Shortest and longest n-grams."""
_BEGIN, _CLOSE = "\x02", "\x03"

Doubles = NDArray[np.float64]


@dataclass
class _Level:
    """The n-grams of one length; numbers of parents and suffixes count from 0 within their level."""

    parent: NDArray[np.int64]
    symbol: NDArray[np.int64]
    suffix: NDArray[np.int64]
    raw: NDArray[np.int64]
    begins: NDArray[np.bool_]
    p: Doubles
    backoff: Doubles


def train(texts: Iterable[str], order: int = 6, size: int = 0) -> LanguageModel:
    """Language model of texts, which are normalised; empty ones are left out.

    Args:
        texts: lines, or words.
        order: length of the longest n-grams.
        size: most n-grams that are kept, those that change the probability of the text most; 0 = all.

    Raises:
        UserError: there is no text, or the order is out of range.
    """
    if not LIMITS[0] <= order <= LIMITS[1]:
        raise UserError(f"order={order}: n-grams have {LIMITS[0]} to {LIMITS[1]} characters; 6 is a good length")
    stream, symbols = _stream(texts)
    levels = _count(stream, len(symbols), order)
    _estimate(levels, len(symbols))
    if size and 1 + sum(len(level.p) for level in levels) > size:
        _prune(levels, size)
    return _built(symbols, levels)


def _stream(texts: Iterable[str]) -> tuple[NDArray[np.int64], list[str]]:
    """Symbols of all texts, each between a beginning and an end, and their names."""
    strip = str.maketrans("", "", _BEGIN + _CLOSE)
    lines = [line for line in (normalise(text.translate(strip)) for text in texts) if line]
    if not lines:
        raise UserError("there is no text to learn a language model from; give lines of text, or data with labels")
    joined = _BEGIN + f"{_CLOSE}{_BEGIN}".join(lines) + _CLOSE
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    known, index = np.unique(codes, return_inverse=True)
    characters = [chr(code) for code in known]
    place = {_BEGIN: START, _CLOSE: END}
    rest = [character for character in characters if character not in place]
    place |= {character: number for number, character in enumerate(rest, start=len(SPECIAL))}
    table = np.array([place[character] for character in characters], np.int64)
    return table[index.ravel()], [*SPECIAL, *rest]


def _count(stream: NDArray[np.int64], symbols: int, order: int) -> list[_Level]:
    """All n-grams of every length, with their counts."""
    zeros = np.zeros(symbols)
    first = np.arange(symbols)
    nothing = np.zeros(symbols, np.int64)
    raw = np.bincount(stream, minlength=symbols)
    levels = [_Level(nothing, first, nothing, raw, first == START, zeros, zeros)]
    before, node = np.arange(len(stream)), stream  # positions of the n-grams of the length before, and their numbers
    for length in range(2, order + 1):
        last = before + length - 1
        alive = (last < len(stream)) & (stream[np.minimum(last - 1, len(stream) - 1)] != END)
        if not alive.any():
            break
        positions = before[alive]
        keys = node[alive] * symbols + stream[last[alive]]
        found, index, raw = np.unique(keys, return_inverse=True, return_counts=True)
        place = np.full(len(stream), -1, np.int64)
        place[before] = node
        suffix = np.empty(len(found), np.int64)
        suffix[index] = place[positions + 1]
        parent = found // symbols
        zeros = np.zeros(len(found))
        levels.append(_Level(parent, found % symbols, suffix, raw, levels[-1].begins[parent], zeros, zeros))
        before, node = positions, index
    return levels


def _estimate(levels: list[_Level], symbols: int) -> None:
    """Probabilities and back-off weights of all levels."""
    lower: Doubles = np.full(1, 1 / (symbols - 1))  # of every symbol but the beginning
    for number, level in enumerate(levels):
        longer = levels[number + 1] if number + 1 < len(levels) else None
        counts = level.raw.astype(float)
        if longer is not None:
            different = np.bincount(longer.suffix, minlength=len(counts)).astype(float)
            counts = np.where(level.begins, counts, different)
        if not number:
            counts[START] = 0
        discount = _discounts(counts)[np.minimum(counts, 3).astype(int)]
        contexts = len(levels[number - 1].p) if number else 1
        total = np.bincount(level.parent, counts, contexts)
        freed = np.bincount(level.parent, discount, contexts)
        with np.errstate(divide="ignore", invalid="ignore"):
            gamma = np.where(total > 0, freed / total, 1.0)
        base = lower[level.suffix] if number else lower
        level.p = (counts - discount) / total[level.parent] + gamma[level.parent] * base
        if number:
            levels[number - 1].backoff = gamma
        else:
            level.p[START] = 0
        lower = level.p
        level.backoff = np.ones(len(level.p))


def _discounts(counts: Doubles) -> Doubles:
    """What is taken from the counts 0, 1, 2, and 3 and more."""
    ones, twos, threes, fours = (float((counts == number).sum()) for number in (1, 2, 3, 4))
    if min(ones, twos, threes, fours) > 0:
        y = ones / (ones + 2 * twos)
        found = (1 - 2 * y * twos / ones, 2 - 3 * y * threes / twos, 3 - 4 * y * fours / threes)
        if all(0 <= value <= number for number, value in enumerate(found, start=1)) and found[0] > 0:
            return np.array([0, *found])
    return np.array([0, *FALLBACK])


def _prune(levels: list[_Level], size: int) -> None:
    """Keeps at most `size` n-grams, contexts and endings of the kept ones among them; all single characters stay."""
    worth = [np.full(len(levels[0].p), np.inf)]
    for shorter, level in pairwise(levels):
        other = shorter.backoff[level.parent] * shorter.p[level.suffix]
        worth.append(level.raw * np.log(level.p / other))
    ordered = np.sort(np.concatenate(worth[1:]))
    low, high = 0, len(ordered)  # of the cheapest n-grams so many go
    while low < high:
        middle = (low + high) // 2
        kept = _closed(levels, worth, ordered[middle] if middle < len(ordered) else np.inf)
        if 1 + sum(int(mask.sum()) for mask in kept) <= size:
            high = middle
        else:
            low = middle + 1
    kept = _closed(levels, worth, ordered[low] if low < len(ordered) else np.inf)
    numbers = [np.cumsum(mask) - 1 for mask in kept]
    for number, (level, mask) in enumerate(zip(levels, kept, strict=True)):
        for name in ("parent", "symbol", "suffix", "raw", "begins", "p", "backoff"):
            setattr(level, name, getattr(level, name)[mask])
        if number:
            level.parent, level.suffix = numbers[number - 1][level.parent], numbers[number - 1][level.suffix]
    while len(levels) > 1 and not len(levels[-1].p):
        levels.pop()
    for shorter, level in pairwise(levels):
        shorter.backoff = _normalising(level.parent, level.p, shorter.p[level.suffix], len(shorter.p))
    levels[-1].backoff = np.ones(len(levels[-1].p))


def _closed(levels: list[_Level], worth: list[Doubles], least: float) -> list[NDArray[np.bool_]]:
    """The n-grams worth at least `least`, and all that they rest on."""
    kept = [values >= least for values in worth]
    for number in range(len(levels) - 1, 0, -1):
        level, mask = levels[number], kept[number]
        kept[number - 1][level.parent[mask]] = True
        kept[number - 1][level.suffix[mask]] = True
    return kept


def _normalising(parent: NDArray[Any], p: Doubles, lower: Doubles, contexts: int) -> Doubles:
    """Back-off weights with which the probabilities after each context sum to 1.

    Args:
        parent: (n,), context of each n-gram.
        p: (n,), its probability.
        lower: (n,), its probability after the shorter context.
        contexts: their number.
    """
    left = 1 - np.bincount(parent, p, contexts)
    spread = 1 - np.bincount(parent, lower, contexts)
    weights: Doubles = np.maximum(left, 1e-9) / np.maximum(spread, 1e-9)
    return weights


def _built(symbols: list[str], levels: list[_Level]) -> LanguageModel:
    """The trie of all levels."""
    sizes = [len(level.p) for level in levels]
    children = [np.array([sizes[0]])]
    children += [np.bincount(level.parent, minlength=size) for level, size in zip(levels[1:], sizes, strict=False)]
    children.append(np.zeros(sizes[-1], np.int64))
    with np.errstate(divide="ignore"):
        logp = np.log(np.concatenate([[1.0], *(level.p for level in levels)]))
        backoff = np.log(np.concatenate([[1.0], *(level.backoff for level in levels)]))
    symbol = np.concatenate([[0], *(level.symbol for level in levels)])
    return LanguageModel(
        symbols,
        symbol.astype(np.int32),
        np.maximum(logp, NEVER).astype(np.float32),
        np.maximum(backoff, NEVER).astype(np.float32),
        np.concatenate(children).astype(np.int32),
    )
