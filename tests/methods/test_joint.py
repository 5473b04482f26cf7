"""Joint-embedding methods: losses against reference values and formulas, stop-gradients, targets, several processes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed as group
from torch import nn
from torch.multiprocessing import spawn
from torch.nn import functional as F

from htr_ssl import model_file, plugins
from htr_ssl.config import AugmentConfig
from htr_ssl.data.batch import Images
from htr_ssl.errors import UserError
from htr_ssl.layers import collective
from htr_ssl.layers.frames import Frames
from htr_ssl.methods import _heads, _pair, barlow_twins, moco, simclr, simsiam, vicreg

REFERENCE = Path(__file__).with_name("reference_losses.npz")
NAMES = [
    name
    for name in plugins.names("htr_ssl.methods")
    if issubclass(plugins.load("htr_ssl.methods", name).Config, _pair.PairConfig)
]
ACROSS = ["simclr", "moco", "byol", "simsiam", "barlow_twins", "vicreg"]


def build(name, encoder="crnn", **options):
    torch.manual_seed(0)
    module = plugins.load("htr_ssl.methods", name)
    built = model_file.build_encoder(encoder, {"dropout": 0.0}, 32, 1)
    return module.Method(module.Config(**options), built)


def images(count=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    widths = torch.randint(60, 129, (count,), generator=generator)
    return Images(torch.rand(count, 1, 32, 128, generator=generator), widths)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(seed, m=7, e=5):
    return torch.randn(m, e, generator=generator(seed), dtype=torch.float64)


def test_all_of_the_family_are_tested():
    assert set(NAMES) == set(ACROSS)


# --- losses -----------------------------------------------------------------------------------------------------------


def loss_of(case, x):
    """Our loss of one reference case."""
    if case["name"] == "ntxent":
        return simclr.nt_xent(*(F.normalize(z, dim=1) for z in x), case["temperature"])
    if case["name"] == "negcos":
        return _heads.negative_cosine(*x)
    if case["name"] == "simsiam":
        return _heads.agreement(*x)
    if case["name"] == "barlow":
        return barlow_twins.barlow_twins(*x, case["lambda_param"])
    weights = {"invariance": case["lambda_param"], "variance": case["mu_param"], "covariance": case["nu_param"]}
    return vicreg.vicreg(*x, vicreg.Config(**weights, eps=case["eps"]))["loss"]


def products(gradient):
    """(16,) products of a gradient with fixed directions: equal only if the gradients are."""
    flat = gradient.ravel()
    return np.cos(np.outer(np.arange(1, 17), np.arange(1, flat.size + 1))) @ flat


@pytest.mark.parametrize(
    ("name", "count"), [("ntxent", 12), ("negcos", 6), ("simsiam", 6), ("barlow", 12), ("vicreg", 12)]
)
def test_values_and_gradients_are_the_reference(name, count):
    """What lightly 1.6.0 (MIT) computes in float64 on random tensors."""
    reference = np.load(REFERENCE)
    cases = [(i, case) for i, case in enumerate(json.loads(str(reference["cases"]))) if case["name"] == name]
    assert len(cases) == count
    for number, case in cases:
        x = [torch.tensor(reference[f"x{i}"], requires_grad=True) for i in case["inputs"]]
        loss = loss_of(case, x)
        loss.backward()
        np.testing.assert_allclose(loss.item(), case["loss"], rtol=1e-6, atol=1e-9)
        for value, wanted in zip(x, reference[f"gradients{number}"], strict=True):
            found = np.zeros(value.shape) if value.grad is None else value.grad.numpy()
            np.testing.assert_allclose(products(found), wanted, rtol=1e-6, atol=1e-7)


def test_nt_xent_is_the_formula():
    z1, z2 = (F.normalize(rows(i), dim=1) for i in range(2))
    z = torch.cat((z1, z2))
    terms = []
    for i in range(14):
        scores = [float(z[i] @ z[k]) / 0.3 for k in range(14)]
        terms.append(np.log(sum(np.exp(scores[k]) for k in range(14) if k != i)) - scores[(i + 7) % 14])
    assert float(simclr.nt_xent(z1, z2, 0.3)) == pytest.approx(np.mean(terms), rel=1e-12)


def test_info_nce_is_the_formula():
    q, k = rows(0), rows(1)
    terms = []
    for i in range(7):
        scores = [float(q[i] @ k[j] / (q[i].norm() * k[j].norm())) / 0.2 for j in range(7)]
        terms.append(np.log(sum(np.exp(scores))) - scores[i])
    assert float(moco.info_nce(q, k, 0.2)) == pytest.approx(2 * 0.2 * np.mean(terms), rel=1e-12)


def test_barlow_twins_is_the_formula():
    z1, z2 = rows(0), rows(1)
    total = 0.0
    for i in range(5):
        for j in range(5):
            a, b = z1[:, i], z2[:, j]
            a, b = (x - x.mean() for x in (a, b))
            c = float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())
            total += (1 - c) ** 2 if i == j else 0.01 * c**2
    assert float(barlow_twins.barlow_twins(z1, z2, 0.01)) == pytest.approx(total, rel=1e-4)  # its norm has an epsilon


def test_vicreg_is_the_formula():
    z1, z2 = rows(0), 0.3 * rows(1)
    config = vicreg.Config(invariance=3, variance=5, covariance=7, gamma=0.9, eps=1e-3)

    def v(z):
        deviations = [np.sqrt(np.var(z[:, j].numpy(), ddof=1) + 1e-3) for j in range(5)]
        return np.mean([max(0.0, 0.9 - s) for s in deviations])

    def c(z):
        covariances = np.cov(z.numpy(), rowvar=False)
        return (covariances**2).sum() / 5 - (np.diag(covariances) ** 2).sum() / 5

    expected = 3 * float((z1 - z2).square().mean()) + 5 * (v(z1) + v(z2)) / 2 + 7 * (c(z1) + c(z2))
    assert float(vicreg.vicreg(z1, z2, config)["loss"]) == pytest.approx(expected, rel=1e-10)


def test_agreement_is_the_formula_and_moves_the_predictions_alone():
    p1, p2, z1, z2 = (rows(i).requires_grad_() for i in range(4))
    loss = _heads.agreement(p1, p2, z1, z2)
    cosines = [
        [float((p @ z / (p.norm() * z.norm())).detach()) for p, z in zip(*pair, strict=True)]
        for pair in ((p1, z2), (p2, z1))
    ]
    assert loss.item() == pytest.approx(-np.mean(cosines), rel=1e-12)
    loss.backward()
    assert p1.grad.any()
    assert p2.grad.any()
    assert z1.grad is None
    assert z2.grad is None


def test_losses_keep_full_precision_under_autocast():
    z = [torch.randn(64, 32, generator=generator(i)) for i in range(2)]
    with torch.autocast("cpu", torch.bfloat16):
        inside = [barlow_twins.barlow_twins(*z, 0.01), vicreg.covariance(z[0]), moco.info_nce(*z, 0.1)]
        inside.append(simclr.nt_xent(*(F.normalize(x, dim=1) for x in z), 0.1))
    outside = [barlow_twins.barlow_twins(*z, 0.01), vicreg.covariance(z[0]), moco.info_nce(*z, 0.1)]
    outside.append(simclr.nt_xent(*(F.normalize(x, dim=1) for x in z), 0.1))
    assert [float(x) for x in inside] == [float(x) for x in outside]


# --- instances --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["all", "window", "frame"])
def test_every_method_takes_every_instance(name, kind):
    method = build(name, instance=kind)
    terms = method(images(), generator())
    assert torch.isfinite(terms["loss"])
    frames = method.encoder.frames(images().widths)
    assert method.pair.config.window == 5
    x1, x2 = method.views(images(), generator())
    assert not torch.equal(x1.widths, x2.widths)
    h, other = method.pair.frames(method.encoder, x1, x2)
    (found,) = method.pair.instances(h)
    counts = h.lengths
    assert torch.equal(counts, other.lengths)
    wanted = {"all": len(frames), "frame": int(counts.sum()), "window": int(((counts + 2) // 5).clamp(min=1).sum())}
    assert len(found) == wanted[kind]


def test_instances_are_means_of_valid_frames():
    features = torch.arange(12.0).reshape(2, 6, 1)
    mask = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 0]], dtype=torch.bool)
    assert _pair.instances(features, mask, "all", 2).flatten().tolist() == [2.0, 6.0]
    assert _pair.instances(features, mask, "window", 2).flatten().tolist() == [0.5, 2.5, 4.0, 6.0]
    assert _pair.instances(features, mask, "frame", 2).flatten().tolist() == [0, 1, 2, 3, 4, 6]


@pytest.mark.parametrize("encoder", plugins.names("htr_ssl.encoders"))
def test_frames_that_belong_together_show_the_same_letters_at_other_places(encoder):
    torch.manual_seed(0)
    built = model_file.build_encoder(encoder, {"dropout": 0.0}, 32, 1)
    still = AugmentConfig(**dict.fromkeys(AugmentConfig.model_fields, 0.0))
    pair = _pair.Pair(_pair.PairConfig(augment=still, shift=0.0, margin=1.0, cut=0.25))
    x1, x2 = pair.views(images(40), built, generator())

    def strips(view):  # (N, T, pixels): what each frame stands on
        cut = view.pixels.unfold(3, built.stride, built.stride).permute(0, 3, 1, 2, 4).flatten(2)
        return _pair._common(Frames(cut, built.frames(view.widths)), view)

    first, second = strips(x1), strips(x2)
    whole = built.frames(images(40).widths)
    assert (first.lengths < whole).any()
    assert (first.lengths >= 0.5 * whole - 1).all()
    assert torch.equal(first.lengths, second.lengths)
    inner = first.mask()
    inner[torch.arange(40), first.lengths - 1] = False  # the last may be cut by the image's end
    assert torch.allclose(first.features[inner], second.features[inner], atol=1e-5)
    assert (x1.start != x2.start).float().mean() > 0.8
    assert len(set((x1.start - x2.start).tolist())) > 8


def test_without_margin_and_cut_views_stand_at_the_same_place():
    pair = _pair.Pair(_pair.PairConfig(margin=0, cut=0))
    encoder = model_file.build_encoder("crnn", {}, 32, 1)
    x1, x2 = pair.views(images(), encoder, generator())
    assert torch.equal(x1.widths, x2.widths)
    assert not x1.start.any()
    assert not x2.start.any()
    assert torch.equal(x1.common, encoder.frames(x1.widths))


def test_of_too_many_instances_the_same_are_drawn_from_both_views():
    pair = _pair.Pair(_pair.PairConfig(instances=10))
    x = torch.arange(50)[:, None]
    first, second = pair.some(generator(), x, x + 100)
    assert len(set(first.flatten().tolist())) == 10
    assert torch.equal(first + 100, second)


@pytest.mark.parametrize("name", NAMES)
def test_a_single_instance_is_refused(name):
    one = Images(torch.rand(1, 1, 32, 64), torch.tensor([60]))
    with pytest.raises(UserError, match="batch_size"):
        build(name, instance="all")(one, generator())


# --- what receives gradient, what follows -----------------------------------------------------------------------------


def gradients(method):
    method(images(), generator())["loss"].backward()
    return {name: p.grad is not None and bool(p.grad.any()) for name, p in method.named_parameters()}


@pytest.mark.parametrize("name", ["byol", "moco"])
def test_the_target_gets_no_gradient_and_follows(name):
    method = build(name, ema_decay=0.9)
    reached = gradients(method)
    assert not any(value for key, value in reached.items() if key.startswith("target."))
    dead = {key for key, value in reached.items() if not value and not key.startswith("target.")}
    assert not {key for key in dead if not key.endswith("bias")}
    before = [p.clone() for p in method.target.parameters()]
    with torch.no_grad():
        for p in method.encoder.parameters():
            p.add_(1)
    method.after_step(0.0)
    online = [*method.encoder.parameters(), *method.projector.parameters()]
    for old, new, p in zip(before, method.target.parameters(), online, strict=True):
        torch.testing.assert_close(new, 0.9 * old + 0.1 * p)
    method.after_step(1.0)
    still = [p.clone() for p in method.target.parameters()]
    method.after_step(1.0)
    assert all(torch.equal(a, b) for a, b in zip(still, method.target.parameters(), strict=True)), "at the end it rests"


def test_the_decay_rises_along_a_cosine():
    assert _heads.rising(0.99, 0.0) == pytest.approx(0.99)
    assert _heads.rising(0.99, 0.5) == pytest.approx(0.995)
    assert _heads.rising(0.99, 1.0) == 1.0


def encoder_gradient(method):
    method(images(), generator())["loss"].backward()
    return torch.cat([p.grad.flatten() for p in method.encoder.parameters()])


def test_simsiam_learns_from_the_predictions_alone(monkeypatch):
    stopped = encoder_gradient(build("simsiam"))
    cosine, agreement = _heads.negative_cosine, _heads.agreement
    for loss, same in (
        (lambda p1, p2, z1, z2: agreement(p1, p2, z1.detach(), z2.detach()), True),
        (lambda p1, p2, z1, z2: 0.5 * (cosine(p1, z2) + cosine(p2, z1)), False),
    ):
        monkeypatch.setattr(simsiam, "agreement", loss)
        assert torch.allclose(encoder_gradient(build("simsiam")), stopped) == same


def test_batch_norm_of_one_process_is_that_of_torch():
    mine, theirs = collective.BatchNorm(4), nn.BatchNorm1d(4)
    x = torch.randn(6, 4)
    torch.testing.assert_close(mine(x), theirs(x))
    assert torch.isfinite(mine(x[:1])).all()


# --- several processes ------------------------------------------------------------------------------------------------


def _fixed(name):
    """A method whose views are the images themselves, the second with other pixels, so that nothing is drawn."""
    method = build(name, encoder="vit_strips").train()

    def views(batch, encoder, _):
        start, common = torch.zeros_like(batch.widths), encoder.frames(batch.widths)
        shifted = batch.pixels.roll(2, 3)
        return tuple(_pair.View(pixels, batch.widths, start, common) for pixels in (batch.pixels, shifted))

    method.pair.views = views
    return method


def _result(method, batch):
    terms = method(batch, generator())
    loss = terms["loss"] * collective.share(terms["weight"], torch.device("cpu"))
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def _process(rank, world, address, expected):
    group.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=world)
    try:
        whole = images(7)
        mine = slice(0, 3) if rank == 0 else slice(3, 7)
        for name, (one_loss, one_gradients, one_buffers) in expected.items():
            method = _fixed(name)
            loss, found = _result(method, Images(whole.pixels[mine], whole.widths[mine]))
            group.all_reduce(loss)
            torch.testing.assert_close(loss / world, one_loss, rtol=1e-5, atol=1e-6, msg=name)
            assert found.keys() == one_gradients.keys()
            largest = max(float(gradient.abs().max()) for gradient in one_gradients.values())
            for key, gradient in found.items():
                group.all_reduce(gradient)
                wanted = one_gradients[key]
                limit = 1e-4 * float(wanted.abs().max()) + 1e-5 * largest
                torch.testing.assert_close(gradient / world, wanted, rtol=0, atol=limit, msg=f"{name} {key}")
            for key, buffer in method.named_buffers():
                torch.testing.assert_close(buffer, one_buffers[key], rtol=1e-4, atol=1e-6, msg=f"{name} {key}")
    finally:
        group.destroy_process_group()


def test_two_processes_are_one_on_the_joined_batch(tmp_path):
    """Losses, gradients and statistics of every method of the family, with unequal shares of a batch."""
    expected = {}
    for name in ACROSS:
        method = _fixed(name)
        expected[name] = (*_result(method, images(7)), dict(method.named_buffers()))
    spawn(_process, (2, tmp_path / "address", expected), nprocs=2)


def _gathering(rank, world, address):
    group.init_process_group("gloo", init_method=f"file://{address}", rank=rank, world_size=world)
    try:
        mine = torch.full((rank + 1, 2), float(rank), requires_grad=True)
        joined = collective.gather(mine)
        assert joined.tolist() == [[0, 0], [1, 1], [1, 1]]
        (joined * torch.tensor([[1.0], [2.0], [3.0]])).sum().backward()
        assert mine.grad.tolist() == ([[2, 2]] if rank == 0 else [[4, 4], [6, 6]]), "summed over both processes"
    finally:
        group.destroy_process_group()


def test_gather_joins_unequal_shares_in_order_with_gradient(tmp_path):
    spawn(_gathering, (2, tmp_path / "address"), nprocs=2)
