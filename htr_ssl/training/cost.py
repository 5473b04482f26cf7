"""What an encoder costs: parameters, operations and speed on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from htr_ssl import model_file, plugins
from htr_ssl.config import TrainConfig
from htr_ssl.data.batch import Batch
from htr_ssl.environment import precision
from htr_ssl.recognizers.recognizer import Recognizer
from htr_ssl.training.optim import optimiser

CLASSES = 100
_WARM_UP = 2  # first calls choose kernels
_PIXELS_PER_CHARACTER = 16


@dataclass(frozen=True, slots=True)
class Cost:
    """One preset of an encoder, with its CTC heads.

    Attributes:
        parameters: of the encoder.
        flops: floating-point operations of reading one line (a multiplication and an addition are two).
        stride: pixels per frame.
        train, read: lines/s of fine-tuning steps and of reading; None if not measured.
    """

    encoder: str
    preset: str
    parameters: int
    flops: int
    stride: int
    train: float | None
    read: float | None


def presets(encoder: str) -> list[str]:
    """Names of an encoder's presets, smallest first."""
    field = plugins.load("htr_ssl.encoders", encoder).Config.model_fields["preset"]
    return list(field.annotation.__args__)


def cost(
    encoder: str, preset: str, height: int, width: int, device: torch.device, batch_size: int, seconds: float
) -> Cost:
    """Counts, and measures for about `seconds` each of training and reading (0: does not).

    Args:
        height, width: of the lines [px]; all are of one width, without padding.
        batch_size: lines per step.
    """
    torch.manual_seed(0)
    module = model_file.build_encoder(encoder, {"preset": preset}, height, 1)
    recognizer = Recognizer(module, CLASSES)
    flops = _flops(recognizer, _batch(1, height, width))
    speeds: tuple[float | None, float | None] = (None, None)
    if seconds:
        recognizer = recognizer.to(device).to(memory_format=torch.channels_last)
        speeds = _speeds(recognizer, _batch(batch_size, height, width).to(device), device, seconds)
    parameters = sum(parameter.numel() for parameter in module.parameters())
    return Cost(encoder, preset, parameters, flops, module.stride, *speeds)


def _batch(count: int, height: int, width: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    characters = max(1, width // _PIXELS_PER_CHARACTER)
    return Batch(
        torch.randint(0, 256, (count, height, width, 1), generator=generator, dtype=torch.uint8),
        torch.full((count,), width),
        torch.arange(count),
        torch.randint(1, CLASSES, (count * characters,), generator=generator),
        torch.full((count,), characters),
    )


def _flops(recognizer: Recognizer, batch: Batch) -> int:
    """Operations of reading one line.

    PyTorch's counter leaves out LSTMs, which are counted here, and fused attention, which is replaced by its products.
    """
    lstm = 0

    def count(module: nn.Module, inputs: tuple[Tensor], _: Any) -> None:
        nonlocal lstm
        assert isinstance(module, nn.LSTM)
        gates = 4 * module.hidden_size * (module.input_size + module.hidden_size)
        lstm += 2 * gates * inputs[0].shape[0] * inputs[0].shape[1]

    hooks = [part.register_forward_hook(count) for part in recognizer.modules() if isinstance(part, nn.LSTM)]
    images = batch.images()
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        recognizer.eval()(images.pixels, images.widths)
    for hook in hooks:
        hook.remove()
    return (int(counter.get_total_flops()) + lstm) // len(batch.widths)


def _speeds(recognizer: Recognizer, batch: Batch, device: torch.device, seconds: float) -> tuple[float, float]:
    """Lines/s of training and of reading in the engine's number format."""
    number = torch.bfloat16 if precision("auto", device) == "bf16-mixed" else torch.float32
    step_of = optimiser(recognizer, TrainConfig())
    images = batch.images()

    def autocast() -> torch.autocast:
        return torch.autocast(device.type, number, enabled=number is not torch.float32)

    def train() -> None:
        with autocast():
            loss = torch.as_tensor(recognizer.loss(images, batch)["loss"])
        step_of.zero_grad()
        torch.autograd.backward(loss)
        step_of.step()

    def read() -> None:
        with torch.inference_mode(), autocast():
            recognizer(images.pixels, images.widths)

    recognizer.train()
    trained = _calls_per_second(train, device, seconds) * len(batch.widths)
    recognizer.eval()
    return trained, _calls_per_second(read, device, seconds) * len(batch.widths)


def _calls_per_second(call: Callable[[], None], device: torch.device, seconds: float) -> float:
    for _ in range(_WARM_UP):
        call()
    _wait(device)
    calls, start = 0, time.perf_counter()
    while not calls or time.perf_counter() - start < seconds:
        call()
        _wait(device)
        calls += 1
    return calls / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
