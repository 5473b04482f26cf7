"""Scores of one model on one split: result.json and predictions.csv."""

from __future__ import annotations

import csv
import io
import time
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from htr_ssl.config import DataConfig, Unit
from htr_ssl.data.hub import HUB
from htr_ssl.data.splits.splitting import carried, refuse_mixed
from htr_ssl.environment import hardware
from htr_ssl.errors import UserError
from htr_ssl.files import sha256, write_json, write_text
from htr_ssl.folders import begin_run
from htr_ssl.text import metrics
from htr_ssl.text.charset import listing, normalise
from htr_ssl.text.tokens import rule

if TYPE_CHECKING:
    import numpy as np

    from htr_ssl.data.loading import StripMaker
    from htr_ssl.data.samples import Samples
    from htr_ssl.recognizers import calibration
    from htr_ssl.recognizers.language import Language
    from htr_ssl.recognizers.reader import Reader

UNITS: tuple[Unit, ...] = ("writer", "page", "sample")
"""What can be resampled as a whole, the coarsest first."""
PREDICTIONS = "predictions.csv"
RESULT = "result.json"
JUDGED = 500
"""Most images of which the characters' confidence is compared with what is right."""
ENOUGH = 5
"""Fewest writers or pages that are resampled as a whole; of fewer a bootstrap says nothing."""
UNNAMED = 0.1
"""Share of samples without a writer or page from which on these are not resampled."""
_FIELDS = {"writer": "writer", "page": "page", "sample": "id"}
FEW = 10
"""Intervals and p-values of fewer units come with a warning."""
_FROM_MODEL = (
    *("method", "encoder", "init", "fraction", "seed", "pseudo_sha256"),
    *("select", "subset_by", "transductive", "copies"),
)
_CHUNK = 256  # strips held at once


class Prediction(NamedTuple):
    """One line of predictions.csv; page and writer are empty if unknown.

    The confidence, in [0, 1], is that of a line which `transcribe` reads: calibrated, if the model is.
    """

    id: str
    page: str
    writer: str
    written: str
    read: str
    confidence: float


def evaluate(
    model: Path,
    data: DataConfig | None = None,
    split: str = "test",
    out: Path | None = None,
    device: str = "auto",
    threads: int = 0,
    batch_size: int = 32,
    unit: Unit | None = None,
    lm: str | Path = "auto",
) -> dict[str, Any]:
    """Reads the labelled samples of a split and scores what was read.

    Args:
        model: model.safetensors of a fine-tuning.
        data: what to read; None = the data the model names in its header.
        split: train, validation, test, or all for data that nothing was trained on.
        out: folder for result.json and predictions.csv; None writes nothing.
        device: auto, cpu, cuda, …
        threads: CPU threads; 0 = those of PyTorch, without the cores that other programs keep busy.
        batch_size: images read at once.
        unit: what is resampled for the intervals; None chooses, see `grouping`.
        lm: language model: auto = the one in the model's file, if there is one; none; or a file of one, whose weights
            are chosen on the validation split of the data.

    Returns:
        The content of result.json. Unreadable images are not scored but listed under ``unreadable``. With a language
        model, `language_model` says which, and `greedy` has the scores without.

    Raises:
        UserError: no such model or data, the model's own data is not here and no other is given, no labelled sample in
            the split, none of its images can be read, or the data carries another named split than the model.
    """
    from htr_ssl.data.loading import StripMaker, read_samples
    from htr_ssl.recognizers.reader import Reader

    reader = Reader.load(Path(model), device, threads, lm=lm)
    header = reader.header
    config = _chosen(data, header, model)
    samples = read_samples(config)
    refuse_mixed(samples.facts, header, (config.source, str(model)))
    rows = labelled_rows(samples, split, config.source)
    known = sum(map(bool, samples.column("text")))
    if len(rows) < known and config.source != (header.get("data") or {}).get("source"):
        warnings.warn(
            f"{config.source}: {len(rows)} of {known} images with a text are scored, those of its split {split}; "
            "split=all takes all",
            stacklevel=2,
        )
    if lm not in ("auto", "none") and split in ("train", "test"):
        reader.use(weighted(reader, config, samples))
    start = time.perf_counter()
    predictions, greedy, unreadable = _read(reader, StripMaker(samples, reader.formatted(config)), rows, batch_size)
    seconds = time.perf_counter() - start
    first = next(iter(unreadable.values()), "")
    if not predictions:
        raise UserError(f"{config.source}: none of the {len(rows)} images of {split} can be read ({first})")
    facts = {
        **{key: header.get(key) for key in _FROM_MODEL},
        "probe": header.get("probe", "none"),
        "data": config.source,
        **carried(samples.facts),
        "split": split,
        "level": config.level,
        **score(predictions, config.level, unit),
        "normalisation": rule(samples.facts),
        "unseen": dict(reader.charset.unseen(prediction.written for prediction in predictions)),
        "unreadable": list(unreadable),
        "subset_sha256": header.get("subset_sha256"),
        "subset_list": header.get("subset_list"),
        "model_sha256": sha256(Path(model).read_bytes()),
        **_without(reader, greedy, config.level, unit),
        "seconds": seconds,
        "hardware": hardware(str(reader.device)),
        "choices": reader.choices,
    }
    if facts["unseen"]:
        warnings.warn(f"{split}: the model cannot write {listing([*facts['unseen']][:20])}", stacklevel=2)
    if unreadable:
        warnings.warn(f"{split}: {len(unreadable)} image(s) not scored; {first}", stacklevel=2)
    if out is not None:
        begin_run(Path(out))
        write_predictions(Path(out) / PREDICTIONS, predictions)
        write_json(Path(out) / RESULT, facts)
    return facts


def weighted(reader: Reader, config: DataConfig, samples: Samples | None = None) -> Language:
    """The reader's language model with the weights that read the validation split best.

    Args:
        reader: with a language model.
        config: the data.
        samples: of `config`, if they are read already.
    """
    from htr_ssl.data.loading import read_samples
    from htr_ssl.recognizers import language

    assert reader.language is not None
    samples = samples if samples is not None else read_samples(config)
    strips, texts = _some_of(reader, config, samples, "validation", language.MOST)
    return language.tuned(reader.language, reader.scores(strips) if strips else [], texts, reader.charset)


def judged(reader: Reader, config: DataConfig, split: str, most: int = JUDGED) -> calibration.Judged:
    """Characters that are read in at most so many labelled images of a split, and whether they are right."""
    from htr_ssl.data.loading import read_samples
    from htr_ssl.recognizers import calibration

    return calibration.judge(reader, *_some_of(reader, config, read_samples(config), split, most))


def _some_of(
    reader: Reader, config: DataConfig, samples: Samples, split: str, most: int
) -> tuple[list[np.ndarray], list[str]]:
    """Strips and texts of at most so many labelled samples of a split, evenly spread; unreadable ones are left out."""
    from htr_ssl.data.loading import StripMaker

    pairs = enumerate(zip(samples.column("split"), samples.column("text"), strict=True))
    rows = [row for row, (name, text) in pairs if text and (name == split or split == "all")]
    rows = [rows[i * len(rows) // most] for i in range(most)] if len(rows) > most else rows
    kept, strips, _ = _strips(StripMaker(samples, reader.formatted(config)), rows)
    return strips, [samples.cell("text", row) or "" for row in kept]


def _without(reader: Reader, greedy: Sequence[Prediction], level: str, unit: Unit | None) -> dict[str, Any]:
    """What the language model is, and the scores without it."""
    if reader.language is None:
        return {}
    scores = score(greedy, level, unit)
    rates = [name for name in scores if name.removesuffix("_ci") in ("wacc", "1-wer", "cer", "wer")]
    return {"language_model": reader.language.facts, "greedy": {name: scores[name] for name in rates}}


def _chosen(data: DataConfig | None, header: Mapping[str, Any], model: Path) -> DataConfig:
    """The data that is given, else the model's own, which must be on this machine; that of `base` is not."""
    own = (header.get("data") or {}).get("source", "")
    if data is None or data.source == own:
        made = own == "synthetic" or own.startswith(HUB)
        if not own or not (made or Path(own).expanduser().exists()):
            raise UserError(
                f"{model}: the data that it was trained on ({own or 'unknown'}) is not here; name the data to score it "
                "on after the model: images of lines with their text, such as a folder with .gt.txt files, a PAGE or "
                "ALTO export or a Parquet file"
            )
    return data or DataConfig(**header["data"])


def labelled_rows(samples: Samples, split: str, source: str) -> list[int]:
    """Rows of a split that have a transcription.

    Raises:
        UserError: there is none; says what each split has.
    """
    names = ("train", "validation", "test")
    rows: dict[str | None, list[int]] = {name: [] for name in names}
    for row, (name, text) in enumerate(zip(samples.column("split"), samples.column("text"), strict=True)):
        if text:
            rows[name].append(row)
    rows["all"] = sorted(row for part in rows.values() for row in part)
    if not rows.get(split):
        have = ", ".join(f"{name} {len(rows[name])}" for name in names)
        raise UserError(f"{source}: there is no labelled sample in split {split!r}; labelled samples: {have}")
    return rows[split]


def score(predictions: Sequence[Prediction], level: str, unit: Unit | None = None) -> dict[str, Any]:
    """Scores with intervals, confusions, share of empty readings and hash of the samples, as in result.json."""
    written = [prediction.written for prediction in predictions]
    read = [prediction.read for prediction in predictions]
    groups, resampled = grouping(predictions, unit)
    scores = metrics.score(written, read, groups, "word" if level == "word" else "line", unit=resampled)
    return {
        **scores.to_dict(),
        **_complement(scores, level),
        **({"unit_named": count} if (count := named(predictions, resampled)) < len(predictions) else {}),
        "empty": sum(not normalise(text) for text in read) / len(read),
        "confusions": metrics.confusions(written, read),
        "samples_sha256": sha256("\n".join(sorted(f"{item.id}\t{item.written}" for item in predictions))),
    }


def _complement(scores: metrics.Scores, level: str) -> dict[str, Any]:
    """1 − WER on lines, where WAcc does not count inserted words."""
    low, high = scores.wer_ci
    return {} if level == "word" else {"1-wer": 1 - scores.wer, "1-wer_ci": [1 - high, 1 - low]}


def grouping(items: Sequence[Prediction], unit: Unit | None = None) -> tuple[list[str], Unit]:
    """What is resampled as a whole: the coarsest of writer, page and sample that is known and has enough members.

    Images of one hand are alike: an interval over images that stand for a hand is too narrow.

    Args:
        items: of one split.
        unit: another one than the coarsest.

    Returns:
        The unit of each item and what it is. A writer or page is known if less than `UNNAMED` of the items have none,
        which are units of their own then, and there are enough of them if there are `ENOUGH`: one clerk's archive is
        resampled by page. Writers that have a page each are called pages.

    Raises:
        UserError: `unit` is not known of the items, or there is only one.
    """
    names = {name: units_of(items, name) for name in UNITS}
    known = [name for name in UNITS if len(items) - named(items, name) < max(1, UNNAMED * len(items))]
    if unit is not None:
        if unit not in known or len(set(names[unit])) < 2:
            found = [f"{len(set(names[name]))} {name}s" for name in known]
            raise UserError(
                f"interval_unit: {unit} is not known of every sample, or all are of one; known are {', '.join(found)}"
            )
        return names[unit], unit
    pages, writers = names["page"], names["writer"]
    alike = len(set(zip(pages, writers, strict=True))) == len(set(pages)) == len(set(writers))
    for name in known:
        if len({getattr(item, _FIELDS[name]) for item in items} - {""}) >= ENOUGH:
            return (pages, "page") if name == "writer" and alike and "page" in known else (names[name], name)
    return names["sample"], "sample"


def units_of(items: Sequence[Prediction], unit: Unit) -> list[str]:
    """Unit of each item; one that is not known is a unit of its own."""
    return [getattr(item, _FIELDS[unit]) or f"\0{item.id}" for item in items]


def named(items: Sequence[Prediction], unit: Unit) -> int:
    """Number of items whose unit is known."""
    return sum(bool(getattr(item, _FIELDS[unit])) for item in items)


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Writes predictions as CSV (UTF-8, header line)."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(Prediction._fields)
    writer.writerows((*prediction[:-1], f"{prediction.confidence:.4f}") for prediction in predictions)
    write_text(path, buffer.getvalue())


def read_predictions(path: Path) -> list[Prediction]:
    """Inverse of `write_predictions` (confidences have four decimals).

    Raises:
        UserError: no such file, or not one of predictions.
    """
    try:
        with open(path, encoding="utf-8", newline="") as handle:
            rows = csv.DictReader(handle)
            texts = [[row[name] for name in Prediction._fields] for row in rows]
        return [Prediction(row[0], row[1], row[2], row[3], row[4], float(row[5])) for row in texts]
    except FileNotFoundError:
        raise UserError(f"{path}: there are no predictions; evaluate the model again") from None
    except (TypeError, KeyError, ValueError) as error:
        raise UserError(f"{path}: this is not a file of predictions ({error}); evaluate the model again") from None


def _read(
    reader: Reader, maker: StripMaker, rows: Sequence[int], batch_size: int
) -> tuple[list[Prediction], list[Prediction], dict[str, str]]:
    """Predictions of the readable samples, those without a language model if there is one, and messages by id."""
    predictions: list[Prediction] = []
    greedy: list[Prediction] = []
    unreadable: dict[str, str] = {}
    from htr_ssl.recognizers.aligned import described

    for start in range(0, len(rows), _CHUNK):
        kept, strips, wrong = _strips(maker, rows[start : start + _CHUNK])
        unreadable |= wrong
        read, scores = reader.read_scored(strips, batch_size)
        sure = [one.confidence for one in described(reader, read, scores)]
        texts = [text for text, _ in read]
        predictions += map(partial(_prediction, maker.samples), kept, texts, sure)
        if reader.language is not None:
            greedy += (
                _prediction(maker.samples, row, *path) for row, path in zip(kept, reader.paths(scores), strict=True)
            )
    return predictions, greedy, unreadable


def _prediction(samples: Samples, row: int, read: str, confidence: float) -> Prediction:
    name, page, writer, text = (samples.cell(column, row) or "" for column in ("id", "page", "writer", "text"))
    return Prediction(name, page, writer, text, read, confidence)


def _strips(maker: StripMaker, rows: Sequence[int]) -> tuple[list[int], list[np.ndarray], dict[str, str]]:
    """Rows whose image can be read, their strips, and messages on the others by id."""
    import torch

    made = list(zip(rows, maker.strips(rows, torch.get_num_threads()), strict=True))
    readable = [(row, strip) for row, strip in made if not isinstance(strip, str)]
    wrong = {str(maker.samples.cell("id", row)): reason for row, reason in made if isinstance(reason, str)}
    return [row for row, _ in readable], [strip for _, strip in readable], wrong
