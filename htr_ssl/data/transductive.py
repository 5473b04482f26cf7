"""Copies of validation and test images among unlabelled ones: found by their pixels, and left out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from contextlib import suppress

from htr_ssl.config import DataConfig
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError

_DIGEST = 16  # bytes
_CONTRAST = 8  # least range of gray values; all blank images are alike


def without_evaluated(strips: Strips, evaluated: DataConfig, keep: bool, samples: Samples | None = None) -> int:
    """Leaves copies of the validation and test images of `evaluated` out of unlabelled strips; returns how many.

    A copy has the same pixels after the scaling that the strips have; one that was scaled or compressed anew is another
    image here (`htr-ssl data check` finds those too). The train images of `evaluated` itself are taken as they are:
    whether its splits share images is a question for the check of the data.

    Args:
        strips: unlabelled images.
        evaluated: data that will be scored.
        keep: count the copies, but leave them in (`transductive`).
        samples: of `evaluated`, if they have been read.

    Raises:
        UserError: nothing else is left.
    """
    if same_splits(strips.config, evaluated):
        return 0
    found = copied(strips, evaluated, samples)
    copies, source, other = sum(found), strips.config.source, evaluated.source
    if copies == len(strips) and not keep:
        raise UserError(f"{source}: all images are validation or test images of {other}; transductive=true keeps them")
    if copies:
        fate = "they are kept, say so where you give scores" if keep else "left out, transductive=true keeps them"
        warnings.warn(
            f"{source}: {copies} of {len(strips)} unlabelled images are validation or test images of {other}; {fate}",
            stacklevel=3,
        )
    if copies and not keep:
        strips.keep([position for position, copy in enumerate(found) if not copy])
    return copies


def copied(strips: Strips, evaluated: DataConfig, samples: Samples | None = None) -> list[bool]:
    """Whether each strip has the pixels of a validation or test image of `evaluated`; see `without_evaluated`."""
    samples = read_samples(evaluated) if samples is None else samples
    rows = [row for split in ("validation", "test") for row in rows_of(samples, split, labelled=False)]
    known: set[bytes | None] = set()
    with warnings.catch_warnings(), suppress(UserError):  # whoever scores them says what cannot be read
        warnings.simplefilter("ignore")
        if rows:
            known.update(_digests(Strips(samples, rows, strips.config.model_copy(update={"cache": None}))))
    known.discard(None)
    return [digest in known for digest in _digests(strips)]


def dropped(data: DataConfig, evaluated: DataConfig) -> list[str]:
    """Ids of the train images of `data` that `without_evaluated` would leave out, sorted."""
    if same_splits(data, evaluated):
        return []
    samples = read_samples(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training says what cannot be read
        strips = Strips(samples, rows_of(samples, "train", labelled=False), data)
    return sorted(name for name, copy in zip(strips.ids(), copied(strips, evaluated), strict=True) if copy)


def same_splits(first: DataConfig, second: DataConfig) -> bool:
    """Whether two configurations read and divide one source alike, so that they share their train images."""
    deciding = ("source", "level", "splits", "validation", "test", "seed", "synthetic")
    return all(getattr(first, name) == getattr(second, name) for name in deciding)


def _digests(strips: Strips) -> Iterator[bytes | None]:
    """Digest of the pixels of each strip, None for blank ones."""
    for position in range(len(strips)):
        strip = strips.strip(position)
        if int(strip.max()) - int(strip.min()) < _CONTRAST:
            yield None
            continue
        digest = hashlib.blake2b(repr(strip.shape).encode(), digest_size=_DIGEST)
        digest.update(strip.tobytes())
        yield digest.digest()
