"""The user's own changes of the pixels: a pipeline of albumentations on the lines as bytes; needs the extra
``albumentations``.

A pipeline may change how the ink and the paper look. It must leave every letter where it is, for two views of a line
have to stay aligned; geometry is the business of `TextAugment`.
"""

from __future__ import annotations

import difflib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Generator

from htr_ssl.data.batch import Images
from htr_ssl.errors import UserError

_LARGEST_SEED = 2**31


class Pipeline:
    """A pipeline that is ready to use.

    Args:
        description: what ``albumentations.to_dict`` gives.

    Raises:
        UserError: albumentations is not installed, knows no such transform or option, or the pipeline moves letters.
    """

    def __init__(self, description: dict[str, Any]) -> None:
        library = _library()
        parts = list(_names(description["transform"]))
        known = library.core.serialization.SERIALIZABLE_REGISTRY
        for name in parts:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]}?" if near else ""
                raise UserError(f"augment.pipeline: albumentations has no transform {name!r}{hint}")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*defaulting to 0.5")
            warnings.filterwarnings("error", message=".*not valid for transform")
            try:
                self.compose = library.Compose([library.from_dict(description)])
            except Exception as error:  # the library's own checks raise many kinds
                raise UserError(f"augment.pipeline: {_first(error)}") from error
        still = (library.ImageOnlyTransform, library.PixelDropout, library.CoarseDropout, library.GridDropout)
        for part in _leaves(self.compose):
            if not isinstance(part, still):
                raise UserError(
                    f"augment.pipeline: {type(part).__name__} moves the letters; leave it out and use the options of "
                    "augment for geometry (slant, stretch, scale, shift, rotate, elastic, perspective, crop)"
                )

    def __call__(self, images: Images, generator: Generator) -> Images:
        """Changed copies of the same size; every image has a seed of its own from the generator.

        Raises:
            UserError: a transform cannot take such images, or gives something else than bytes of the same size.
        """
        seeds = torch.randint(_LARGEST_SEED, (len(images.widths),), generator=generator).tolist()
        raw = (images.pixels * 255).round().byte().permute(0, 2, 3, 1).cpu().contiguous().numpy()  # (N, H, W, C)
        for strip, width, seed in zip(raw, images.widths.tolist(), seeds, strict=True):
            strip[:, :width] = self._changed(strip[:, :width], seed)
        pixels = torch.from_numpy(raw).to(images.pixels.device).permute(0, 3, 1, 2).float().div_(255)
        return Images(pixels, images.widths)

    def _changed(self, strip: np.ndarray, seed: int) -> np.ndarray:
        """(H, W, C) uint8 -> the same."""
        self.compose.set_random_seed(seed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of colour that a grey image does not have
                found: np.ndarray = self.compose(image=np.ascontiguousarray(strip))["image"]
        except Exception as error:  # the library's own checks raise many kinds
            colour = "; data.channels=3 gives it colour" if "channel" in str(error) and strip.shape[2] == 1 else ""
            raise UserError(f"augment.pipeline: {_first(error)}{colour}") from error
        if not isinstance(found, np.ndarray) or found.dtype != np.uint8 or found.size != strip.size:
            kind = f"{found.dtype} of {found.shape}" if isinstance(found, np.ndarray) else type(found).__name__
            raise UserError(
                f"augment.pipeline: it makes {kind} of bytes of {strip.shape}; leave out what changes size or number "
                "format, such as ToFloat and Normalize"
            )
        return found.reshape(strip.shape)


def _library() -> Any:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network for its newest version
    try:
        import albumentations
    except ImportError as error:
        raise UserError(
            f"augment.pipeline: albumentations cannot be loaded ({error}); install it with "
            "pip install 'htr-ssl[albumentations]'"
        ) from error
    return albumentations


def _names(description: Any) -> Iterator[str]:
    """Names of a transform and of all inside it."""
    if not isinstance(description, dict) or not isinstance(description.get("__class_fullname__"), str):
        raise UserError(
            "augment.pipeline: a transform has no __class_fullname__; write the file with "
            "albumentations.save(pipeline, path, data_format='yaml')"
        )
    yield description["__class_fullname__"].removeprefix("albumentations.").rpartition(".")[2]
    for inner in description.get("transforms") or ():
        yield from _names(inner)


def _leaves(transform: Any) -> Iterator[Any]:
    """Transforms that hold no others."""
    inner = getattr(transform, "transforms", None)
    if inner is None:
        yield transform
        return
    for part in inner:
        yield from _leaves(part)


def _first(error: Exception) -> str:
    """An error in one line."""
    return " ".join(str(error).partition("For further information")[0].split()) or type(error).__name__
