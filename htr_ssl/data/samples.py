"""What every reader gives: lazy sequences of samples, text and split names in one form."""

from __future__ import annotations

import re
import unicodedata
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from htr_ssl.data.sample import Level, Sample
from htr_ssl.errors import UserError

COLUMNS = ("id", "text", "writer", "page", "split")

_UNUSUAL_SPACE = re.compile(r"[^\S \t\r\n]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev", "eval"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


class Samples(Sequence[Sample]):
    """Samples whose columns are in memory and whose images are fetched one at a time.

    Subclasses say where an image comes from (`image`). They can be pickled and forked for loader processes. Readers
    give texts as they stand in the files; every way out gives them clean (`clean_text`).

    Attributes:
        level: word or line.
        problems: one sentence for each file or row that was left out, naming it; whoever reads shows or counts them.
        notes: one sentence for each thing that was guessed or is worth knowing, though nothing was left out for it.
        facts: what the source says of itself for the reports, e.g. licence, language, name of its splits.
        doubtful: ids that the source marks as badly segmented; some published splits leave them out.
        root: file or folder they were read from, None if from neither.
    """

    def __init__(self, columns: dict[str, list[str | None]], level: Level) -> None:
        """Columns of equal length; `id` is required, the others of `COLUMNS` default to None."""
        self._ids = [_encodable(str(value)) for value in columns["id"]]
        self._columns = {name: columns.get(name) or [None] * len(self._ids) for name in COLUMNS[1:]}
        self.problems: list[str] = []
        texts = self._columns["text"] = self._whole(self._columns["text"])
        self._columns["text"] = [clean_text(text) for text in texts]
        self._written = {row: text for row, text in enumerate(texts) if text and is_unusual(text)}
        self.level = level
        self.notes: list[str] = []
        self.facts: dict[str, str] = {}
        self.doubtful: frozenset[str] = frozenset()
        self.root: Path | None = None

    def _whole(self, texts: list[str | None]) -> list[str | None]:
        """Texts without the labels that hold half of a surrogate pair, which no file can: each becomes a problem."""
        result = list(texts)
        for row, text in enumerate(texts):
            half = _SURROGATE.search(text) if text else None
            if half:
                result[row] = None
                self.problems.append(
                    f"{self._ids[row]}: half of a character (U+{ord(half[0]):04X}) is in its label, which is left out; "
                    "write the label again"
                )
        return result

    @abstractmethod
    def image(self, index: int) -> bytes | Path | np.ndarray:
        """Encoded bytes, path or decoded array of one image."""

    def outline(self, index: int) -> np.ndarray | None:
        """Where the outline is that one image was cut out along, uint8 (H, W), above 0 within; None if by none."""
        return None

    def column(self, name: str) -> list[str | None]:
        """One of `COLUMNS` as a list, without touching any image."""
        return list(self._ids) if name == "id" else list(self._columns[name])

    def cell(self, name: str, index: int) -> str | None:
        """One value of a column."""
        return self._ids[index] if name == "id" else self._columns[name][index]

    def as_written(self) -> dict[int, str]:
        """Row -> text as it stands in the file, for texts that `clean_text` changed by more than plain spaces."""
        return dict(self._written)

    def paths(self) -> list[Path]:
        """Image files that the samples name, and XML or lists with outlines; empty if all lies in the source itself."""
        return []

    def pieces(self) -> np.ndarray | None:
        """For each sample the number of the piece of its source that it is read with; None if each is read alone."""
        return None

    def __len__(self) -> int:
        return len(self._ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        name, text, writer, page, split = (self.cell(column, index) for column in COLUMNS)
        return Sample(str(name), self.image(index), text, self.level, split, writer, page)


class FileSamples(Samples):
    """Samples whose images are files; ids are their paths below the root, splits come from the first folder's name."""

    def __init__(
        self,
        root: Path,
        paths: list[Path],
        level: Level,
        texts: list[str | None] | None = None,
        **columns: list[str | None],
    ) -> None:
        """Image files below `root` (or `root` itself), their transcriptions and other `COLUMNS` that are known.

        Raises:
            UserError: `paths` is empty.
        """
        if not paths:
            raise UserError(f"{root}: there is no image in it; give a folder with JPEG, PNG, WebP or TIFF files")
        names = [path.relative_to(root) if path != root else Path(path.name) for path in paths]
        splits = [split_of(name.parts[0]) if len(name.parts) > 1 else None for name in names]
        ids: list[str | None] = [name.as_posix() for name in names]
        super().__init__({"id": ids, "text": texts or [], "split": splits, **columns}, level)
        self._paths = paths

    def image(self, index: int) -> Path:
        """Path of the image file."""
        return self._paths[index]

    def paths(self) -> list[Path]:
        """All of them."""
        return self._paths


class SampleView(Samples):
    """Samples of a source by their rows, all or some; splits and some texts are its own, all else is the source's."""

    def __init__(
        self,
        source: Samples,
        splits: Sequence[str | None],
        rows: Sequence[int] | None = None,
        level: Level | None = None,
        texts: Mapping[int, str] | None = None,
    ) -> None:
        """A view; nothing of the source is copied.

        Args:
            source: whose samples are seen.
            splits: split of each sample of the view.
            rows: of the source that are seen, in order; None = all.
            level: word or line; None = the source's.
            texts: place in the view -> text that stands for the source's.
        """
        super().__init__({"id": []}, level or source.level)
        self._source, self._splits, self._texts = source, list(splits), dict(texts or {})
        self._rows = range(len(source)) if rows is None else rows
        self.problems, self.notes = list(source.problems), list(source.notes)
        self.root, self.doubtful = source.root, source.doubtful
        self.facts = {key: value for key, value in source.facts.items() if rows is None or key != "rows"}

    def __len__(self) -> int:
        return len(self._rows)

    def column(self, name: str) -> list[str | None]:
        """One column as a list."""
        if name == "split":
            return list(self._splits)
        values = self._source.column(name)
        if self._rows != range(len(self._source)):
            values = [values[row] for row in self._rows]
        for place, text in self._texts.items() if name == "text" else ():
            values[place] = text
        return values

    def cell(self, name: str, index: int) -> str | None:
        """One value of a column."""
        if name == "split":
            return self._splits[index]
        own = name == "text" and index in self._texts
        return self._texts[index] if own else self._source.cell(name, self._rows[index])

    def with_texts(self, texts: Mapping[int, str]) -> SampleView:
        """The same samples, but some have these texts."""
        return SampleView(self, self._splits, texts=texts)

    def as_written(self) -> dict[int, str]:
        """Those of the source's samples that are seen."""
        written = self._source.as_written()
        return {place: written[row] for place, row in enumerate(self._rows) if row in written}

    def image(self, index: int) -> bytes | Path | np.ndarray:
        """Image of the source."""
        return self._source.image(self._rows[index])

    def outline(self, index: int) -> np.ndarray | None:
        """That of the source."""
        return self._source.outline(self._rows[index])

    def paths(self) -> list[Path]:
        """Those of the source."""
        return self._source.paths()

    def pieces(self) -> np.ndarray | None:
        """Those of the source's samples that are seen."""
        pieces = self._source.pieces()
        return None if pieces is None else pieces[self._rows]


def _encodable(name: str) -> str:
    """The name with bytes that are no UTF-8 written as backslash and number, so that every file can hold it."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def clean_text(text: str | None) -> str | None:
    """Transcription in Unicode NFC with single spaces, or None if nothing is left."""
    return " ".join(unicodedata.normalize("NFC", text).split()) or None if text else None


def is_unusual(text: str) -> bool:
    """Whether `clean_text` changes more than plain spaces and line ends: other spaces, or letters that it composes."""
    return _UNUSUAL_SPACE.search(text) is not None or not unicodedata.is_normalized("NFC", text)


def split_of(name: str) -> str | None:
    """train, validation or test for a split or folder name such as ``val``; None for any other word."""
    return _SPLITS.get(name.strip().lower())
