"""Damage to what a program reads, and the doors through which it reads: nothing but a `UserError` may come out."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SPLINTERS = (
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\r\n",
    b"\t",
    b'"',
    b"<",
    b"&x;",
    b"-1",
    b"NaN",
    b"1e999",
    b"99999999999",
    b"../../etc/passwd",
    b"C:\\a\\b.png",
    "é".encode("latin-1"),
    b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
    b"{",
    b"[" * 2000,
)
WORDS = re.compile(rb"[A-Za-z0-9_.]+")


def damage(data: bytes, random: np.random.Generator) -> bytes:
    """Truncated, emptied, with bytes flipped, a splinter put in, a piece repeated or taken out, two words exchanged."""
    kind = random.integers(8)
    place = int(random.integers(len(data) + 1))
    end = min(len(data), place + int(random.integers(1, 40)))
    if kind == 0:
        return data[:place]
    if kind == 1:
        return b""
    if kind == 2:
        flipped = bytearray(data)
        for _ in range(min(max(1, len(data) // 200), 20)):
            flipped[int(random.integers(len(data)))] = int(random.integers(256))
        return bytes(flipped)
    if kind == 3:
        return data[:place] + data[end:]
    if kind == 4:
        return data[:end] + data[place:end] * int(random.integers(1, 50)) + data[end:]
    if kind == 5:
        words = list(WORDS.finditer(data[: 1 << 14]))
        if len(words) > 1:
            one, two = sorted(random.choice(len(words), 2, replace=False).tolist())
            (a, b), (c, d) = words[one].span(), words[two].span()
            return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]
    splinter = SPLINTERS[int(random.integers(len(SPLINTERS)))]
    return data[:place] + splinter + data[place if kind == 6 else end :]


@dataclass
class Door:
    """A way into the program.

    Attributes:
        build: fills a folder with what is read.
        read: reads it; may raise a `UserError` and nothing else.
    """

    build: Callable[[Path], None]
    read: Callable[[Path], object]


def rounds(door: Door, folder: Path, count: int, first: int = 0) -> Iterator[int]:
    """Yields the number of each input, with the files in `folder` damaged; they are whole again afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    door.build(folder)
    whole = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    names = sorted(whole)
    for number in range(first, first + count):
        random = np.random.default_rng(number)
        victims = {names[int(random.integers(len(names)))] for _ in range(random.integers(1, 3))}
        for path in sorted(victims):
            path.write_bytes(damage(whole[path], random)) if random.random() < 0.95 else path.unlink()
        yield number
        for path in [path for path in folder.rglob("*") if path.is_file() and path not in whole]:
            path.unlink()
        for path in names:
            if path in victims or not path.exists() or path.stat().st_size != len(whole[path]):
                path.write_bytes(whole[path])


def _model(folder: Path) -> None:
    from random_models import random_model

    random_model(folder / "model.safetensors")


def _read_model(folder: Path) -> object:
    from htr_ssl.recognizers.reader import Reader

    return Reader.load(folder / "model.safetensors", "cpu").read([np.full((40, 90), 200, np.uint8)])


def _configs(folder: Path) -> None:
    from htr_ssl.config import FinetuneConfig, PretrainConfig, TableConfig
    from htr_ssl.config.yaml_files import dump_config

    for kind in (FinetuneConfig, PretrainConfig, TableConfig):
        (folder / f"{kind.__name__}.yaml").write_text(dump_config(kind()), encoding="utf-8")


def _read_configs(folder: Path) -> None:
    from htr_ssl.config import FinetuneConfig, PretrainConfig, TableConfig
    from htr_ssl.config.yaml_files import load_config
    from htr_ssl.errors import UserError

    wrong = None
    for kind in (FinetuneConfig, PretrainConfig, TableConfig):
        try:
            load_config(folder / f"{kind.__name__}.yaml", [], kind)
        except UserError as error:
            wrong = error
    if wrong is not None:
        raise wrong


def _run_folder(folder: Path) -> None:
    """What is left of a run that has ended, without its checkpoints."""
    from random_models import random_model

    from htr_ssl.config import FinetuneConfig
    from htr_ssl.config.yaml_files import dump_config
    from htr_ssl.data.splits import subsets
    from htr_ssl.experiments.evaluate import Prediction, write_predictions

    random_model(folder / "model.safetensors")
    (folder / "config.yaml").write_text(dump_config(FinetuneConfig()), encoding="utf-8")
    (folder / "summary.json").write_text('{"steps": 3}')
    (folder / "metrics.csv").write_text("step,loss\n1,2.5\n2,2.25\n")
    subsets.write(folder / "subset.txt", ["a", "b", "c"], 0.5, 0, "lines")
    write_predictions(folder / "predictions.csv", [Prediction("a", "p", "w", "deux", "doux", 0.5)] * 3)
    (folder / "pseudo.json").write_text('{"labels": [{"id": "a", "text": "b", "confidence": 1}], "sha256": "0"}')


def _read_run_folder(folder: Path) -> None:
    from htr_ssl import model_file
    from htr_ssl.config import FinetuneConfig
    from htr_ssl.config.yaml_files import load_config
    from htr_ssl.data.splits import subsets
    from htr_ssl.errors import UserError
    from htr_ssl.experiments.evaluate import read_predictions
    from htr_ssl.training import engine, pseudo

    wrong = None
    for read in (
        lambda: load_config(folder / "config.yaml", [], FinetuneConfig),
        lambda: engine.open_run(folder, FinetuneConfig()),
        lambda: model_file.read_header(folder / "model.safetensors"),
        lambda: subsets.read(folder / "subset.txt"),
        lambda: read_predictions(folder / "predictions.csv"),
        lambda: pseudo.read(folder / "pseudo.json"),
    ):
        try:
            read()
        except UserError as error:
            wrong = error
    if wrong is not None:
        raise wrong


def _pages(folder: Path) -> None:
    from htr_ssl.handwriting.page import page

    image, lines = page(0, lines=2, width=300, colour=False)
    points = [" ".join(f"{x:.0f},{y:.0f}" for x, y in line.polygon) for line in lines]
    parts = "".join(f'<TextLine id="l{i}"><Coords points="{text}"/></TextLine>' for i, text in enumerate(points))
    for name in ("a", "b"):
        Image.fromarray(image).save(folder / f"{name}.png")
    (folder / "a.xml").write_text(
        '<?xml version="1.0"?><PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">'
        f'<Page imageFilename="a.png" imageWidth="{image.shape[1]}" imageHeight="{image.shape[0]}">'
        f'<TextRegion id="r" orientation="0"><Coords points="0,0 299,0 299,99"/>{parts}</TextRegion></Page></PcGts>'
    )


def _transcribe(folder: Path) -> None:
    from htr_ssl.pages.transcribe import transcribe

    def read_lines(images: list[np.ndarray]) -> list[tuple[str, float]]:
        return [("mot", 0.5)] * len(images)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = transcribe(read_lines, [folder], folder.parent / "out", ["txt", "json", "alto"])
    for path, message in outcome.failed:
        assert not re.search(r": (?!UserError)\w*(Error|Exception)(:|$)", message), (path, message)


def _tables(folder: Path) -> None:
    for name in ("a", "b", "c d"):
        Image.fromarray(np.full((20, 60), 200, np.uint8)).save(folder / f"{name}.png")
    with open(folder / "labels.csv", "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle).writerows([["file_name", "text"], ["a.png", 'un, "deux"'], ["b.png", "é"], ["c d.png", "3"]])


def _import(folder: Path) -> None:
    from htr_ssl.data import importing
    from htr_ssl.data.reading import read

    importing.write(read(folder), folder.parent / "out.parquet", threads=1)


def _language(folder: Path) -> None:
    from htr_ssl.text import arpa, kneser_ney

    model = kneser_ney.train(["un mot", "deux mots"], 3)
    model.save(folder / "lm.safetensors")
    arpa.write(model, folder / "lm.arpa")


def _read_language(folder: Path) -> None:
    from htr_ssl.errors import UserError
    from htr_ssl.text import arpa, lm

    wrong = None
    for read, name in ((lm.load, "lm.safetensors"), (arpa.read, "lm.arpa")):
        try:
            read(folder / name)
        except UserError as error:
            wrong = error
    if wrong is not None:
        raise wrong


def layouts() -> dict[str, Door]:
    """The doors of all readers, see `miniatures`."""
    from miniatures import LAYOUTS

    from htr_ssl.data import importing
    from htr_ssl.data.reading import read

    def door(reader: str, level: str, build: Callable[[Path], object]) -> Door:
        def load(folder: Path) -> None:
            importing.write(read(folder, reader, level), folder.parent / "out.parquet", threads=1)

        return Door(lambda folder: build(folder) and None, load)

    return {name: door(*layout) for name, layout in LAYOUTS.items()}


DOORS = {
    "model": Door(_model, _read_model),
    "config": Door(_configs, _read_configs),
    "run": Door(_run_folder, _read_run_folder),
    "transcribe": Door(_pages, _transcribe),
    "table": Door(_tables, _import),
    "language": Door(_language, _read_language),
}
"""All doors but those of the readers."""
