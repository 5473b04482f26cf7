"""The same image twice: pixel by pixel, or as a copy that was scaled, brightened or compressed."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from htr_ssl.check.checks import blank
from htr_ssl.check.finding import Example, Finding
from htr_ssl.check.near import describe, groups
from htr_ssl.check.survey import Picture, Survey

_DIGEST = 16


def measure(picture: Picture) -> np.ndarray:
    """Digest of the pixels, then the description by which copies are found; uint8."""
    digest = hashlib.blake2b(repr(picture.pixels.shape).encode(), digest_size=_DIGEST)
    digest.update(np.ascontiguousarray(picture.pixels).data)
    exact = np.frombuffer(digest.digest(), np.uint8)
    return np.concatenate([exact, describe(picture.gray).view(np.uint8)])


def find(survey: Survey) -> Iterator[Finding]:
    """Copies in two splits are an error, others a warning; copies whose texts differ are named as well."""
    if not len(survey.readable):
        return
    inked = survey.measured["blank"] >= blank.CONTRAST  # all blank images are alike
    rows = survey.readable[inked]
    digests, vectors = np.split(survey.measured["duplicates"][inked], [_DIGEST], axis=1)
    copies: defaultdict[bytes, list[int]] = defaultdict(list)
    for number, digest in enumerate(digests):
        copies[digest.tobytes()].append(number)
    same_as = {group[0]: group for group in copies.values()}
    firsts = np.array(list(same_as), int)
    proportions = (survey.sizes[inked, 1] / survey.sizes[inked, 0])[firsts]
    described = np.ascontiguousarray(vectors[firsts]).view(np.int8)
    alike = [firsts[group].tolist() for group in groups(described, proportions)]
    exact = [rows[group].tolist() for group in same_as.values() if len(group) > 1]
    near = [sorted(rows[[copy for first in group for copy in same_as[first]]].tolist()) for group in alike]
    yield from _findings(survey, exact, "duplicate", "same image")
    yield from _findings(survey, near, "near_duplicate", "nearly the same image")
    yield from _contradictions(survey, exact + near)


def _findings(survey: Survey, groups: list[list[int]], kind: str, title: str) -> Iterator[Finding]:
    split = any(survey.splits)
    across: list[list[int]] = []
    within: list[list[int]] = []
    for group in groups:
        torn = split and len({survey.splits[row] or "train" for row in group}) > 1
        (across if torn else within).append(group)
    if across:
        yield Finding(
            f"{kind}_in_two_splits",
            "error",
            f"{title} in two splits",
            "The test would ask for what was learnt by heart. Keep one of each, or put them into one split.",
            [Example(tuple(group), _texts(survey, group), same=True) for group in across],
        )
    if within:
        more = "" if split else ", and splits drawn anew may tear them apart"
        yield Finding(
            kind,
            "warning",
            f"{title} more than once",
            f"They weigh more than others{more}. Keep one of each.",
            [Example(tuple(group), _texts(survey, group), same=True) for group in within],
        )


def _contradictions(survey: Survey, groups: list[list[int]]) -> Iterator[Finding]:
    differing = [group for group in groups if len({text for row in group if (text := survey.texts[row])}) > 1]
    if differing:
        yield Finding(
            "contradicting_texts",
            "warning",
            "same image with different texts",
            "At most one of the texts is right.",
            [Example(tuple(group), _texts(survey, group), same=True) for group in differing],
        )


def _texts(survey: Survey, group: list[int]) -> str:
    """The texts of a group, each once."""
    return " / ".join(dict.fromkeys(repr(text) for row in group if (text := survey.texts[row])))
