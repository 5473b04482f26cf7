"""All of it once, on synthetic handwriting: pretrain, fine-tune, table, transcribed page, report; then a real page."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from htr_ssl.config import AugmentConfig, DataConfig, PluginConfig, Scope, Stage, TableConfig, TrainConfig
from htr_ssl.files import atomic_path, sha256, write_bytes, write_text
from htr_ssl.handwriting.phrases import WORDS
from htr_ssl.seeds import derive, rng

FORMATS = ["txt", "json", "alto", "overlay"]
REAL_FORMATS = ["txt", "page", "pdf", "overlay"]
METHODS: dict[str, Scope] = {"rotation": "encoder", "simclr": "backbone"}
LETTERS = frozenset("adeilmnorstu")
"""Few letters, short lines, good paper: with minutes of training instead of hours there should be something to see."""


def config(texts: Path, seed: int) -> TableConfig:
    """The quickstart's table: the recipe with what is smaller here; `texts` is the file with what is written."""
    synthetic = {"samples": 1500, "hands": 12, "text": str(texts), "order": 0, "damage": 0.3, "height": 32}
    pretraining = TrainConfig(steps=120, batch_size=32, lr=2e-3, check_every=60)
    stages = {m: [Stage(method=PluginConfig(name=m), scope=part, train=pretraining)] for m, part in METHODS.items()}
    return TableConfig(
        name="quickstart",
        data=DataConfig(height=24, seed=seed, synthetic=synthetic),
        rows={"supervised": [], **stages},
        seeds=[seed],
        report="test",
        matched=False,
        augment=AugmentConfig(slant=0.1, stretch=0.1, scale=0.06, shift=0.03, rotate=0.5, elastic=0.01, mask=0),
        train=TrainConfig(steps=400, batch_size=8, lr=3e-3, check_every=100),
    )


def lines(seed: int, count: int = 600, words: int = 2) -> list[str]:
    """Lines of common words made of a few letters."""
    known = sorted(word for word in set(WORDS) if len(word) > 1 and LETTERS.issuperset(word))
    random = rng(seed, "lines")
    return [" ".join(known[i] for i in random.integers(0, len(known), words)) for _ in range(count)]


def run(out: Path, seed: int = 0, protocol: Callable[[Path, int], TableConfig] = config) -> Path:
    """Runs what is not there yet and returns the report's file.

    Args:
        out: folder of everything it makes.
        seed: of everything random.
        protocol: makes the table's configuration of the text file and the seed.
    """
    out, start, console = Path(out), time.perf_counter(), Console(stderr=True)

    def say(step: int, text: str) -> None:
        console.print(f"\\[{step}/5] {text}", highlight=False)

    say(1, "synthetic handwriting → pretraining, fine-tuning at 5, 10 and 100 % of the labels, table")
    from htr_ssl.experiments import table as tables

    texts = lines(seed)
    write_text(out / "texts.txt", "\n".join(texts) + "\n")
    table = tables.run(protocol((out / "texts.txt").resolve(), seed), out / "table")
    say(2, "a synthetic page")
    page = _page(out / "pages" / "page.png", seed, texts)
    say(3, "lines found and read")
    # Chosen on the validation split: the test split only scores.
    from htr_ssl.model_file import read_header

    models = [cell.folder / "finetune" / "model.safetensors" for cell in table.cells if cell.result is not None]
    best = min(models, key=lambda path: float(read_header(path)["val_cer"]))
    from htr_ssl.pages.transcribe import transcribe
    from htr_ssl.recognizers.reader import Reader

    transcribe(Reader.load(best).read, [page], out / "transcription", FORMATS, reader=sha256(best.read_bytes()))
    say(4, "a real page, read by the recognizer that comes with the package")
    text = _real_page(out / "real")
    say(5, "report")
    report = _report(out, table, best, page, text)
    console.print(f"\n{text}\n", highlight=False, markup=False)
    console.print(f"{report}: done in {(time.perf_counter() - start) / 60:.1f} minutes; open it in a browser")
    return report


def _real_page(out: Path) -> str:
    """What the shipped recognizer reads on the shipped page, a soldier's will of 1916."""
    from htr_ssl.models import shelf
    from htr_ssl.pages.transcribe import transcribe
    from htr_ssl.recognizers.reader import Reader

    model = shelf.default()
    transcribe(Reader.load(model).read, [shelf.SAMPLE], out, REAL_FORMATS, reader=sha256(model.read_bytes()))
    return (out / f"{shelf.SAMPLE.stem}.txt").read_text(encoding="utf-8").strip()


def _page(path: Path, seed: int, texts: list[str]) -> Path:
    """A page by one of the train hands."""
    from PIL import Image

    from htr_ssl.handwriting.hand import Hand
    from htr_ssl.handwriting.page import page
    from htr_ssl.handwriting.paper import Paper

    hand = Hand.draw(seed, 0)
    paper = Paper.draw(rng(seed, "paper"), 0.3)
    image, _ = page(derive(seed, "page"), lines=8, width=900, hand=hand, paper=paper, texts=texts)
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")
    return path


def _report(out: Path, table: Any, model: Path, page: Path, real: str) -> Path:
    """Writes the report and its pictures."""
    from htr_ssl.config import PretrainConfig
    from htr_ssl.config.yaml_files import load_config
    from htr_ssl.data.loading import StripMaker, read_samples, rows_of
    from htr_ssl.experiments import pictures, report
    from htr_ssl.experiments.evaluate import PREDICTIONS, read_predictions
    from htr_ssl.look import views

    data = table.config.data
    samples = read_samples(data)
    maker, texts = StripMaker(samples, data), samples.column("text")
    shown = rows_of(samples, "train", labelled=True)[:240:16]
    sheet = pictures.sheet([maker.strip(row)[:, :, 0] for row in shown], [str(texts[row]) for row in shown])
    write_bytes(out / "pictures" / "lines.png", sheet)
    methods = []
    for name in METHODS:
        folder = out / "table" / "pretrain" / f"{name}_0"
        seen = views.sheet(load_config(folder / "config.yaml", [], PretrainConfig), count=4, run=folder)
        methods.append(report.picture(seen, f"{name}: the image and what the method makes of it"))
    cell = model.parent.parent
    predictions = read_predictions(cell / PREDICTIONS)
    by_id = {name: row for row, name in enumerate(samples.column("id"))}
    wrong = [p for p in predictions if p.read != p.written][:6]
    right = [p for p in predictions if p.read == p.written][:4]
    images = [maker.strip(by_id[p.id])[:, :, 0] for p in right + wrong]
    result = out / "transcription" / page.stem
    sections = [
        report.Section("What was done", [report.text(_INTRODUCTION)]),
        report.Section("The handwriting", [report.picture(sheet, "Lines of the train split with their text")]),
        report.Section("What the methods see", methods),
        report.Section("Table", [report.picture(pictures.curve(table), "Word accuracy"), report.table(table)]),
        report.predictions_section("Readings of the test split", images, right + wrong, f"By {_place(model, out)}."),
        report.Section(
            "A page",
            [
                report.picture(Path(f"{result}.overlay.jpg").read_bytes(), "Lines found, in reading order"),
                report.code(Path(f"{result}.txt").read_text(encoding="utf-8")),
            ],
        ),
        report.Section(
            "A real page, read by the shipped recognizer",
            [
                report.text(_REAL),
                report.picture((out / "real" / "page.overlay.jpg").read_bytes(), "Lines found, in reading order"),
                report.code(real),
            ],
        ),
        report.Section("With your own images", [report.text(_NEXT), report.code(_COMMANDS)]),
    ]
    path = out / "report.html"
    report.write(path, "htr-ssl quickstart", sections)
    return path


def _place(path: Path, out: Path) -> str:
    return path.relative_to(out.resolve() if path.is_absolute() else out).as_posix()


_INTRODUCTION = """
Lines of synthetic handwriting were made, an encoder was pretrained on their images alone with each of two methods, and
recognizers were fine-tuned on 5, 10 and 100 % of the transcriptions, with and without pretraining, under one protocol.

Everything is small so that it ends in minutes. The figures show how a result looks, not what a method is worth: for
that, train for hours, on real handwriting, with several seeds.
"""
_REAL = """
The will of a French soldier, 1916. The recognizer has never seen a line of this hand. The page is from
CREMMA-AN-TestamentDePoilus by Alix Chagué, Thibault Clérice, Anaïs Mazoue and Elsa Van Kote (Archives nationales,
CC BY 4.0), made smaller.
"""
_NEXT = """
Put line images into a folder, a transcription beside some of them (0001.png and 0001.gt.txt), and run:
"""
_COMMANDS = """htr-ssl data check lines
htr-ssl finetune data.source=lines init=base
htr-ssl transcribe runs/finetune/model.safetensors scans --out text --format txt,page,pdf"""
