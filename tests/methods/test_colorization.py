"""Colorization: colours and bins are right, gray data stop it, ink is not a matter of a threshold, and it is learnt."""

from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pretexts import HEIGHT, PLAIN, build, generator, held_out, measured, train
from torch import distributed as group
from torch.multiprocessing import spawn

from htr_ssl.config import DataConfig
from htr_ssl.data.batch import Images
from htr_ssl.data.loading import Strips, read_samples, rows_of
from htr_ssl.errors import UserError
from htr_ssl.layers import collective
from htr_ssl.methods import _damage, _lab

DATA = Path(__file__).parents[3] / "shared" / "data"


def colours(*shape, seed=0):
    return np.random.default_rng(seed).random((*shape, 3), dtype=np.float32)


def channels_first(array):
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None]


def test_lab_is_that_of_opencv():
    rgb = colours(40, 60)
    found = _lab.lab(channels_first(rgb))[0].permute(1, 2, 0).numpy()
    # From sRGB OpenCV interpolates in a table; from linear light it computes.
    assert np.abs(found - cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)).max() < 0.6
    linear = np.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92).astype(np.float32)
    np.testing.assert_allclose(found, cv2.cvtColor(linear, cv2.COLOR_LRGB2LAB), atol=0.03)
    np.testing.assert_allclose(_lab.rgb(channels_first(found))[0].permute(1, 2, 0), rgb, atol=1e-4)
    back = _lab.rgb(channels_first(found))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(back, cv2.cvtColor(found, cv2.COLOR_LAB2RGB), atol=1e-3)
    gray = _lab.lab(torch.linspace(0, 1, 11)[None, None, None].expand(1, 3, 1, 11))
    assert gray[0, 1:].abs().max() < 0.02
    assert gray[0, 0, 0, [0, -1]].tolist() == pytest.approx([0, 100], abs=1e-3)


def test_bins_hold_every_colour():
    centres = _lab.gamut(10, 150)
    ab = _lab.lab(channels_first(colours(200, 200)))[0, 1:].flatten(1).T
    assert (torch.cdist(ab, centres).min(1).values <= 50**0.5 + 1e-3).all()
    assert len(_lab.gamut(10, 60)) < len(centres) == 260
    assert len(torch.unique(centres, dim=0)) == 260


def test_soft_labels_are_a_gaussian_over_five_bins():
    centres = _lab.gamut(10, 60)
    ab = 30 * torch.randn(50, 2, generator=generator())
    for cell, label in zip(ab, _lab.soft_labels(ab, centres), strict=True):
        distances = (centres - cell).double().square().sum(1)
        weight = torch.where(distances <= distances.sort().values[4], torch.exp(-distances / 50), 0)
        if weight.sum() > 1e-20:  # beyond the bins the formula gives 0 / 0
            torch.testing.assert_close(label.double(), weight / weight.sum(), atol=1e-4, rtol=1e-3)
        assert float(label.sum()) == pytest.approx(1)
        assert int(label.argmax()) == int(distances.argmin())


def test_weights_are_the_formula():
    centres = _lab.gamut(10, 60)
    balance = _lab.Rebalanced(centres, 0.5)
    batches = [torch.randint(0, 20 + i, (100,), generator=generator(i)) for i in range(5)]
    for classes in batches:
        balance.update(classes)
    shares = np.mean([np.bincount(classes, minlength=len(centres)) / 100 for classes in batches], 0)
    points = centres.double().numpy()
    smoothed = np.zeros(len(points))
    for q, share in enumerate(shares):
        near = np.exp(-((points - points[q]) ** 2).sum(1) / 50)
        smoothed += share * near / near.sum()
    weights = 1 / (0.5 * smoothed + 0.5 / len(points))
    weights /= (weights * smoothed).sum()
    np.testing.assert_allclose(balance.weights(), weights, rtol=1e-4)
    assert weights[-1] > 2 * weights[:20].max()  # rare colours count more


def split_colours(left, right, widths=(64, 64)):
    """Images whose left 32 columns have one colour and the rest another."""
    pixels = torch.tensor(left).view(1, 3, 1, 1).repeat(len(widths), 1, HEIGHT, max(widths))
    pixels[..., 32:] = torch.tensor(right).view(3, 1, 1)
    inside = torch.arange(max(widths)) < torch.tensor(widths)[:, None]
    return Images(torch.where(inside[:, None, None], pixels, 1.0), torch.tensor(widths))


def test_cells_have_the_colour_of_their_valid_pixels():
    left, right = (0.2, 0.3, 0.7), (0.9, 0.85, 0.6)
    method = build("colorization", 3, augment=PLAIN)
    whole, seen, _ = method._views(split_colours(left, right, (64, 50)), generator())
    cells = method._cells(whole, _lab.lab(whole.pixels)[:, 1:])
    assert cells.shape == (2, 16, 6, 2)
    for frames, colour in ((slice(0, 8), left), (slice(8, 13), right)):
        wanted = cv2.cvtColor(np.float32([[colour]]), cv2.COLOR_RGB2LAB)[0, 0, 1:]
        found = cells[:, frames].reshape(-1, 2)
        np.testing.assert_allclose(found, np.broadcast_to(wanted, found.shape), atol=0.6)
    light = cv2.cvtColor(np.float32([[left]]), cv2.COLOR_RGB2LAB)[0, 0, 0] / 100
    assert seen.pixels[:, :, :, 8].unique().tolist() == pytest.approx([light], abs=0.01)


def test_colours_of_one_lightness_look_the_same():
    rgb = _lab.rgb(torch.tensor([[60.0, 20, 10], [60, -20, 30]]).view(2, 3, 1, 1)).flatten(1).tolist()
    method = build("colorization", 3, augment=PLAIN)
    seen = method._views(split_colours(*rgb), generator())[1].pixels
    torch.testing.assert_close(seen[..., 8], seen[..., 50], atol=1e-3, rtol=0)


def reference(method, images, loss):
    """Mean of `loss(prediction, ab)` over all valid cells, one by one."""
    random = generator()
    whole, seen, _ = method._views(images, random)
    ab = _lab.lab(whole.pixels)[:, 1:].double()
    predicted = method.decoder(method.encoder(seen.pixels, seen.widths).features).double()
    terms = []
    for row, width in enumerate(whole.widths.tolist()):
        for t in range(-(-width // 4)):
            logits = predicted[row, t].view(4, -1)
            for cell in range(4):  # of 8 rows each
                values = ab[row, :, 8 * cell : 8 * cell + 8, 4 * t : min(4 * t + 4, width)].flatten(1).mean(1)
                terms.append(float(loss(logits[cell], values)))
    return np.mean(terms)


@torch.no_grad()
def test_bins_loss_is_the_formula():
    method = build("colorization", 3, rows=4)
    images = held_out(4, channels=3)
    for seed in range(3):
        method(images, generator(seed))  # in training: the distribution moves
    method.eval()
    weights = method.balance.weights().double()

    def loss(logits, ab):
        label = _lab.soft_labels(ab[None].float(), method.centres)[0].double()
        return -weights[label.argmax()] * (label * logits.log_softmax(0)).sum()

    assert float(method(images, generator())["loss"]) == pytest.approx(reference(method, images, loss), rel=1e-4)


@torch.no_grad()
def test_regression_loss_is_the_formula():
    method = build("colorization", 3, rows=4, target="regression").eval()
    images = held_out(4, channels=3)
    wanted = reference(method, images, lambda found, ab: (found - ab / 20).square().sum() / 2)
    assert float(method(images, generator())["loss"]) == pytest.approx(wanted, rel=1e-4)


def test_the_distribution_moves_in_training_only():
    method = build("colorization", 3)
    before = method.balance.distribution.clone()
    method.eval()(held_out(4, channels=3), generator())
    assert torch.equal(method.balance.distribution, before)
    method.train()(held_out(4, channels=3), generator())
    assert not torch.equal(method.balance.distribution, before)
    assert float(method.balance.distribution.sum()) == pytest.approx(1)


def _step(images):
    """Loss of a training step without random changes, scaled to the share of this process, and the buffers."""
    torch.manual_seed(0)
    method = build("colorization", 3, encoder="vit_strips").train()
    method.augment = lambda images, _: images
    terms = method(images, generator())
    return terms["loss"].detach() * collective.share(terms["weight"], torch.device("cpu")), dict(method.named_buffers())


def _share(rank, world, address, images, expected):
    group.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=world)
    try:
        mine = slice(0, 3) if rank == 0 else slice(3, 7)
        loss, buffers = _step(Images(images.pixels[mine], images.widths[mine]))
        group.all_reduce(loss)
        # A cell between two bins may be in the other one: distances are rounded in another way.
        torch.testing.assert_close(loss / world, expected[0], rtol=2e-4, atol=0)
        torch.testing.assert_close(buffers, expected[1], rtol=0, atol=2e-3)
    finally:
        group.destroy_process_group()


def test_two_processes_weigh_the_classes_of_the_joined_batch(tmp_path):
    images = held_out(7, channels=3)
    spawn(_share, (2, tmp_path / "address", images, _step(images)), nprocs=2)


def _half_gray(rank, world, address, images):
    group.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=world)
    try:
        method = build("colorization", 3, encoder="vit_strips", augment=PLAIN, target="regression").train()
        if rank == 0:
            images = Images(images.pixels.mean(1, keepdim=True).expand(-1, 3, -1, -1), images.widths)
        for seed in range(5):
            method(images, generator(seed))
    finally:
        group.destroy_process_group()


def test_a_process_with_gray_images_does_not_stop_alone(tmp_path):
    """The others would wait for it; together they have colours."""
    spawn(_half_gray, (2, tmp_path / "address", held_out(4, channels=3)), nprocs=2)


def test_gray_encoders_are_refused():
    with pytest.raises(UserError, match=r"data\.channels=3.*method\.target=ink"):
        build("colorization", 1)
    build("colorization", 1, target="ink")


def test_gray_images_are_refused_after_four_batches():
    images = held_out(4)
    images = Images(images.pixels.expand(-1, 3, -1, -1), images.widths)
    method = build("colorization", 3)
    for seed in range(3):
        method(images, generator(seed))
    with pytest.raises(UserError, match=r"are gray.*method\.target=ink"):
        method(images, generator())
    method = build("colorization", 3, target="ink")
    for seed in range(5):
        method(images, generator(seed))


@pytest.mark.skipif(not DATA.exists(), reason="the data are not part of the project")
@pytest.mark.parametrize(("name", "colour"), [("timeus", True), ("poilus", False), ("copiste", False)])
def test_scans_with_and_without_colour(name, colour):
    config = DataConfig(source=str(DATA / f"{name}_lines.parquet"), height=HEIGHT, channels=3)
    samples = read_samples(config)
    strips = Strips(samples, rows_of(samples, "train", False)[::700][:6], config)
    images, method = strips[list(range(len(strips)))].images(), build("colorization", 3)
    with torch.no_grad(), nullcontext() if colour else pytest.raises(UserError, match="gray"):
        for seed in range(4):
            method(images, generator(seed))


def test_ink_is_what_otsu_finds():
    images = held_out(8)
    found = _damage.binarised(images)
    for row, width in enumerate(images.widths.tolist()):
        gray = (255 * images.pixels[row, 0, :, :width]).round().byte().numpy()
        wanted = cv2.threshold(gray, 0, 1, cv2.THRESH_BINARY_INV + cv2.THRESH_OTSU)[1]
        assert (found[row, 0, :, :width].numpy() == wanted).mean() > 0.98  # 64 levels, not 256
        assert not found[row, ..., width:].any()
    blank = Images(0.95 + 0.05 * torch.rand(2, 1, HEIGHT, 64, generator=generator()), torch.tensor([64, 40]))
    assert not _damage.binarised(blank).any()


def best_threshold(damage):
    """Balanced accuracy of ink and paper pixels by the best threshold of each image, chosen with the answer."""
    images = held_out(24)
    ink, seen = _damage.binarised(images), _damage.degraded(images, damage, generator()).pixels
    scores = []
    for row, width in enumerate(images.widths.tolist()):
        wanted, light = ink[row, 0, :, :width], seen[row, 0, :, :width]
        if wanted.any():
            dark = torch.stack([light < level for level in torch.linspace(0, 1, 101)])
            scores.append(float(((dark[:, wanted].float().mean(1) + (~dark[:, ~wanted]).float().mean(1)) / 2).max()))
    return np.mean(scores)


def test_ink_is_a_matter_of_a_threshold_only_without_damage():
    assert best_threshold(damage=0) > 0.97
    assert best_threshold(damage=1) < 0.87


def test_chance_at_the_start():
    method = build("colorization", 3).eval()
    found = measured(method, held_out(channels=3), draws=1)
    assert found["loss"] == pytest.approx(np.log(len(method.centres)), abs=0.3)
    found = measured(build("colorization", 1, target="ink").eval(), held_out(), draws=1)
    assert found["loss"] == pytest.approx(np.log(2), abs=0.1)


def two_materials(images):
    """Gray images as blue ink on yellow paper, every other one as brown ink on darker, bluish paper."""
    ink = torch.tensor([[0.1, 0.15, 0.5], [0.45, 0.25, 0.1]]).repeat(len(images.widths), 1)[: len(images.widths)]
    paper = torch.tensor([[1.0, 0.97, 0.8], [0.7, 0.75, 0.85]]).repeat(len(images.widths), 1)[: len(images.widths)]
    pixels = torch.lerp(ink[..., None, None], paper[..., None, None], images.pixels)
    inside = torch.arange(pixels.shape[3]) < images.widths[:, None]
    return Images(torch.where(inside[:, None, None], pixels, 1.0), images.widths)


def test_colours_of_unseen_hands_are_told():
    """The tone of the paper says which material it is, the strokes where there is ink."""
    method = train(build("colorization", 3, augment=PLAIN), 80, batch=16, change=two_materials)
    images = two_materials(held_out())
    found = measured(method, images, draws=1)
    assert found["accuracy"] > found["constant"] + 0.1
    whole, seen, painted = method.reconstruct(images, generator())
    errors = [float((view.pixels - whole.pixels).square().mean()) for view in (painted, seen)]
    assert errors[0] < 0.75 * errors[1]


def test_ink_of_unseen_hands_is_told():
    method = train(build("colorization", 1, target="ink", augment=PLAIN), 80)
    images = held_out()
    found = measured(method, images, draws=1)
    assert found["accuracy"] > found["constant"] + 0.08
    painted, ink = method.reconstruct(images, generator())[2].pixels, _damage.binarised(images)
    paper = ~ink & (torch.arange(ink.shape[3]) < images.widths[:, None])[:, None, None]
    dark = torch.stack([painted < level for level in torch.linspace(0, 1, 41)])
    hit, kept = dark[:, ink].float().mean(1), (~dark[:, paper]).float().mean(1)
    assert float((hit + kept).max()) / 2 > 0.75
