"""Characters that look like others: Cyrillic or Greek letters among Latin ones, several forms of one sign."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator

from htr_ssl.check.alike import FAMILIES, LIGATURES, SCRIPTS, script, twin
from htr_ssl.check.finding import Example, Finding, code
from htr_ssl.check.survey import Survey

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
    total: Counter[str] = Counter()
    for sign, count in survey.alphabet.items():
        total[script(sign)] += count
    usual = max(SCRIPTS, key=lambda name: total[name])
    others = [sign for sign in survey.alphabet if script(sign) in SCRIPTS and script(sign) != usual]
    foreign = {name for name in SCRIPTS if total[name] <= FOREIGN * sum(total[name] for name in SCRIPTS)} - {usual}
    where: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for row, text in survey.having(others):
        for word in _WORDS.findall(text):
            for letter, same in _out_of_place(word, usual, foreign):
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


def _out_of_place(word: str, usual: str, foreign: set[str]) -> list[tuple[str, str]]:
    """Letters of a word that only look like those of its script, and the letters that they look like."""
    scripts = Counter(name for letter in word if (name := script(letter)) in SCRIPTS)
    mixed = len(scripts) > 1
    if not mixed and not foreign & scripts.keys():
        return []
    main = max(scripts, key=lambda name: (scripts[name], name == usual)) if mixed else usual
    strange = dict.fromkeys(letter for letter in word if script(letter) in scripts.keys() - {main})
    twins = [(letter, same) for letter in strange if (same := twin(letter, main))]
    return twins if mixed or len(twins) == len(strange) else []  # a whole word in another script may be meant


def _signs(survey: Survey) -> Iterator[Finding]:
    """Families of which the texts hold more than one member, and ligatures."""
    total = survey.alphabet
    examples = []
    for family, members in FAMILIES.items():
        present = sorted((sign for sign in members if total[sign]), key=lambda sign: -total[sign])
        if len(present) > 1:
            rows = [row for row, _ in survey.having(present[1:])]
            listed = ", ".join(f"{code(sign)} ×{total[sign]}" for sign in present)
            examples.append(Example(tuple(rows[:_PLACES]), f"{family}: {listed}"))
    for ligature, letters in LIGATURES.items():
        if total[ligature]:
            rows = [row for row, _ in survey.having(ligature)]
            remark = f"ligatures: {code(ligature)} ×{total[ligature]} for {letters!r}"
            examples.append(Example(tuple(rows[:_PLACES]), remark))
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
