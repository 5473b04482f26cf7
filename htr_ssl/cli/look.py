"""Commands to look at what is learnt: views, neighbours."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from htr_ssl.bars import rows_bar
from htr_ssl.cli.arguments import Given, loaded
from htr_ssl.cli.data import Format, Level, LevelOption, Quiet, Source
from htr_ssl.cli.show import note, say, table


def views(
    config: Given = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write (PNG).")] = Path("views.png"),
    run: Annotated[
        Path | None, typer.Option(help="Folder of a finished run: what its method paints is shown too.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Number of images.")] = 6,
    seed: Annotated[int, typer.Option(help="Seed of the choice and of the views.")] = 0,
) -> None:
    """Draw what a method sees: images, its views of them, and what a trained one paints.

    Nothing is trained. Images are of the validation split, else of the train split.

    Example: `htr-ssl views data.source=lines method=simclr --out views.png`
    """
    from htr_ssl.config import PretrainConfig

    whole = loaded(config, PretrainConfig)
    from htr_ssl.files import write_bytes
    from htr_ssl.look.views import sheet

    write_bytes(out, sheet(whole, samples, seed, run))
    say(out)


def neighbours(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL.safetensors", help="Encoder or recognizer that pretrain or finetune wrote.")
    ],
    source: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write (PNG).")] = Path("neighbours.png"),
    level: LevelOption = Level.word,
    split: Annotated[
        str | None,
        typer.Option(help="train, validation, test, or all. [default: validation, else train]"),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Images whose neighbours are shown.")] = 8,
    k: Annotated[int, typer.Option("--k", min=1, help="Neighbours shown of each.")] = 5,
    images: Annotated[int, typer.Option(min=2, help="Most images compared; of more, some are drawn.")] = 5000,
    other_pages: Annotated[bool, typer.Option("--other-pages", help="Leave out images of the query's page.")] = False,
    format: Format = "auto",
    device: Annotated[str, typer.Option(help="What computes: auto, cpu, cuda, cuda:1 or mps (Apple).")] = "auto",
    seed: Annotated[int, typer.Option(help="Seed of the choices and of the random encoder.")] = 0,
    quiet: Quiet = False,
) -> None:
    """Show which word images an encoder finds alike; no label is needed and nothing is trained.

    If there are texts, also how often the same word is nearest (P@1) and the mean average precision (mAP), beside an
    encoder of the same architecture with random weights and beside raw pixels.

    Example: `htr-ssl neighbours runs/pretrain/encoder.safetensors words.parquet --other-pages --out neighbours.png`
    """
    from htr_ssl.files import write_bytes
    from htr_ssl.look import neighbours as looking
    from htr_ssl.model_file import read_header

    options = looking.Options(queries, k, images, split, other_pages, seed)
    data = looking.data_of(read_header(model), source, format, level.value)
    with rows_bar(quiet) as progress:
        found = looking.look(model, data, options, device, progress)
    write_bytes(out, found.picture)
    if found.scores:
        count = next(iter(found.scores.values())).queries
        rows = [
            (name, f"{100 * score.mean_precision:.1f} %", f"{100 * score.first:.1f} %")
            for name, score in found.scores.items()
        ]
        table((f"{count} queries, {found.images} images ({found.split})", "mAP", "P@1"), rows)
    else:
        note(f"{found.images} images ({found.split}), no word of them there twice with its text: nothing to score")
    say(out)
