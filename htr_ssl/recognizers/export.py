"""A recognizer as an ONNX file of free batch and width; needs the extra ``onnx``.

Inputs are `images` (N, C, H, W) float32 in [0, 1], 1 = white paper, and `widths` (N,) int64 [px]; outputs are `logits`
(T, N, K) and `lengths` (N,). The file alone is enough: its metadata hold the model's header. On request it computes
with 8-bit integers: faster on CPUs that have instructions for them, and not quite the same.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rapidfuzz.distance import Levenshtein

from htr_ssl import model_file
from htr_ssl.config import DataConfig
from htr_ssl.data import synthetic
from htr_ssl.data.batch import Images
from htr_ssl.data.loading import StripMaker, collate
from htr_ssl.data.reading import read
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.files import atomic_path
from htr_ssl.recognizers import language
from htr_ssl.recognizers._int8 import quantise
from htr_ssl.recognizers._onnx import INPUTS, KEY, OUTPUTS, OnnxNetwork, extra
from htr_ssl.recognizers.probe import ProbeRecognizer
from htr_ssl.recognizers.reader import Network, load_recognizer
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.text import ctc
from htr_ssl.text.charset import Charset

OPSET = 17
"""ONNX operator set; onnxruntime has known it since 1.12."""
TOLERANCE = 1e-3
"""Largest difference of a logit that an export may have."""
INT8_TOLERANCE = 0.25
"""Largest share of the characters that an export to 8 bits may read differently; a weak reader's change easily."""
_MEASURED = 64  # lines that the ranges of 8 bits come from, and as many others that the texts are compared on
_AXES = {
    "images": {0: "batch", 3: "width"},
    "widths": {0: "batch"},
    "logits": {0: "frames", 1: "batch"},
    "lengths": {0: "batch"},
}


class Check(NamedTuple):
    """How an ONNX file compares with its model on images read with both.

    Attributes:
        images: their number.
        widths: the smallest and the largest [px].
        difference: largest difference of a logit.
        changed: edits between the texts, as a share of the model's characters.
        left: whether the model reads with a language model, which the ONNX file does not have.
    """

    images: int
    widths: tuple[int, int]
    difference: float
    changed: float
    left: bool = False


def export(model: Path, out: Path, int8: bool = False, lines: str | None = None) -> Check:
    """Writes a recognizer as an ONNX file, once both have read the same lines of several widths.

    Args:
        model: model.safetensors of a finetune run.
        out: the file, named .onnx.
        int8: compute with 8-bit integers; then up to `INT8_TOLERANCE` of the characters may differ.
        lines: source of images like those to be read, for the ranges of 8 bits and the comparison; None = generated.

    Raises:
        UserError: `out` has another ending, the extra is not installed, the model is not a recognizer, the lines
            cannot be read, or the ONNX file reads differently; then there is no file.
    """
    if out.suffix != ".onnx":
        raise UserError(f"{out}: the name of an ONNX file must end with .onnx, or it is not known as one")
    onnx = extra("onnx")
    extra("onnxruntime")
    recognizer, header = load_recognizer(model)
    left = language.KEY in model_file.read_header(model)
    if left:
        header.pop(language.CALIBRATION, None)  # it holds for readings with the language model, which stays behind
    measured, compared = _images(header, lines)
    with atomic_path(out) as temporary:
        _write(recognizer, header, temporary)
        if int8:
            quantise(temporary, measured)
        content = onnx.load(temporary)
        charset = Charset.of_model(header)
        metadata = {KEY: header, "charset": list(charset.characters), "direction": charset.direction}
        metadata |= {name: header[name] for name in ("height", "channels")}
        for key, value in metadata.items():
            content.metadata_props.add(key=key, value=json.dumps(value, ensure_ascii=False))
        onnx.save(content, temporary)
        check = compare(recognizer, OnnxNetwork(temporary), compared, header)
        if check.changed > (INT8_TOLERANCE if int8 else 0) or not (int8 or check.difference <= TOLERANCE):
            way = "leave --int8 out" if int8 else "other versions of torch and onnxruntime may help"
            raise UserError(
                f"{out}: not written, for onnxruntime reads {100 * check.changed:.1f} % of the characters differently "
                f"from torch (a logit by {check.difference:.2g}); {way}"
            )
        return check._replace(left=left)


def compare(recognizer: Network, other: Network, batches: list[Images], header: dict[str, Any]) -> Check:
    """Reads the same padded batches with both networks."""
    charset = Charset.of_model(header)
    largest, edits, characters, widths = 0.0, 0, 0, []
    for images in batches:
        with torch.inference_mode():
            wanted, lengths = recognizer(images.pixels, images.widths)
            found, found_lengths = other(images.pixels, images.widths)
        texts = [
            [charset.decode(indices) for indices, _ in ctc.greedy(*answer)]
            for answer in ((wanted, lengths), (found, found_lengths))
        ]
        largest = max(largest, float((wanted - found).abs().max()))
        widths += images.widths.tolist()
        edits += sum(map(Levenshtein.distance, *texts))
        characters += sum(map(len, texts[0]))
    return Check(len(widths), (min(widths), max(widths)), largest, edits / max(characters, 1))


def _images(header: dict[str, Any], lines: str | None) -> tuple[list[Images], list[Images]]:
    """Lines to measure ranges on and others to compare texts on, in the model's format, alone and padded in batches.

    Without a source they are generated, of 1 to 60 characters. Test images are left out: what is
    measured on them later must not have had a part in the model.
    """
    data = DataConfig(height=header["height"], channels=header["channels"], max_width=header["max_width"])
    samples: Samples
    if lines is None:
        samples = synthetic.samples(synthetic.Config(samples=2 * _MEASURED, characters=(1, 60)), "line", seed=0)
    else:
        samples = read(lines, "auto", header.get("level", "line"))
    rows = [row for row, split in enumerate(samples.column("split")) if lines is None or split != "test"]
    if not rows:
        raise UserError(f"{lines}: all its images are test images; give others to measure 8 bits on")
    count, maker = min(len(rows), 2 * _MEASURED), StripMaker(samples, data)
    strips = [maker.strip(rows[i * len(rows) // count]) for i in range(count)]
    return _batches(strips[::2]), _batches(strips[1::2] or strips)


def _batches(strips: list[np.ndarray]) -> list[Images]:
    """One alone, three together, then eight at a time."""
    parts = [strips[:1], strips[1:4], *(strips[start : start + 8] for start in range(4, len(strips), 8))]
    return [collate(part, range(len(part))).images() for part in parts if part]


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
