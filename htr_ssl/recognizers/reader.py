"""Reader: a recognizer file ready to read line images; needs no configuration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from htr_ssl import ctc, model_file
from htr_ssl.charset import Charset
from htr_ssl.config import DataConfig
from htr_ssl.data.loading import collate, prepare
from htr_ssl.errors import UserError
from htr_ssl.recognizers.ctc import Recognizer

Readings = list[tuple[str, float]]
"""Text and confidence in [0, 1] of each image."""


class Reader:
    """Reads images of any size with one recognizer.

    Attributes:
        header: what the file says of itself.
        charset: characters it can write.
    """

    def __init__(self, recognizer: Recognizer, header: dict[str, Any], device: torch.device) -> None:
        self.recognizer = recognizer.eval().to(device).to(memory_format=torch.channels_last)
        self.header = header
        self.charset = Charset.from_header(header["charset"])
        self.device = device
        self._data = DataConfig(height=header["height"], channels=header["channels"], max_width=header["max_width"])

    @classmethod
    def load(cls, path: Path, device: str = "auto", threads: int = 0) -> Reader:
        """Reader of a model file.

        Args:
            path: model.safetensors of a finetune run.
            device: auto, cpu, cuda, …
            threads: CPU threads; 0 leaves them as they are.

        Raises:
            UserError: not a whole recognizer file.
        """
        if threads:
            torch.set_num_threads(threads)
        header, state = model_file.read(Path(path))
        if header.get("kind") != "recognizer":
            raise UserError(
                f"{path}: it is an {header.get('kind')} without a CTC head; fine-tune it first (finetune init={path})"
            )
        options = {key: value for key, value in header["encoder"].items() if key != "name"}
        encoder = model_file.build_encoder(header["encoder"]["name"], options, header["height"], header["channels"])
        recognizer = Recognizer(encoder, len(Charset.from_header(header["charset"])))
        try:
            recognizer.load_state_dict(state)
        except RuntimeError as error:
            raise UserError(f"{path}: its weights do not fit its header; train or copy it again") from error
        return cls(recognizer, header, model_file.resolve_device(device))

    def read(self, images: Sequence[np.ndarray], batch_size: int = 32) -> Readings:
        """Texts of images in the given order.

        Args:
            images: uint8, (H, W) gray or (H, W, 3) RGB, one word or line each.
            batch_size: images read at once; they are sorted by width, so that little padding is computed.
        """
        return self.read_strips([prepare(image, self._data) for image in images], batch_size)

    @torch.inference_mode()
    def read_strips(self, strips: Sequence[np.ndarray], batch_size: int = 32) -> Readings:
        """Texts of images that `prepare` has brought to the model's height."""
        results: Readings = [("", 0.0)] * len(strips)
        order = sorted(range(len(strips)), key=lambda i: strips[i].shape[1])
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            images = collate([strips[i] for i in rows], rows).to(self.device).images()
            logits, lengths = self.recognizer(images.pixels, images.widths)
            for row, (indices, confidence) in zip(rows, ctc.greedy(logits, lengths), strict=True):
                results[row] = self.charset.decode(indices), confidence
        return results
