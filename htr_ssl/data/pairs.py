"""Labelled and unlabelled images for the same updates: two data sets and two orders read as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch.utils.data import Dataset, Sampler

from htr_ssl.data.batch import Batch
from htr_ssl.data.loading import Place, Strips
from htr_ssl.data.sampling import StepSampler


class PairedStrips(Dataset[Batch]):
    """Indexing with two lists of positions gives the labelled batch with the unlabelled one `beside` it.

    Attributes:
        parts: labelled and unlabelled strips.
        beside: unlabelled images per update, over all processes together.
        widths: of both parts [px].
    """

    def __init__(self, labelled: Strips, unlabelled: Strips, beside: int) -> None:
        self.parts, self.beside = (labelled, unlabelled), beside
        self.widths = labelled.widths + unlabelled.widths

    def __len__(self) -> int:
        return len(self.widths)

    @property
    def place(self) -> Place:
        """Where the strips come from; `source` if any of them are decoded when they are asked for."""
        places = [part.place for part in self.parts]
        return "source" if "source" in places else places[0]

    def __getitem__(self, positions: tuple[list[int], list[int]]) -> Batch:
        labelled, unlabelled = (part[own] for part, own in zip(self.parts, positions, strict=True))
        return replace(labelled, beside=unlabelled)


class PairedSampler(Sampler[tuple[list[int], list[int]]]):
    """The batches of two samplers of equally many steps, one of each for every update."""

    def __init__(self, labelled: StepSampler, unlabelled: StepSampler) -> None:
        self.parts = (labelled, unlabelled)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the round of both."""
        for part in self.parts:
            part.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.parts[0])

    def __iter__(self) -> Iterator[tuple[list[int], list[int]]]:
        return zip(*self.parts, strict=True)


def parts(loader: Any) -> list[tuple[Strips, StepSampler]]:
    """Data set and order of a loader, or both of one that reads pairs."""
    if isinstance(loader.dataset, PairedStrips):
        return list(zip(loader.dataset.parts, loader.sampler.parts, strict=True))
    return [(loader.dataset, loader.sampler)]
