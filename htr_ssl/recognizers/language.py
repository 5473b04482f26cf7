"""The language model of a recognizer: in its file or in one of its own, its weights chosen on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from htr_ssl import model_file
from htr_ssl.errors import UserError
from htr_ssl.files import sha256
from htr_ssl.text import lm
from htr_ssl.text.beam import Decoder, Options
from htr_ssl.text.charset import Charset

CALIBRATION = "calibration"
"""Entry of a recognizer's header: slope and offset of the log-odds that make its confidence the share that is right."""
KEY = "language_model"
"""Where a recognizer's header has what its language model is, and the beginning of the names of its tensors."""
ALPHAS = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.2)
BETAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)
"""Weights of the model and bonuses per character that are tried."""
ARCHIVE = Options(alpha=0.8, beta=1.5)
"""Weights that suit a model of readings of an archive that repeats itself, where no validation image may choose."""
MOST = 200
"""Most validation images that the weights are chosen on."""


class Language(NamedTuple):
    """A language model in use.

    Attributes:
        model: the n-grams.
        options: its weights.
        facts: what is known of it, as in result.json: order, n-grams, alpha, beta, and what they were chosen on.
    """

    model: lm.LanguageModel
    options: Options
    facts: dict[str, Any]


def of(model: lm.LanguageModel, options: Options, facts: dict[str, Any]) -> Language:
    """A language with the facts that its model and weights give."""
    own = {"order": model.order, "ngrams": len(model.symbol) - 1, "alpha": options.alpha, "beta": options.beta}
    return Language(model, options, {**facts, **own})


def leaning(options: Options, share: float) -> Options:
    """Weights on the way to those of `ARCHIVE`: as far as readings of the archive are a share of the model."""
    alpha = options.alpha + share * (ARCHIVE.alpha - options.alpha)
    return replace(options, alpha=round(alpha, 3), beta=round(options.beta + share * (ARCHIVE.beta - options.beta), 3))


def stored(name: str, header: dict[str, Any], state: dict[str, Tensor]) -> Language | None:
    """Takes the language model out of a recognizer's header and weights; None if it has none.

    Args:
        name: of the file, for messages.
        header: the file's; loses its part on the language model.
        state: the file's weights; loses the arrays.

    Raises:
        UserError: it is damaged.
    """
    own = header.pop(KEY, None)
    prefix = f"{KEY}."
    arrays = {key.removeprefix(prefix): state.pop(key).numpy() for key in list(state) if key.startswith(prefix)}
    if own is None:
        return None
    try:
        options = Options(float(own["alpha"]), float(own["beta"]))
        facts = dict(own["facts"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{name}: its language model has no weights; attach one again (htr-ssl lm attach)") from None
    return of(lm.LanguageModel.from_tensors(name, own, arrays), options, facts)


def store(path: Path, language: Language, out: Path) -> None:
    """Writes the recognizer of a file with a language model, instead of its own if it has one.

    Raises:
        UserError: the file is not a recognizer.
    """
    header, state = model_file.read(path)
    if header.get("kind") != "recognizer":
        raise UserError(f"{path}: it is an {header.get('kind')}, which reads nothing; give a recognizer")
    state = {name: tensor for name, tensor in state.items() if not name.startswith(f"{KEY}.")}
    arrays = language.model.tensors()
    state |= {f"{KEY}.{name}": torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    # The file may go to others: the name of the language model's file is enough for them.
    facts = {key: Path(value).name if key == "file" else value for key, value in language.facts.items()}
    weights = {"alpha": language.options.alpha, "beta": language.options.beta, "facts": facts}
    # A calibration holds for readings with the old language model only.
    header = {key: value for key, value in header.items() if key not in ("format", CALIBRATION)}
    model_file.save(out, state, header | {KEY: {**language.model.header(), **weights}})


def load(path: Path) -> Language:
    """Language model of a file of its own, with weights that suit most recognizers.

    Raises:
        UserError: it is not a language model.
    """
    model, header = lm.load(path)
    facts = {"file": str(path), "sha256": sha256(Path(path).read_bytes())}
    known = {"direction": header["direction"]} if "direction" in header else {}
    return of(model, Options(), facts | known)


def tuned(language: Language, scores: Sequence[np.ndarray], texts: Sequence[str], charset: Charset) -> Language:
    """The language with the weights that read validation images best: fewest character, then word edits.

    One weight after the other is chosen, twice; of equally good ones the one met first is taken.

    Args:
        language: its own weights come first.
        scores: log-posteriors (T, K) of each image.
        texts: what is written there; without any the weights stay.
        charset: of the recognizer.
    """
    if not texts:
        return language
    from htr_ssl.text import metrics  # only those who choose weights need it

    rows = np.unique(np.linspace(0, len(texts) - 1, min(len(texts), MOST)).round().astype(int)).tolist()
    chosen, wanted = [scores[row] for row in rows], [texts[row] for row in rows]
    decoder = Decoder(charset, language.model, language.options)
    known: dict[Options, tuple[int, int]] = {}

    def edits(options: Options) -> tuple[int, int]:
        if options not in known:
            readings = decoder.weighted(options)(chosen)
            read = [charset.decode(found[0].indices) for found in readings]
            table = metrics.count(wanted, read, "line").sum(0)
            known[options] = int(table[0]), int(table[2])
        return known[options]

    best = language.options
    for _ in range(2):
        best = min([best, *(replace(best, beta=beta) for beta in BETAS)], key=edits)
        best = min([best, *(replace(best, alpha=alpha) for alpha in ALPHAS)], key=edits)
    return of(language.model, best, {**language.facts, "chosen_on": f"{len(rows)} validation images"})
