"""Word images that an encoder finds alike: a look at what it has learnt that needs no label, no head, no training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from htr_ssl import model_file
from htr_ssl.config import DataConfig
from htr_ssl.data.batch import Images
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.data.samples import Samples
from htr_ssl.errors import UserError
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.layers.frames import Frames
from htr_ssl.look import descriptors
from htr_ssl.look.descriptors import Score
from htr_ssl.look.mosaic import Cell, mosaic
from htr_ssl.look.views import shown_rows
from htr_ssl.seeds import derive, rng
from htr_ssl.text.charset import normalise

_SAME, _OTHER = "#00694e", "#a33c00"


@dataclass(frozen=True)
class Options:
    """What is shown and compared.

    Attributes:
        queries: rows of the sheet.
        k: neighbours of each.
        images: most images compared; more are drawn from.
        split: train, validation, test, or all; None = validation, or train where there is none.
        other_pages: whether images of the query's page are left out.
        seed: of every choice, and of the random encoder.
    """

    queries: int = 8
    k: int = 5
    images: int = 5000
    split: str | None = None
    other_pages: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Look:
    """Result.

    Attributes:
        picture: PNG, a row for each query.
        split: whose images were compared.
        images: their number.
        scores: of the encoder, of one with random weights and of raw pixels; empty if no word is there twice.
    """

    picture: bytes
    split: str
    images: int
    scores: dict[str, Score]


def look(
    model: Path,
    data: DataConfig,
    options: Options,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Look:
    """Nearest neighbours of some images, and how often the same word is nearest.

    Args:
        model: encoder or recognizer file.
        data: images in the model's format (see `data_of`).
        options: what is shown.
        device: where it computes.
        progress: called with the images done and all of them.

    Raises:
        UserError: not a model file, no images, or fewer than two.
    """
    header = model_file.read_header(model)
    chosen = model_file.resolve_device(device)
    samples = read_samples(data)
    split, rows = _rows(samples, options)
    strips = Strips(samples, rows, data)
    if len(strips) < 2:
        raise UserError(f"{data.source}: there is one image in {split}, which has no neighbours; give more, or --split")
    pages = [samples.column("page")[row] if options.other_pages else None for row in strips.rows]
    texts = [normalise(text) for text in strips.texts()]
    words, groups = descriptors.numbered(texts), descriptors.numbered(pages)
    written = descriptors.repeated(words, groups)
    done = 0

    def count(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, len(strips) * (3 if written else 1))

    trained, untrained = _encoders(model, header, options.seed)
    name = f"{header.get('method', {}).get('name', header['kind'])} {header['encoder']['name']}"
    vectors = descriptors.described(strips, _backbone(trained, chosen), descriptors.BINS, chosen, count)
    scores = {}
    if written:
        scores[name] = descriptors.scored(vectors, words, groups)
        for other, frames_of, bins in (
            (f"random {header['encoder']['name']}", _backbone(untrained, chosen), descriptors.BINS),
            ("raw pixels", descriptors.pixels, descriptors.PIXEL_BINS),
        ):
            baseline = descriptors.described(strips, frames_of, bins, chosen, count)
            scores[other] = descriptors.scored(baseline, words, groups)
    title = f"{model}: {name}, nearest of {len(strips)} images ({split})"
    queries = rng(options.seed, "queries").permutation(written or len(strips))[: options.queries].tolist()
    return Look(
        mosaic(_cells(strips, texts, vectors, groups, queries, options.k), _names(options.k), title),
        split,
        len(strips),
        scores,
    )


def data_of(header: dict[str, Any], source: str, format: str = "auto", level: str = "word") -> DataConfig:
    """Data of another source in the image format of a model."""
    known = dict(header.get("data", {}))
    fixed = {name: header[name] for name in ("height", "channels", "max_width")}
    return DataConfig(**{**known, **fixed, "source": source, "format": format, "level": level})


def _rows(samples: Samples, options: Options) -> tuple[str, list[int]]:
    """Split and at most `images` of its rows, in order."""
    if options.split is None:
        split, rows = shown_rows(samples)
    else:
        split = options.split
        rows = list(range(len(samples))) if split == "all" else rows_of(samples, split, labelled=False)
    if not rows:
        known = ", ".join(sorted({str(name) for name in samples.column("split")}))
        raise UserError(f"there is no image in the split {split!r}; there is {known}, or all")
    kept = sorted(rng(options.seed, "images").permutation(len(rows))[: options.images].tolist())
    return split, [rows[i] for i in kept]


def _encoders(model: Path, header: dict[str, Any], seed: int) -> tuple[EncoderModule, EncoderModule]:
    """The file's encoder, and one of its architecture with random weights."""
    options = {key: value for key, value in header["encoder"].items() if key != "name"}
    torch.manual_seed(derive(seed, "weights"))
    trained, untrained = (
        model_file.build_encoder(header["encoder"]["name"], options, header["height"], header["channels"]).eval()
        for _ in range(2)
    )
    wanted = model_file.encoder_header(header["encoder"], header["height"], header["channels"])
    model_file.load_encoder(model, trained, wanted)
    return trained, untrained


def _backbone(encoder: EncoderModule, device: torch.device) -> Callable[[Images], Frames]:
    backbone = encoder.to(device).backbone
    return lambda images: backbone(images.pixels, images.widths)


def _cells(
    strips: Strips, texts: Sequence[str], vectors: Tensor, groups: Tensor, queries: Sequence[int], k: int
) -> list[list[Cell]]:
    """A row for each query: the image, then its neighbours with their cosines."""
    rows = []
    values, places = descriptors.similarities(vectors, queries, groups).topk(min(k, len(strips) - 1), dim=1)
    for query, cosines, found in zip(queries, values.tolist(), places.tolist(), strict=True):
        row = [replace(_cell(strips, query), caption=texts[query], framed=True)]
        for place, cosine in zip(found, cosines, strict=True):
            if cosine == -torch.inf:
                continue  # all other images are of the same page
            same = bool(texts[query]) and texts[place] == texts[query]
            caption = f"{'✓ ' if same else ''}{cosine:.2f}  {texts[place]}"
            colour = "black" if not texts[query] else _SAME if same else _OTHER
            row.append(replace(_cell(strips, place), caption=caption, colour=colour))
        rows.append(row)
    return rows


def _cell(strips: Strips, position: int) -> Cell:
    strip = strips.strip(position)
    return Cell(strip[:, :, 0] if strip.shape[2] == 1 else strip)


def _names(k: int) -> list[str]:
    return ["image", *(f"neighbour {i + 1}" for i in range(k))]
