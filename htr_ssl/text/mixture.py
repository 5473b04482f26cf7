"""Mixtures of language models: one of a whole language and one of a few pages make one model that is both.

Source: linear interpolation into one back-off model, as in Stolcke, "SRILM, an extensible language modeling toolkit",
ICSLP 2002: every n-gram of any part has the weighted mean of its probabilities; back-off weights are worked out anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from htr_ssl.text.lm import NEVER, SPECIAL, START, UNKNOWN, LanguageModel

LEAST = 0.01
"""Smallest weight of a part that `weights` gives."""


def mix(models: Sequence[LanguageModel], weights: Sequence[float]) -> LanguageModel:
    """One model whose n-grams are those of all.

    Args:
        models: parts; a part's unknown character stands for those that only other parts know.
        weights: one for each, which sum to 1.
    """
    parts = [_Part(model, weight) for model, weight in zip(models, weights, strict=True)]
    symbols = [*SPECIAL, *sorted({name for model in models for name in model.symbols[len(SPECIAL) :]})]
    for part in parts:
        part.meet(symbols)
    symbol, p, children = [np.zeros(1, np.int64)], [np.ones(1)], []
    parent = np.zeros(len(symbols), np.int64)  # numbers within the level before
    last = np.arange(len(symbols))
    size = 1
    for level in range(1, max(model.order for model in models) + 1):
        if level > 1:
            keys = np.unique(np.concatenate([part.keys(level, len(symbols)) for part in parts]))
            parent, last = keys // len(symbols), keys % len(symbols)
        mixed = np.zeros(len(parent))
        for part in parts:
            mixed += part.weight * np.exp(part.grow(level, parent, last, len(symbols)))
        if level == 1:
            mixed[START] = 0
        children.append(np.bincount(parent, minlength=size))
        symbol.append(last)
        p.append(mixed)
        size = len(parent)
    children.append(np.zeros(size, np.int64))
    with np.errstate(divide="ignore"):
        logp = np.maximum(np.log(np.concatenate(p)), NEVER)
    arrays = np.concatenate(symbol).astype(np.int32), logp.astype(np.float32)
    below = np.concatenate(children).astype(np.int32)
    draft = LanguageModel(symbols, *arrays, np.zeros(len(logp), np.float32), below)
    _normalise(draft, np.concatenate(p))
    return LanguageModel(symbols, *arrays, draft.backoff, below)


def weights(models: Sequence[LanguageModel], texts: Sequence[str], rounds: int = 30) -> list[float]:
    """Weights with which a mixture predicts texts best, by expectation maximisation; equal ones if there is no text."""
    if not texts:
        return [1 / len(models)] * len(models)
    p = np.exp(np.stack([model.predictions(texts) for model in models]).astype(float))  # (parts, symbols)
    shares = np.full(len(models), 1 / len(models))
    for _ in range(rounds):
        joint = shares[:, None] * p
        shares = (joint / joint.sum(0)).mean(1)
    shares = np.maximum(shares, LEAST)
    return [float(share) for share in shares / shares.sum()]


class _Part:
    """A model that is being mixed, followed through the levels of the mixture.

    Attributes:
        weight: its share.
        states: its state behind each n-gram of the mixture's level.
        place: number in the mixture's level of each of its own nodes of that level.
    """

    def __init__(self, model: LanguageModel, weight: float) -> None:
        self.model, self.weight = model, weight
        self.states = np.zeros(1, np.int32)
        self.place = np.zeros(1, np.int64)
        self._nodes = np.zeros(1, np.int64)

    def meet(self, symbols: Sequence[str]) -> None:
        """Learns the mixture's symbols; those it does not know share the probability of its unknown character."""
        own = {name: number for number, name in enumerate(self.model.symbols)}
        self._own = np.array([own.get(name, UNKNOWN) for name in symbols], np.int32)
        place = {name: number for number, name in enumerate(symbols)}
        self._theirs = np.array([place[name] for name in self.model.symbols], np.int64)
        strange = self._own == UNKNOWN
        self._shared = np.where(strange, -np.log(strange.sum()), 0.0)

    def keys(self, level: int, symbols: int) -> NDArray[np.int64]:
        """Parent and symbol, as one number, of its n-grams of a length in the mixture."""
        nodes = np.flatnonzero(self.model.level == level)
        above = self.place[np.searchsorted(self._nodes, self.model.parent[nodes])]
        keys: NDArray[np.int64] = above * symbols + self._theirs[self.model.symbol[nodes]]
        return keys

    def grow(self, level: int, parent: NDArray[np.int64], last: NDArray[np.int64], symbols: int) -> NDArray[np.float64]:
        """ln probability of all n-grams of the mixture's next level."""
        own = self.keys(level, symbols)
        values, states = self.model.step(self.states[parent], self._own[last])
        self.place = np.searchsorted(parent * symbols + last, own)
        self._nodes = np.flatnonzero(self.model.level == level)
        self.states = states
        return values.astype(np.float64) + self._shared[last]


def _normalise(model: LanguageModel, p: NDArray[np.float64]) -> None:
    """Sets the back-off weights with which the probabilities after each context sum to 1."""
    for level in range(2, model.order + 1):
        nodes = np.flatnonzero(model.level == level)
        context = model.parent[nodes]
        # All shorter contexts have their weights by now.
        lower, _ = model.step(model.suffix[context], model.symbol[nodes])
        low, high = int(context.min()), int(context.max()) + 1
        left = 1 - np.bincount(context - low, p[nodes], high - low)
        spread = 1 - np.bincount(context - low, np.exp(lower.astype(float)), high - low)
        weight = np.log(np.maximum(left, 1e-9) / np.maximum(spread, 1e-9))
        found = np.unique(context)
        model.backoff[found] = weight[found - low]
