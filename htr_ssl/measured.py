"""Number format by measurement: both are timed on the network itself, once per processor, and remembered.

A processor that has instructions for bfloat16 is not always faster with them (avx512_bf16 without AMX on some Xeons).
The cache is a small JSON file in the user's cache folder; `HTR_SSL_CACHE` names another folder, and `HTR_SSL_MEASURE=0`
goes by the processor's flags alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from htr_ssl import environment, model_file
from htr_ssl.files import write_json

if TYPE_CHECKING:
    import torch

Number = Literal["32", "bf16"]
CLEARLY = 1.1
"""How many times as fast bfloat16 must be to be taken: less may be chance, and float32 is exacter."""
_IMAGES, _WIDTH = 4, 384  # of a batch that is timed [px]
_REPEATS = 4
_SECONDS = 2.0  # after which no further run begins


def precision(header: Mapping[str, Any], device: torch.device, training: bool) -> tuple[Number, str]:
    """Number format for a network, and the reason in words.

    Args:
        header: of the encoder: `encoder`, `height`, `channels`, as in a model file.
        device: where it computes; only CPUs with instructions for bfloat16 are timed.
        training: forwards and backwards, or reading only.
    """
    name = {"cuda": "the GPU", "cpu": "the CPU"}.get(device.type, device.type)
    if not environment.native_bfloat16(device):
        return "32", f"{name} computes bfloat16 only emulated, if at all"
    if device.type != "cpu" or os.environ.get("HTR_SSL_MEASURE") == "0":
        flags = f" ({', '.join(environment.bfloat16())})" if device.type == "cpu" else ""
        return "bf16", f"{name} computes it natively{flags}"
    speeds = _known(header, training)
    number: Number = "bf16" if speeds["bf16"] > CLEARLY * speeds["32"] else "32"
    other = "32" if number == "bf16" else "bf16"
    return number, f"measured {speeds[number]:.0f} against {speeds[other]:.0f} images a second and thread with {other}"


def folder() -> Path:
    """The user's cache folder; it may not be there yet."""
    if os.environ.get("HTR_SSL_CACHE"):
        return Path(os.environ["HTR_SSL_CACHE"])
    if sys.platform == "win32":
        home = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = str(Path.home() / "Library" / "Caches")
    else:
        home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "htr-ssl"


def _known(header: Mapping[str, Any], training: bool) -> dict[str, float]:
    """Images a second of both formats, measured at most once for a processor and a network."""
    import torch

    network = {key: header[key] for key in ("encoder", "height", "channels")}
    key = json.dumps([environment.hardware(), torch.__version__, network, training], sort_keys=True)
    path = folder() / "precision.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.with_suffix(".lock")):
            cached = _read(path)
            if key not in cached:
                write_json(path, cached | {key: _measure(network, training)})
                cached = _read(path)
            return cached[key]
    except OSError:  # no place to remember it
        return _measure(network, training)


def _read(path: Path) -> dict[str, dict[str, float]]:
    """The cache; what is damaged counts as empty."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(key): {name: float(value[name]) for name in ("32", "bf16")} for key, value in dict(content).items()}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _measure(network: Mapping[str, Any], training: bool) -> dict[str, float]:
    """Images a second of both formats, the best of some runs in turns; random numbers elsewhere are not touched.

    One thread is timed: several wait for each other as soon as another program wants a core.
    """
    import torch

    threads, begun = torch.get_num_threads(), time.perf_counter()
    torch.set_num_threads(1)
    try:
        return _timed(network, training, begun)
    finally:
        torch.set_num_threads(threads)


def _timed(network: Mapping[str, Any], training: bool, begun: float) -> dict[str, float]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options = {key: value for key, value in network["encoder"].items() if key != "name"}
        encoder = model_file.build_encoder(network["encoder"]["name"], options, network["height"], network["channels"])
        encoder = encoder.train(training).to(memory_format=torch.channels_last)
        images = torch.rand(_IMAGES, network["channels"], network["height"], _WIDTH)
        images = images.contiguous(memory_format=torch.channels_last)
        widths = torch.full((_IMAGES,), _WIDTH)
        best = {"32": float("inf"), "bf16": float("inf")}
        for number in range(_REPEATS):
            if number and time.perf_counter() - begun > _SECONDS:
                break
            for name in best:
                start = time.perf_counter()
                with torch.set_grad_enabled(training), torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
                    frames = encoder(images, widths)
                if training:
                    torch.autograd.backward(frames.features.float().mean())
                best[name] = min(best[name], time.perf_counter() - start)
    return {name: round(_IMAGES / seconds, 2) for name, seconds in best.items()}


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lets one process measure at a time, where the system has locks."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
