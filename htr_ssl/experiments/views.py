"""Pictures of what a method sees: its views of a few images, and what masked image modelling repaints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from htr_ssl.config import PretrainConfig
from htr_ssl.data.batch import Images
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.experiments import pictures
from htr_ssl.training.pretrain import load_method


def sheet(run: Path, count: int = 4, seed: int = 0) -> bytes:
    """PNG with a row per image: the image and each of the method's views.

    Args:
        run: folder of a finished pretraining.
        count: number of images.
        seed: of the views.

    Raises:
        UserError: there is no such run.
    """
    method, config = load_method(run)
    views = method.views(*_images(config, count, seed))
    return _columns([_images(config, count, seed)[0], *views], ["image", *(f"view {i + 1}" for i in range(len(views)))])


def reconstructions(run: Path, count: int = 4, seed: int = 0) -> bytes | None:
    """PNG with whole, hidden and repainted images; None if the method paints nothing."""
    method, config = load_method(run)
    if not hasattr(method, "reconstruct"):
        return None
    return _columns(list(method.eval().reconstruct(*_images(config, count, seed))), ["image", "hidden", "painted"])


def _images(config: PretrainConfig, count: int, seed: int) -> tuple[Images, torch.Generator]:
    data = config.data
    samples = read_samples(data)
    rows = rows_of(samples, "validation", labelled=False) or rows_of(samples, "train", labelled=False)
    strips = Strips(samples, rows[:: max(1, len(rows) // count)][:count], data)
    return strips[list(range(len(strips)))].images(), torch.Generator().manual_seed(seed)


def _columns(columns: list[Images], names: list[str]) -> bytes:
    """Contact sheet with a column for each batch of images."""
    shown: list[np.ndarray] = []
    for row in range(len(columns[0].widths)):
        for images in columns:
            pixels = images.pixels[row, :, :, : int(images.widths[row])].permute(1, 2, 0)  # (H, W, C)
            shown.append((pixels.clamp(0, 1) * 255).round().byte().squeeze(2).numpy())
    return pictures.sheet(shown, names * len(columns[0].widths), columns=len(columns))
