"""Pseudo-labels: what a recognizer reads in train images without labels, where it is most confident.

Source: Lee 2013, "Pseudo-label", ICML workshop on challenges in representation learning; one round, as in Xie et al.
2019, "Self-training with noisy student", arXiv 1911.04252: the next training starts from where the first one started,
not from its weights, which agree with their own readings already, mistakes included. So its schedule and start are
those of the training without pseudo-labels, and what differs comes from them alone. A course of `learn`, which compares
nothing, goes on from these weights instead (`FinetuneConfig.continue_from`), because that reads better.

Differs from the papers: pseudo-labels are hard texts and count like labels. A share is kept, not all above a
threshold, because confidences of recognizers from few labels are not calibrated. With `parts` the images are read
twice, the second time with a language model of what was read the first time in the other images: an archive repeats its
names and phrases, and where one line was misread another was not.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from htr_ssl.config import DataConfig, FinetuneConfig, LanguageConfig, Pseudo
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.samples import Samples, SampleView
from htr_ssl.data.splits import subsets
from htr_ssl.errors import UserError
from htr_ssl.files import sha256, write_json
from htr_ssl.recognizers import language
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import kneser_ney, mixture
from htr_ssl.training import equip

FILE = "pseudo.json"
_CHUNK = 256  # strips held at once
_DECIMALS = 4  # of confidences: less does not depend on which images are read together
Reading = tuple[float, str, str]
"""Confidence with its sign changed, id of the image, text: in order the most confident come first."""


def make(model: Path, config: FinetuneConfig, choice: Pseudo, out: Path) -> Path:
    """Reads the train images the model had no labels of, and returns the file of the most confident readings.

    The texts of these images, if the data has some, are not looked at. Empty readings are never kept.

    Args:
        model: that was trained by `config`, with its subset.txt beside it.
        config: says where the images are and on which device they are read.
        choice: what share of the images is kept, of how many groups of similar width.
        out: folder of the file; if it is there already, it is returned.

    Raises:
        UserError: the model or the images cannot be read.
    """
    path = out / FILE
    if path.exists():
        return path
    samples = read_samples(config.data)
    ids = samples.column("id")
    known = set(subsets.read(model.with_name("subset.txt")))
    rows = [row for row in rows_of(samples, "train", labelled=False) if ids[row] not in known]
    rows = equip.spread(rows, choice.most or len(rows))
    found: list[Reading] = []
    widths: list[int] = []
    strips = readable(samples, rows, config.data)
    if strips is not None:
        reader = Reader.load(model, config.train.device, config.train.threads)
        readings = _read(reader, strips, range(len(strips)), config.train.batch_size)
        if choice.parts > 1 and reader.language is None:
            warnings.warn(f"{model}: it has no language model, so the images are read once; set lm", stacklevel=2)
        elif choice.parts > 1:
            readings = _again(reader, strips, readings, choice.parts, config)
        widths = list(strips.widths)
        names = strips.ids()
        found = [
            (-round(sure, _DECIMALS), name, text.strip()) for name, (text, sure) in zip(names, readings, strict=True)
        ]
    kept = sorted(item for group in _groups(found, widths, choice.width_groups) for item in _surest(group, choice.keep))
    if rows and not kept:
        warnings.warn(f"{model}: it reads nothing in {len(rows)} images, there are no pseudo-labels", stacklevel=2)
    facts = {"model_sha256": sha256(model.read_bytes()), **choice.model_dump(), "images": len(found)}
    return write(path, kept, facts)


def write(path: Path, kept: Sequence[Reading], facts: Mapping[str, Any]) -> Path:
    """Writes readings and what is known of them as a file that `read` verifies."""
    labels = [{"id": name, "text": text, "confidence": -sure} for sure, name, text in kept]
    mark = digest({name: text for _, name, text in kept})
    write_json(path, {**facts, "sha256": mark, "labels": labels})
    return path


def readable(samples: Samples, rows: Sequence[int], config: DataConfig) -> Strips | None:
    """The images in some rows; None if there are none, or none can be read, which a warning says."""
    try:
        return Strips(samples, rows, config) if rows else None
    except UserError as error:
        warnings.warn(str(error), stacklevel=2)
        return None


def _read(reader: Reader, strips: Strips, places: Sequence[int], batch_size: int) -> list[tuple[str, float]]:
    """Text and confidence of the images in some places."""
    found: list[tuple[str, float]] = []
    for start in range(0, len(places), _CHUNK):
        found += reader.read_strips([strips.strip(i) for i in places[start : start + _CHUNK]], batch_size)
    return found


def _again(
    reader: Reader, strips: Strips, readings: Sequence[tuple[str, float]], parts: int, config: FinetuneConfig
) -> list[tuple[str, float]]:
    """Readings of the same images with a language model that knows the readings of the other parts.

    An image's own reading is never in the model that it is read with: it would be found again, mistakes included.
    """
    own, plan, shown = reader.language, config.lm or LanguageConfig(), reader.charset.visual
    assert own is not None
    again = list(readings)
    texts = [shown(text) for text, _ in readings]
    for part in range(parts):
        mine = range(part, len(texts), parts)
        others = [text for place, text in enumerate(texts) if text and place % parts != part]
        asked = [texts[place] for place in mine if texts[place]]
        if not others or not asked:
            continue
        heard = kneser_ney.train(others, plan.order, plan.size)
        shares = mixture.weights([own.model, heard], asked)
        weights = language.leaning(own.options, shares[1])
        reader.use(language.of(mixture.mix([own.model, heard], shares), weights, own.facts))
        for place, reading in zip(mine, _read(reader, strips, mine, config.train.batch_size), strict=True):
            again[place] = reading
    reader.use(own)
    return again


def _groups(found: list[Reading], widths: list[int], count: int) -> list[list[Reading]]:
    """Readings parted by the widths of their images into groups of nearly the same size."""
    order = sorted(range(len(found)), key=lambda i: (widths[i], found[i]))
    bounds = [len(order) * i // count for i in range(count + 1)]
    return [[found[i] for i in order[start:stop]] for start, stop in pairwise(bounds)]


def _surest(group: list[Reading], keep: float) -> list[Reading]:
    """The most confident share of a group, without empty readings."""
    return sorted(reading for reading in group if reading[2])[: math.ceil(keep * len(group))]


def read(path: str | Path) -> dict[str, str]:
    """Texts of a file by id of their image, the most confident first.

    Raises:
        UserError: no such file, not one of pseudo-labels, or changed since it was written.
    """
    try:
        content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
        labels = {str(item["id"]): str(item["text"]) for item in content["labels"]}
        mark = content["sha256"]
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file of pseudo-labels; check the path") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: this is not a file of pseudo-labels; give the {FILE} of a table's stage") from error
    if digest(labels) != mark:
        raise UserError(f"{path}: its labels are not those of its sha256; restore the file or make it anew")
    return labels


def digest(labels: dict[str, str]) -> str:
    """SHA-256 of ids and texts, whatever their order."""
    return sha256(json.dumps(sorted(labels.items()), ensure_ascii=False))


def added(
    samples: SampleView, path: str | Path, labelled: Sequence[int], data: DataConfig
) -> tuple[SampleView, list[int]]:
    """The samples with pseudo-labels as their texts, and the rows of these.

    Args:
        samples: all of `data`.
        path: file of pseudo-labels.
        labelled: rows that have labels.

    Raises:
        UserError: see `read`; or an image is no train image, or has a label.
    """
    labels = read(path)
    ids = samples.column("id")
    rows = [row for row, name in enumerate(ids) if name in labels]
    train = set(rows_of(samples, "train", labelled=False)) - set(labelled)
    if len(rows) < len(labels) or not train.issuperset(rows):
        raise UserError(
            f"{path}: its images are not unlabelled train images of {data.source}; give that of this subset"
        )
    return samples.with_texts({row: labels[str(ids[row])] for row in rows}), rows
