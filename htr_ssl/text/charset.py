"""Charset: ordered characters of a recognizer, index 0 = blank, and their direction; the rule that normalises texts.

Between texts and the classes of CTC there is only this way: labels are in the order of the image, from left to right,
texts in the order of reading (`text.direction`).
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, get_args

from htr_ssl.errors import UserError
from htr_ssl.text import direction as order
from htr_ssl.text.direction import Direction

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
        direction: in which lines are written.
    """

    characters: tuple[str, ...]
    direction: Direction = "ltr"

    def __post_init__(self) -> None:
        """Checks the characters.

        Raises:
            UserError: an entry is not one code point, or comes twice; or the direction is unknown.
        """
        if self.direction not in get_args(Direction):
            known = ", ".join(get_args(Direction))
            raise UserError(f"charset: the direction {self.direction!r} is unknown, this version knows {known}")
        for character, count in Counter(self.characters).items():
            if len(character) != 1:
                raise UserError(f"charset: {character!r} is not one character; give each code point on its own")
            if count > 1:
                raise UserError(f"charset: {character!r} is there {count} times; give each character once")

    @classmethod
    def build(cls, texts: Iterable[str], direction: Direction = "ltr") -> Charset:
        """Charset of all characters in the normalised `texts` as they look, in code-point order."""
        shown = (order.visual(normalise(text), direction) for text in texts)
        return cls(tuple(sorted({character for text in shown for character in text})), direction)

    def __len__(self) -> int:
        """Number of classes K, the blank included."""
        return len(self.characters) + 1

    @cached_property
    def _index(self) -> dict[str, int]:
        return {character: index for index, character in enumerate(self.characters, start=1)}

    def encode(self, text: str) -> list[int]:
        """Indices of the characters of `text`, which is normalised first, in the order of the image.

        Raises:
            UserError: a character is not in the charset; `keep` drops such characters, `unseen` reports them.
        """
        try:
            return [self._index[character] for character in self.visual(text)]
        except KeyError:
            raise UserError(
                f"{text!r} has characters outside the charset ({listing(self.unseen([text]))}); "
                "add a text with them to the training data, or drop them"
            ) from None

    def decode(self, indices: Iterable[int]) -> str:
        """Text of `indices` in the order of reading; blanks are left out, repeats are kept (collapse paths before)."""
        shown = "".join(self.characters[index - 1] for index in indices if index != BLANK)
        return order.logical(shown, self.direction)

    def visual(self, text: str) -> str:
        """The normalised `text` as it looks from left to right: one character for each index of its label."""
        return order.visual(normalise(text), self.direction)

    def visual_order(self, text: str) -> list[int]:
        """For each index of the label of `text` its character's place in the normalised text."""
        return order.visual_order(normalise(text), self.direction)

    def unseen(self, texts: Iterable[str]) -> Counter[str]:
        """How often each character that is not in the charset comes in the normalised `texts` as they look."""
        return Counter(character for text in texts for character in self.visual(text) if character not in self._index)

    def keep(self, text: str) -> str:
        """The normalised `text` without its unseen characters."""
        text = normalise(text)
        shown = zip(self.visual_order(text), self.visual(text), strict=True)
        known = sorted(place for place, character in shown if character in self._index)
        return normalise("".join(text[place] for place in known))

    def to_header(self) -> str:
        """One line of JSON for a model file's header."""
        return json.dumps(self.characters, ensure_ascii=True)

    @classmethod
    def of_model(cls, header: Mapping[str, Any]) -> Charset:
        """Charset of a model's whole header; models without a direction are left-to-right.

        Raises:
            UserError: see `from_header`.
        """
        return cls.from_header(header["charset"], header.get("direction", "ltr"))

    @classmethod
    def from_header(cls, header: str, direction: Direction = "ltr") -> Charset:
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
        return cls(tuple(characters), direction)


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
        The merged charset, in the direction of the data; for each of its indices the index in `old` whose weights it
        inherits, None for an added character (the blank keeps the blank); and one line that says what was kept, added
        and dropped.

    Raises:
        UserError: the characters differ and the policy is `fail`.
    """
    have = set(old.characters)
    added = [character for character in new.characters if character not in have]
    if policy == "union":
        merged, dropped = Charset(old.characters + tuple(added), new.direction), []
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
    report += f"{len(dropped)} dropped: {listing(dropped)}"
    if old.direction != new.direction:
        report += f"; direction {new.direction}, the model's was {old.direction}"
    return merged, mapping, report


def listing(characters: Sequence[str] | Counter[str]) -> str:
    """Characters for a message, e.g. ``'é' ×3 'œ'``; unprintable ones by their number, ``none`` if there are none."""
    counts = characters if isinstance(characters, Counter) else None
    shown = []
    for character in characters:
        code = f"U+{ord(character):04X}"
        name = repr(character) if character.isprintable() and not unicodedata.combining(character) else code
        shown.append(name + (f" ×{counts[character]}" if counts and counts[character] > 1 else ""))
    return " ".join(shown) or "none"
