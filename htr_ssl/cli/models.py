"""The commands ``htr-ssl models …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from htr_ssl.cli.show import note, say, table
from htr_ssl.errors import UserError

models = typer.Typer(help="List models, fetch one by its name, describe your own.", no_args_is_help=True)


@models.command("list")
def list_() -> None:
    """List the models that come with the package, and those in your model folder.

    Example: `htr-ssl models list`
    """
    from htr_ssl.models import shelf

    rows = []
    for name, path, header, fault in shelf.entries():
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        if fault:
            rows.append((name, size, fault, str(path)))
            continue
        what = f"{header['kind']}, {header['encoder']['name']}, {header['height']} px"
        if "charset" in header:
            what += ", with language model" if header.get("language_model") else ", without language model"
        place = "comes with the package" if path.parent == shelf.SHIPPED else str(path)
        rows.append((name, size, what, place))
    if rows:
        table(("model", "size", "what", "where"), rows)
    note(f"your model folder: {shelf.folder()}")


@models.command()
def get(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="https address, hf:OWNER/NAME or doi:10.5281/zenodo.NUMBER.")
    ],
    name: Annotated[str, typer.Option(help="Name to keep it under. [default: that of the source]")] = "",
    sha256: Annotated[str, typer.Option(help="SHA-256 that the file must have.")] = "",
) -> None:
    """Fetch a model into your model folder: a safetensors file, of 1 GiB at most, compared with its checksum.

    Example: `htr-ssl models get hf:someone/htr-french --name french`
    """
    from htr_ssl.models import fetch

    path, digest, compared = fetch.get(source, name, sha256)
    note(f"{path}: sha256 {digest}, {'as it should be' if compared else 'not compared, for no checksum is known'}")
    say(path.stem)


@models.command()
def calibrate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Name of a model, or its file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: the model with its calibration.")],
    source: Annotated[
        str | None, typer.Option("--data", metavar="DATA", help="Other data than the model's own.")
    ] = None,
) -> None:
    """Make a model's confidence the share of characters that is right, told by its validation images.

    A fine-tuning does it by itself; this is for models without, or for other writing.

    Example: `htr-ssl models calibrate old.safetensors --data lines --out new.safetensors`
    """
    from htr_ssl.config import DataConfig
    from htr_ssl.experiments import evaluate
    from htr_ssl.models import shelf
    from htr_ssl.recognizers import calibration
    from htr_ssl.recognizers.reader import Reader

    path = shelf.find(model)
    reader = Reader.load(path)
    own = reader.header["data"]
    data = DataConfig(**own) if source is None else DataConfig(source=source, level=own["level"])
    judged = evaluate.judged(reader, data, "validation")
    if not len(judged.right):
        raise UserError(f"{data.source}: nothing is read in its labelled validation images; give others with --data")
    numbers = calibration.fit(judged)
    calibration.store(path, numbers, out)
    before, after = (calibration.reliability(judged, found).error for found in (None, numbers))
    note(f"{out}: confidence was off by {100 * before:.1f} points, is now by {100 * after:.1f} on validation")


@models.command()
def card(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Name of a model, or its file.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write, such as README.md.")] = None,
) -> None:
    """Show a model's card, or begin one to publish it (Hugging Face, HTRMoPo): known facts, and gaps to fill in.

    The scores come from result.json beside the model, which `evaluate --out` writes.

    Example: `htr-ssl models card runs/finetune/model.safetensors --out README.md`
    """
    from htr_ssl.files import write_text
    from htr_ssl.models import card as cards
    from htr_ssl.models import shelf

    text = cards.card(shelf.find(model))
    if out is None:
        say(text)
        return
    if out.exists():
        raise UserError(f"{out}: it is there already and may have been edited; give another name")
    write_text(out, text)
    note(f"{out}: fill in the lines with TODO")
