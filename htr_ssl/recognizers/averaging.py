"""The mean of the weights of a recognizer and of what a training has made of it.

Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903, with a share of one half, and
"Model soups", arXiv 2203.05482. Few labels pull a network further than they tell; half of the way often reads better
than either end, and costs no training.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from htr_ssl import model_file
from htr_ssl.files import sha256
from htr_ssl.recognizers import language
from htr_ssl.text.charset import Charset, merge


def save(before: Path, after: Path, out: Path) -> None:
    """Writes the recognizer `after` with the mean of both files' weights; its language model stays.

    A character that only `after` knows keeps the weights it has there. Its score and its calibration do not stay: they
    are those of other weights.

    Args:
        before: what the training of `after` began with, or another recognizer from the same start.
        after: recognizer whose header, charset and language model are kept.
        out: file to write; it may be `after`.

    Raises:
        UserError: a file cannot be read, or the encoders differ.
    """
    old_header, old = model_file.read(before)
    header, new = model_file.read(after)
    wanted = model_file.encoder_header(header["encoder"], header["height"], header["channels"])
    model_file.check_encoder(before, old_header, wanted)
    rows = merge(Charset.of_model(old_header), Charset.of_model(header), "new")[1]
    state = {name: _mean(name, old.get(name), tensor, rows) for name, tensor in new.items()}
    own = {key: value for key, value in header.items() if key not in ("format", language.CALIBRATION)}
    model_file.save(out, state, own | {"val_cer": None, "averaged_with": sha256(before.read_bytes())})


def _mean(name: str, old: Tensor | None, new: Tensor, rows: list[int | None]) -> Tensor:
    """Mean of a tensor in both files; class k of a head was class `rows[k]`."""
    if old is None or name.startswith(f"{language.KEY}.") or not new.is_floating_point():
        return new
    if name.startswith("encoder."):
        return torch.lerp(old, new, 0.5)
    mean = new.clone()
    both = [(k, row) for k, row in enumerate(rows) if row is not None]
    here, there = [k for k, _ in both], [row for _, row in both]
    mean[here] = torch.lerp(old[there], new[here], 0.5)
    return mean
