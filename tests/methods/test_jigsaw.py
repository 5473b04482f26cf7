"""Jigsaw: undoing the shuffle gives the line back, cuts give nothing away, short images pass, and it is learnt."""

import itertools

import numpy as np
import pytest
import torch
from pretexts import PLAIN, build, generator, held_out, measured, noise, train

from htr_ssl.data.batch import Images
from htr_ssl.methods import jigsaw
from htr_ssl.methods._pieces import distant_permutations

UNCUT = {"gap": 0, "tone": 0, "augment": PLAIN}
WIDTHS = [300, 256, 200, 131, 90, 47, 17, 12, 8]


def undone(method, view, plan):
    """Every piece back in its place, one by one."""
    again = view.pixels.clone()
    tall = 32 // method.rows
    for image, before, order, size, cells in zip(again, view.pixels, plan.order, plan.size, plan.cells, strict=True):
        size, cells = int(size), int(cells)
        for place in range(cells):
            group, column = divmod(place, plan.pieces)
            for row in range(method.rows):
                cell = int(order[group, column * method.rows + row])
                x, y = (group * plan.pieces + cell // method.rows) * size, cell % method.rows * tall
                piece = before[:, row * tall : (row + 1) * tall, place * size : (place + 1) * size]
                image[:, y : y + tall, x : x + size] = piece
    return Images(again, view.widths)


@pytest.mark.parametrize("form", ["position", "permutation"])
@pytest.mark.parametrize("halves", [False, True])
def test_undoing_the_shuffle_gives_the_image_back(form, halves):
    method = build("jigsaw", form=form, halves=halves, **UNCUT)
    images = method._cropped(method.augment(noise(WIDTHS), generator()), generator())
    plan = method._plan(images, generator())
    view = plan.paste(images, plan.order)
    assert (view.pixels != images.pixels).flatten(1).any(1)[:7].sum() >= 4
    assert torch.equal(undone(method, view, plan).pixels, images.pixels)


def test_permutation_form_takes_a_part_of_the_image_and_a_row_of_the_table():
    method = build("jigsaw", form="permutation", **UNCUT)
    images = method.augment(noise(WIDTHS), generator())
    part = method._cropped(images, generator())
    plan = method._plan(part, generator())
    assert part.widths.tolist() == [128, 128, 128, 128, 80, 32, 16, 12, 8]
    starts = set()
    for row, width in enumerate(part.widths.tolist()):
        places = range(int(images.widths[row]) - width + 1)
        inside = [
            x for x in places if torch.equal(images.pixels[row, ..., x : x + width], part.pixels[row, ..., :width])
        ]
        assert len(inside) == 1
        starts |= set(inside)
        assert (part.pixels[row, ..., width:] == 1).all()
    assert len(starts) > 2
    assert plan.counted.all(1).tolist() == [True] * 7 + [False] * 2  # fewer frames than pieces
    assert torch.equal(plan.order[:7, 0], method.table[plan.classes[:7]])
    assert (plan.order[7:, 0] == torch.arange(4)).all()


def test_places_are_drawn_evenly():
    method = build("jigsaw", pieces=3)
    plan = method._plan(noise([192] * 600), generator())
    for place in range(3):
        counts = torch.bincount(plan.order[:, 0, place], minlength=3)
        assert (counts > 150).all(), counts


def test_every_piece_of_short_images_has_a_place():
    method = build("jigsaw", **UNCUT)
    plan = method._plan(method.augment(noise(WIDTHS), generator()), generator())
    assert plan.cells.tolist() == [9, 8, 6, 4, 4, 5, 4, 3, 2]
    assert plan.size.tolist() == [32, 32, 32, 32, 20, 8, 4, 4, 4]
    # One piece that is left over at the end cannot change places: it has no answer.
    assert plan.counted.sum(1).tolist() == [8, 8, 6, 4, 4, 4, 4, 3, 2]
    for order, cells in zip(plan.order, plan.cells.tolist(), strict=True):
        for group, first in zip(order, range(0, cells, 4), strict=False):
            assert sorted(group[: cells - first].tolist()) == list(range(min(4, cells - first)))


def test_images_with_fewer_frames_than_pieces():
    images = Images(torch.rand(2, 1, 32, 32), torch.tensor([8, 8]))  # two frames, four pieces
    for form, weight in (("position", 4), ("permutation", 0)):
        terms = build("jigsaw", form=form, augment=PLAIN)(images, generator())
        terms["loss"].backward()
        assert int(terms["weight"]) == weight
        assert bool(terms["loss"] > 0) == bool(weight)


@pytest.mark.parametrize("halves", [False, True])
def test_position_loss_is_the_formula(halves):
    method = build("jigsaw", halves=halves).eval()
    images = noise(WIDTHS)
    random = generator()
    changed = method.augment(images, random)
    plan = method._plan(changed, random)
    view = plan.paste(changed, plan.order)
    terms = []
    with torch.no_grad():
        features = method.encoder(view.pixels, view.widths).features.double()
        classify = build("jigsaw", halves=halves).classifier.double()
        for row, place in plan.counted.nonzero().tolist():
            frames = int(plan.size[row]) // 4
            scores = classify(features[row, place * frames : (place + 1) * frames].mean(0)).view(method.rows, -1)
            group, column = divmod(place, 4)
            for half in range(method.rows):
                wanted = plan.order[row, group, column * method.rows + half]
                terms.append(float(scores[half].exp().sum().log() - scores[half, wanted]))
        found = method(images, generator())
    assert float(found["loss"]) == pytest.approx(np.mean(terms), rel=1e-5)
    assert int(found["weight"]) == len(terms)


def test_permutation_loss_is_the_formula():
    method = build("jigsaw", form="permutation").eval()
    images = noise([200, 131, 47])
    random = generator()
    part = method._cropped(method.augment(images, random), random)
    plan = method._plan(part, random)
    view = plan.paste(part, plan.order)
    terms = []
    with torch.no_grad():
        features = method.encoder(view.pixels, view.widths).features
        for row, size in enumerate((plan.size // 4).tolist()):
            joined = torch.cat([features[row, k * size : (k + 1) * size].mean(0) for k in range(4)])
            scores = method.classifier(joined).double()
            terms.append(float(scores.exp().sum().log() - scores[plan.classes[row]]))
        found = method(images, generator())
    assert float(found["loss"]) == pytest.approx(np.mean(terms), rel=1e-5)


def test_permutations_are_those_of_the_paper():
    """Algorithm 1: the next one has the largest sum of Hamming distances to those before."""
    left = list(itertools.permutations(range(5)))
    chosen = [left.pop(0)]
    while len(chosen) < 40:
        sums = [sum(a != b for other in chosen for a, b in zip(one, other, strict=True)) for one in left]
        chosen.append(left.pop(sums.index(max(sums))))
    found = distant_permutations(5, 40)
    assert found.tolist() == [list(one) for one in chosen]
    assert len({tuple(one) for one in found.tolist()}) == 40

    def mean_distance(rows):
        return np.mean([(a != b).sum() for a, b in itertools.combinations(rows, 2)])

    everyone = np.array(list(itertools.permutations(range(7))))
    drawn = everyone[np.random.default_rng(0).permutation(len(everyone))[:64]]
    assert mean_distance(distant_permutations(7, 64)) > mean_distance(drawn)
    assert mean_distance(distant_permutations(7, 4)) == 7
    assert len(distant_permutations(4, 24)) == 24  # all there are


def test_impossible_permutations_are_refused():
    with pytest.raises(ValueError, match="at most 8 pieces"):
        jigsaw.Config(form="permutation", pieces=3, permutations=7)
    with pytest.raises(ValueError, match="at most 8 pieces"):
        jigsaw.Config(form="permutation", pieces=5, halves=True)


def neighbours_found(gap):
    """Share of pieces whose right neighbour is the one of three with the most similar first columns."""
    method = build("jigsaw", gap=gap, tone=0, augment=PLAIN)
    images = method.augment(held_out(level="line", count=64), generator())
    plan = method._plan(images, generator())
    view = plan.paste(images, torch.arange(4).expand_as(plan.order))  # in order: only cuts, no shuffle
    margin, size, found = method.margin, 32, []
    for image, cells in zip(view.pixels[:, 0], plan.cells.tolist(), strict=True):
        last = [image[:, (k + 1) * size - margin - 2 : (k + 1) * size - margin].mean(1) for k in range(cells)]
        first = [image[:, k * size + margin : k * size + margin + 2].mean(1) for k in range(cells)]
        for k in range(cells - 3):
            if last[k].min() < 0.6:  # a stroke reaches the cut
                found.append(np.argmin([float((last[k] - first[k + step]).abs().sum()) for step in (1, 2, 3)]) == 0)
    return np.mean(found)


def test_strokes_cross_the_cut_only_without_a_gap():
    """The uncut puzzle is solved by comparing columns; chance is one in three."""
    assert neighbours_found(gap=0) > 0.6
    assert neighbours_found(gap=jigsaw.Config().gap) < 0.5


def test_neither_height_nor_tone_is_the_same_in_neighbouring_pieces():
    method = build("jigsaw", augment=PLAIN)
    pixels = torch.linspace(0, 0.8, 32)[:, None].expand(1, 1, 32, 128).contiguous()
    images = Images(pixels, torch.tensor([128]))
    plan = method._plan(images, generator())
    view = plan.paste(images, plan.order).pixels[0, 0]
    columns = view[:, 16::32].T[:4]  # the middle of each piece
    assert len({tuple(column.tolist()) for column in columns}) == 4
    plan.tone[..., 0], plan.tone[..., 1] = 1, 0
    heights = plan.paste(images, plan.order).pixels[0, 0, 16, 16::32][:4]
    wanted = [float(pixels[0, 0, 16 + int(shift), 0]) for shift in plan.shift[0, :4, 1]]
    assert heights.tolist() == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize(("form", "classes"), [("position", 4), ("permutation", 24)])
def test_chance_at_the_start(form, classes):
    found = measured(build("jigsaw", form=form).eval(), held_out())
    assert found["loss"] == pytest.approx(np.log(classes), abs=0.05)
    assert found["accuracy"] == pytest.approx(1 / classes, abs=0.1)


def test_pieces_of_unseen_hands_are_sorted():
    method = train(build("jigsaw", pieces=2), 60)
    assert measured(method, held_out())["accuracy"] > 0.7
