"""Is the encoder still telling things apart? Measures of its frames, the same for every method, and a warning.

Frames of the same images in two mild views are compared; lengths are brought to 1 first, so that scale says nothing.
The measures are those of Wang and Isola 2020 (arXiv 2005.10242: alignment, uniformity), Garrido et al. 2022 (RankMe,
arXiv 2210.02885: effective rank, here of the frames less their mean) and Chen and He 2021 (arXiv 2011.10566: standard
deviation of the features); the share of the position is ours, for the collapse that Kišš and Hradiš 2024 saw on text
lines (arXiv 2405.00420).

Letters: N images, T frames, D features, M valid frames of all images.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor, nn

from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Batch, Images
from htr_ssl.layers.contract import EncoderModule
from htr_ssl.seeds import derive
from htr_ssl.views.augment import TextAugment

IMAGES = 32
"""Images that are looked at."""
FRAMES = 2048
"""Most frames that are compared."""
MILD = AugmentConfig(slant=0.1, stretch=0.0, shift=0.03, scale=0.05, elastic=0.015, stroke=0.2, contrast=0.1, mask=0.0)
"""Changes that leave every letter what it is."""
NAMES = ("feature_std", "effective_rank", "alignment", "uniformity", "position_share")
"""The measures."""


def chosen(count: int) -> list[int]:
    """Places of at most `IMAGES` of `count` images, evenly chosen."""
    number = min(IMAGES, count)
    return [place * count // number for place in range(number)]


class Monitor:
    """Measures an encoder on a few fixed images.

    Attributes:
        start: measures of the encoder before its training, to which the later ones are compared.

    Args:
        batch: of at most `IMAGES` train images.
        encoder: as it is before the training.
        seed: of the views and of the frames that are chosen.
    """

    def __init__(self, batch: Batch, encoder: EncoderModule, seed: int) -> None:
        self.batch, self.seed = batch, seed
        self.start = self(encoder)

    @torch.no_grad()
    def __call__(self, encoder: EncoderModule) -> dict[str, float]:
        """Measures, see `measures`; the encoder is left as it was."""
        training = encoder.training
        encoder.eval()
        images = self.batch.to(next(encoder.parameters()).device).images()
        generator = Generator().manual_seed(derive(self.seed, "collapse"))
        augment = TextAugment(MILD, shift_x=0.06)
        views = [augment(images, generator, torch.ones(len(images.widths))) for _ in range(2)]
        first, second, positions = _frames(encoder, views)
        encoder.train(training)
        some = torch.randperm(len(first), generator=generator)[:FRAMES].to(first.device)
        return measures(first[some], second[some], positions[some])

    def verdict(self, found: dict[str, float]) -> str | None:
        """What is wrong with the trained encoder, or None; see `verdict`."""
        return verdict(found, self.start)


def measures(first: Tensor, second: Tensor, positions: Tensor) -> dict[str, float]:
    """Spread and agreement of frames.

    Args:
        first, second: (M, D) the same frames in two views.
        positions: (M,) place of each frame in its line.

    Returns:
        feature_std: standard deviation of the features × sqrt(D); 1 = spread over all directions, 0 = one point.
        effective_rank: number of directions used, from 1 to D.
        alignment: mean squared distance of a frame in two views; 0 = the same.
        uniformity: log of the mean of exp(-2 d²) over pairs of frames; 0 = one point, about -4 = all over the sphere.
        position_share: share of the variance that the place in the line alone explains, in [0, 1].
    """
    z, other = (nn.functional.normalize(x.float(), dim=1) for x in (first, second))
    centred = z - z.mean(0)
    values = torch.linalg.svdvals(centred)
    shares = values / values.sum().clamp(min=1e-12)
    entropy = -(shares * shares.clamp(min=1e-12).log()).sum()
    distances = torch.pdist(z[:512]).square()
    return {
        "feature_std": float(z.std(0).square().sum().sqrt()),
        "effective_rank": float(entropy.exp()),
        "alignment": float((z - other).square().sum(1).mean()),
        "uniformity": float(distances.mul(-2).exp().mean().log()),
        "position_share": _explained(centred, positions),
    }


def verdict(found: dict[str, float], start: dict[str, float]) -> str | None:
    """What is wrong with a trained encoder, or None if nothing is.

    An untrained encoder tells little apart itself, and encoders differ in it: the limits are relative to the start.
    They lie between what methods and their deliberately broken forms reach (tests/training/test_collapse.py).

    Args:
        found: measures now.
        start: measures before the training.
    """
    if found["feature_std"] < 0.3 * start["feature_std"]:
        return (
            f"all frames have nearly the same features (their spread fell from {start['feature_std']:.2f} to "
            f"{found['feature_std']:.2f})"
        )
    if found["effective_rank"] < 0.4 * start["effective_rank"] and _content(found) < 1.5 * _content(start):
        return (
            f"the frames differ in few directions (effective rank {found['effective_rank']:.1f}, "
            f"{start['effective_rank']:.1f} at the start) and no more than untrained"
        )
    if found["position_share"] > max(0.9, start["position_share"] + 0.1):
        share = f"{100 * found['position_share']:.0f} % of their variance"
        return f"the features say where a frame is in the line, not what is there ({share})"
    return None


def _content(found: dict[str, float]) -> float:
    """Spread of the features that the place in the line does not explain."""
    return float(found["feature_std"] * (1 - found["position_share"]) ** 0.5)


def _frames(encoder: EncoderModule, views: Sequence[Images]) -> tuple[Tensor, Tensor, Tensor]:
    """(M, D) features of each view's valid frames and (M,) their places."""
    frames = [encoder(view.pixels, view.widths) for view in views]
    mask = frames[0].mask()
    positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
    return frames[0].features[mask], frames[1].features[mask], positions[mask]


def _explained(centred: Tensor, positions: Tensor) -> float:
    """Share of the variance of (M, D) that lies between places, corrected for chance (adjusted R²); at least 0."""
    counts = torch.bincount(positions)
    sums = torch.zeros(len(counts), centred.shape[1], device=centred.device).index_add_(0, positions, centred)
    between = float((sums.square().sum(1) / counts.clamp(min=1)).sum())
    all_in_all = float(centred.square().sum())
    spare = len(centred) - int((counts > 0).sum())
    if all_in_all < 1e-9 or spare < 1:
        return 0.0
    return max(0.0, 1 - (1 - between / all_in_all) * (len(centred) - 1) / spare)
