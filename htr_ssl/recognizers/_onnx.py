"""A recognizer's network in an ONNX file, run by onnxruntime; needs the extra ``onnx``."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from htr_ssl.errors import UserError

KEY = "htr_ssl"
"""Metadata entry with the model's header as JSON."""
INPUTS, OUTPUTS = ["images", "widths"], ["logits", "lengths"]
"""Names in the graph: (N, C, H, W) float32 in [0, 1], (N,) int64 [px] -> (T, N, K), (N,)."""


def extra(name: str) -> Any:
    """A module of the extra.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UserError(f"ONNX files need {name}; pip install 'htr-ssl[onnx]'") from error


class OnnxNetwork:
    """A recognizer's network run by onnxruntime on the CPU; may be called from several threads at once.

    Attributes:
        header: that of the model the file was made of.
    """

    def __init__(self, path: Path) -> None:
        """Opens a file.

        Raises:
            UserError: no such file, not one of `export`, or onnxruntime is not installed.
        """
        if not path.is_file():
            raise UserError(f"{path}: there is no such file; htr-ssl export MODEL.safetensors {path} makes it")
        self._path = path.resolve()
        runtime = extra("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # the reader's threads have a batch each
        try:
            self._session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no class
            raise UserError(f"{path}: this is not a whole ONNX file; export it again") from error
        try:
            self.header: dict[str, Any] = json.loads(self._session.get_modelmeta().custom_metadata_map[KEY])
        except (KeyError, ValueError) as error:
            raise UserError(f"{path}: it is not of htr-ssl export, its header is missing") from error

    def __reduce__(self) -> tuple[type[OnnxNetwork], tuple[Path]]:
        return OnnxNetwork, (self._path,)  # another process opens the file by itself

    def __call__(self, images: Tensor, widths: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W), (N,) -> logits (T, N, K), lengths (N,)."""
        given = dict(zip(INPUTS, (images.contiguous().numpy(), widths.numpy()), strict=True))
        logits, lengths = self._session.run(OUTPUTS, given)
        return torch.from_numpy(logits), torch.from_numpy(lengths)
