"""Language models as ARPA files: the text format of SRILM and KenLM, which PyLaia's models come with.

A character is a token; a space is the token ``<space>``. Logarithms are to base 10.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path
from htr_ssl.text.lm import MOST, NEVER, SPECIAL, START, LanguageModel

SPACE = "<space>"
_NAMES = {"<UNK>": "<unk>", "<S>": "<s>", "</S>": "</s>", SPACE: " ", "<SPACE>": " "}
_UNSEEN = math.log(1e-7)
"""Probability of an unknown character where the file has none."""
_Grams = dict[tuple[int, ...], tuple[float, float]]


def read(path: Path) -> LanguageModel:
    """Language model of an ARPA file of characters.

    Tokens of more than one character that are not special ones, such as ``<ctc>`` or words, are left out with their
    n-grams. A context without an entry of its own gets the probability that the file implies.

    Raises:
        UserError: it is no whole ARPA file, or it is of words.
    """
    path = Path(path)
    index = {name: number for number, name in enumerate(SPECIAL)}
    levels: list[_Grams] = []
    odd = 0
    try:
        with open(path, encoding="utf-8", errors="strict") as handle:
            for order, tokens, logp, backoff in _entries(path, handle):
                while len(levels) < order:
                    levels.append({})
                names = [_NAMES.get(token, token) for token in tokens]
                if any(len(name) != 1 and name not in SPECIAL for name in names):
                    odd += order == 1
                    continue
                if order == 1:
                    index.setdefault(names[0], len(index))
                levels[order - 1][tuple(index[name] for name in names)] = (logp, backoff)
    except OSError as error:
        raise UserError(f"{path}: the file cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError:
        raise UserError(f"{path}: it is not in UTF-8; save it as UTF-8") from None
    except KeyError as error:
        raise UserError(
            f"{path}: {error} is in a longer n-gram but not among the single tokens; export it again"
        ) from None
    if not levels or len(levels[0]) <= odd:
        what = "it is a model of words" if odd else "there are no n-grams in it"
        raise UserError(f"{path}: {what}; give the ARPA file of a character model")
    return _model(list(index), levels)


def write(model: LanguageModel, path: Path) -> None:
    """Writes a model as ARPA, atomically."""
    names = [SPACE if name == " " else name for name in model.symbols]
    grams: list[list[str]] = [[]]  # of each node
    with atomic_path(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as handle:
        handle.write("\\data\\\n")
        counts = np.bincount(model.level, minlength=model.order + 1)
        handle.writelines(f"ngram {order}={counts[order]}\n" for order in range(1, model.order + 1))
        scale = 1 / math.log(10)
        previous = 0
        for node in range(1, len(model.symbol)):
            level = int(model.level[node])
            if level != previous:
                handle.write(f"\n\\{level}-grams:\n")
                previous = level
            grams.append([*grams[model.parent[node]], names[model.symbol[node]]])
            # Nine digits bring back every number of 32 bits.
            line = f"{model.logp[node] * scale:.9g}\t{' '.join(grams[node])}"
            handle.write(line + (f"\t{model.backoff[node] * scale:.9g}\n" if level < model.order else "\n"))
        handle.write("\n\\end\\\n")


def _entries(path: Path, handle: IO[str]) -> Iterator[tuple[int, list[str], float, float]]:
    """Order, tokens, ln probability and ln back-off of each n-gram."""
    order, seen = 0, 0
    scale = math.log(10)
    for number, line in enumerate(handle, start=1):
        text = line.strip("\r\n\t ")
        if text.startswith("\\") and text.endswith("-grams:"):
            order = int(text[1:-7]) if text[1:-7].isdecimal() else 0
            if not 1 <= order <= 20:
                raise UserError(f"{path}, line {number}: {text!r} names no length of n-grams; export the file again")
        elif text == "\\end\\":
            return
        elif text and order:
            parts = text.split()
            try:
                if not order < len(parts) <= order + 2:
                    raise ValueError
                logp = float(parts[0]) * scale
                backoff = float(parts[-1]) * scale if len(parts) == order + 2 else 0.0
                if math.isnan(logp) or math.isnan(backoff):
                    raise ValueError
            except ValueError:
                raise UserError(
                    f"{path}, line {number}: expected a logarithm, {order} token(s) and perhaps a back-off; "
                    "export the file again"
                ) from None
            seen += 1
            if seen > MOST:
                raise UserError(f"{path}: it has more than {MOST:,} n-grams; prune it first")
            yield order, parts[1 : order + 1], max(logp, NEVER), min(max(backoff, NEVER), -NEVER)
    raise UserError(f"{path}: it ends before \\end\\; copy or export it again")


def _model(symbols: list[str], levels: list[_Grams]) -> LanguageModel:
    """The trie; missing contexts are put in first."""
    single = levels[0]
    unseen = single.get((0,), (_UNSEEN, 0.0))[0]
    for number in range(len(symbols)):
        single.setdefault((number,), (NEVER if number == START else unseen, 0.0))
    for number in range(len(levels) - 1, 0, -1):
        for gram in levels[number]:
            levels[number - 1].setdefault(gram[:-1], (math.nan, 0.0))
    for level in levels:
        for gram, (logp, backoff) in level.items():
            if math.isnan(logp):
                level[gram] = (_implied(gram, levels), backoff)
    place: dict[tuple[int, ...], int] = {(): 0}
    rows: list[tuple[int, float, float]] = [(0, 0.0, 0.0)]
    children = [len(symbols)]
    for level in levels:
        for gram in sorted(level, key=lambda gram: (place[gram[:-1]], gram[-1])):
            place[gram] = len(rows)
            rows.append((gram[-1], *level[gram]))
            children.append(0)
            if len(gram) > 1:
                children[place[gram[:-1]]] += 1
    last, probability, weight = (np.array(column) for column in zip(*rows, strict=True))
    return LanguageModel(
        symbols,
        last.astype(np.int32),
        probability.astype(np.float32),
        weight.astype(np.float32),
        np.array(children, np.int32),
    )


def _implied(gram: tuple[int, ...], levels: list[_Grams]) -> float:
    """ln probability of the last symbol after the others, by backing off."""
    total = 0.0
    while True:
        own = levels[len(gram) - 1].get(gram)
        if own is not None and not math.isnan(own[0]):
            return total + own[0]
        context = levels[len(gram) - 2].get(gram[:-1])
        total += context[1] if context is not None else 0.0
        gram = gram[1:]
