"""A recognizer as an ONNX file of free batch and width; needs the extra ``onnx``.

Inputs are `images` (N, C, H, W) float32 in [0, 1], 1 = white paper, and `widths` (N,) int64 [px]; outputs are `logits`
(T, N, K) and `lengths` (N,). The file alone is enough: its metadata hold the model's header.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from htr_ssl import ctc
from htr_ssl.charset import Charset
from htr_ssl.config import DataConfig
from htr_ssl.data import synthetic
from htr_ssl.data.batch import Images
from htr_ssl.data.loading import collate, prepare
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path
from htr_ssl.recognizers._onnx import INPUTS, KEY, OUTPUTS, OnnxNetwork, extra
from htr_ssl.recognizers.ctc import Recognizer
from htr_ssl.recognizers.probe import ProbeRecognizer
from htr_ssl.recognizers.reader import Network, load_recognizer

OPSET = 17
"""ONNX operator set; onnxruntime has known it since 1.12."""
TOLERANCE = 1e-3
"""Largest difference of a logit that an export may have."""
_AXES = {
    "images": {0: "batch", 3: "width"},
    "widths": {0: "batch"},
    "logits": {0: "frames", 1: "batch"},
    "lengths": {0: "batch"},
}


class Check(NamedTuple):
    """How an ONNX file compares with its model: images read with both, widths [px], largest difference of a logit."""

    images: int
    widths: tuple[int, int]
    difference: float


def export(model: Path, out: Path) -> Check:
    """Writes a recognizer as an ONNX file, once both have read the same on generated lines of several widths.

    Args:
        model: model.safetensors of a finetune run.
        out: the file, named .onnx.

    Raises:
        UserError: `out` has another ending, the extra is not installed, the model is not a recognizer, or the ONNX
            file reads differently; then there is no file.
    """
    if out.suffix != ".onnx":
        raise UserError(f"{out}: the name of an ONNX file must end with .onnx, or it is not known as one")
    onnx = extra("onnx")
    extra("onnxruntime")
    recognizer, header = load_recognizer(model)
    with atomic_path(out) as temporary:
        _write(recognizer, header, temporary)
        content = onnx.load(temporary)
        metadata = {KEY: header, "charset": list(Charset.from_header(header["charset"]).characters)}
        metadata |= {name: header[name] for name in ("height", "channels")}
        for key, value in metadata.items():
            content.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
        onnx.save(content, temporary)
        return compare(recognizer, OnnxNetwork(temporary), header, out)


def compare(recognizer: Network, other: Network, header: dict[str, Any], name: Path) -> Check:
    """Reads generated lines with both networks, each batch padded, and compares.

    Raises:
        UserError: a text differs, or a logit by more than `TOLERANCE`; starts with `name`.
    """
    charset = Charset.from_header(header["charset"])
    largest, widths = 0.0, []
    for images in _lines(header):
        with torch.inference_mode():
            wanted, lengths = recognizer(images.pixels, images.widths)
            found, found_lengths = other(images.pixels, images.widths)
        texts = [
            [charset.decode(indices) for indices, _ in ctc.greedy(*answer)]
            for answer in ((wanted, lengths), (found, found_lengths))
        ]
        largest = max(largest, float((wanted - found).abs().max()))
        widths += images.widths.tolist()
        if texts[0] != texts[1] or not largest <= TOLERANCE:
            raise UserError(
                f"{name}: not written, for onnxruntime reads it differently from torch (a logit by {largest:.2g}); "
                "other versions of torch and onnxruntime may help"
            )
    return Check(len(widths), (min(widths), max(widths)), largest)


def _lines(header: dict[str, Any]) -> Iterator[Images]:
    """Generated lines of 1 to 60 characters in the model's format, alone and in batches with padding."""
    data = DataConfig(height=header["height"], channels=header["channels"], max_width=header["max_width"])
    written = synthetic.samples(synthetic.Config(samples=12, characters=(1, 60)), "line", seed=0)
    strips = [prepare(written[i].load(), data) for i in range(12)]
    for part in (slice(0, 1), slice(1, 4), slice(4, 12)):
        yield collate(strips[part], range(len(strips[part]))).images()


def _write(recognizer: Recognizer | ProbeRecognizer, header: dict[str, Any], path: Path) -> None:
    """Writes the network alone.

    Through TorchScript: it exports every encoder in a second, the newer exporter takes ten and one more package.
    """
    images = torch.ones(2, header["channels"], header["height"], 64)
    names: dict[str, Any] = {"input_names": INPUTS, "output_names": OUTPUTS, "dynamic_axes": _AXES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of exporting to other sizes: the comparison shows that it does
        torch.onnx.export(
            recognizer, (images, torch.tensor([64, 40])), str(path), dynamo=False, opset_version=OPSET, **names
        )
