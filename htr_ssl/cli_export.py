"""The command that makes models for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from htr_ssl.cli_show import note


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL.safetensors", help="Model that finetune wrote.")],
    out: Annotated[Path, typer.Argument(metavar="OUT.onnx", help="File to write.")],
) -> None:
    """Write a model as ONNX, for programs without PyTorch; `transcribe` reads it too.

    Checks with onnxruntime that both read the same. Needs `pip install 'htr-ssl[onnx]'`.

    Example: `htr-ssl export runs/finetune/model.safetensors model.onnx`
    """
    from htr_ssl.recognizers import export as exporting

    check = exporting.export(model, out)
    note(
        f"{out}: same texts as {model} on {check.images} generated lines of {check.widths[0]} to {check.widths[1]} px, "
        f"logits differ by {check.difference:.1g} at most"
    )
