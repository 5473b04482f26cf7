"""One door to all readers: finds the format of a source and reads it."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from types import ModuleType

from htr_ssl import plugins
from htr_ssl.archives.listing import OTHERS, SUFFIXES
from htr_ssl.archives.members import Member, as_folder, left_out
from htr_ssl.data.hub import HUB, catalogue, fetched
from htr_ssl.data.page_images import page_count, stored_size
from htr_ssl.data.sample import Level
from htr_ssl.data.samples import Samples, split_of
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image, read_text
from htr_ssl.layout.xml import root_kind

READERS = "htr_ssl.data.readers"
LOOKED = 200
"""Images without text of which the size is looked at, to know pages from lines."""
PAGE, PAGE_RATIO = 600, 0.6
"""Least side [px] and least height in widths of an image that is taken for a page; half a spread has 0.7."""
_SUMMARY = "page,status,confidence,"
"""How the summary.csv of `transcribe` begins, which lies beside its ALTO and PAGE files."""
_TEXTS = re.compile(r"(readme|license|licence|copying|citation|changelog|requirements|dataset_infos?)\b", re.IGNORECASE)


def read(source: str | Path, format: str = "auto", level: Level = "line") -> Samples:
    """Samples of a file, a folder, a zip or tar file, or a data set of the Hugging Face Hub (``hf://OWNER/NAME``).

    Images are fetched when asked for; what was left out is in ``.problems``.

    Raises:
        UserError: no such path or format, or nothing in it that a reader knows.
    """
    if str(source).startswith(HUB):
        source = fetched(str(source))
    root = _entered(as_folder(Path(source).expanduser()))
    reader = None if format == "auto" else plugins.load(READERS, format)
    if not root.exists():
        raise UserError(_missing(root))
    chosen = reader or _detect(root)
    samples: Samples = chosen.read(root, level)
    name = chosen.__name__.rpartition(".")[2]
    if reader is None and root.is_dir() and not hasattr(chosen, "FIRST"):
        samples.problems += unread(root, name)
    samples.problems += left_out(root) + ([] if getattr(chosen, "PAGED", False) else further_pages(samples))
    if reader is None and name == "images":
        samples.notes += _no_lines(samples)
    samples.notes += _one_split(samples)
    known = {**catalogue(root), "format": name}
    samples.facts, samples.root = {**known, **samples.facts}, root
    return samples


def unread(root: Path, name: str) -> list[str]:
    """A sentence for each file below a folder that seems to hold labels, but not in a form that a reader knows.

    Raises:
        UserError: only images could be read, and XML beside them is damaged: they may be whole pages, not lines.
    """
    found: list[str] = []
    stems: set[tuple[Path, str]] | None = None
    for path in files(root):
        suffix = path.suffix.lower()
        if suffix == ".xml" and name not in ("page_xml", "alto") and root_kind(path) == "damaged":
            if name == "images":
                raise UserError(
                    f"{path}: this is not whole XML, and without it the images may be whole pages; export it again, or "
                    "take the XML away to read the images as lines"
                )
            found.append(f"{path}: this is not whole XML, and it was not read; export it again")
        elif path.name.lower().endswith((*SUFFIXES, *OTHERS)):
            where = "an archive" if isinstance(path, Member) else "a folder"
            found.append(f"{path}: an archive within {where} is not read; give it by itself")
        elif suffix in (".csv", ".tsv", ".jsonl") and name not in ("table", "iam", "rimes", "cvl"):
            if read_text(path)[0].startswith(_SUMMARY):
                continue
            found.append(f"{path}: no image is named in its first row, and it was not read; see docs/bad-input.md")
        elif suffix in (".txt", ".json") and name == "images" and not _TEXTS.match(path.name):
            stems = stems or {(image.parent, image.stem) for image in files(root) if is_image(image)}
            if suffix == ".json" or (path.parent, path.stem) in stems or "\t" in read_text(path)[0][: 1 << 12]:
                form = "NAME.gt.txt" if suffix == ".txt" else "labels.json of docTR"
                found.append(f"{path}: it may hold labels, but it was not read; a form that is known is {form}")
    return found


def further_pages(samples: Samples) -> list[str]:
    """A sentence for each TIFF file of several pages, of which only the first is one of the samples."""
    found = []
    for path in samples.paths():
        try:
            count = page_count(path) if path.suffix.lower() in (".tif", ".tiff") else 1
        except UserError as error:
            found.append(str(error))
            continue
        if count > 1:
            found.append(
                f"{path}: it has {count} pages, of which only the first is read; save each as a file of its own"
            )
    return found


def _no_lines(samples: Samples) -> list[str]:
    """A note on images without text that are as large and high as pages.

    Raises:
        UserError: most of the images are.
    """
    paths = samples.paths()
    looked = paths[:: max(1, len(paths) // LOOKED)]
    large = [path for path in looked if _is_page(*stored_size(path))]
    if not large:
        return []
    count = f"{len(large)} of {len(looked)} images" if len(looked) < len(paths) else f"{len(large)} images"
    what = f"{large[0]}: {count} are as large and high as pages"
    if len(large) > len(looked) / 2:
        raise UserError(
            f"{what}, and there is no text or XML with lines; say what they are: the format scans finds their lines, "
            f"images takes each for one {samples.level} (--format, or data.format in a configuration)"
        )
    return [f"{what}, but each is read as one {samples.level}; take pages away, or have their lines found first"]


def _is_page(width: int, height: int) -> bool:
    return min(width, height) >= PAGE and height >= PAGE_RATIO * width


def _entered(root: Path) -> Path:
    """The only folder of an archive, unless it is called like a split, as one would unpack it and give that folder."""
    if isinstance(root, Member):
        tops = [path for path in root.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
        if len(tops) == 1 and tops[0].is_dir() and not split_of(tops[0].name):
            return tops[0]
    return root


def _one_split(samples: Samples) -> list[str]:
    """What is to be said if all samples are in one split that is not for training, for their folder is called so."""
    splits = set(samples.column("split")) if len(samples) else {None}
    if len(splits) != 1 or not splits <= {"validation", "test"} or not samples.column("id"):
        return []
    return [
        f"{samples.column('id')[0]}: every image is in split {splits.pop()!r}, as its folder or file is called; if it "
        "holds all the data, give that folder itself or call it otherwise"
    ]


def _detect(root: Path) -> ModuleType:
    """The one reader that knows the source; one marked FIRST comes before all others, FALLBACK after them."""
    modules = {name: plugins.load(READERS, name) for name in plugins.names(READERS)}
    ranks = {name: hasattr(module, "FALLBACK") - hasattr(module, "FIRST") for name, module in modules.items()}
    for rank in (-1, 0, 1):
        able = [name for name in modules if ranks[name] == rank]
        found = [name for name in able if modules[name].detect(root)]
        if len(found) > 1:
            raise UserError(
                f"{root}: it could be {' or '.join(found)}; say which: data import {found[0]}, or "
                f"--format {found[0]}, or data.format={found[0]} in a configuration"
            )
        if found:
            return modules[found[0]]
    raise UserError(f"{root}: no image or data file in it is known; formats are {', '.join(modules)}")


def _missing(root: Path) -> str:
    """Message for a path that does not exist, with the nearest one that does."""
    part = root
    while not part.parent.exists():
        part = part.parent
    near = difflib.get_close_matches(part.name, [path.name for path in part.parent.iterdir()], n=1, cutoff=0.6)
    hint = f"did you mean {part.parent / near[0]}?" if near else f"the nearest folder that exists is {part.parent}"
    return f"{root}: there is no such file or folder; {hint}"
