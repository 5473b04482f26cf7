"""Texts and splits that training needs: something labelled to learn from, to choose by and to test with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from htr_ssl.check.finding import Finding, Severity
from htr_ssl.check.survey import Survey


def find(survey: Survey) -> Iterator[Finding]:
    """Errors: no text at all, or splits are named but train or test has none."""
    if not survey.labelled:
        severity: Severity = "note" if survey.unlabelled else "error"
        advice = "Such data can be pretrained on (then check it with --unlabelled); a recognizer needs some texts."
        yield Finding("nothing_labelled", severity, "no image has a text", advice)
        return
    labelled = Counter(survey.splits[row] for row in survey.labelled)
    if any(survey.splits):
        yield from _of_named_splits(labelled, survey.training.data.validation)
    else:
        data = survey.training.data
        shares = f"{data.validation:.0%} and {data.test:.0%}"
        advice = f"{shares} of the labelled images will be validation and test; `data split` writes them down."
        yield Finding("no_splits", "note", "the source names no splits", advice)
        if not any(survey.pages[row] or survey.writers[row] for row in survey.labelled):
            advice = (
                "Images of one page or hand will be in train and test, which makes the test too easy. "
                "Name pages, writers or splits, e.g. by folders train, validation and test."
            )
            yield Finding("no_pages", "warning", "neither splits nor pages nor writers are known", advice)


def _of_named_splits(labelled: Counter[str | None], share: float) -> Iterator[Finding]:
    unnamed = labelled[None]
    if not labelled["train"] and not unnamed:
        advice = "There is nothing to learn from: put labelled images into train, or draw splits with `data split`."
        yield Finding("no_train", "error", "no image of train has a text", advice)
    if not labelled["test"]:
        advice = "Nothing could be measured: put labelled images into test, or draw splits with `data split`."
        yield Finding("no_test", "error", "no image of test has a text", advice)
    if not labelled["validation"]:
        advice = f"{share:.0%} of train will be drawn for it, whole pages or writers where known."
        yield Finding("no_validation", "note", "no image of validation has a text", advice)
    if unnamed:
        advice = "They count as train. Name their split, or none at all."
        yield Finding("partly_split", "warning", f"{unnamed:,} labelled images are in no split, others are", advice)
