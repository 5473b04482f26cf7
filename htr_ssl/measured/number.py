"""Number format: float32 and bfloat16 are timed on the network itself.

A processor that has instructions for bfloat16 is not always faster with them (avx512_bf16 without AMX on some Xeons).
AMX needs more than a few images to be faster. So a whole batch of a training is timed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from htr_ssl import environment
from htr_ssl.measured import cache, timing

if TYPE_CHECKING:
    import torch

Number = Literal["32", "bf16"]
_IMAGES, _ROUNDS, _SECONDS = 16, 4, 4.0  # images: a batch of TrainConfig


def choose(header: Mapping[str, Any], device: torch.device, training: bool) -> tuple[Number, str]:
    """Number format for a network, and the reason in words; float32 unless bfloat16 is clearly faster.

    Args:
        header: of the encoder: `encoder`, `height`, `channels`, as in a model file.
        device: where it computes; only CPUs with instructions for bfloat16 are timed.
        training: forwards and backwards, or reading only.
    """
    name = {"cuda": "the GPU", "cpu": "the CPU"}.get(device.type, device.type)
    if not environment.native_bfloat16(device):
        return "32", f"{name} computes bfloat16 only emulated, if at all"
    if device.type != "cpu" or not cache.on():
        flags = f" ({', '.join(environment.bfloat16())})" if device.type == "cpu" else ""
        return "bf16", f"{name} computes it natively{flags}"
    network = cache.network(header)
    facts = [network, training, _IMAGES]
    speeds = cache.remembered("precision", facts, partial(_missing, network, training))
    number: Number = "bf16" if speeds["bf16"] > timing.CLEARLY * speeds["32"] else "32"
    other = "32" if number == "bf16" else "bf16"
    return number, f"measured {speeds[number]:.0f} against {speeds[other]:.0f} images a second and thread with {other}"


def _missing(network: Mapping[str, Any], training: bool, known: cache.Figures) -> cache.Figures:
    """Images a second of both formats, if they are not known.

    One thread is timed: several wait for each other as soon as another program wants a core.
    """
    import torch

    if known.keys() >= {"32", "bf16"}:
        return {}
    with timing.step(network, _IMAGES, training) as run:
        torch.set_num_threads(1)
        works = {"32": partial(run, False), "bf16": partial(run, True)}
        times = timing.best(works, _ROUNDS, _SECONDS, timing.ALONE)
    return {name: round(_IMAGES / took, 2) for name, took in times.items()}
