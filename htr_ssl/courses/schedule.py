"""How long each stage lasts: rules of thumb from benchmarks/few_labels, and a budget that fits the hours there are.

A budget is made once, at the start, and kept: a course that was stopped goes on with the same steps.
"""

from __future__ import annotations

from dataclasses import dataclass

BATCH = 16
"""Images per update."""
RATE, FIRST_RATE = 2e-3, 1e-3
"""Learning rate of a training, and of a start's fine-tuning on the few labels alone."""
SHARE = 0.9
"""Share of the time that is planned; the rest is for starting, scoring and other programs."""
READING = 2.0
"""Reading with a language model, in images, beside the speed of training."""
FEWEST, MOST = 50, 20_000
"""Unlabelled images that are worth a round of self-training, and as many as one learns from at most."""
ONE_READING = 0.12
"""Share of the time that one reading of them takes at most; a round needs two."""
LAST_READING = 0.25
"""Share of the time that reading all unlabelled images may take at the end."""
MOST_ROUNDS = 12
"""Rounds go on from each other, and end earlier where they read the held-out lines no better."""
MOST_UNSCORED = 4
"""Rounds where no line is held out: nobody would see it if further ones made it worse, and no more were measured."""
LONGEST = 1.5
"""A round's updates at most, beside what `round_steps` wants, where the time does not hold one round more."""
KEEP = 0.85
"""Share of the readings that are learnt from, the surest first."""
WIDTH_GROUPS = 4
PARTS = 4
"""Parts in which the images are read a second time, with a language model of the readings of the others."""
ORDER = 9
"""Characters of the longest n-grams of its language models: an archive's own phrases are longer than a language's."""
HELD_OUT = 0.15, 5, 100
"""Share of the labelled images that the score is measured on, at least and at most so many; none of under 20."""


@dataclass(frozen=True)
class Budget:
    """Updates of each stage.

    Attributes:
        first: of the fine-tuning on the labels alone; 0 without labels.
        rounds: of each round of self-training.
        pool: images without a text that self-training reads and learns from.
        rest: whether there is time to read the others of them at the end.
        language: whether time is left for a language model of what the best model reads.
        seconds: that all should take, reading included.
    """

    first: int
    rounds: list[int]
    pool: int
    rest: bool
    language: bool
    seconds: float


def held_out(labels: int) -> int:
    """Labelled images that are kept for the score."""
    share, least, most = HELD_OUT
    return min(most, max(least, round(share * labels))) if labels >= 20 else 0


def first_steps(labels: int, known: bool) -> int:
    """Updates on the labels alone; `known` says whether the start reads such writing already."""
    if known:
        return int(min(5000, max(100, 150 * (labels / 20) ** 0.45)))
    return int(min(8000, max(1500, 2000 * (labels / 300) ** 0.4)))


def round_steps(images: int) -> int:
    """Updates of a round on so many images, labelled and read."""
    return int(min(4000, max(300, 1000 * (images / 3000) ** 0.5)))


def plan(labels: int, unlabelled: int, speed: float, hours: float, known: bool = True, scored: bool = True) -> Budget:
    """Stages that fit the time.

    Args:
        labels: images with a text that are trained on.
        unlabelled: images without.
        speed: of training, images a second.
        hours: all there is.
        known: whether the start reads such writing already.
        scored: whether there are held-out lines that tell whether a round helps.
    """
    step = BATCH / speed
    pool = min(unlabelled, MOST, max(FEWEST, int(ONE_READING * 3600 * hours * READING * speed)))
    twice = 2 * pool / (READING * speed)  # with the language model of the stage before, then with one of what was read
    rest = unlabelled / (READING * speed) <= LAST_READING * 3600 * hours
    last = (unlabelled if rest else pool) / (READING * speed)
    left = SHARE * 3600 * hours - last
    first = max(20, min(first_steps(labels, known), int(left / step))) if labels else 0
    left -= first * step
    spent = last + first * step
    rounds: list[int] = []
    if unlabelled >= FEWEST:
        wanted = round_steps(labels + int(KEEP * pool))
        room = left - twice  # for the last language model, which a single round rather uses for updates
        most = MOST_ROUNDS if scored else MOST_UNSCORED
        count = min(most, round(room / (twice + wanted * step)))
        if count < 2:
            count, room = 1, left
        steps = min(int(LONGEST * wanted), int((room / count - twice) / step))
        if steps >= max(20, min(first, wanted)):
            rounds = [steps] * count
    taken = len(rounds) * twice + sum(rounds) * step
    language = unlabelled >= FEWEST and left - taken >= twice
    spent += taken + twice * language
    return Budget(first, rounds, pool, rest, language, spent)
