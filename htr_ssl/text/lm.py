"""Character language model: n-grams with back-off in a trie of arrays, looked up for many states at once.

Letters: M n-grams (nodes of the trie, the root included), V symbols, S states. Probabilities are natural logarithms.

Node 0 is the root; the others follow level by level, in each level by parent and symbol, so that the children of a node
lie side by side. The node of the n-gram c1…cn holds p(cn | c1…cn-1). A state is the node of a context.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from htr_ssl.errors import UserError
from htr_ssl.text.charset import normalise

UNKNOWN, START, END = 0, 1, 2
"""Symbols of every character the model does not know, and of a text's beginning and end."""
SPECIAL = ("<unk>", "<s>", "</s>")
NEVER = -227.0
"""Stands for the logarithm of 0: 1e-99, as in ARPA files; it fits into 16 bits."""
MOST = 50_000_000
"""Most n-grams a file may have."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


class LanguageModel:
    """Probabilities of the next character after the last ones.

    Attributes:
        symbols: V names: `SPECIAL`, then one character each.
        symbol: (M,), last symbol of each n-gram.
        logp: (M,), its probability after the others.
        backoff: (M,), weight of the shorter context where an n-gram has no node for the next symbol.
        first: (M + 1,), first child of each node; the children end where those of the next node begin.
        parent: (M,), node of the n-gram without its last symbol.
        level: (M,), length of the n-gram.
        suffix: (M,), node of the longest shorter context that ends like this one.
    """

    def __init__(self, symbols: Sequence[str], symbol: Ints, logp: Floats, backoff: Floats, children: Ints) -> None:
        self.symbols = tuple(symbols)
        self.symbol = symbol.astype(np.int32)
        self.logp, self.backoff = logp.astype(np.float32), backoff.astype(np.float32)
        self.first = np.concatenate([[1], 1 + np.cumsum(children)]).astype(np.int32)
        count = len(symbol)
        self.parent = np.repeat(np.arange(count, dtype=np.int32), children)
        self.parent = np.concatenate([np.zeros(1, np.int32), self.parent])
        self._keys = self.parent[1:].astype(np.int64) * len(symbols) + self.symbol[1:]
        self.level = np.zeros(count, np.int32)
        low, high = 1, int(self.first[1])
        while low < high:
            self.level[low:high] = self.level[low - 1] + 1
            low, high = high, int(self.first[high])
        self.suffix = self._suffixes()
        self._after = self._states()

    @property
    def order(self) -> int:
        """Length of the longest n-gram."""
        return int(self.level[-1])

    @cached_property
    def index(self) -> dict[str, int]:
        """Symbol of each character."""
        return {name: number for number, name in enumerate(self.symbols) if number > END}

    @property
    def start(self) -> int:
        """State at the beginning of a text."""
        return int(self._after[1 + START])

    def encode(self, text: str) -> list[int]:
        """Symbols of the normalised text and of its end."""
        return [*(self.index.get(character, UNKNOWN) for character in normalise(text)), END]

    def step(self, states: Ints, symbols: Ints) -> tuple[Floats, Ints]:
        """Probability of one symbol after each state, and the state behind it.

        Args:
            states: (S,).
            symbols: (S,).
        """
        total = np.zeros(len(states), np.float32)
        node = np.zeros(len(states), np.int32)
        open_ = np.arange(len(states))
        context = states.astype(np.int32)
        while len(open_):
            found = self._find(context, symbols[open_])
            hit = found >= 0
            node[open_[hit]] = found[hit]
            open_, context = open_[~hit], context[~hit]
            total[open_] += self.backoff[context]
            context = self.suffix[context]
        return total + self.logp[node], self._after[node]

    def rows(self, states: Ints) -> tuple[Floats, Ints]:
        """Probabilities of all symbols after each state, and the states behind them, both (S, V)."""
        chain = [states]
        while chain[-1].any():
            chain.append(self.suffix[chain[-1]])
        values = np.repeat(self.logp[None, 1 : self.first[1]], len(states), 0)
        after = np.repeat(self._after[None, 1 : self.first[1]], len(states), 0)
        for nodes in reversed(chain[:-1]):
            values += np.where(nodes > 0, self.backoff[nodes], 0)[:, None]
            counts = np.where(nodes > 0, self.first[nodes + 1] - self.first[nodes], 0)
            row = np.repeat(np.arange(len(nodes)), counts)
            begin = self.first[nodes] - (np.cumsum(counts) - counts)
            child = np.arange(len(row)) + np.repeat(begin, counts)
            values[row, self.symbol[child]] = self.logp[child]
            after[row, self.symbol[child]] = self._after[child]
        return values, after

    def predictions(self, texts: Sequence[str]) -> Floats:
        """ln probability of every character and end of the texts, one text after the other."""
        encoded = [self.encode(text) for text in texts]
        lengths = np.array([len(one) for one in encoded], np.int64)
        begin = np.cumsum(lengths) - lengths
        order = np.argsort(-lengths, kind="stable")
        symbols = np.array([symbol for one in encoded for symbol in one], np.int32)
        values = np.zeros(len(symbols), np.float32)
        states = np.full(len(encoded), self.start, np.int32)
        for column in range(int(lengths.max(initial=0))):
            active = int((lengths > column).sum())
            at = begin[order[:active]] + column
            values[at], states = self.step(states[:active], symbols[at])
        return values

    def perplexity(self, texts: Iterable[str]) -> float:
        """Inverse geometric mean of the probabilities of all characters and ends of the texts."""
        values = self.predictions(list(texts))
        return float(np.exp(-values.sum(dtype=float) / max(len(values), 1)))

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Arrays that hold the model, 5 to 6 bytes an n-gram; probabilities in 16 bits."""
        children = np.diff(self.first)
        small: Any = np.uint8 if len(self.symbols) <= 256 else np.int32
        return {
            "symbol": self.symbol.astype(small),
            "logp": np.maximum(self.logp, NEVER).astype(np.float16),
            "backoff": np.maximum(self.backoff, NEVER).astype(np.float16),
            "children": children.astype(np.uint8 if children.max(initial=0) < 256 else np.int32),
        }

    def header(self) -> dict[str, Any]:
        """What the arrays do not say."""
        return {"kind": "language model", "order": self.order, "symbols": list(self.symbols)}

    @classmethod
    def from_tensors(cls, name: str, header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> LanguageModel:
        """Inverse of `tensors` and `header`.

        Args:
            name: file that they are from, for messages.
            header: see `header`.
            arrays: see `tensors`.

        Raises:
            UserError: they are no whole language model.
        """
        try:
            symbols = header["symbols"]
            parts = [arrays[key] for key in ("symbol", "logp", "backoff", "children")]
        except (KeyError, TypeError) as error:
            raise UserError(f"{name}: the language model lacks {error}; train or copy it again") from None
        symbol, _, _, children = parts
        count = len(symbol)
        whole = 1 < count <= MOST and all(part.shape == (count,) for part in parts)
        whole = whole and isinstance(symbols, list) and tuple(symbols[:3]) == SPECIAL
        whole = whole and all(isinstance(one, str) and len(one) == 1 for one in symbols[3:])
        if whole:
            first = 1 + np.cumsum(children.astype(np.int64))
            whole = bool(
                (children.astype(np.int64) >= 0).all()
                and first[-1] == count
                and (first > np.arange(1, count + 1))[:-1].all()
                and children[0] == len(symbols)
                and int(symbol.max()) < len(symbols)
                and int(symbol.min()) >= 0
                and np.isfinite(parts[1]).all()
                and np.isfinite(parts[2]).all()
            )
        if not whole:
            raise UserError(f"{name}: this is no whole language model; train or copy it again")
        model = cls(symbols, *parts)
        if (np.diff(model._keys) <= 0).any():
            raise UserError(f"{name}: the n-grams of the language model are not in order; train or copy it again")
        return model

    def save(self, path: Path, more: dict[str, Any] | None = None) -> None:
        """Writes a safetensors file; `more` goes into its header."""
        from safetensors.numpy import save

        from htr_ssl.files import write_bytes

        text = json.dumps({"format": 1, **self.header(), **(more or {})}, ensure_ascii=False, sort_keys=True)
        write_bytes(Path(path), save(self.tensors(), {"htr_ssl": text}))

    def _find(self, contexts: Ints, symbols: Ints) -> NDArray[np.int64]:
        """Child of each node with a symbol, -1 where there is none."""
        wanted = contexts.astype(np.int64) * len(self.symbols) + symbols
        place = np.searchsorted(self._keys, wanted)
        place[place == len(self._keys)] = 0
        found: NDArray[np.int64] = np.where(self._keys[place] == wanted, place + 1, -1)
        return found

    def _suffixes(self) -> Ints:
        """Longest shorter context of each node that is in the trie."""
        suffix = np.zeros(len(self.symbol), np.int32)
        for level in range(2, self.order + 1):
            nodes = np.flatnonzero(self.level == level)
            contexts = suffix[self.parent[nodes]]
            while len(nodes):
                found = self._find(contexts, self.symbol[nodes])
                suffix[nodes] = np.maximum(found, 0)
                again = (found < 0) & (contexts > 0)
                nodes, contexts = nodes[again], suffix[contexts[again]]
        return suffix

    def _states(self) -> Ints:
        """State behind each node: the longest context that is of use, which the longest n-grams are not."""
        after = np.arange(len(self.symbol), dtype=np.int32)
        useful = (np.diff(self.first) > 0) | (self.backoff != 0)
        useful &= self.level < self.order
        for level in range(1, self.order + 1):
            nodes = np.flatnonzero((self.level == level) & ~useful)
            after[nodes] = after[self.suffix[nodes]]
        return after


def load(path: Path) -> tuple[LanguageModel, dict[str, Any]]:
    """Language model of a safetensors or ARPA file, and its header (empty for ARPA).

    Raises:
        UserError: no such file, or it is not a language model.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such language model; htr-ssl lm train makes one")
    if path.suffix.lower() == ".arpa":
        from htr_ssl.text import arpa

        return arpa.read(path), {}
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})["htr_ssl"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: this is not a language model of htr-ssl ({error}); give one or an .arpa") from error
    if not isinstance(header, dict) or header.get("kind") != "language model":
        raise UserError(f"{path}: it is not a language model; htr-ssl lm train makes one")
    return LanguageModel.from_tensors(str(path), header, arrays), header
