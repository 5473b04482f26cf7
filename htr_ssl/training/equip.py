"""A recognizer gets a language model, from labels, readings, texts and its start's, and a calibrated confidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from htr_ssl import model_file
from htr_ssl.config import DataConfig, FinetuneConfig, LanguageConfig
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.errors import UserError
from htr_ssl.recognizers import calibration, language
from htr_ssl.recognizers.reader import Reader
from htr_ssl.text import kneser_ney, mixture
from htr_ssl.text.beam import Options
from htr_ssl.text.charset import normalise
from htr_ssl.text.lm import LanguageModel

FEW = 30
"""Validation images that choose the weights of a language model or calibrate; fewer would do so by chance."""
MOST_TEXT = 1 << 30
"""Largest text file [bytes]."""


def texts_of(source: str | Path, data: DataConfig | None = None) -> list[str]:
    """Lines of a text file (.txt), or the train labels of a data source.

    If the source is that of `data`, its split is that of `data` too: no validation or test text is taken.

    Raises:
        UserError: it cannot be read, or has no text.
    """
    path = Path(source)
    if path.suffix.lower() == ".txt" and path.is_file():
        if path.stat().st_size > MOST_TEXT:
            raise UserError(f"{path}: it is larger than {MOST_TEXT >> 20} MiB; give a part of it")
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None
    else:
        if not path.exists():
            raise UserError(f"{path}: there is no such text file or data; check the path")
        same = data is not None and Path(data.source).resolve() == path.resolve()
        samples = read_samples(data if data is not None and same else DataConfig(source=str(source)))
        column = samples.column("text")
        lines = [column[row] or "" for row in rows_of(samples, "train", labelled=True)]
    if not any(line.strip() for line in lines):
        raise UserError(f"{path}: there is no text in it; give a text file or data with train labels")
    return lines


def build(
    config: LanguageConfig,
    labels: Sequence[str],
    validation: Sequence[str],
    start: LanguageModel | None,
    shown: Callable[[str], str] = normalise,
    read: Sequence[str] = (),
    data: DataConfig | None = None,
) -> tuple[LanguageModel, dict[str, Any]]:
    """Language model of labels, pseudo-labels, the texts of `config` and the model of the training's start; its facts.

    Each is a model of its own; they are mixed with the weights that predict the validation labels best. If these are
    fewer than `FEW`, every second label is kept out of the first model and predicted in their stead; where there is no
    label at all, every second pseudo-label. `shown` brings texts into the order of the image, in which the model reads.
    `read` are the pseudo-labels, `data` is what the training reads.
    """
    own, first = ("labels", labels) if labels else ("read", read)
    parts = {own: kneser_ney.train(map(shown, first), config.order, config.size)} if first else {}
    if config.text:
        texts = [shown(text) for source in config.text for text in texts_of(source, data)]
        parts["text"] = kneser_ney.train(texts, config.order, config.size)
    if read and own != "read":
        parts["read"] = kneser_ney.train(map(shown, read), config.order, config.size)
    if start is not None:
        parts["start"] = start
    if len(parts) == 1:
        (model,) = parts.values()
        return model, {"labels": len(labels), "read": len(read)} if read else {"labels": len(labels)}
    asked, judges = list(map(shown, validation)), list(parts.values())
    if len(asked) < FEW and len(first) > 1:
        asked = list(map(shown, first[1::2]))
        judges[0] = kneser_ney.train(map(shown, first[::2]), config.order, config.size)
    shares = mixture.weights(judges, asked)
    facts = {"labels": len(labels), "read": len(read), "text": config.text}
    facts |= {"mixture": {name: round(share, 4) for name, share in zip(parts, shares, strict=True)}}
    return mixture.mix(list(parts.values()), shares), facts


def equip(
    path: Path,
    config: FinetuneConfig,
    labels: Sequence[str],
    read: Sequence[str],
    validation: Strips | None,
    chosen: Sequence[int],
) -> None:
    """Gives a recognizer's file what is learnt after the network: a language model, if asked for, then a calibration.

    The language model's weights are chosen on validation images. Fewer than `FEW` of them choose none: those of the
    start's language model are kept, else the usual ones, and pseudo-labels draw them towards those that suit an
    archive's own readings.

    Args:
        path: the recognizer's file.
        config: of the training.
        labels: texts of the training's own subset.
        read: pseudo-labels of the training.
        validation: images and texts; None = there are none.
        chosen: places in `validation` of the images that may be asked.
    """
    if config.lm:
        _give_language(path, config, config.lm, labels, read, validation, chosen)
    if validation:
        calibrate(path, validation, chosen, config.train.device)


def _give_language(
    path: Path,
    config: FinetuneConfig,
    asked: LanguageConfig,
    labels: Sequence[str],
    read: Sequence[str],
    validation: Strips | None,
    chosen: Sequence[int],
) -> None:
    reader = Reader.load(path, config.train.device, lm="none")
    charset = reader.charset
    start, options = None, Options()
    if config.init:  # the language model of the start, if it has one, is a part of the new one
        header, state = model_file.read(Path(config.init))
        old = language.stored(config.init, header, state)
        if old is not None and old.facts.get("direction", "ltr") == charset.direction:
            start, options = old.model, old.options
    if start is None and not (labels or read or asked.text):
        return  # there is no text to learn it from
    known = validation.texts() if validation else []
    texts = [known[place] for place in chosen]
    model, facts = build(asked, labels, texts, start, charset.visual, read, config.data)
    if read:
        options = language.leaning(options, facts["mixture"]["read"] if "mixture" in facts else 1.0)
    facts["direction"] = charset.direction
    made = language.of(model, options, facts | {"chosen_on": f"none, {len(texts)} validation images are too few"})
    if validation and len(texts) >= FEW:
        rows = spread(chosen, language.MOST)
        scores = reader.scores([validation.strip(row) for row in rows])
        made = language.tuned(made, scores, [known[row] for row in rows], reader.charset)
    language.store(path, made, path)


def calibrate(path: Path, validation: Strips, chosen: Sequence[int], device: str) -> None:
    """Puts into a recognizer's file what makes its confidence the share that is right, told by validation images.

    Fewer than `FEW` tell nothing. `validation` and `chosen` are those of `equip`, `device` is where they are read.
    """
    if len(chosen) < FEW:
        return
    known, rows = validation.texts(), spread(chosen, language.MOST)
    reader = Reader.load(path, device)
    judged = calibration.judge(reader, [validation.strip(row) for row in rows], [known[row] for row in rows])
    calibration.store(path, calibration.fit(judged))


def spread(items: Sequence[int], most: int) -> list[int]:
    """At most so many of them, evenly spread."""
    places = np.unique(np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int)).tolist()
    return [items[place] for place in places]
