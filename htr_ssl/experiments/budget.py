"""What the stages of a row will cost, in images of the data through the encoder, before any of them is run."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Generator

from htr_ssl import model_file
from htr_ssl.config import DataConfig, PluginConfig, PretrainConfig, Stage
from htr_ssl.data.batch import Images
from htr_ssl.data.loading import StripMaker, read_samples, rows_of
from htr_ssl.layers.passes import Passes
from htr_ssl.training.pretrain import build_method

_TRIAL = 4  # images that a method is tried with
_LOOKED = 500  # images whose width is looked at


def passes(stages: Sequence[Stage], encoder: PluginConfig, data: DataConfig, width: float = 1.0) -> float:
    """Images that stages send through the encoder and its moving averages; pseudo-labels: their training.

    Args:
        stages: of a row.
        encoder: of the table.
        data: the labelled images.
        width: of an unlabelled image over that of a labelled one, see `width_ratio`: a narrow image is less work.
    """
    total = 0.0
    for stage in stages:
        size = float(stage.train.batch_size)
        if stage.method is not None:
            size *= width * _per_image(stage.method, stage.scope, encoder, data)
        if stage.joint is not None:
            size += width * stage.joint.batch_size * _per_image(stage.joint.method, stage.joint.scope, encoder, data)
        total += stage.train.steps * size
    return total


def width_ratio(unlabelled: DataConfig | None, data: DataConfig) -> float:
    """Mean width of the unlabelled train images over that of the labelled ones, of at most `_LOOKED` of each.

    Raises:
        UserError: one of the two cannot be read.
    """
    return 1.0 if unlabelled is None else _width(unlabelled, False) / _width(data, True)


def _width(config: DataConfig, labelled: bool) -> float:
    """Mean width of images as they are trained on [px], evenly spread over the train split."""
    config = config.model_copy(update={"cache": None})
    samples = read_samples(config)
    rows = rows_of(samples, "train", labelled)
    strips = StripMaker(samples, config).strips(rows[:: max(1, -(-len(rows) // _LOOKED))])
    widths = [strip.shape[1] for strip in strips if not isinstance(strip, str)]
    return statistics.fmean(widths) if widths else 1.0


def _per_image(method: PluginConfig, scope: str, encoder: PluginConfig, data: DataConfig) -> int:
    """Passes of a method for each image of a batch."""
    known = {"method": method.model_dump(mode="json"), "scope": scope, "encoder": encoder.model_dump(mode="json")}
    return _tried(json.dumps(known, sort_keys=True), data.height, data.channels)


@lru_cache(maxsize=64)
def _tried(known: str, height: int, channels: int) -> int:
    """Passes per image of one trial on images of noise."""
    config = PretrainConfig.model_validate(json.loads(known))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = model_file.build_encoder(config.encoder.name, config.encoder.options(), height, channels)
        method = build_method(config, network)
        counter = Passes(method, method.encoder)
        widths = torch.full((_TRIAL,), 8 * height)
        images = Images(torch.rand(_TRIAL, channels, height, 8 * height), widths)
        counter.start()
        method(images, Generator().manual_seed(0))
        counter.stop(_TRIAL)
    return -(-counter.all // _TRIAL)
