"""What a person names (files, folders, globs of both) becomes a list of pages, each with its own output paths."""

from __future__ import annotations

import glob
import importlib
import os
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from htr_ssl.archives.members import Member, as_folder, left_out
from htr_ssl.data.page_images import is_pdf, page_count
from htr_ssl.errors import UserError
from htr_ssl.folders import files, is_image, natural
from htr_ssl.layout.ledger import HOME
from htr_ssl.layout.xml import FOLDERS, is_page_xml, read_xml, root_kind
from htr_ssl.pages import iiif
from htr_ssl.partners import pair

STAMP = ".htr-ssl.json"
"""File in an output folder that says what read the pages."""
_HEIF = (".heic", ".heif")
_MOST_SAME = 1000


@dataclass(slots=True)
class Job:
    """One page to transcribe.

    Attributes:
        source: its image, or its XML if the image is known only from there.
        root: the folder its outputs' names are relative to.
        xml: PAGE or ALTO file with its lines, or None.
        number: which page of the file, from 0.
        count: pages of the file.
        label: name of the IIIF manifest that the page comes from, or empty; then every page has an image of its own.
        address: of that image on the web, from where `source` is fetched, or empty.
    """

    source: Path
    root: Path
    xml: Path | None = None
    number: int = 0
    count: int = 1
    label: str = ""
    address: str = ""

    @property
    def frame(self) -> int:
        """Which image of `source` the page is, from 0."""
        return 0 if self.label else self.number

    def fetch(self) -> None:
        """Fetches the image of a page on the web, unless that was done.

        Raises:
            UserError: it cannot be fetched.
        """
        if self.address:
            iiif.fetch(self.address, self.source)

    @property
    def shown(self) -> Path:
        """The file, with the page's number from 1 if it has several: ``book.pdf#003``."""
        if self.label:
            return Path(self._numbered(self.label))
        return self.source if self.count == 1 else self.source.with_name(self._numbered(self.source.name))

    def _numbered(self, name: str) -> str:
        return name if self.count == 1 else f"{name}#{self.number + 1:0{max(3, len(str(self.count)))}d}"

    def name(self, level: int) -> Path:
        """Its outputs' name without extension: plain, with the source's suffix (1), with the root's name too (2)."""
        name = self.volume(level)
        return name.with_name(self._numbered(name.name))

    def volume(self, level: int) -> Path:
        """The same without the number of the page."""
        if self.label:
            return Path(self.label if level == 0 else f"{self.label}-iiif")
        name = self.source.relative_to(self.root)
        if level == 0:
            return name.with_name(name.stem)
        return Path(self.root.resolve().name, name) if level == 2 else name


@dataclass(slots=True)
class Inputs:
    """What was found.

    Attributes:
        jobs: pages to read.
        failed: files that cannot be read, and why.
        ignored: files among the pages that are none.
    """

    jobs: list[Job] = field(default_factory=list)
    failed: list[tuple[Path, str]] = field(default_factory=list)
    ignored: list[Path] = field(default_factory=list)


def find_pages(inputs: Sequence[str | Path], out: Path) -> Inputs:
    """Pages of files, folders, globs and IIIF manifests (what lies in `out` left out), each image and XML used once.

    Raises:
        UserError: an input does not exist, or there is no page at all.
    """
    images: dict[tuple[Path, int], Job] = {}
    sheets: dict[Path, Job] = {}
    result = Inputs()
    given = [Path(item) for item in inputs]
    strange = 0  # files that were named and are no pages: alone they are a mistake of the command, not bad pages
    for item in filter(iiif.is_manifest, inputs):
        try:
            for job in _canvases(item, out):
                images.setdefault((job.source.resolve(), job.number), job)
        except UserError as error:
            result.failed.append((Path(item), str(error)))
    for path, root in _found([item for item in inputs if not iiif.is_manifest(item)], out, result):
        if is_image(path) or is_pdf(path) or path.suffix.lower() in _HEIF:
            for job in _pages(path, root, result):
                images.setdefault((path.resolve(), job.number), job)
        elif path.suffix.lower() == ".xml" and is_page_xml(path):
            sheets.setdefault(path.resolve(), Job(path, root, xml=path))
        elif path in given:
            text = f"{path}: neither an image, a PDF nor a PAGE or ALTO file; leave it out"
            result.failed.append((path, text))
            strange += 1
        else:
            result.ignored.append(path)
    used: set[Path] = set()
    for job in images.values():
        job.xml = _xml_of(job.source) if job.count == 1 else None
        if job.xml is not None:
            used.add(job.xml.resolve())
    for place, sheet in sheets.items():
        if place in used:
            continue
        try:
            image = read_xml(sheet.source).image.resolve()
        except UserError:  # said again when the page's turn comes
            image = sheet.source.resolve()
        job = images.setdefault((image, 0), sheet)
        job.xml = job.xml or sheet.xml
    result.jobs = list(images.values())
    result.ignored = [path for path in result.ignored if path.resolve() not in used]
    if not result.jobs and len(result.failed) == strange:
        more = f" ({result.failed[0][1]})" if result.failed else ""
        raise UserError(
            f"{', '.join(map(str, inputs)) or 'inputs'}: there is no page{more}; give images, PDF, PAGE or ALTO files, "
            "IIIF manifests, or folders of them"
        )
    return result


def _pages(path: Path, root: Path, result: Inputs) -> list[Job]:
    """Every page of a file; what is wrong with it goes to the failures."""
    try:
        if path.suffix.lower() in _HEIF and not _knows_heif():
            raise UserError(f"{path}: HEIC files need one more library: pip install pillow-heif, or save it as JPEG")
        count = page_count(path)
    except UserError as error:
        result.failed.append((path, str(error)))
        return []
    return [Job(path, root, number=number, count=count) for number in range(count)]


def _canvases(item: str | Path, out: Path) -> list[Job]:
    """The pages of a IIIF manifest."""
    label, addresses = iiif.images_of(item)
    jobs = []
    for number, address in enumerate(addresses):
        source = iiif.place_of(address, item, out / HOME / "iiif")
        web = address if iiif.is_url(address) else ""
        count = max(len(addresses), 2)  # pages of a manifest always have numbers
        jobs.append(Job(source, source.parent, number=number, count=count, label=label, address=web))
    return jobs


@lru_cache(maxsize=1)
def _knows_heif() -> bool:
    """Whether Pillow reads HEIC, as it does once pillow-heif is installed."""
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        return False
    return True


def names_of(
    jobs: Sequence[Job], out: Path, owners: Callable[[Path], str | None], taken: Sequence[str] = ()
) -> list[Path]:
    """Name of each page's outputs in `out`, without extension, which it keeps as long as the folder lives.

    Names that clash on any file system keep the suffix, then the folder's name, then get a number. They do not depend
    on the order of the pages.

    Args:
        jobs: the pages.
        out: folder of the outputs.
        owners: what `source_of` says of the page that has a name already, or None.
        taken: names that no page may have.

    Raises:
        UserError: `out` is no folder, or outputs would lie among the pages, where they might overwrite something.
    """
    place = next((path for path in (out, *out.parents) if path.exists()), out)
    if place.exists() and not place.is_dir():
        raise UserError(f"{place}: this is a file, but the transcriptions need a folder; give another name for it")
    levels = [0] * len(jobs)
    for level in (1, 2):
        names = [_fold(job.name(own)) for job, own in zip(jobs, levels, strict=True)]
        counts = Counter(names)
        levels = [level if counts[name] > 1 else own for name, own in zip(names, levels, strict=True)]
    result = [Path()] * len(jobs)
    used = {_fold(Path(name)) for name in taken}
    used |= {_fold(job.volume(level)) for job, level in zip(jobs, levels, strict=True) if job.count > 1}
    order = sorted(range(len(jobs)), key=lambda i: source_of(jobs[i], out))
    kept = [i for i in order if _own_name(jobs[i], out, owners, used, result, i)]
    for i in (i for i in order if i not in set(kept)):
        name = plain = jobs[i].name(levels[i])
        number = 1
        while _fold(name) in used or owners(name) is not None:
            number += 1
            name = plain.with_name(f"{plain.name}-{number}")
        used.add(_fold(name))
        result[i] = name
    for job, name in zip(jobs, result, strict=True):
        folder = (out / name).parent.resolve()
        if any(path is not None and path.parent.resolve() == folder for path in (job.source, job.xml)):
            raise UserError(
                f"{out}: outputs would lie among the pages ({job.source}) and might overwrite files there; "
                f"choose a folder of its own, such as {out / 'transcriptions'}"
            )
    return result


def _own_name(
    job: Job, out: Path, owners: Callable[[Path], str | None], used: set[str], result: list[Path], place: int
) -> bool:
    """Gives a page the name that it has from an earlier command, if it has one."""
    source = source_of(job, out)
    for level in (0, 1, 2):
        plain = job.name(level)
        for number in range(1, _MOST_SAME):
            name = plain if number == 1 else plain.with_name(f"{plain.name}-{number}")
            owner = owners(name)
            if owner == source and _fold(name) not in used:
                used.add(_fold(name))
                result[place] = name
                return True
            if owner is None:
                break
    return False


def source_of(job: Job, out: Path) -> str:
    """Which page of which file a job reads: the file's path from `out`, and the page's number."""
    try:
        path = Path(os.path.relpath(job.source.resolve(), out.resolve())).as_posix()
    except ValueError:  # another drive
        path = job.source.resolve().as_posix()
    return f"{path}#{job.number}"


def _found(inputs: Sequence[str | Path], out: Path, result: Inputs) -> Iterator[tuple[Path, Path]]:
    """Files of the inputs, each with the folder its outputs' names are relative to; outputs of any run left out."""
    items: list[Path] = []
    for given in inputs:
        item = Path(given)
        several = [] if item.exists() else sorted(map(Path, glob.glob(str(given), recursive=True)), key=_by_name)
        if not item.exists() and not several:
            raise UserError(f"{item}: there is no such file or folder; check the path")
        items += several or [item]
    for item in items:
        try:
            item = as_folder(item)
        except UserError as error:
            result.failed.append((item, str(error)))
            continue
        result.failed += [(item, sentence) for sentence in left_out(item)]
        if item.is_file() or isinstance(item, Member):
            yield from ((path, item if path != item else item.parent) for path in files(item))
            continue
        outputs = {out.resolve(), *(stamp.parent.resolve() for stamp in item.rglob(STAMP))} - {item.resolve()}
        yield from ((path, item) for path in files(item) if outputs.isdisjoint(path.resolve().parents))


def _by_name(path: Path) -> tuple[tuple[int, str], ...]:
    return natural(str(path))


def _xml_of(image: Path) -> Path | None:
    """PAGE or ALTO file of an image, also a damaged one, so that the damage is reported."""
    stem = glob.escape(image.name.split(".", 1)[0])
    near = [path for path in image.parent.glob(f"{stem}*") if is_image(path)]
    for folder in (image.parent, *(image.parent / name for name in FOLDERS)):
        sheets = [
            path for path in folder.glob(f"{stem}*") if path.suffix.lower() == ".xml" and root_kind(path) != "other"
        ]
        own = pair(sheets, [folder / path.name for path in near], ".xml")[0].get(folder / image.name)
        if own is not None:
            return own
    return None


def _fold(name: Path) -> str:
    """The same for names that some file system takes for one: case and the two forms of accents do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(name)).casefold())
