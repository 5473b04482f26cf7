"""Characters that look like others: letters of other scripts, and signs that nobody tells apart in handwriting."""

from __future__ import annotations

import unicodedata
from functools import cache

_CYRILLIC = dict(zip("АВЕЅІЈКМНОРСТУХԚԜҮаеѕіјорсухԛԝһӏк", "ABESIJKMHOPCTYXQWYaesijopcyxqwhlk", strict=True))
_GREEK = dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧαικνορυχϲ", "ABEZHIKMNOPTYXaikvopuxc", strict=True))
TWINS = {**_CYRILLIC, **_GREEK}
"""Cyrillic and Greek letters -> the Latin letter that looks the same."""
SCRIPTS = ("LATIN", "CYRILLIC", "GREEK")
"""Scripts whose letters look alike."""

FAMILIES = {
    "apostrophes": "'’‘ʼ‛′´`ʹ＇",
    "double quotes": '"“”„‟″＂',
    "hyphens": "-‐‑‒–−﹣－",
    "long dashes": "—―─",
    "full stops and dots": ".․．",
    "middle dots": "·•∙⋅‧・",
    "degree signs and raised o": "°º˚",
    "pairs of dots": ":：∶",
    "strokes": "|∣ǀ¦",
    "micro and mu": "µμ",
}
"""Signs of each kind, the usual one first."""


LIGATURES = {chr(number): unicodedata.normalize("NFKC", chr(number)) for number in range(0xFB00, 0xFB07)}
"""Printers' ligatures -> the letters that are meant."""


@cache
def script(character: str) -> str:
    """LATIN, CYRILLIC or GREEK for a letter of these scripts, the first word of its name for another, else empty."""
    if not character.isalpha():
        return ""
    return unicodedata.name(character, "").split(" ")[0].split("-")[0]


def twin(character: str, wanted: str) -> str | None:
    """The letter of the script `wanted` that looks the same, None if there is none."""
    own = script(character)
    if own == wanted:
        return None
    latin = character if own == "LATIN" else TWINS.get(character)
    if latin is None or wanted == "LATIN":
        return latin
    return next((letter for letter, same in TWINS.items() if same == latin and script(letter) == wanted), None)
