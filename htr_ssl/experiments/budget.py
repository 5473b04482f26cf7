"""What the stages of a row will cost, in images through the encoder, before any of them is run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Generator

from htr_ssl import model_file
from htr_ssl.config import DataConfig, PluginConfig, PretrainConfig, Stage
from htr_ssl.data.batch import Images
from htr_ssl.layers.passes import Passes
from htr_ssl.training.pretrain import build_method

_TRIAL = 4  # images that a method is tried with


def passes(stages: Sequence[Stage], encoder: PluginConfig, data: DataConfig) -> int:
    """Images that stages send through the encoder and its moving averages; pseudo-labels: their training."""
    total = 0
    for stage in stages:
        size = stage.train.batch_size
        if stage.method is not None:
            size = size * _per_image(stage.method, stage.scope, encoder, data)
        if stage.joint is not None:
            size += stage.joint.batch_size * _per_image(stage.joint.method, stage.joint.scope, encoder, data)
        total += stage.train.steps * size
    return total


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
