"""Halves a recognizer's file for shipping: ``python scripts/ship_model.py IN.safetensors OUT.safetensors``.

Weights become bfloat16; reading turns them back. Run `htr-ssl evaluate` on both to see that they read the same.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from htr_ssl import model_file


def main() -> None:
    """Writes the smaller file and prints both sizes."""
    source, target = (Path(argument) for argument in sys.argv[1:3])
    header, state = model_file.read(source)
    # A language model's tensors are indices and log-probabilities of its own format: they stay as they are.
    kept = {
        name: tensor.to(torch.bfloat16)
        if tensor.dtype == torch.float32 and not name.startswith("language_model")
        else tensor
        for name, tensor in state.items()
    }
    model_file.save(target, kept, header)
    print(f"{source}: {source.stat().st_size:,} bytes; {target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
