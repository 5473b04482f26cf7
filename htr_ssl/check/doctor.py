"""The doctor: reads a source once, asks every check of `checks/`, and says whether training would be sound.

A check is a file of that folder with `find(survey)`, which yields findings, and, if it looks at images,
`measure(picture)`, whose results `find` gets in `survey.measured` under the file's name.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np

from htr_ssl import plugins
from htr_ssl.check.describe import split_counts
from htr_ssl.check.finding import SEVERITIES, Example, Finding
from htr_ssl.check.survey import Progress, Survey, Training, survey
from htr_ssl.data.samples import Samples
from htr_ssl.text.charset import NORMALISATION

CHECKS = "htr_ssl.check.checks"


@dataclass(frozen=True)
class Report:
    """What was found, the gravest first.

    Attributes:
        survey: what was read.
        findings: of all checks.
    """

    survey: Survey
    findings: list[Finding]

    @property
    def reasons(self) -> list[str]:
        """Why training would not be sound: the errors; empty if it would be."""
        return [titled(finding) for finding in self.findings if finding.severity == "error"]

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return not self.reasons

    def names(self, example: Example) -> str:
        """The ids of an example and what is said of it; splits are named where they differ."""
        splits = [self.survey.splits[row] for row in example.rows]
        differ = len(set(splits)) > 1
        ids = [
            f"{self.survey.ids[row]} ({split or 'no split'})" if differ else self.survey.ids[row]
            for row, split in zip(example.rows, splits, strict=True)
        ]
        named = (" = " if example.same else ", ").join(ids)
        first, second = (example.remark, named) if len(ids) > 1 and not example.same else (named, example.remark)
        return f"{first}: {second}" if first and second else first or second

    def splits(self) -> dict[str, dict[str, int]]:
        """Counts of every split."""
        survey = self.survey
        return split_counts(survey.splits, survey.texts, survey.writers, survey.pages)

    def characters(self) -> dict[str, dict[str, int]]:
        """Character -> split -> how often, the most frequent first."""
        counts = {split or "no split": counter for split, counter in self.survey.characters.items()}
        total = self.survey.alphabet
        ranked = sorted(total, key=lambda name: (-total[name], name))
        return {name: {split: counter[name] for split, counter in counts.items() if counter[name]} for name in ranked}

    def percentiles(self) -> list[int]:
        """Percentiles 5, 50 and 95 of the width at the default height [px]; empty if no image is readable."""
        widths = self.survey.widths
        return np.percentile(widths, (5, 50, 95)).astype(int).tolist() if len(widths) else []

    def widths(self) -> str:
        """The percentiles in words, empty if there are none."""
        found, height = self.percentiles(), self.survey.training.data.height
        return f"{found[1]} px at {height} px of height (5 % below {found[0]}, 5 % above {found[2]})" if found else ""

    def to_json(self) -> dict[str, Any]:
        """All of it, for programs: the same source gives the same, with every example."""
        return {
            "sound": self.sound,
            "reasons": self.reasons,
            "level": self.survey.samples.level,
            "normalisation": NORMALISATION,
            "facts": dict(sorted(self.survey.samples.facts.items())),
            "splits": self.splits(),
            f"widths_at_{self.survey.training.data.height}": self.percentiles(),
            "characters": self.characters(),
            "findings": [
                {
                    "kind": finding.kind,
                    "severity": finding.severity,
                    "title": finding.title,
                    "advice": finding.advice,
                    "count": len(finding.examples),
                    "examples": [
                        {"ids": [self.survey.ids[row] for row in example.rows], "remark": example.remark}
                        for example in finding.examples
                    ],
                }
                for finding in self.findings
            ],
        }


def check(
    samples: Samples,
    threads: int = 0,
    progress: Progress | None = None,
    unlabelled: bool = False,
    training: Training | None = None,
) -> Report:
    """Reads every image and text and asks every check.

    Args:
        samples: what a reader returns.
        threads: at work; 0 = one per CPU.
        progress: called with the rows done and of all.
        unlabelled: whether the data is meant for pretraining only, so that no text is missed.
        training: what will be done with the data; None = the recipe.
    """
    modules = {name: plugins.load(CHECKS, name) for name in plugins.names(CHECKS)}
    measures = {name: module.measure for name, module in modules.items() if hasattr(module, "measure")}
    read = survey(samples, measures, threads, progress, unlabelled, training)
    findings = [finding for module in modules.values() for finding in module.find(read)]
    return Report(read, sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity)))


def titled(finding: Finding) -> str:
    """The finding's title with the number of its examples, if it has any."""
    return f"{finding.title}: {len(finding.examples):,}" if finding.examples else finding.title


def visible(text: str) -> str:
    """Text whose combining marks stand on a dotted circle and whose unprintable characters are shown by number."""
    shown = []
    for place, sign in enumerate(text):
        if unicodedata.combining(sign) and not place:
            shown.append(f"\u25cc{sign}")
        else:
            shown.append(sign if sign.isprintable() else f"<U+{ord(sign):04X}>")
    return "".join(shown)
