"""Which file belongs to which: texts and XML beside images, and images that a list or an XML names.

A name is never cut at any dot: ``1858.gt.txt`` belongs to ``1858.png`` and not to ``1858.03.14.png``. Only endings that
programs are known to add (`MARKS`) are taken off, and only where nothing fits without that.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from htr_ssl.folders import IMAGE_SUFFIXES, exists, files, is_image

MARKS = (
    *(".nrm", ".bin", ".dew", ".desp", ".despec", ".deskew", ".crop", ".color", ".colour", ".rgb", ".gray", ".grey"),
    *(".raw", ".orig", ".img", ".alto", ".page", ".pagexml", ".gt", ".pred", ".ocr"),
)
"""Endings that stand before the suffix; of two images that differ by one, the earlier in this list is the likelier."""

_FOLDS: tuple[Callable[[str], str], ...] = (
    str,
    lambda name: normalize("NFC", name),
    lambda name: normalize("NFC", normalize("NFC", name).casefold()),
)
_DEPTH = 3  # marks in a row


def pair(labels: Iterable[Path], images: Iterable[Path], suffix: str) -> tuple[dict[Path, Path], list[str]]:
    """Image -> its label file in the same folder, each used once, and a sentence for what could belong to several.

    The same name comes first, then the same but for case and for how accents are written, then the same without one
    mark, and so on. What has found its partner is not looked at again.

    Args:
        labels: files whose names end in `suffix`.
        images: image files.
        suffix: of the label files, such as ``.gt.txt``; its case does not matter.
    """
    found: dict[Path, Path] = {}
    doubts: list[str] = []
    free_labels = {path: _shorter([path.name[: -len(suffix)]]) for path in labels}
    free_images = {path: _shorter([path.stem, path.name]) for path in images}
    for off in range(2 * _DEPTH + 1):
        for fold in _FOLDS:
            for of_label in range(max(0, off - _DEPTH), min(off, _DEPTH) + 1):
                claims = _keyed(free_images, off - of_label, fold)
                for key, own in _keyed(free_labels, of_label, fold).items():
                    rivals = [path for path in claims.get(key, ()) if path in free_images]
                    own = [path for path in own if path in free_labels]
                    if not rivals or not own:
                        continue
                    chosen = _likeliest(rivals) if len(own) == 1 else None
                    if chosen:
                        found[chosen] = own[0]
                        others = [path for path in rivals if path != chosen]
                        doubts += [f"{path}: {own[0].name} is that of {chosen.name}; it has no text" for path in others]
                    else:
                        texts, choice = (" and ".join(path.name for path in paths) for paths in (own, rivals))
                        doubts.append(f"{own[0]}: {texts} could be that of {choice}; it is left out, keep one of each")
                    for path in (*own, *rivals):
                        free_labels.pop(path, None)
                        free_images.pop(path, None)
    return found, doubts


class Images:
    """The images below a folder, to be found by names that programs on other machines have written."""

    def __init__(self, root: Path) -> None:
        """Files below `root`; nothing outside is ever found."""
        self.root = root if root.is_dir() else root.parent
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        self._known = False

    def find(self, folder: Path, name: str) -> list[Path]:
        """Images that `name` in a file of `folder` can mean, see `search`."""
        return self.search(folder, name)[0]

    def search(self, folder: Path, name: str) -> tuple[list[Path], bool]:
        """Images that `name` in a file of `folder` can mean, several if it is not clear; and whether it is surely this.

        Sure is a path that leads there; what only has the name may be another file's image. A path relative
        to the folder or to one above it, with slashes of either kind, ``..`` and ``%20``; else the image whose path
        ends most like it, whatever the case; else one with another suffix.
        """
        forms = list(_forms(name))
        places = [folder, *(above for above in folder.parents if above == self.root or self.root in above.parents)]
        for place in places:
            for form in forms:
                path = type(place)(os.path.normpath(place / form))
                if (path == self.root or self.root in path.parents) and exists(path):
                    return [path], True
        for names, cut in ((self._names(), str), (self._stems(), _stem)):
            for form in forms:
                parts = [_FOLDS[2](part) for part in PurePosixPath(form).parts if part not in ("..", "/")]
                if not parts:
                    continue
                same = names.get(_FOLDS[2](cut(parts[-1])), [])
                while same and len(parts) > 1:
                    closer = [path for path in same if _ends(path, parts)]
                    same, parts = (closer, []) if closer else (same, parts[1:])
                near = [path for path in same if path.parent == folder]
                if same:
                    return (near, True) if len(near) == 1 else (same, False)
        return [], False

    def _names(self) -> dict[str, list[Path]]:
        if not self._known:
            self._known = True
            for path in files(self.root):
                if is_image(path):
                    self._by_name.setdefault(_FOLDS[2](path.name), []).append(path)
                    self._by_stem.setdefault(_FOLDS[2](path.stem), []).append(path)
        return self._by_name

    def _stems(self) -> dict[str, list[Path]]:
        self._names()
        return self._by_stem


def partner(name: str, suffix: str, images: Sequence[Path]) -> tuple[Path | None, bool]:
    """Image that a label file of this name belongs to, and whether the names are the same but for the suffix.

    Args:
        name: of the label file.
        suffix: of the label file, such as ``.xml``.
        images: candidates.
    """
    stems = _shorter([name[: -len(suffix)]])
    for off in range(_DEPTH):
        for fold in _FOLDS:
            for of_label in range(off + 1):
                keys = {fold(stem) for stem in stems[of_label]}
                own = [i for i in images if keys & {fold(s) for s in _shorter([i.stem, i.name])[off - of_label]}]
                if own:
                    return (_likeliest(own) if len(own) > 1 else own[0]), off == 0
    return None, False


def _forms(name: str) -> Iterator[str]:
    """Relative paths with slashes that a name can mean."""
    name = name.strip()
    if not name or "\0" in name:
        return
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", name) or name.startswith("file:"):
        name = unquote(urlsplit(name).path)
    for text in dict.fromkeys((name, unquote(name))):
        for form in dict.fromkeys((PurePosixPath(text), PureWindowsPath(text))):
            relative = "/".join(part for part in form.parts if part != form.anchor)
            yield from dict.fromkeys(filter(None, (relative, normalize("NFC", relative), normalize("NFD", relative))))


def _stem(name: str) -> str:
    return PurePosixPath(name).stem


def _ends(path: Path, parts: list[str]) -> bool:
    """Whether a path ends in these folded parts, whatever the suffix."""
    own = [_FOLDS[2](part) for part in path.parts[-len(parts) :]]
    return own[:-1] == parts[:-1]


def _shorter(names: list[str]) -> list[set[str]]:
    """The names, then without one mark (or an image's suffix), without two, and so on."""
    result = [set(names)]
    for _ in range(_DEPTH):
        result.append({short for name in result[-1] if (short := _without_mark(name))})
    return result


def _without_mark(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    known = f"{dot}{ending}".lower()
    return stem if stem and (known in MARKS or known in IMAGE_SUFFIXES) else ""


def _keyed(
    paths: dict[Path, list[set[str]]], off: int, fold: Callable[[str], str]
) -> dict[tuple[Path, str], list[Path]]:
    found: dict[tuple[Path, str], list[Path]] = {}
    for path, names in paths.items():
        for key in {fold(name) for name in names[off]}:
            found.setdefault((path.parent, key), []).append(path)
    return found


def _likeliest(images: Sequence[Path]) -> Path | None:
    """The image whose mark comes first in `MARKS`; None if that is not one alone."""
    if len(images) == 1:
        return images[0]
    places = [_mark(path) for path in images]
    return images[places.index(min(places))] if places.count(min(places)) == 1 and len(MARKS) not in places else None


def _mark(path: Path) -> int:
    ending = Path(path.stem).suffix.lower()
    return MARKS.index(ending) if ending in MARKS else len(MARKS)
