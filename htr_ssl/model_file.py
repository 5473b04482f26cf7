"""A model is one safetensors file: weights, and everything needed to use them in its header. Nothing is unpickled.

Header: JSON under the key ``htr_ssl`` with `kind` (encoder | recognizer), `version`, `encoder` (name and options),
`height`, `channels`, `level`, `charset` and `probe` (recognizers), `normalisation`, `scope`, `data`, and how it was
trained.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from htr_ssl import plugins
from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.layers.contract import EncoderModule

_KEY = "htr_ssl"
_FORMAT = 1


def save(path: Path, state: dict[str, Tensor], header: dict[str, Any]) -> None:
    """Writes weights and header atomically."""
    text = json.dumps({"format": _FORMAT, **header}, ensure_ascii=False, sort_keys=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(path, to_bytes(tensors, {_KEY: text}))


def read_header(path: Path) -> dict[str, Any]:
    """Header alone.

    Raises:
        UserError: no such file, truncated, or not written by this program.
    """
    return _read(Path(path), weights=False)[0]


def read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and weights (on the CPU).

    Raises:
        UserError: see `read_header`; or some weights are no numbers.
    """
    return _read(Path(path), weights=True)


def _read(path: Path, weights: bool) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such model file; give a model.safetensors or encoder.safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: _whole(file.get_tensor(name)) for name in file.keys()} if weights else {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: this is not a whole model file ({error}); copy it again or train it again") from error
    try:
        header = json.loads(metadata[_KEY])
        known = header["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its header is not of htr-ssl; give a file that pretrain or finetune wrote") from error
    if known != _FORMAT:
        raise UserError(f"{path}: it is of format {known}, this version reads {_FORMAT}; use the version that wrote it")
    if not all(bool(tensor.isfinite().all()) for tensor in state.values()):
        raise UserError(
            f"{path}: some of its weights are no numbers: its training diverged; train again with a lower rate"
        )
    return header, state


def _whole(tensor: Tensor) -> Tensor:
    """The tensor; bfloat16, in which shipped models are stored, becomes float32."""
    return tensor.float() if tensor.dtype == torch.bfloat16 else tensor


def build_encoder(name: str, options: dict[str, Any], height: int, channels: int) -> EncoderModule:
    """Encoder of the folder ``encoders`` with random weights."""
    module = plugins.load("htr_ssl.encoders", name)
    encoder: EncoderModule = module.Encoder(module.Config(**options), height, channels)
    return encoder


def begin(encoder: EncoderModule) -> None:
    """Loads published weights, if the encoder's options name some; for a training that starts from no file.

    Raises:
        UserError: they cannot be had.
    """
    load = getattr(encoder, "load_pretrained", None)
    if load is not None:
        load()


def encoder_header(encoder: dict[str, Any], height: int, channels: int) -> dict[str, Any]:
    """The part of a header that `check_encoder` compares: architecture and image format, defaults filled in."""
    module = plugins.load("htr_ssl.encoders", encoder["name"])
    options = {key: value for key, value in encoder.items() if key != "name"}
    return {
        "encoder": {"name": encoder["name"], **module.Config(**options).model_dump(mode="json")},
        "height": height,
        "channels": channels,
    }


def check_encoder(path: str | Path, header: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Compares a file's architecture with the wanted one; dropout and published weights it began with may differ.

    Raises:
        UserError: they differ; every difference is named.
    """
    have, want = {**header, **header["encoder"]}, {**wanted, **wanted["encoder"]}
    keys = [key for key in want if key not in ("encoder", "dropout", "weights")]
    different = [f"{key} {have.get(key)!r}, not {want[key]!r}" for key in keys if have.get(key) != want[key]]
    if different:
        raise UserError(f"{path}: it cannot be the start of this encoder: it has {'; '.join(different)}")


def load_encoder(
    path: str | Path, encoder: nn.Module, wanted: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Loads the encoder weights of a file into `encoder`; the file's scope says which part it holds.

    Args:
        path: encoder or recognizer file.
        encoder: same architecture.
        wanted: its `encoder_header`.

    Returns:
        The file's header and the weights that are not the encoder's (a recognizer's head).

    Raises:
        UserError: the architectures differ or weights are missing.
    """
    header, state = read(Path(path))
    check_encoder(path, header, wanted)
    prefix = "encoder."
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    missing, unexpected = encoder.load_state_dict(inside, strict=False)
    if header.get("scope") == "backbone":
        missing = [name for name in missing if name.startswith("backbone.")]
    if missing or unexpected:
        odd = (missing or unexpected)[0]
        raise UserError(f"{path}: its weights do not fit this encoder ({odd!r}); it was made by another version")
    return header, {name: value for name, value in state.items() if not name.startswith(prefix)}


def resolve_device(name: str) -> torch.device:
    """The device of a name; auto = CUDA, then Apple's, then the CPU.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        kind = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(kind)
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device {name!r} is not available here ({str(error).splitlines()[0]}); use device=cpu"
        ) from error
    return device
