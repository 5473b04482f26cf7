"""The command that makes models for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from htr_ssl.cli.show import note


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL.safetensors", help="Model that finetune wrote.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="File to write.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute with 8-bit integers: faster, and not quite the same texts.")
    ] = False,
    lines: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="Images like those to be read, to compare on; default: generated lines."),
    ] = None,
) -> None:
    """Write a model as ONNX, for programs without PyTorch; `transcribe` reads it too.

    Checks with onnxruntime that both read the same; with --int8 it says how nearly, best asked with --lines.

    Needs `pip install 'htr-ssl[onnx]'`.

    Example: `htr-ssl export runs/finetune/model.safetensors model.onnx`
    """
    from htr_ssl.recognizers import export as exporting

    check = exporting.export(model, out, int8, lines)
    same = f"{100 * (1 - check.changed):.4g} % of the characters as" if check.changed else "same texts as"
    kind = "generated lines" if lines is None else f"images of {lines}"
    note(
        f"{out}: {same} {model} on {check.images} {kind} of {check.widths[0]} to {check.widths[1]} px, "
        f"logits differ by {check.difference:.1g} at most"
    )
    if check.left:
        note(f"{out} reads without the language model that is in {model}: its texts have more mistakes", "yellow")
