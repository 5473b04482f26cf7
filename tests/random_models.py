"""Recognizer files with random weights, and lines of many widths, for tests that need no training."""

import json

import torch
from torch import nn

from htr_ssl import model_file
from htr_ssl.config import DataConfig
from htr_ssl.data import synthetic
from htr_ssl.data.loading import collate, prepare
from htr_ssl.recognizers.recognizer import Recognizer

_written = synthetic.samples(synthetic.Config(samples=12, characters=(1, 30)), "line", seed=0)
IMAGES = [_written.image(i) for i in range(12)]
CHARACTERS = list("abcdefgh é")
LEAD = 3e-4
"""Least by which the likeliest class of every frame of the images leads."""


@torch.no_grad()
def random_model(path, encoder="crnn"):
    """Writes a model whose batch norms have the statistics of the images, as training would leave them."""
    torch.manual_seed(0)
    network = Recognizer(model_file.build_encoder(encoder, {}, 32, 1), len(CHARACTERS) + 1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.05, 0.2)  # small: 29 layers of large ones multiply every rounding
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = 1.0
    strips = [prepare(image, DataConfig(height=32)) for image in IMAGES]
    lines = collate(strips, range(len(strips))).images()
    network.encoder(lines.pixels, lines.widths)  # sets the statistics of the norms
    frames = network.eval().encoder(lines.pixels, lines.widths)
    features = frames.features[frames.mask()]
    lead = 0.0
    while lead < LEAD:  # no ties, which rounding would break in another way on another processor
        nn.init.normal_(network.head.weight, std=2 / float(features.std(0).norm()))
        network.head.bias.copy_(-network.head.weight @ features.mean(0))  # no class is the likeliest everywhere
        first, second = network.head(features).topk(2).values.T
        lead = float((first - second).min())
    header = {
        "kind": "recognizer",
        "charset": json.dumps(CHARACTERS),
        **model_file.encoder_header({"name": encoder}, 32, 1),
        "max_width": 2000,
    }
    model_file.save(path, network.state_dict(), header)
    return path
