"""What a source holds and what is wrong with it, found by reading everything once."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from htr_ssl.charset import Charset, listing, normalise
from htr_ssl.data.sample import Sample
from htr_ssl.errors import UserError

HEIGHT = 48
"""Height [px] at which the room for a text is judged: the default of `data.height`."""
STRIDE = 4
"""Pixels of width per frame of the encoders."""
RARE = 5
"""Characters seen fewer times than this are listed."""
SHOWN = 5
"""Examples named for each kind of fault."""
_NONE = "no split"


@dataclass
class Report:
    """Findings of `check`; ids name samples.

    Attributes:
        images: split -> number of images.
        labelled: split -> number of images with text.
        characters: how often each character comes.
        widths: of the readable images at `HEIGHT` [px].
        unreadable: id and message.
        blank: images of one single tone.
        too_long: images too narrow for CTC to write their text.
        duplicates: groups of images with the same pixels.
        shared: duplicates, pages and writers that are in more than one split; kind -> names.
    """

    images: Counter[str] = field(default_factory=Counter)
    labelled: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    widths: list[int] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    blank: list[str] = field(default_factory=list)
    too_long: list[str] = field(default_factory=list)
    duplicates: list[list[str]] = field(default_factory=list)
    shared: dict[str, list[str]] = field(default_factory=dict)

    def rows(self) -> list[tuple[str, str]]:
        """Label and finding, for a table; faults that were not found are left out."""
        rows = [(split, f"{count} images, {self.labelled[split]} with text") for split, count in self.images.items()]
        if self.widths:
            low, middle, high = np.percentile(self.widths, (5, 50, 95)).astype(int)
            rows.append((f"widths at {HEIGHT} px", f"{middle} px (5 % below {low}, 5 % above {high})"))
        if self.characters:
            rare = Counter({name: count for name, count in self.characters.items() if count < RARE})
            rows.append(("characters", f"{len(self.characters)}: {''.join(sorted(self.characters))}"))
            rows.append((f"fewer than {RARE} times", listing(rare)))
        rows += [("unreadable", f"{len(self.unreadable)} images")] if self.unreadable else []
        rows += [("", message) for _, message in self.unreadable[:SHOWN]]
        groups = [" = ".join(group[:SHOWN]) for group in self.duplicates]
        faults = {
            "blank": self.blank,
            "text too long for its image": self.too_long,
            "duplicates": groups,
            **self.shared,
        }
        return rows + [
            (label, f"{len(names)}: {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}")
            for label, names in (faults | self.shared).items()
            if names
        ]


def check(samples: Sequence[Sample], progress: bool = False) -> Report:
    """Reads every image and text.

    Args:
        samples: what a reader returns.
        progress: whether to show a bar on standard error.
    """
    report = Report()
    columns: Any = samples
    texts = [text for text in columns.column("text") if text]
    report.characters = Counter(character for text in texts for character in normalise(text))
    charset = Charset.build(texts)
    seen: defaultdict[bytes, list[tuple[str, str]]] = defaultdict(list)  # pixels -> id and split
    for sample in _track(samples) if progress else samples:
        split = sample.split or _NONE
        report.images[split] += 1
        report.labelled[split] += bool(sample.text)
        try:
            image = sample.load()
        except UserError as error:
            report.unreadable.append((sample.id, str(error)))
            continue
        seen[hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()].append((sample.id, split))
        if int(image.max()) == int(image.min()):
            report.blank.append(sample.id)
        width = round(image.shape[1] * HEIGHT / image.shape[0])
        report.widths.append(width)
        if sample.text and _frames_needed(charset.encode(sample.text)) > -(-width // STRIDE):
            report.too_long.append(sample.id)
    groups = [group for group in seen.values() if len(group) > 1]
    report.duplicates = [[name for name, _ in group] for group in groups]
    report.shared["same image in two splits"] = [
        " = ".join(f"{name} ({split})" for name, split in group) for group in groups if len({*dict(group).values()}) > 1
    ]
    for kind in ("page", "writer"):
        report.shared[f"{kind} in two splits"] = _shared(columns.column(kind), columns.column("split"))
    return report


def _shared(names: Iterable[str | None], splits: Iterable[str | None]) -> list[str]:
    """Names that are in more than one split."""
    where: defaultdict[str, set[str]] = defaultdict(set)
    for name, split in zip(names, splits, strict=True):
        if name and split:
            where[name].add(split)
    return [name for name, found in where.items() if len(found) > 1]


def _frames_needed(label: Sequence[int]) -> int:
    from htr_ssl.ctc import frames_needed

    return frames_needed(label)


def _track(samples: Sequence[Sample]) -> Iterable[Sample]:
    from rich.console import Console
    from rich.progress import track

    return track(samples, "reading", console=Console(stderr=True), transient=True)
