"""IAM Handwriting Database 3.0: words or lines, from their own images or cut out of the forms.

Layout as distributed by <https://fki.tic.heia-fr.ch/databases/iam-handwriting-database>: `words.txt`, `lines.txt` and
`forms.txt` (in `ascii/` or at the top), `words/a01/a01-000u/a01-000u-00-00.png`, `lines/a01/a01-000u/a01-000u-00.png`,
`forms*/a01-000u.png`, `xml/a01-000u.xml`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from htr_ssl.data.readers._crops import CropSamples, Region, box
from htr_ssl.data.readers._parsed import parse
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image, read_text
from htr_ssl.layout.document import Line
from htr_ssl.text import tokens

LISTS = {"word": "words.txt", "line": "lines.txt"}
_BOX = {"word": 3, "line": 4}  # column at which x, y, width and height begin


@dataclass(slots=True)
class _Entry:
    """A word or line of the database; its outline lies on the form."""

    name: str
    text: str
    ok: bool
    outline: np.ndarray | None
    writer: str | None = None
    apart: bool = False


class IamSamples(Samples):
    """Regions of forms, or the images of the words or lines themselves where these are there."""

    def __init__(
        self,
        regions: list[Region],
        columns: dict[str, list[str | None]],
        level: Level,
        own: list[Path | None],
        lists: list[Path],
    ) -> None:
        super().__init__(columns, level)
        self._crops = CropSamples(regions, columns, level)
        self._own, self._lists = own, lists

    def image(self, index: int) -> Path | np.ndarray:
        """Path of the word's or line's image, or its region of the form."""
        return self._own[index] or self._crops.image(index)

    def outline(self, index: int) -> np.ndarray | None:
        """Of the region, None for images of their own."""
        return None if self._own[index] else self._crops.outline(index)

    def paths(self) -> list[Path]:
        """The images of words and lines, the forms of the others, and the files with their outlines."""
        pairs = zip(self._own, self._crops.regions, strict=True)
        return [*dict.fromkeys(own or region.page for own, region in pairs), *self._lists]


def detect(root: Path) -> bool:
    """Whether there is a `words.txt` or `lines.txt` in the form of IAM, or one of its XML files."""
    for path in files(root):
        if path.name in LISTS.values() and _is_list(path):
            return True
        if path.suffix.lower() == ".xml" and _is_form(path):
            return True
    return False


def read(root: Path, level: Level) -> Samples:
    """All words or lines, those whose segmentation is marked `err` too: the published splits of lines contain them.

    Ids are those of the database, the page is the form, the writer that of `forms.txt` or of the XML. No split is
    named; see `data.splits`. Entries marked `err` are `doubtful`, their number is a fact.

    Raises:
        UserError: there is no list and no XML of IAM, or no image at all.
    """
    problems: list[str] = []
    paths = list(files(root))
    entries = _entries(paths, level, problems)
    if not entries:
        reason = f" ({problems[0]})" if problems else ""
        raise UserError(
            f"{root}: there is no {LISTS[level]} and no XML of IAM in it{reason}; give the folder with ascii/"
        )
    writers = _writers(paths, problems)
    images = {path.stem: path for path in paths if is_image(path)}
    regions, own, kept = [], [], []
    for entry in entries.values():
        form = _form(entry.name)
        image, sheet = images.get(entry.name), images.get(form)
        if image is None and (sheet is None or entry.outline is None):
            problems.append(f"{entry.name}: there is neither its own image nor that of form {form}; it is left out")
            continue
        outline = entry.outline if entry.outline is not None else np.empty((0, 2))
        regions.append(Region(sheet or image or root, Line(entry.name, outline)))
        own.append(image)
        kept.append(entry)
    if not kept:
        raise UserError(f"{root}: there is no image of its {len(entries)} {level}s; put words/, lines/ or forms/ there")
    columns: dict[str, list[str | None]] = {
        "id": [entry.name for entry in kept],
        "text": [entry.text for entry in kept],
        "page": [_form(entry.name) for entry in kept],
        "writer": [entry.writer or writers.get(_form(entry.name)) for entry in kept],
    }
    outlines = [path for path in paths if path.name == LISTS[level] or path.suffix.lower() == ".xml"]
    samples = IamSamples(regions, columns, level, own, [] if all(own) else outlines)
    samples.problems += problems
    samples.doubtful = frozenset(entry.name for entry in kept if not entry.ok)
    samples.facts = {"source": "IAM Handwriting Database", "segmentation err": str(len(samples.doubtful))}
    if any(entry.apart for entry in kept):
        samples.facts[tokens.FACT] = tokens.APART
    return samples


def _form(name: str) -> str:
    """Form of a word or line: ``a01-000u`` of ``a01-000u-00-00``."""
    return "-".join(name.split("-")[:2])


def _entries(paths: list[Path], level: Level, problems: list[str]) -> dict[str, _Entry]:
    lists = [path for path in paths if path.name == LISTS[level] and _is_list(path)]
    found = _listed(lists[0], level, problems) if lists else _from_xml(paths, level, problems)
    entries: dict[str, _Entry] = {}
    for entry in found:
        if entry.name in entries:
            problems.append(f"{entry.name}: it is listed twice; the second is left out")
        else:
            entries[entry.name] = entry
    return entries


def _listed(path: Path, level: Level, problems: list[str]) -> Iterator[_Entry]:
    """Rows of words.txt (id ok gray x y w h tag text) or lines.txt (id ok gray parts x y w h text|with|bars)."""
    text, problem = read_text(path)
    problems += [problem] if problem else []
    first = _BOX[level]
    for number, row in enumerate(text.split("\n"), start=1):
        if not row.strip() or row.startswith("#"):
            continue
        cells = row.split(" ", 8)  # the text may hold spaces
        try:
            outline = _outline([float(cell) for cell in cells[first : first + 4]])
        except ValueError:
            outline = None
        if len(cells) < 9 or cells[1] not in ("ok", "err") or cells[0].count("-") != (3 if level == "word" else 2):
            problems.append(f"{path}:{number}: {row[:60]!r} is no row of {path.name}; it is left out")
            continue
        words = cells[8].replace("|", " ") if level == "line" else cells[8]
        yield _Entry(cells[0], words, cells[1] == "ok", outline, apart=level == "line")


def _from_xml(paths: list[Path], level: Level, problems: list[str]) -> Iterator[_Entry]:
    """Entries of the XML files: their boxes are those of the words' components."""
    for path in paths:
        if path.suffix.lower() != ".xml" or not _is_form(path):
            continue
        try:
            form = parse(path)
        except UserError as error:
            problems.append(str(error))
            continue
        for element in form.iter("line" if level == "line" else "word"):
            name, text = element.get("id") or "", element.get("text") or ""
            line = element if level == "line" else element.getparent()
            try:
                parts = [[float(part.get(key) or "nan") for key in ("x", "y", "width", "height")]
                         for part in element.iter("cmp")]  # fmt: skip
                outline = _outline_of(parts)
            except ValueError:
                outline = None
            if name:
                ok = line is None or line.get("segmentation") != "err"
                yield _Entry(name, text, ok, outline, form.get("writer-id"))


def _writers(paths: list[Path], problems: list[str]) -> dict[str, str]:
    """Writer of each form, from forms.txt: ``a01-000u 000 2 prt 7 5 52 36``."""
    writers: dict[str, str] = {}
    for path in paths:
        if path.name == "forms.txt":
            text, problem = read_text(path)
            problems += [problem] if problem else []
            rows = [row.split() for row in text.split("\n") if row.strip() and not row.startswith("#")]
            writers |= {row[0]: row[1] for row in rows if len(row) > 1}
    return writers


def _outline(values: list[float]) -> np.ndarray | None:
    """Outline of x, y, width, height; None for the boxes of -1 that entries without components have."""
    whole = len(values) == 4 and all(np.isfinite(values)) and min(values) >= 0 and min(values[2:]) > 0
    return box(*values) if whole else None


def _outline_of(parts: list[list[float]]) -> np.ndarray | None:
    """Outline around several boxes."""
    outlines = [outline for part in parts if (outline := _outline(part)) is not None]
    if not outlines:
        return None
    low, high = np.concatenate(outlines).min(0), np.concatenate(outlines).max(0)
    return box(low[0], low[1], high[0] - low[0], high[1] - low[1])


def _is_list(path: Path) -> bool:
    """Whether the first row that is no comment has nine cells with ok or err in the second."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            for _, row in zip(range(200), file, strict=False):
                if row.strip() and not row.startswith("#"):
                    cells = row.split(" ")
                    return len(cells) >= 9 and cells[1] in ("ok", "err")
    except OSError:
        return False
    return False


def _is_form(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b"<form " in file.read(4096)
    except OSError:
        return False
