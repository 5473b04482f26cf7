"""Pages and writers in two splits: the test would ask for what was learnt by heart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from htr_ssl.check.finding import Example, Finding
from htr_ssl.check.survey import Survey
from htr_ssl.data.splits.subsets import SPLITS


def find(survey: Survey) -> Iterator[Finding]:
    """A page is always an error; a writer is one unless most writers are shared: then the split is meant so."""
    pages = _shared(survey.pages, survey.splits)
    if pages:
        yield Finding(
            "page_in_two_splits",
            "error",
            "page in two splits",
            "Lines of one page share hand, ink, paper and names, so that the test is too easy. "
            "Put whole pages into one split (`data split --by page`).",
            _examples(pages),
        )
    writers = _shared(survey.writers, survey.splits)
    if writers and list(writers) != list(pages):  # some sources have nothing better than the page as writer
        tested = {name for name, split in zip(survey.writers, survey.splits, strict=True) if split == "test" and name}
        meant = 2 * len(tested & writers.keys()) > len(tested)
        yield Finding(
            "writer_in_two_splits",
            "warning" if meant else "error",
            "writer in two splits",
            "The scores hold for hands that were trained on, not for new ones; say so where you give them."
            if meant
            else "Most writers are in one split, these are not: the scores are neither for known nor for new hands. "
            "Divide by writer (`data split --by writer`).",
            _examples(writers),
        )


def _shared(names: Sequence[str | None], splits: Sequence[str | None]) -> dict[str, dict[str, list[int]]]:
    """Names that are in more than one split -> split -> rows."""
    where: defaultdict[str, dict[str, list[int]]] = defaultdict(dict)
    for row, (name, split) in enumerate(zip(names, splits, strict=True)):
        if name and split:
            where[name].setdefault(split, []).append(row)
    return {name: found for name, found in where.items() if len(found) > 1}


def _examples(shared: dict[str, dict[str, list[int]]]) -> list[Example]:
    """One row of each split, and how many there are."""
    examples = []
    for name, found in shared.items():
        counts = ", ".join(f"{len(found[split])} in {split}" for split in SPLITS if split in found)
        examples.append(Example(tuple(found[split][0] for split in SPLITS if split in found), f"{name}: {counts}"))
    return examples
