"""RIMES as distributed for ICDAR 2011: word snippets with lists, and pages with an XML file of all lines.

Words: `groundtruth_training_icdar2011.txt`, `ground_truth_validation_icdar2011.txt` and
`grount_truth_test_icdar2011.txt` (so spelt) with `path text` in every row, images in `training_WR/`,
`testdataset_ICDAR/` (validation) and `data_test/`.
Lines: `training_2011.xml` and `eval_2011_annotated.xml` with the boxes of the lines on `images_gray/train2011-0.png`.
As read by <https://github.com/jpuigcerver/Laia/tree/master/egs/rimes> and
<https://github.com/FactoDeepLearning/VerticalAttentionOCR>.
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path

from htr_ssl.data.readers._crops import CropSamples, Region, box
from htr_ssl.data.readers._listed import Row, samples_of
from htr_ssl.data.readers._parsed import parse
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.folders import files, inside, is_image, read_text
from htr_ssl.layout.document import Line

_SPLITS = {"training": "train", "validation": "validation", "test": "test", "eval": "test"}


def detect(root: Path) -> bool:
    """Whether there is one of its lists or XML files."""
    return any(_is_list(path) or _is_xml(path) for path in files(root))


def read(root: Path, level: Level) -> Samples:
    """Words of the lists or lines of the XML files, with the splits of the distribution.

    The line set has no validation split: one is drawn from train unless `data.splits` names one. The page of a line is
    the letter. Texts of lines hold HTML entities, which are replaced.

    Raises:
        UserError: there is no list (words) or XML (lines) of RIMES in it, or none of its images.
    """
    problems: list[str] = []
    paths = list(files(root))
    if level == "word":
        lists = [path for path in paths if _is_list(path)]
        if not lists:
            raise UserError(
                f"{root}: there is no groundtruth_training_icdar2011.txt in it; for the XML give level=line"
            )
        return samples_of(root, _rows(root, lists, paths, problems), level, problems, "word list of RIMES")
    sheets = [path for path in paths if _is_xml(path)]
    if not sheets:
        raise UserError(f"{root}: there is no training_2011.xml in it; for the word lists give level=word")
    return _lines(root, sheets, paths, problems)


def _split(path: Path) -> str | None:
    return next((split for word, split in _SPLITS.items() if word in path.stem.lower()), None)


def _is_list(path: Path) -> bool:
    name = path.name.lower()
    return path.suffix == ".txt" and "icdar2011" in name and name.startswith("groun")


def _is_xml(path: Path) -> bool:
    if path.suffix.lower() != ".xml":
        return False
    try:
        with path.open("rb") as file:
            return b"<SinglePage" in file.read(4096)
    except OSError:
        return False


def _rows(root: Path, lists: list[Path], paths: list[Path], problems: list[str]) -> Iterator[Row]:
    """Rows `lot_1/train2011-0_000001.tiff Je`; a path is below one of the folders of the same split."""
    names: dict[str, list[Path]] = {}
    for path in paths:
        if is_image(path):
            names.setdefault(path.name, []).append(path)
    for path in lists:
        try:
            text, problem = read_text(path)
        except UserError as error:
            problems.append(str(error))
            continue
        problems += [problem] if problem else []
        for number, row in enumerate(text.split("\n"), start=1):
            name, _, label = row.strip().partition(" ")
            if not name:
                continue
            place = f"{path}:{number}"
            wanted = inside(root, name)
            if wanted is None or not label.strip():
                problems.append(f"{place}: {row[:60]!r} gives no image with a text; it is left out")
                continue
            tail = wanted.relative_to(root).as_posix()
            same = [image for image in names.get(wanted.name, []) if image.as_posix().endswith(f"/{tail}")]
            found = same or (names.get(wanted.name, []) if len(names.get(wanted.name, [])) == 1 else [])
            relative = tuple(image.relative_to(root).as_posix() for image in found[:1])
            yield Row(place, (root,), relative or (tail,), label, _split(path))


def _lines(root: Path, sheets: list[Path], paths: list[Path], problems: list[str]) -> CropSamples:
    images = {path.name: path for path in paths if is_image(path)}
    regions: list[Region] = []
    columns: dict[str, list[str | None]] = {name: [] for name in ("id", "text", "page", "split")}
    used: set[str] = set()
    for path in sheets:
        try:
            pages = parse(path)
        except UserError as error:
            problems.append(str(error))
            continue
        for page in pages.iter("SinglePage"):
            name = Path((page.get("FileName") or "").replace("\\", "/")).name
            image = images.get(name)
            if image is None:
                problems.append(f"{path}: there is no image {name!r}; its lines are left out")
                continue
            for number, line in enumerate(page.iter("Line")):
                place = f"{image.stem}-{number}"
                try:
                    left, top, right, bottom = (
                        abs(int(line.get(key) or "")) for key in ("Left", "Top", "Right", "Bottom")
                    )
                except ValueError:
                    left = top = right = bottom = 0
                if right <= left or bottom <= top or place in used or max(right, bottom) > 1 << 20:
                    problems.append(f"{path}: line {place} has no box; it is left out")
                    continue
                used.add(place)
                regions.append(Region(image, Line(place, box(left, top, right - left, bottom - top))))
                columns["id"].append(place)
                columns["text"].append(html.unescape(line.get("Value") or "").replace("\\n", " "))
                columns["page"].append(image.stem)
                columns["split"].append(_split(path))
    if not regions:
        reason = f" ({problems[0]})" if problems else ""
        raise UserError(f"{root}: there is no line with an image{reason}; put images_gray/ there")
    samples = CropSamples(regions, columns, "line")
    samples.problems += problems
    return samples
