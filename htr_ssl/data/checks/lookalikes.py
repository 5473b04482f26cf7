"""Characters that look like others: Cyrillic or Greek letters among Latin ones, several forms of one sign."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from htr_ssl.data.checks._alike import FAMILIES, SCRIPTS, script, twin
from htr_ssl.data.checks._finding import Example, Finding, code
from htr_ssl.data.checks._survey import Survey

FOREIGN = 0.01
"""Share of all letters up to which a script counts as not meant."""
_PLACES = 5
_WORDS = re.compile(r"\w+")


def find(survey: Survey) -> Iterator[Finding]:
    """Letters of another script that pass for those around them, and signs that stand for the same."""
    yield from _letters(survey)
    yield from _signs(survey)


def _letters(survey: Survey) -> Iterator[Finding]:
    """A letter is out of place in a word of another script, or anywhere if the data hardly has its script."""
    total = Counter(script(letter) for row in survey.labelled for letter in survey.texts[row] or "")
    letters = sum(total[name] for name in SCRIPTS)
    usual = max(SCRIPTS, key=lambda name: total[name])
    foreign = {name for name in SCRIPTS if name != usual and total[name] <= FOREIGN * letters}
    where: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row in survey.labelled:
        for word in _WORDS.findall(survey.texts[row] or ""):
            scripts = Counter(name for letter in word if (name := script(letter)) in SCRIPTS)
            if not scripts or (len(scripts) == 1 and not foreign & scripts.keys()):
                continue
            main = usual if len(scripts) == 1 else max(scripts, key=lambda name: (scripts[name], name == usual))
            twins = {letter: twin(letter, main) for letter in word if script(letter) in scripts.keys() - {main}}
            if len(scripts) > 1 or all(twins.values()):  # a whole word in another script may be meant
                for letter, same in twins.items():
                    if same:
                        where[letter, same].append(row)
    if where:
        ranked = sorted(where.items(), key=lambda item: (len(item[1]), item[0]))
        yield Finding(
            "lookalike_letters",
            "warning",
            "letters of another script that look like those around them",
            "To the recognizer they are different characters that look the same: every one is a likely error. "
            "Replace them by the letter that is meant.",
            [
                Example(tuple(dict.fromkeys(rows))[:_PLACES], f"{code(letter)} ×{len(rows)} for {code(same)}")
                for (letter, same), rows in ranked
            ],
            shown=20,
        )


def _signs(survey: Survey) -> Iterator[Finding]:
    """Families of which the texts hold more than one member."""
    total = Counter(character for row in survey.labelled for character in survey.texts[row] or "")
    examples = []
    for family, members in FAMILIES.items():
        present = sorted((sign for sign in members if total[sign]), key=lambda sign: -total[sign])
        if len(present) > 1:
            rare = set(present[1:])
            rows = [row for row in survey.labelled if rare & set(survey.texts[row] or "")]
            listed = ", ".join(f"{code(sign)} ×{total[sign]}" for sign in present)
            examples.append(Example(tuple(rows[:_PLACES]), f"{family}: {listed}"))
    if examples:
        yield Finding(
            "lookalike_signs",
            "warning",
            "several forms of one sign",
            "Nobody tells them apart in handwriting, so that the recognizer must guess. Choose one form for all texts, "
            "unless the transcribers did make a difference.",
            examples,
            shown=20,
        )
