"""Pictures of what a method sees: images and the views it makes of them, and what it paints after training."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import torch

from htr_ssl import model_file
from htr_ssl.config import PretrainConfig
from htr_ssl.data.batch import Images
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.look.mosaic import Cell, mosaic
from htr_ssl.objective import Objective
from htr_ssl.seeds import derive, rng
from htr_ssl.training.pretrain import build_method, load_method


def sheet(config: PretrainConfig, count: int = 6, seed: int = 0, run: Path | None = None) -> bytes:
    """PNG with a row per image: the image, each of the method's views, and what a trained method paints.

    Args:
        config: of a pretraining; its method is not trained here.
        count: number of images, of the validation split if there is one, else of the train split.
        seed: of the choice and of the views.
        run: folder of a finished pretraining, whose weights paint.

    Raises:
        UserError: no image, or the run is of another method, encoder or image format.
    """
    method = _method(config, seed)
    if run is not None:
        _load(method, config, run)
    method.eval()
    samples = read_samples(config.data)
    images = _images(samples, config, count, seed)
    columns = {"image": images}
    with torch.no_grad():
        for number, view in enumerate(method.views(images, _generator(seed))):
            columns[f"view {number + 1}"] = view
        reconstruct = getattr(method, "reconstruct", None)
        if run is not None and reconstruct is not None:
            # The same draws as above, so that the painted image is that of the views.
            columns["painted"] = reconstruct(images, _generator(seed))[-1]
    rows = [[Cell(_pixels(column, i)) for column in columns.values()] for i in range(len(images.widths))]
    what = (inspect.getdoc(method.views) or "").partition("\n")[0]
    return mosaic(rows, list(columns), f"{config.method.name}: {what}")


def shown_rows(samples: Samples) -> tuple[str, list[int]]:
    """Split and rows for a look: validation, or train where there is none; never the test split."""
    for split in ("validation", "train"):
        rows = rows_of(samples, split, labelled=False)
        if rows:
            return split, rows
    raise UserError("there is no image outside the test split; give data with a train or validation split")


def _method(config: PretrainConfig, seed: int) -> Objective:
    torch.manual_seed(derive(seed, "weights"))
    encoder = model_file.build_encoder(
        config.encoder.name, config.encoder.options(), config.data.height, config.data.channels
    )
    return build_method(config, encoder)


def _load(method: Objective, config: PretrainConfig, run: Path) -> None:
    """Weights of a run for the method of a configuration; options that change no weight may differ.

    Raises:
        UserError: see `sheet`.
    """
    trained, known = load_method(run)
    if known.method.name != config.method.name:
        raise UserError(f"{run}: it is a run of method.name={known.method.name}, not {config.method.name}")
    headers = [
        model_file.encoder_header(c.encoder.model_dump(), c.data.height, c.data.channels) for c in (known, config)
    ]
    model_file.check_encoder(run, *headers)
    try:
        method.load_state_dict(trained.state_dict())
    except RuntimeError as error:
        raise UserError(
            f"{run}: its heads are of other sizes than this configuration's; give the options it was trained with: "
            f"{run / 'config.yaml'}"
        ) from error


def _images(samples: Samples, config: PretrainConfig, count: int, seed: int) -> Images:
    _, rows = shown_rows(samples)
    chosen = sorted(rng(seed, "views").permutation(len(rows))[:count].tolist())
    strips = Strips(samples, [rows[i] for i in chosen], config.data)
    return strips[list(range(len(strips)))].images()


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "views"))


def _pixels(images: Images, row: int) -> np.ndarray:
    """(H, W) or (H, W, 3) bytes of one image without its padding."""
    pixels = images.pixels[row, :, :, : int(images.widths[row])].permute(1, 2, 0)  # (H, W, C)
    shown: np.ndarray = (pixels.clamp(0, 1) * 255).round().byte().numpy()
    return shown[:, :, 0] if shown.shape[2] == 1 else shown
