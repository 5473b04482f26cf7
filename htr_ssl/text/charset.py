"""Charset: ordered characters of a recognizer, index 0 = blank; and the one rule by which texts are normalised."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Literal

from htr_ssl.errors import UserError

NORMALISATION = "NFC, single spaces"
"""Name of the text rule, printed with every score."""

BLANK = 0
"""Index of the CTC blank."""

Policy = Literal["union", "new", "fail"]


def normalise(text: str) -> str:
    """Text in Unicode NFC, every run of white space (no-break spaces too) one space, none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


@dataclass(frozen=True)
class Charset:
    """Characters (Unicode code points) in the order of their indices; the first has index 1, 0 is the blank.

    Attributes:
        characters: one code point each, none twice, the blank not among them.
    """

    characters: tuple[str, ...]

    def __post_init__(self) -> None:
        """Checks the characters.

        Raises:
            UserError: an entry is not one code point, or comes twice.
        """
        for character, count in Counter(self.characters).items():
            if len(character) != 1:
                raise UserError(f"charset: {character!r} is not one character; give each code point on its own")
            if count > 1:
                raise UserError(f"charset: {character!r} is there {count} times; give each character once")

    @classmethod
    def build(cls, texts: Iterable[str]) -> Charset:
        """Charset of all characters in the normalised `texts`, in code-point order."""
        return cls(tuple(sorted({character for text in texts for character in normalise(text)})))

    def __len__(self) -> int:
        """Number of classes K, the blank included."""
        return len(self.characters) + 1

    @cached_property
    def _index(self) -> dict[str, int]:
        return {character: index for index, character in enumerate(self.characters, start=1)}

    def encode(self, text: str) -> list[int]:
        """Indices of the characters of `text`, which is normalised first.

        Raises:
            UserError: a character is not in the charset; `keep` drops such characters, `unseen` reports them.
        """
        text = normalise(text)
        try:
            return [self._index[character] for character in text]
        except KeyError:
            raise UserError(
                f"{text!r} has characters outside the charset ({listing(self.unseen([text]))}); "
                "add a text with them to the training data, or drop them"
            ) from None

    def decode(self, indices: Iterable[int]) -> str:
        """Text of `indices`; blanks are left out, repeats are kept (collapse CTC paths before)."""
        return "".join(self.characters[index - 1] for index in indices if index != BLANK)

    def unseen(self, texts: Iterable[str]) -> Counter[str]:
        """How often each character that is not in the charset comes in the normalised `texts`."""
        return Counter(character for text in texts for character in normalise(text) if character not in self._index)

    def keep(self, text: str) -> str:
        """The normalised `text` without its unseen characters."""
        return normalise("".join(character for character in normalise(text) if character in self._index))

    def to_header(self) -> str:
        """One line of JSON for a model file's header."""
        return json.dumps(self.characters, ensure_ascii=True)

    @classmethod
    def from_header(cls, header: str) -> Charset:
        """Inverse of `to_header`.

        Raises:
            UserError: the header is no list of characters.
        """
        try:
            characters = json.loads(header)
        except json.JSONDecodeError:
            characters = None
        if not isinstance(characters, list) or not all(isinstance(character, str) for character in characters):
            raise UserError("charset in the model's header: expected a JSON list of characters; the file is damaged")
        return cls(tuple(characters))


def frames_needed(label: Sequence[int]) -> int:
    """Fewest frames in which CTC can emit `label`: one per character, one blank between two equal neighbours."""
    return len(label) + sum(left == right for left, right in pairwise(label))


def merge(old: Charset, new: Charset, policy: Policy) -> tuple[Charset, list[int | None], str]:
    """Charset for new data on top of an old model.

    Args:
        old: charset of the model.
        new: charset of the data.
        policy: `union` keeps the old characters and appends the missing ones, `new` takes those of the data only,
            `fail` accepts only the same characters.

    Returns:
        The merged charset; for each of its indices the index in `old` whose weights it inherits, None for an added
        character (the blank keeps the blank); and one line that says what was kept, added and dropped.

    Raises:
        UserError: the characters differ and the policy is `fail`.
    """
    have = set(old.characters)
    added = [character for character in new.characters if character not in have]
    if policy == "union":
        merged, dropped = Charset(old.characters + tuple(added)), []
    else:
        wanted = set(new.characters)
        merged, dropped = new, [character for character in old.characters if character not in wanted]
    if policy == "fail" and (added or dropped):
        raise UserError(
            f"the charsets differ: only in the data: {listing(added)}; only in the model: {listing(dropped)}; "
            "set charset to union or new"
        )
    old_index = {character: index for index, character in enumerate(old.characters, start=1)}
    mapping: list[int | None] = [BLANK, *(old_index.get(character) for character in merged.characters)]
    kept = sum(index is not None for index in mapping) - 1
    report = f"charset ({policy}): {kept} kept, {len(added)} added: {listing(added)}, "
    return merged, mapping, report + f"{len(dropped)} dropped: {listing(dropped)}"


def listing(characters: Sequence[str] | Counter[str]) -> str:
    """Characters for a message, e.g. ``'é' ×3 'œ'``; unprintable ones by their number, ``none`` if there are none."""
    counts = characters if isinstance(characters, Counter) else None
    shown = []
    for character in characters:
        code = f"U+{ord(character):04X}"
        name = repr(character) if character.isprintable() and not unicodedata.combining(character) else code
        shown.append(name + (f" ×{counts[character]}" if counts and counts[character] > 1 else ""))
    return " ".join(shown) or "none"
