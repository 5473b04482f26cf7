"""CTC prefix beam search with a language model, for many images at once, in NumPy.

Sources: Hannun et al., "First-pass large vocabulary continuous speech recognition using bi-directional recurrent DNNs",
2014 (arXiv 1408.2873); Chen et al., "Phone synchronous speech recognition with CTC lattices", 2017 (frames that are
surely blank are left out).

Letters: N images, T frames, K classes (0 = blank), B prefixes held per image, k characters tried per frame.

A reading's score is ln p(text | image) + alpha · ln p(text) + beta · characters; p(text | image) sums over all paths.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from htr_ssl.text.charset import BLANK, Charset
from htr_ssl.text.lm import END, UNKNOWN, LanguageModel

GROUP = 128
"""Images decoded together."""
FIRST_ROWS, ROWS = 256, 1 << 17
"""States whose probabilities are kept at hand: room for so many at first, and the most."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_DEAD = (np.uint64(1), np.uint64(2))  # hashes of a prefix of probability 0 and of its parent: they equal no other

Doubles = NDArray[np.float64]
Array = NDArray[Any]


class Hypothesis(NamedTuple):
    """A reading of one image.

    Attributes:
        indices: its characters.
        log_posterior: ln p(text | image) of the network alone, without the paths that the beam lost.
        score: with the language model.
        share: of the probability that the scores of all prefixes held at the end stand for, in [0, 1].
    """

    indices: list[int]
    log_posterior: float
    score: float
    share: float


@dataclass(frozen=True)
class Options:
    """How to search.

    Attributes:
        alpha: weight of the language model.
        beta: bonus per character; the language model alone favours short readings.
        width: prefixes held per image.
        top: characters tried per frame, the likeliest.
        sure: frames in which the blank is likelier than this count as blanks; 1 = none.
    """

    alpha: float = 0.5
    beta: float = 1.0
    width: int = 32
    top: int = 10
    sure: float = 0.97


class _Frames(NamedTuple):
    """What the search needs of one image.

    Attributes:
        p: (F, K), probabilities in the frames that are not surely blank.
        gap: (F,), whether surely blank frames stand before.
        silent: ln of the blank's probability in all of those.
    """

    p: NDArray[np.float32]
    gap: NDArray[np.bool_]
    silent: float


class _Lookup:
    """Probabilities of all classes after the states that the search meets, worked out once each.

    Attributes:
        lock: held while one thread searches.
    """

    def __init__(self, model: LanguageModel, charset: Charset) -> None:
        self._model = model
        self.lock = threading.Lock()
        symbols = [model.index.get(character, UNKNOWN) for character in charset.characters]
        self._symbols = np.array([END, *symbols])
        self._clear()

    def _clear(self) -> None:
        self._row = np.full(len(self._model.symbol), -1, np.int32)
        self._values = np.zeros((FIRST_ROWS, len(self._symbols)), np.float32)
        self._after = np.zeros((FIRST_ROWS, len(self._symbols)), np.int32)
        self._used = 0

    def values(self, states: Array, classes: Array | int) -> Array:
        """Natural logarithms of the probabilities of classes after states; class 0 stands for the text's end."""
        rows = self._rows(states)  # first: this may put the arrays into new ones
        values: Array = self._values[rows, classes]
        return values

    def after(self, states: Array, classes: Array) -> Array:
        """States behind classes after states."""
        rows = self._rows(states)
        after: Array = self._after[rows, classes]
        return after

    def _rows(self, states: Array) -> Array:
        """Rows of states, of any shape; they hold until the next call."""
        found = self._row[states]
        if found.min(initial=0) >= 0:
            return found
        if self._used > ROWS:
            self._clear()
            found = self._row[states]
        new = np.unique(states[found < 0])
        end = self._used + len(new)
        if end > len(self._values):
            more = max(end, 2 * len(self._values)) - len(self._values)
            self._values = np.concatenate([self._values, np.zeros((more, len(self._symbols)), np.float32)])
            self._after = np.concatenate([self._after, np.zeros((more, len(self._symbols)), np.int32)])
        values, after = self._model.rows(new)
        self._values[self._used : end] = values[:, self._symbols]
        self._after[self._used : end] = after[:, self._symbols]
        self._row[new] = np.arange(self._used, end)
        self._used = end
        return self._row[states]


@dataclass
class _Beam:
    """Prefixes of the images that are not read to the end; all arrays (n, B) but for `scale`, (n,).

    Attributes:
        blank: probability of all paths that end in a blank, relative to `scale`.
        ink: of those that end in the last character.
        last: last character.
        own: hash of the prefix.
        parent: hash of the prefix without its last character.
        prior: what language model and length add to the score.
        state: of the language model.
        scale: logarithm of what all probabilities of an image were divided by.
    """

    blank: Doubles
    ink: Doubles
    last: Array
    own: Array
    parent: Array
    prior: Doubles
    state: Array
    scale: Doubles

    def head(self, count: int) -> _Beam:
        """The first images."""
        return _Beam(*(value[:count] for value in vars(self).values()))


@dataclass
class Decoder:
    """Searches the likeliest texts.

    Attributes:
        charset: the classes.
        model: language model, None = none; then `alpha` means nothing.
        options: how to search.
    """

    charset: Charset
    model: LanguageModel | None = None
    options: Options = field(default_factory=Options)

    def __post_init__(self) -> None:
        self._lookup = None if self.model is None else _Lookup(self.model, self.charset)

    def __reduce__(self) -> tuple[type[Decoder], tuple[Charset, LanguageModel | None, Options]]:
        return Decoder, (self.charset, self.model, self.options)  # a copy in another process looks up by itself

    def weighted(self, options: Options) -> Decoder:
        """A decoder with other options that shares what this one has looked up."""
        other = replace(self, options=options)
        other._lookup = self._lookup
        return other

    def __call__(self, log_posteriors: Sequence[Array], alternatives: int = 1) -> list[list[Hypothesis]]:
        """Readings of each image, best first, at least one.

        Args:
            log_posteriors: (T, K) of each image.
            alternatives: most readings per image, `options.width` at most.
        """
        if self._lookup is None:
            return self._read(log_posteriors, alternatives)
        with self._lookup.lock:
            return self._read(log_posteriors, alternatives)

    def _read(self, log_posteriors: Sequence[Array], alternatives: int) -> list[list[Hypothesis]]:
        frames = [_frames(one, self.options.sure) for one in log_posteriors]
        order = sorted(range(len(frames)), key=lambda i: -len(frames[i].p))
        results: list[list[Hypothesis]] = [[] for _ in frames]
        for start in range(0, len(order), GROUP):
            group = order[start : start + GROUP]
            for i, found in zip(group, self._search([frames[i] for i in group], alternatives), strict=True):
                results[i] = found
        return results

    def _search(self, images: Sequence[_Frames], alternatives: int) -> list[list[Hypothesis]]:
        """Readings of images, those with most frames first."""
        steps, width = np.array([len(image.p) for image in images]), self.options.width
        classes = len(self.charset)
        p = np.zeros((max(int(steps[0]), 1), len(images), classes), np.float32)
        gap = np.zeros(p.shape[:2], bool)
        for i, image in enumerate(images):
            p[: steps[i], i], gap[: steps[i], i] = image.p, image.gap
        tried = min(self.options.top, classes - 1)
        top = np.argpartition(-p[:, :, 1:], tried - 1, 2)[:, :, :tried] + 1
        beam = self._begin(len(images))
        origin = np.zeros((len(p), len(images), width), np.int32)
        emitted = np.zeros((len(p), len(images), width), np.int32)
        done: list[_Beam] = []
        for t in range(int(steps[0])):
            active = int((steps > t).sum())
            if active < len(beam.last):
                done.append(_Beam(*(value[active:] for value in vars(beam).values())))
                beam = beam.head(active)
            beam, origin[t, :active], emitted[t, :active] = self._step(beam, p[t, :active], gap[t, :active], top[t])
        done.append(beam)
        whole = _Beam(
            *(np.concatenate(parts) for parts in zip(*(vars(one).values() for one in done[::-1]), strict=True))
        )
        return self._readings(whole, images, origin, emitted, min(alternatives, width))

    def _begin(self, count: int) -> _Beam:
        """The empty prefix, and slots without one."""
        shape = (count, self.options.width)
        blank = np.zeros(shape)
        blank[:, 0] = 1
        own, parent = (np.full(shape, value, np.uint64) for value in _DEAD)
        own[:, 0] = 3
        state = np.full(shape, 0 if self.model is None else self.model.start, np.int32)
        none = np.zeros(shape)
        return _Beam(blank, none, np.zeros(shape, np.int64), own, parent, none, state, np.zeros(count))

    def _step(self, beam: _Beam, p: Array, gap: Array, top: Array) -> tuple[_Beam, Array, Array]:
        """The beam one frame on, the slot that each of its prefixes comes from, and the character that was added."""
        count, width = beam.last.shape
        top = top[:count]
        before = np.where(gap[:, None], beam.blank + beam.ink, beam.blank)
        total = beam.blank + beam.ink
        same = top[:, None, :] == beam.last[:, :, None]  # (n, B, k)
        # A prefix stays as it is …
        blank = total * p[:, :1]
        p_last = np.take_along_axis(p, beam.last, 1)
        ink = np.where(gap[:, None], 0, beam.ink) * p_last
        # … or grows by a character. A repeated one needs a blank between.
        grown = np.where(same, before[:, :, None], total[:, :, None]) * np.take_along_axis(p, top, 1)[:, None, :]
        # What grows into a prefix that is there already is counted there.
        match = beam.own[:, None, :] == beam.parent[:, :, None]  # (n, child, parent)
        line, child = np.nonzero(match.any(2))
        if len(line):
            above = match[line, child].argmax(1)
            repeated = beam.last[line, above] == beam.last[line, child]
            mass = np.where(repeated, before[line, above], total[line, above])
            ink[line, child] += mass * p_last[line, child]
            place = same[line, child]
            there = place.any(1)
            grown[line[there], above[there], place[there].argmax(1)] = 0
        prior = np.broadcast_to(beam.prior[:, :, None] + self.options.beta, grown.shape)
        if self._lookup is not None:
            prior = prior + self.options.alpha * self._lookup.values(beam.state[:, :, None], top[:, None, :])
        with np.errstate(divide="ignore"):
            kept = np.log(blank + ink) + beam.prior
            longer = np.log(grown) + prior
        scores = np.concatenate([kept, longer.reshape(count, -1)], 1)  # (n, B + B·k)
        best = np.argpartition(-scores, width - 1, 1)[:, :width]
        return self._chosen(beam, best, (blank, ink), (grown, prior), top)

    def _chosen(
        self, beam: _Beam, best: Array, stay: tuple[Array, Array], grow: tuple[Array, Array], top: Array
    ) -> tuple[_Beam, Array, Array]:
        """The beam of the chosen ones of all that it can become; see `_step`.

        Args:
            beam: before the frame.
            best: (n, B), numbers of the chosen: first the B prefixes as they are, then their B·k continuations.
            stay: probabilities with a blank and with the last character at the end, if a prefix stays as it is.
            grow: (n, B, k) probabilities and priors of the continuations.
            top: (n, k) their characters.
        """
        count, width = beam.last.shape
        stays = best < width
        other = np.maximum(best - width, 0)
        source = np.where(stays, best, other // top.shape[1])
        added = np.where(stays, BLANK, np.take_along_axis(top, other % top.shape[1], 1))

        def either(old: Array, new: Array | int) -> Array:
            return np.where(stays, np.take_along_axis(old, source, 1), new)

        grown, prior = (np.take_along_axis(values.reshape(count, -1), other, 1) for values in grow)
        blank, ink = either(stay[0], 0), either(stay[1], grown)
        own = np.take_along_axis(beam.own, source, 1)
        parent = either(beam.parent, own)
        own = np.where(stays, own, own * _PRIME + added.astype(np.uint64))
        mass = blank + ink
        dead = mass <= 0
        own[dead], parent[dead] = _DEAD
        state = np.take_along_axis(beam.state, source, 1)
        if self._lookup is not None:
            state = np.where(stays, state, self._lookup.after(state, added))
        scale = mass.max(1)
        new = _Beam(
            blank=blank / scale[:, None],
            ink=ink / scale[:, None],
            last=either(beam.last, added),
            own=own,
            parent=parent,
            prior=either(beam.prior, prior),
            state=state,
            scale=beam.scale + np.log(scale),
        )
        return new, source, added

    def _readings(
        self, beam: _Beam, images: Sequence[_Frames], origin: Array, emitted: Array, alternatives: int
    ) -> list[list[Hypothesis]]:
        """Readings of the images, whose last beams are put together, by the ways back through all frames."""
        steps = np.array([len(image.p) for image in images])
        silent = np.array([image.silent for image in images])
        prior = beam.prior
        if self._lookup is not None:
            prior = prior + self.options.alpha * self._lookup.values(beam.state, 0)
        with np.errstate(divide="ignore"):
            posterior = np.log(beam.blank + beam.ink) + (beam.scale + silent)[:, None]
        score = posterior + prior
        best = np.argsort(-score, 1, kind="stable")
        share = np.exp(score - score.max(1, keepdims=True))
        share /= share.sum(1, keepdims=True)
        slots = best[:, :alternatives].copy()
        written = np.zeros((len(origin), *slots.shape), np.int32)
        for t in range(len(origin) - 1, -1, -1):
            n = int((steps > t).sum())
            written[t, :n] = np.take_along_axis(emitted[t, :n], slots[:n], 1)
            slots[:n] = np.take_along_axis(origin[t, :n], slots[:n], 1)
        results = []
        for i, order in enumerate(best):
            found = []
            for place, slot in enumerate(order[:alternatives].tolist()):
                if np.isfinite(score[i, slot]):
                    path = written[:, i, place]
                    values = (float(posterior[i, slot]), float(score[i, slot]), float(share[i, slot]))
                    found.append(Hypothesis(path[path > BLANK].tolist(), *values))
            results.append(found)
        return results


def confidence(reading: Hypothesis, frames: int) -> float:
    """Confidence in [0, 1]: the text's probability per character, (p(text | image))^(1/L); of no text, per frame."""
    return float(np.exp(reading.log_posterior / max(len(reading.indices) or frames, 1))) if frames else 0.0


def _frames(log_posteriors: Array, sure: float) -> _Frames:
    """Drops the frames that are surely blank from (T, K)."""
    p = np.exp(log_posteriors.astype(np.float32))
    dull = p[:, BLANK] > sure
    gap = np.zeros(len(p), bool)
    gap[1:] = dull[:-1]
    return _Frames(p[~dull], gap[~dull], float(log_posteriors[dull, BLANK].sum()))
