"""An ONNX file whose convolutions, LSTMs and matrices compute with 8-bit integers; needs the extra ``onnx``.

Source: Jacob et al. 2017, arXiv 1712.05877. Convolutions have fixed ranges for what comes in, measured on a few images;
LSTMs and matrices take the range of each batch. Weights have a range per channel.

Processors with AVX2 or AVX512 but without VNNI add two products in 16 bits, which overflow if one factor is signed and
both use their 8 bits: signed weights keep to 7, and those of matrices are unsigned, for which other instructions are
taken.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from htr_ssl.data.batch import Images
from htr_ssl.recognizers._onnx import INPUTS, extra


def quantise(path: Path, batches: Iterable[Images]) -> None:
    """Replaces an ONNX file of a recognizer by its quantised form.

    Args:
        path: the file; its metadata are lost.
        batches: images like those it will read, from which the ranges come.
    """
    extra("onnxruntime")
    tools: Any = importlib.import_module("onnxruntime.quantization")
    shapes: Any = importlib.import_module("onnxruntime.quantization.shape_inference")
    given = [dict(zip(INPUTS, (b.pixels.contiguous().numpy(), b.widths.numpy()), strict=True)) for b in batches]
    with tempfile.TemporaryDirectory() as folder, _quiet():
        ready, static, lstms = (Path(folder) / name for name in ("ready.onnx", "static.onnx", "lstms.onnx"))
        shapes.quant_pre_process(str(path), str(ready), skip_symbolic_shape=True)
        signed = {"weight_type": tools.QuantType.QInt8, "per_channel": True, "reduce_range": True}
        unsigned = {"weight_type": tools.QuantType.QUInt8, "per_channel": True}
        convolutions = {"activation_type": tools.QuantType.QUInt8, "op_types_to_quantize": ["Conv"]}
        tools.quantize_static(str(ready), str(static), _Ranges(given), **convolutions, **signed)
        tools.quantize_dynamic(str(static), str(lstms), op_types_to_quantize=["LSTM"], **signed)
        tools.quantize_dynamic(str(lstms), str(path), op_types_to_quantize=["MatMul"], **unsigned)


class _Ranges:
    """The batches in turn, then None, as onnxruntime asks for them."""

    def __init__(self, given: list[dict[str, Any]]) -> None:
        self._left: Iterator[dict[str, Any]] = iter(given)

    def get_next(self) -> dict[str, Any] | None:
        return next(self._left, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """onnxruntime's remarks on its own steps are of no use to the user."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
