"""Files of the learned line finder: safetensors with the card in the header."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from htr_ssl.errors import UserError
from htr_ssl.files import write_bytes
from htr_ssl.pages.finder.net import FinderNet

SHIPPED = Path(__file__).with_name("finder.safetensors")
"""The finder that comes with the package."""
FORMAT = "htr-ssl line finder 1"


def write(net: FinderNet, path: Path, card: dict[str, Any]) -> None:
    """Writes the net in bfloat16; `card` tells what it was trained on."""
    state = {
        name: value.to(torch.bfloat16).contiguous() if value.is_floating_point() else value
        for name, value in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    write_bytes(path, save(state, {"format": FORMAT, "card": json.dumps(card, ensure_ascii=False)}))


def load(path: Path) -> FinderNet:
    """The net of a file, in float32.

    Raises:
        UserError: no such file, or not a line finder.
    """
    _, state = _read(path)
    net = FinderNet()
    missing, unknown = net.load_state_dict(state, strict=False)
    if unknown or any(not name.endswith("num_batches_tracked") for name in missing):
        raise UserError(f"{path}: a line finder of another version; train it again")
    return net.float().eval().to(memory_format=torch.channels_last)


def card(path: Path) -> dict[str, Any]:
    """What the file's maker says about it."""
    return dict(_read(path)[0])


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; name a line finder made by `htr-ssl segment train`")
    try:
        with safe_open(path, "pt") as handle:
            header = handle.metadata() or {}
            if header.get("format") != FORMAT:
                raise ValueError("another format")
            state = {name: handle.get_tensor(name).float() for name in handle.keys()}  # noqa: SIM118
            return json.loads(header["card"]), state
    except Exception as error:
        raise UserError(f"{path}: not a line finder; name a file made by `htr-ssl segment train`") from error
