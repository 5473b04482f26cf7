"""The commands ``htr-ssl lm …``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from htr_ssl.cli.show import note
from htr_ssl.errors import UserError

lm = typer.Typer(help="Language models of characters, for evaluate, transcribe and finetune.", no_args_is_help=True)


@lm.command()
def train(
    texts: Annotated[
        list[str],
        typer.Argument(metavar="TEXT…", help="Text files (.txt), or data sources, whose train labels are taken."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: .safetensors or .arpa.")],
    order: Annotated[int, typer.Option(help="Characters of the longest n-grams.")] = 7,
    size: Annotated[int, typer.Option(help="Most n-grams to keep; 0 = all.")] = 500_000,
) -> None:
    """Learn a language model from text: character n-grams with modified Kneser-Ney smoothing.

    Example: `htr-ssl lm train letters.txt lines.parquet --out french.safetensors`
    """
    if out.suffix not in (".safetensors", ".arpa"):
        raise UserError(f"{out}: the name must end with .safetensors or .arpa")
    from htr_ssl.text import arpa, direction, kneser_ney
    from htr_ssl.text.charset import normalise
    from htr_ssl.training.equip import texts_of

    lines = [line for source in texts for line in texts_of(source)]
    way = direction.of_text(lines) or "ltr"
    lines = [direction.visual(normalise(line), way) for line in lines]  # as they stand on the page
    model = kneser_ney.train(lines, order, size)
    if out.suffix == ".arpa":
        arpa.write(model, out)
    else:
        model.save(out, {"lines": len(lines), "direction": way})
    note(
        f"{out}: {len(model.symbol) - 1:,} n-grams of up to {model.order} characters from {len(lines):,} lines; "
        f"perplexity on them {model.perplexity(lines):.2f} per character"
    )


@lm.command()
def attach(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Recognizer: a name, or a file that finetune wrote.")],
    language_model: Annotated[Path, typer.Argument(metavar="LM", help="Language model: .safetensors or .arpa.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write: the recognizer with the language model.")],
    source: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="Other data than the model's own, to choose on."),
    ] = None,
) -> None:
    """Put a language model into a recognizer's file; validation images choose its two weights and the calibration.

    Example: `htr-ssl lm attach runs/finetune/model.safetensors french.safetensors --out with_lm.safetensors`
    """
    from htr_ssl.config import DataConfig
    from htr_ssl.experiments import evaluate
    from htr_ssl.models import shelf
    from htr_ssl.recognizers import calibration, language
    from htr_ssl.recognizers.reader import Reader

    path = shelf.find(model)
    reader = Reader.load(path, lm=language_model)
    assert reader.language is not None
    own = reader.header["data"]
    data = DataConfig(**own) if source is None else DataConfig(source=source, level=own["level"])
    made = evaluate.weighted(reader, data)
    language.store(path, made, out)
    chosen = made.facts.get("chosen_on", "no validation image: the usual weights")
    judged = evaluate.judged(Reader.load(out), data, "validation", language.MOST)
    if len(judged.right):
        calibration.store(out, calibration.fit(judged))
    note(f"{out}: weights {made.options.alpha:g} and {made.options.beta:g} ({chosen})")
