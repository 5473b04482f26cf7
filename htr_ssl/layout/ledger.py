"""What a folder of transcriptions remembers of its files, so that nothing that somebody corrected is overwritten.

For every page ``.htr-ssl/pages/NAME.json`` holds the page as it was read, what it was read from and with, and the
SHA-256 of each file that was written. It is written before the files (``pending``) and after them, so that a program
killed between the two knows its own files again. A file that has another hash is the user's.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from htr_ssl.errors import UserError
from htr_ssl.files import sha256, write_bytes, write_text

HOME = ".htr-ssl"
"""Folder in a folder of transcriptions."""
Kept = list[tuple[Path, Path | None]]
"""Files that are the user's, each with the one that was written beside it, or None."""

_STORED = ("source", "key", "written", "files", "pending", "facts", "sources", "page")


@dataclass(slots=True)
class Entry:
    """One page, or one volume, of a folder of transcriptions.

    Attributes:
        path: its own file.
        out: the folder of transcriptions.
        source: which page of which file this is.
        key: what it was read from and with; another key asks for another reading.
        written: formats that hold the reading of `key`.
        files: path below `out` -> SHA-256 of what was written there, its format, and `page` as it was then, if it
            was read anew since.
        sources: name, size, time of change [ns] and SHA-256 of each file it was read from.
        page: content of the page as the format json has it, or None.
        facts: what the summary says of it.
    """

    path: Path
    out: Path
    source: str = ""
    key: str = ""
    written: list[str] = field(default_factory=list)
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    sources: list[list[Any]] = field(default_factory=list)
    page: str | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    pending: dict[str, dict[str, str]] = field(default_factory=dict)

    @classmethod
    def load(cls, out: Path, name: Path, kind: str = "pages") -> Entry:
        """The entry of a name; an empty one if there is none or it is damaged: then its files count as the user's."""
        path = out / HOME / kind / name.with_name(f"{name.name}.json")
        entry = cls(path, out)
        try:
            stored = json.loads(path.read_text(encoding="utf-8-sig"))
            for key in _STORED:
                setattr(entry, key, stored[key])
        except (OSError, ValueError, KeyError, TypeError):
            return cls(path, out)
        return entry

    def fingerprints(self, paths: Sequence[Path]) -> list[list[Any]]:
        """`sources` as they are now; files whose size and time are as before are not opened."""
        known = {tuple(source[:3]): source[3] for source in self.sources}
        found = []
        for path in paths:
            status = path.stat()
            facts = path.name, status.st_size, status.st_mtime_ns
            found.append([*facts, known.get(facts) or digest_of(path)])
        return found

    def is_current(self, key: str, sources: Sequence[Sequence[Any]]) -> bool:
        """Whether the page was read with this key from these files, none of which was written since."""
        if self.key != key or len(self.sources) != len(sources):
            return False
        pairs = zip(self.sources, sources, strict=True)
        return all(old[0] == new[0] and old[3] == new[3] and new[2] <= old[2] for old, new in pairs)

    def has(self, outputs: Mapping[str, Path]) -> bool:
        """Whether all formats were written and are there (format -> path)."""
        return all(name in self.written and path.is_file() for name, path in outputs.items())

    def edited(self) -> list[tuple[str, Path]]:
        """Format and path of the files that are no longer what was written, the oldest first."""
        found = []
        for relative, known in self.files.items():
            path = self.out / relative
            if path.is_file() and digest_of(path) not in self._own(relative):
                found.append((known["format"], path))
        return sorted(found, key=lambda pair: (pair[1].stat().st_mtime_ns, str(pair[1])))

    def renew(self, page: str) -> None:
        """Takes a new reading; files that somebody changed keep the one that they were written from."""
        for _, path in self.edited():
            self.files[self._relative(path)].setdefault("page", self.page or "")
        self.page = page

    def reading_of(self, path: Path) -> str:
        """Content of the page, as the format json has it, when a file was written."""
        return self.files.get(self._relative(path), {}).get("page") or self.page or ""

    def put(self, contents: Mapping[str, tuple[Path, bytes]], overwrite: bool = False) -> Kept:
        """Writes files and remembers them.

        Args:
            contents: format -> path and content.
            overwrite: also files that somebody changed.

        Returns:
            Files that were kept because they are the user's, each with the one that was written beside it (None if
            there is nothing new to say).
        """
        kept: Kept = []
        planned: list[tuple[str, Path, bytes]] = []
        digests: dict[str, str] = {}
        for name, (path, data) in contents.items():
            digests[name] = sha256(data)
            target: Path | None = path
            if path.exists() and not overwrite and not self._is_own(path, digests[name]):
                known = self.files.get(self._relative(path), {}).get("sha256")
                target = None if known == digests[name] else self._beside(path, digests[name])
                kept.append((path, target))
            if target is not None:
                planned.append((name, target, data))
        self.pending |= {self._relative(path): {"sha256": digests[name], "format": name} for name, path, _ in planned}
        self.save()
        for name, path, data in planned:
            if not path.is_file() or digest_of(path) != digests[name]:
                write_bytes(path, data)
        self.files |= self.pending
        self.pending = {}
        self.written = sorted({*self.written, *contents})
        self.save()
        return kept

    def save(self) -> None:
        """Writes the entry."""
        stored = {key: getattr(self, key) for key in _STORED}
        write_text(self.path, json.dumps(stored, ensure_ascii=True, indent=1) + "\n")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.out).as_posix()

    def _own(self, relative: str) -> set[str]:
        return {known[relative]["sha256"] for known in (self.files, self.pending) if relative in known}

    def _is_own(self, path: Path, digest: str) -> bool:
        """Whether a file is what this program wrote there, or would write."""
        if not path.is_file():
            raise UserError(f"{path}: this is a folder, but a transcription of this name is to be written; rename it")
        return digest_of(path) in {digest, *self._own(self._relative(path))}

    def _beside(self, path: Path, digest: str) -> Path:
        """Another name for a file, that no file of the user's has."""
        stem, dot, ending = path.name.partition(".") if path.name.count(".") == 1 else _split(path.name)
        number = 1
        while True:
            mark = "new" if number == 1 else f"new-{number}"
            other = path.with_name(f"{stem}.{mark}{dot}{ending}")
            if not other.exists() or self._is_own(other, digest):
                return other
            number += 1


def gone(
    out: Path, given: Sequence[Path], sources: Set[str], names: Sequence[Path], unreadable: Sequence[Path]
) -> list[Path]:
    """Names of pages that were transcribed from these folders or files and are not in them any more.

    Args:
        out: the folder of transcriptions.
        given: folders or files that the command was given.
        sources: `source` of every page that is there.
        names: of their outputs.
        unreadable: files that are there and whose pages are not known.
    """
    home, base = out / HOME / "pages", out.resolve()
    places, failed = [place.resolve() for place in given], {path.resolve() for path in unreadable}
    known = {name.as_posix() for name in names}
    found = []
    for path in sorted(home.rglob("*.json")):
        name = path.relative_to(home).with_suffix("")
        if name.as_posix() in known:
            continue
        source = Entry.load(out, name).source
        origin = Path(os.path.normpath(base / source.rpartition("#")[0]))
        inside = any(origin == place or place in origin.parents for place in places)
        if source and source not in sources and inside and origin not in failed:
            found.append(name)
    return found


def digest_of(path: Path) -> str:
    """SHA-256 of a file; empty if it cannot be read."""
    with contextlib.suppress(OSError):
        return sha256(path.read_bytes())
    return ""


def _split(name: str) -> tuple[str, str, str]:
    """Stem, dot and ending, where endings such as `alto.xml` are one."""
    stem, _, last = name.rpartition(".")
    inner, dot, middle = stem.rpartition(".")
    if dot and middle in ("alto", "page", "tei", "overlay"):
        return inner, ".", f"{middle}.{last}"
    return stem, ".", last
