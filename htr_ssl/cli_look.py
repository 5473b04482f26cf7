"""Commands to look at what is learnt: views."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from htr_ssl.cli_show import say


def views(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="Configuration of a pretrain.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="KEY=VALUE", help="Values that replace those of the file.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Picture to write (PNG).")] = Path("views.png"),
    run: Annotated[
        Path | None, typer.Option(help="Folder of a finished run: what its method paints is shown too.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Number of images.")] = 6,
    seed: Annotated[int, typer.Option(help="Seed of the choice and of the views.")] = 0,
) -> None:
    """Draw what a method sees: images, its views of them, and what a trained one paints.

    Nothing is trained. Images are of the validation split, else of the train split.

    Example: `htr-ssl views configs/pretrain.yaml data.source=lines method=simclr --out views.png`
    """
    from htr_ssl.config import PretrainConfig
    from htr_ssl.config_files import load_config

    loaded = load_config(config, overrides or [], PretrainConfig)
    from htr_ssl.experiments.views import sheet
    from htr_ssl.files import write_bytes

    write_bytes(out, sheet(loaded, samples, seed, run))
    say(out)
