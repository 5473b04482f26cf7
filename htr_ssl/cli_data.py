"""The commands ``htr-ssl data …``."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from htr_ssl.cli_show import note, pairs, say

data = typer.Typer(help="Make, check and look at data.", no_args_is_help=True, rich_markup_mode="markdown")


class Level(StrEnum):
    """What one image shows."""

    word = "word"
    line = "line"


Source = Annotated[Path, typer.Argument(metavar="DATA", help="Parquet file or folder of images.")]
LevelOption = Annotated[Level, typer.Option(help="What one image shows.")]
Format = Annotated[str, typer.Option(help="Reader of DATA; see `htr-ssl formats`.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


@data.command()
def synth(
    out: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="File to write.")],
    options: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Other options of the synthetic handwriting.")
    ] = None,
    level: LevelOption = Level.line,
    samples: Annotated[int, typer.Option(min=1, help="Number of images.")] = 2000,
    seed: Seed = 0,
) -> None:
    """Write synthetic handwriting with its text as one Parquet file.

    Example: `htr-ssl data synth words.parquet --level word --samples 5000 hands=50`
    """
    from htr_ssl.config_files import load_config
    from htr_ssl.data import synthetic

    config = load_config(None, [*(options or []), f"samples={samples}"], synthetic.Config)
    synthetic.write_parquet(synthetic.samples(config, level.value, seed), out)
    note(f"{out}: {samples} synthetic {level.value}s")


@data.command()
def check(source: Source, level: LevelOption = Level.line, format: Format = "auto") -> None:
    """Read all data once and list what is in it and what is wrong with it.

    Splits and counts, characters, unreadable images, texts too long for their image, duplicates, and pages, writers
    or images that are in two splits. Ends with code 1 if an image cannot be read.

    Example: `htr-ssl data check scans`
    """
    from htr_ssl.data import check as checks
    from htr_ssl.data.reading import read

    report = checks.check(read(source, format, level.value), progress=sys.stderr.isatty())
    pairs(str(source), report.rows())
    if report.unreadable:
        raise typer.Exit(1)


@data.command()
def show(
    source: Source,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write (PNG).")] = Path("sheet.png"),
    samples: Annotated[int, typer.Option(min=1, help="Number of images on the sheet.")] = 30,
    level: LevelOption = Level.line,
    format: Format = "auto",
    seed: Seed = 0,
) -> None:
    """Put random images with their text on one picture.

    Example: `htr-ssl data show words.parquet --out sheet.png`
    """
    from htr_ssl.data.reading import read
    from htr_ssl.data.sheet import sheet

    sheet(read(source, format, level.value), out, samples, seed)
    say(out)
