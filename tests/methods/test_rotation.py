"""Rotation: the right pixels are turned, nothing but the writing shows how, and it is learnt."""

import numpy as np
import pytest
import torch
from pretexts import PLAIN, build, generator, held_out, measured, noise, train
from torch.nn import functional as F

from htr_ssl.methods import rotation


def test_windows_are_turned_in_place():
    method = build("rotation", augment=PLAIN)
    images = noise([200, 130, 64, 96] * 8)
    view, classes, whole = method._turn(images, generator())
    plain = method.augment(images, generator()).pixels
    size, shown = method.width, slice(method.margin, method.width - method.margin)
    assert method.margin > 0
    seen = set()
    for row, window in whole.nonzero().tolist():
        kind = int(classes[row, window])
        part = plain[row, :, :, window * size : (window + 1) * size]
        part = part.flip(2) if kind % 2 else part
        part = part.flip(1) if kind >= 2 else part
        found = view.pixels[row, :, :, window * size : (window + 1) * size]
        assert torch.equal(found[..., shown], part[..., shown])
        assert (found[..., : method.margin] == 1).all()
        assert (found[..., -method.margin :] == 1).all()
        seen.add(kind)
    assert seen == set(range(rotation.CLASSES))
    assert not classes[~whole].any()


def test_turning_again_gives_the_image_back():
    method = build("rotation", gap=0, augment=PLAIN)
    images = noise([192] * 4)
    view, classes, whole = method._turn(images, generator())
    assert whole.all()
    windows = view.pixels.unfold(3, method.width, method.width)  # (N, C, H, K, width)
    for image, kinds in zip(windows, classes, strict=True):
        for k, kind in enumerate(kinds.tolist()):
            flips = [axis for axis, bit in ((2, 1), (1, 2)) if kind & bit]
            image[:, :, k] = image[:, :, k].flip(flips)
    again = windows.flatten(3)
    torch.testing.assert_close(again, method.augment(images, generator()).pixels[..., : again.shape[3]])


@pytest.mark.parametrize("box", [1.0, 3.125])
def test_image_form_turns_and_scales(box):
    method = build("rotation", form="image", box=box, augment=PLAIN)
    images = noise([200, 40, 97])
    plain = method.augment(images, generator()).pixels
    views = method.views(images, generator())
    assert len(views) == 4
    for turns, view in enumerate(views):
        assert view.widths.tolist() == [round(32 * box)] * 3
        for row, width in enumerate(images.widths.tolist()):
            turned = torch.rot90(plain[row : row + 1, ..., :width], turns, (2, 3))
            wanted = F.interpolate(turned, (32, round(32 * box)), mode="bilinear", antialias=True)
            torch.testing.assert_close(view.pixels[row : row + 1], wanted, atol=1e-5, rtol=0)


def test_image_form_loss_is_the_formula():
    method = build("rotation", form="image").eval()
    images = noise([200, 40, 97])
    views = method.views(images, generator())
    with torch.no_grad():
        terms = []
        for turns, view in enumerate(views):
            for row in range(3):
                frames = method.encoder(view.pixels[row : row + 1], view.widths[row : row + 1])
                scores = (method.classifier.weight @ frames.features[0].mean(0) + method.classifier.bias).double()
                terms.append(float(scores.exp().sum().log() - scores[turns]))
        loss = method(images, generator())["loss"]
    assert float(loss) == pytest.approx(np.mean(terms), rel=1e-4)


def test_window_loss_is_the_formula():
    method = build("rotation").eval()
    images = noise([200, 40, 97])
    view, classes, whole = method._turn(images, generator())
    with torch.no_grad():
        features = method.encoder(view.pixels, view.widths).features
        terms = []
        for row, window in whole.nonzero().tolist():
            mean = features[row, window * method.frames : (window + 1) * method.frames].mean(0)
            scores = (method.classifier.weight @ mean + method.classifier.bias).double()
            terms.append(float(scores.exp().sum().log() - scores[classes[row, window]]))
        found = method(images, generator())
    assert float(found["loss"]) == pytest.approx(np.mean(terms), rel=1e-4)
    assert int(found["weight"]) == len(terms)


def test_strokes_go_on_across_borders_only_without_a_gap():
    """A border of two windows that were not turned shows itself where nothing is painted over."""

    def steps(gap):
        method = build("rotation", gap=gap, augment=PLAIN)
        view, classes, whole = method._turn(held_out(level="line", count=24), generator())
        same, other = [], []
        for row, window in whole[:, 1:].nonzero().tolist():
            x = (window + 1) * method.width
            step = (view.pixels[row, 0, :, x] - view.pixels[row, 0, :, x - 1]).abs().mean()
            (other if classes[row, window : window + 2].any() else same).append(float(step))
        return np.mean(same), np.mean(other)

    same, other = steps(gap=0)
    assert same < 0.6 * other
    assert steps(gap=0.125) == (0, 0)


@pytest.mark.parametrize("form", ["window", "image"])
def test_chance_at_the_start(form):
    found = measured(build("rotation", form=form).eval(), held_out())
    assert found["loss"] == pytest.approx(np.log(4), abs=0.05)
    assert found["accuracy"] == pytest.approx(0.25, abs=0.12)


def test_windows_of_unseen_hands_are_told():
    found = measured(train(build("rotation"), 100), held_out())
    assert found["accuracy"] > 0.45


def test_directions_of_unseen_hands_are_told():
    method = train(build("rotation", form="image", box=1.0), 100, batch=8)
    assert measured(method, held_out(), draws=1)["accuracy"] > 0.5
