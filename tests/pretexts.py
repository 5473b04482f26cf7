"""What the tests of the pretext tasks share: methods without augmentation, synthetic handwriting, a tiny training."""

from functools import cache

import numpy as np
import torch

from htr_ssl import model_file, plugins
from htr_ssl.config import AugmentConfig, DataConfig
from htr_ssl.data.batch import Images
from htr_ssl.data.loading import Strips, read_samples, rows_of

PLAIN = dict.fromkeys(AugmentConfig.model_fields, 0)
"""Augmentation that changes nothing."""
HEIGHT = 32


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def build(name, channels=1, encoder="crnn", **options):
    torch.manual_seed(0)
    module = plugins.load("htr_ssl.methods", name)
    return module.Method(module.Config(**options), model_file.build_encoder(encoder, {}, HEIGHT, channels))


def noise(widths, channels=1, seed=0):
    """Images of pixels that differ from each other, so that every permutation of them shows."""
    widths = torch.tensor(widths)
    pixels = torch.rand(len(widths), channels, HEIGHT, int(widths.max()), generator=generator(seed))
    inside = torch.arange(pixels.shape[3]) < widths[:, None]
    return Images(torch.where(inside[:, None, None], pixels, 1.0), widths)


@cache
def handwriting(split, count, level="word", channels=1):
    """Strips of synthetic handwriting; no hand is in two splits."""
    options = {"samples": 2 * count if split == "train" else 12 * count, "height": HEIGHT, "colour": channels == 3}
    config = DataConfig(level=level, height=HEIGHT, channels=channels, synthetic=options)
    samples = read_samples(config)
    return Strips(samples, rows_of(samples, split, labelled=False)[:count], config)


def held_out(count=64, level="word", channels=1):
    return handwriting("test", count, level, channels)[list(range(count))].images()


def train(method, steps, count=400, batch=32, lr=2e-3, change=lambda images: images):
    """A few steps on synthetic words, images of similar width together, each batch changed by `change`."""
    strips = handwriting("train", count)
    rng, order = np.random.default_rng(0), np.argsort(strips.widths)
    optimizer = torch.optim.AdamW(method.parameters(), lr)
    method.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = lr * min(1, (step + 1) / 10) * (1 - 0.9 * step / steps)
        first = rng.integers(len(order) - batch + 1)
        optimizer.zero_grad()
        images = change(strips[order[first : first + batch].tolist()].images())
        method(images, generator(step))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
    return method.eval()


@torch.no_grad()
def measured(method, images, draws=4):
    """Means of a method's terms over several draws."""
    terms = [method(images, generator(seed)) for seed in range(draws)]
    return {name: float(np.mean([float(term[name]) for term in terms])) for name in terms[0]}
