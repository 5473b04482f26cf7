"""Metrics of read text: edit counts → CER, WER, WAcc with bootstrap intervals, paired test, confusions.

All texts are normalised (`text.charset.normalise`) before they are compared. Rates are in [0, 1] (CER and WER can
exceed 1); WAcc is

- on words: the share of word images read exactly;
- on lines: the share of reference words that a minimal word alignment (fewest edits; among those the one with the
  most hits) pairs with an equal word.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from htr_ssl.errors import UserError
from htr_ssl.seeds import rng
from htr_ssl.text.charset import NORMALISATION, normalise

Interval = tuple[float, float]
Level = Literal["word", "line"]
REPLICATES = 2000
"""Bootstrap replicates."""
WORK = 2_000_000
"""Most units that differ × sum of their absolute differences of which all sign flips are counted, sum by sum."""
FLIPS = 100_000
"""Random sign flips where there is more work."""
NOTHING = "∅"
"""Stands for the missing side of a deletion or an insertion."""

# Columns of a count table.
_CHAR_EDITS, _CHARS, _WORD_EDITS, _WORDS, _CORRECT, _UNITS = range(6)
_Z2 = 1.959964**2  # of the 95 % Wilson interval
_RATES = {"wacc": (_CORRECT, _UNITS), "cer": (_CHAR_EDITS, _CHARS), "wer": (_WORD_EDITS, _WORDS)}


@dataclass(frozen=True)
class Scores:
    """Corpus scores with 95 % bootstrap intervals.

    A rate of exactly 0 or 1 in every unit has no spread to resample: its interval is that of Wilson for as many
    independent observations as there are units.

    Attributes:
        wacc: see the module.
        cer: Σ character edits / Σ reference characters.
        wer: Σ word edits / Σ reference words.
        n: number of samples.
        unit: what was resampled for the intervals, e.g. ``page``.
        units: how many of them there are.
    """

    wacc: float
    wacc_ci: Interval
    cer: float
    cer_ci: Interval
    wer: float
    wer_ci: Interval
    n: int
    unit: str
    units: int
    normalisation: str = NORMALISATION

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `result.json`; intervals as [low, high]."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in vars(self).items()}


class Comparison(NamedTuple):
    """Paired comparison of two systems: rate of the second minus rate of the first, its interval, p-value."""

    difference: float
    interval: Interval
    p: float


def align_words(reference: Sequence[str], read: Sequence[str]) -> tuple[int, int]:
    """Fewest edits between two word lists, and the most equal pairs (hits) among the alignments with that many edits.

    With S, D, I substitutions, deletions and insertions, 2·hits = words on both sides − (2S + D + I). Weights of
    ``big`` per edit plus that term make one weighted distance carry both numbers.
    """
    total = len(reference) + len(read)
    big = total + 1
    cost = Levenshtein.distance(reference, read, weights=(big + 1, big + 1, big + 2))
    edits, spent = divmod(cost, big)
    return edits, (total - spent) // 2


def count(references: Sequence[str], reads: Sequence[str], level: Level) -> NDArray[np.int64]:
    """Count table, (samples, 6): char edits, chars, word edits, words, correct units, units of WAcc."""
    table = np.zeros((len(references), 6), dtype=np.int64)
    for row, reference, read in zip(table, map(normalise, references), map(normalise, reads), strict=True):
        words = reference.split(" ") if reference else []
        edits, hits = align_words(words, read.split(" ") if read else [])
        row[:_CORRECT] = Levenshtein.distance(reference, read), len(reference), edits, len(words)
        row[_CORRECT:] = (reference == read, 1) if level == "word" else (hits, len(words))
    return table


def score(
    references: Sequence[str],
    reads: Sequence[str],
    groups: Sequence[str] | None = None,
    level: Level = "line",
    seed: int = 0,
    unit: str = "group",
) -> Scores:
    """Scores of one system.

    Args:
        references: what is written.
        reads: what was read.
        groups: writer or page of each sample, resampled as a whole; None or a single group: samples are resampled.
        level: what one sample shows; decides the meaning of WAcc.
        seed: seed of the bootstrap.
        unit: what a group is, for the record.

    Raises:
        UserError: there is nothing to score.
    """
    return score_counts(count(references, reads, level), groups, seed, unit)


def score_counts(
    table: NDArray[np.int64],
    groups: Sequence[str] | None,
    seed: int,
    unit: str = "group",
    runs: Sequence[int] | None = None,
) -> Scores:
    """Scores of a count table; see `score`.

    Args:
        table: one row per sample, see `count`; of several runs one after the other.
        groups: unit of each row.
        seed: seed of the bootstrap.
        unit: what a group is, for the record.
        runs: training (seed) that each row is of; of several, the bootstrap draws trainings and units, so that the
            interval has the variance of both. None: one training.

    Raises:
        UserError: there is nothing to score.
    """
    sums, by_group = _group(table, groups, runs)
    total = sums.sum((0, 1))
    if not total[_CHARS]:
        raise UserError("no text to compare with: scores need at least one sample with a transcription; check the data")
    resampled = _resample(sums, seed)  # (replicates, 6)
    values: dict[str, Any] = {}
    for name, (part, whole) in _RATES.items():
        values[name] = rate = float(total[part] / total[whole])
        most = resampled[:, whole] if name == "wacc" else np.inf  # stretched, few correct ones could become none
        interval = _interval(np.clip(resampled[:, part], 0, most) / np.maximum(resampled[:, whole], 1))
        values[f"{name}_ci"] = _wilson(rate, len(sums)) if interval[0] == interval[1] == rate else interval
    return Scores(**values, n=len(table), unit=unit if by_group else "sample", units=len(sums))


def compare(
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    groups: Sequence[str] | None,
    metric: Literal["wacc", "cer", "wer"],
    seed: int = 0,
    runs: Sequence[int] | None = None,
) -> Comparison:
    """Paired comparison of two systems that read the same samples.

    The p-value is that of a two-sided permutation test: under the null hypothesis the two systems can be swapped in
    any unit. All sign flips are counted, so that n units give no p-value below 2 / 2^n; where their number times their
    differences exceeds `WORK`, `FLIPS` random ones. The interval is the paired percentile bootstrap over units, and
    over trainings if there are several; the p-value is that of the trainings there are.

    Args:
        first: count table of the one system (see `count`).
        second: count table of the other, rows in the same order.
        groups: writer or page of each sample, None for samples.
        metric: which rate to compare.
        seed: seed of both.
        runs: training (seed) that each row is of; None: one training.

    Raises:
        UserError: the tables are not of the same samples.
    """
    part, whole = _RATES[metric]
    if not np.array_equal(first[:, whole], second[:, whole]):
        raise UserError("a paired comparison needs two systems that read the same samples; evaluate both on one split")
    sums, _ = _group(np.stack([second[:, part] - first[:, part], first[:, whole]], axis=1), groups, runs)
    resampled = _resample(sums, seed)
    interval = _interval(resampled[:, 0] / np.maximum(resampled[:, 1], 1))
    total = sums.sum((0, 1))
    return Comparison(float(total[0] / total[1]), interval, sign_flip(sums[:, :, 0].sum(1), seed))


def sign_flip(differences: NDArray[np.int64], seed: int = 0) -> float:
    """Two-sided p-value of a sum of differences, (units,), under random signs; see `compare`."""
    moved = np.sort(np.abs(differences[differences != 0]))
    observed, total = abs(int(differences.sum())), int(moved.sum())
    if len(moved) * (total + 1) <= WORK:
        return _all_flips(moved, observed)
    generator, block, extreme = rng(seed, "permutation"), max(1, WORK // len(moved)), 0
    for start in range(0, FLIPS, block):
        signs = generator.integers(0, 2, (min(block, FLIPS - start), len(moved)), dtype=np.int8) * 2 - 1
        # Counts are far below 2^53, so that floats add them exactly, and with BLAS.
        extreme += int((np.abs(signs @ moved.astype(np.float64)) >= observed).sum())
    return (1 + extreme) / (1 + FLIPS)


def _all_flips(sizes: NDArray[np.int64], observed: int) -> float:
    """Share of all assignments of signs whose sum is as far from 0 as the observed one.

    With P the sum of the sizes that get a plus and S that of all, the sum is 2P − S: the chances of every P are built
    up size by size.
    """
    total = int(sizes.sum())
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    reached = 0
    for size in sizes.tolist():
        moved = chances[: reached + 1] / 2
        chances[: reached + 1] = moved
        chances[size : reached + size + 1] += moved
        reached += size
    least = (total + observed + 1) // 2  # the smallest P of a sum that is large enough
    return min(1.0, 2 * float(chances[least:].sum())) if observed else 1.0


def holm(values: Sequence[float]) -> list[float]:
    """P-values of a family of tests, corrected so that the chance of any false one stays at the level (Holm 1979)."""
    corrected, largest = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[index]))
        corrected[index] = largest
    return corrected


def confusions(references: Sequence[str], reads: Sequence[str], top: int = 30) -> list[tuple[str, str, int]]:
    """Most frequent confusions (written, read, count), deletions as (x, ∅), insertions as (∅, x).

    Neighbouring edits count as one confusion, e.g. rn → m, if no side is longer than three characters.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for reference, read in zip(map(normalise, references), map(normalise, reads), strict=True):
        blocks: list[list[int]] = []  # [ref start, ref end, read start, read end]
        for edit in Levenshtein.opcodes(reference, read):
            if edit.tag == "equal":
                continue
            i1, i2, j1, j2 = edit.src_start, edit.src_end, edit.dest_start, edit.dest_end
            if blocks and blocks[-1][1] == i1 and blocks[-1][3] == j1:
                blocks[-1][1], blocks[-1][3] = i2, j2
            else:
                blocks.append([i1, i2, j1, j2])
        for i1, i2, j1, j2 in blocks:
            written, seen = reference[i1:i2], read[j1:j2]
            if max(len(written), len(seen)) <= 3:
                counts[written or NOTHING, seen or NOTHING] += 1
            else:
                pairs = zip(written.ljust(len(seen), "\0"), seen.ljust(len(written), "\0"), strict=True)
                counts.update((left.strip("\0") or NOTHING, right.strip("\0") or NOTHING) for left, right in pairs)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [(written, seen, number) for (written, seen), number in ranked[:top]]


def _group(
    table: NDArray[np.int64], groups: Sequence[str] | None, runs: Sequence[int] | None = None
) -> tuple[NDArray[np.int64], bool]:
    """Sums over each unit and run, (units, runs, columns); rows stand alone if there are fewer than two groups."""
    if groups is None or len(set(groups)) < 2:
        return table[:, None], False
    names, index = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    known, run = np.unique(np.zeros(len(table), int) if runs is None else np.asarray(runs), return_inverse=True)
    sums = np.zeros((len(names), len(known), table.shape[1]), dtype=np.int64)
    np.add.at(sums, (index, run), table)
    return sums, True


def _resample(sums: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Totals of every replicate, (replicates, columns), of drawn units and drawn runs.

    Every run has the same units drawn, because all of them read the same samples. What the draw of n runs changes is
    stretched by √(n / (n − 1)), because n runs are drawn from as many: their own spread is too small by that. In
    blocks, so that memory stays small.
    """
    units, runs, columns = sums.shape
    stretch = (runs / (runs - 1)) ** 0.5 if runs > 1 else 1.0
    generator, others = rng(seed, "bootstrap"), rng(seed, "bootstrap runs")
    block = max(1, 4_000_000 // units)
    parts = []
    for start in range(0, REPLICATES, block):
        size = min(block, REPLICATES - start)
        weights = generator.multinomial(units, np.full(units, 1 / units), size=size)
        totals = (weights @ sums.reshape(units, runs * columns)).reshape(size, runs, columns)
        drawn = others.multinomial(runs, np.full(runs, 1 / runs), size=size)
        moved = (totals * (drawn - 1)[:, :, None]).sum(1)
        parts.append(totals.sum(1) + stretch * moved)
    return np.concatenate(parts)


def _interval(values: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _wilson(rate: float, units: int) -> Interval:
    """95 % interval of a rate that is the same in every unit; only of exactly 0 or 1 it is wider than the rate."""
    if rate == 0:
        return 0.0, _Z2 / (units + _Z2)
    return (units / (units + _Z2), 1.0) if rate == 1 else (rate, rate)
