"""The loss of offsets, bandwidths and seeds against its formula written out, and the symmetries that it must have."""

import math
from itertools import pairwise, product

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal

from isotypic.errors import RequestError
from isotypic.groups import named, vector
from isotypic.ops.action import act
from isotypic.tasks.segmentation import seed_loss as module
from isotypic.tasks.segmentation.instances import Centre, instances_of
from isotypic.tasks.segmentation.seed_loss import SeedLossConfig, lovasz_jaccard, seed_loss

PARTS = ["overlap", "bandwidth", "seed"]


def many(size=(12, 15)):
    """No instance in image 0, one in image 1, several in image 2 with one of a pixel, a ring and a hook."""
    labels = torch.zeros(3, *size, dtype=torch.long)
    labels[1, 2:7, 3:9] = 5
    labels[2, 0:5, 0:5], labels[2, 1:4, 1:4] = 9, 0
    labels[2, 6:11, 1], labels[2, 10, 1:9] = 2, 2
    labels[2, 2:6, 8:12], labels[2, 8, 12] = 4, 11
    return labels


def output_for(labels, seed=0, offset=2.0):
    batch, *space = labels.shape
    return {
        "offset": (offset * signal(batch, 2, *space, seed=seed)).requires_grad_(),
        "bandwidth": (1 + 0.3 * signal(batch, 1, *space, seed=seed + 1)).requires_grad_(),
        "seed": signal(batch, 1, *space, seed=seed + 2).requires_grad_(),
    }


def jaccard_loss(wrong, true):
    return len(wrong) / len(wrong | true) if wrong else 0.0


def extension(errors, true):
    """The Lovász extension by its definition: the integral of the loss of the pixels whose error exceeds t."""
    levels = sorted({0.0, *errors})
    total = 0.0
    for low, high in pairwise(levels):
        total += (high - low) * jaccard_loss({i for i, e in enumerate(errors) if e > low}, true)
    return total


def centre_of(pixels, centre):
    """The centroid, or the mean of the pixels with the least sum of squared distances to the others."""
    if centre is Centre.CENTROID:
        return pixels.double().mean(0)
    sums = torch.cdist(pixels.double(), pixels.double()).square().sum(1)
    return pixels[sums < sums.min() + 1e-6].double().mean(0)


def by_the_formula(output, labels, centre, foreground=10.0):
    overlap, bandwidth, seeds = 0.0, 0.0, torch.zeros(labels.shape, dtype=torch.float64)
    weights = torch.ones_like(seeds)
    places = torch.stack(torch.meshgrid(*[torch.arange(n) for n in labels.shape[1:]], indexing="ij"), -1).double()
    for b, image in enumerate(labels):
        numbers = [k for k in image.unique().tolist() if k > 0]
        for k in numbers:
            inside = image == k
            log = output["bandwidth"][b, 0][inside]
            where = places + output["offset"][b].movedim(0, -1) - centre_of(inside.nonzero(), centre)
            phi = (-where.square().sum(-1) / (2 * log.mean().exp() ** 2)).exp()
            hinge = torch.where(inside, 1 - (2 * phi - 1), 1 + (2 * phi - 1)).flatten()
            true = set(inside.flatten().nonzero().flatten().tolist())
            overlap += extension(hinge.tolist(), true) / len(numbers)
            bandwidth += float((log - log.mean()).square().mean()) / len(numbers)
            seeds[b][inside], weights[b][inside] = phi[inside], foreground
    miss = float((weights * (output["seed"].sigmoid()[:, 0] - seeds).square()).mean())
    return overlap / len(labels), bandwidth / len(labels), miss


def same(first, second, tolerance=TOLERANCE["float64"]):
    return all(abs(first[p] - second[p]) < tolerance for p in PARTS)


@pytest.mark.parametrize("centre", list(Centre))
def test_it_is_the_formula(centre, monkeypatch):
    monkeypatch.setattr(module, "NEGLIGIBLE", 1e-300)
    labels = many()
    output = output_for(labels)
    found = seed_loss(output, labels, SeedLossConfig(centre=centre))
    with torch.no_grad():
        wanted = by_the_formula(output, labels, centre)
    assert min(wanted) > BROKEN, "every part must say something"
    assert same(found, dict(zip(PARTS, wanted, strict=True)))
    assert torch.allclose(found["total"], found["overlap"] + 0.4 * found["bandwidth"] + found["seed"])


@pytest.mark.parametrize("option", [{"centre": "medoid"}, {"foreground_weight": 1.0}, {"overlap_weight": 2.0}])
def test_options_matter(option):
    labels = many()
    output = output_for(labels)
    changed = seed_loss(output, labels, SeedLossConfig(**option))["total"]
    assert abs(changed - seed_loss(output, labels)["total"]) > BROKEN


def test_the_extension_of_the_jaccard_loss():
    """At the corners of the cube it is the loss itself; in between it is the integral over levels."""
    true = torch.tensor([True, True, False, True, False])
    members = set(true.nonzero().flatten().tolist())
    segment = torch.zeros(5, dtype=torch.long)
    for corner in product((0.0, 1.0), repeat=5):
        found = lovasz_jaccard(torch.tensor(corner, dtype=torch.float64), true, segment, 1)
        wrong = {i for i, c in enumerate(corner) if c}
        assert float(found) == pytest.approx(jaccard_loss(wrong, members), abs=1e-12)
    assert abs(jaccard_loss({0, 2}, members) - 2 / 5) > BROKEN, "not the mean error"
    errors = signal(5).abs()
    assert float(lovasz_jaccard(errors, true, segment, 1)) == pytest.approx(extension(errors.tolist(), members))


def test_segments_are_judged_alone():
    errors, inside = signal(40).abs(), signal(40, seed=1) > 0
    segment = torch.arange(40) % 3
    together = lovasz_jaccard(errors, inside, segment, 3)
    for k in range(3):
        own = segment == k
        alone = lovasz_jaccard(errors[own], inside[own], torch.zeros(int(own.sum()), dtype=torch.long), 1)
        assert torch.allclose(together[k], alone[0])


def perfect(labels):
    """Offsets to the centroids, and from the background far away, a narrow bandwidth, and seeds that say so."""
    instances = instances_of(labels)
    rows, columns = labels.shape[1:]
    offset = torch.full((labels.numel(), 2), 100.0, dtype=torch.float64)
    offset[instances.pixel] = instances.centres(Centre.CENTROID)[instances.member] - instances.position
    return {
        "offset": offset.view(-1, rows, columns, 2).movedim(-1, 1),
        "bandwidth": torch.full((len(labels), 1, rows, columns), -3.0, dtype=torch.float64),
        "seed": (40.0 * (2 * (labels > 0) - 1)).double()[:, None],
    }


def test_the_right_answer_costs_nothing():
    labels = many()
    output = perfect(labels)
    assert float(seed_loss(output, labels)["total"]) == pytest.approx(0, abs=1e-9)
    swapped = {**output, "offset": output["offset"].flip(1)}
    assert seed_loss(swapped, labels)["total"] > 0.1, "offsets read as (x, y)"


@pytest.mark.parametrize("centre", list(Centre))
def test_it_is_invariant_when_the_offsets_turn_too(centre):
    labels, group, config = many(), named("p4m"), SeedLossConfig(centre=centre)
    output = output_for(labels)
    usual = seed_loss(output, labels, config)
    for g in range(group.order):
        moved = {name: act(part, g, group) for name, part in output.items()}
        turned = {**moved, "offset": act(output["offset"], g, group, vector(group))}
        assert same(seed_loss(turned, act(labels, g, group), config), usual)
        if g:
            found = seed_loss(moved, act(labels, g, group), config)
            assert abs(found["overlap"] - usual["overlap"]) > BROKEN, "offsets moved as scalars"


def test_it_does_not_know_the_numbers():
    labels = many()
    output = output_for(labels)
    assert same(seed_loss(output, torch.where(labels > 0, 100 - labels, 0)), seed_loss(output, labels))


@pytest.mark.parametrize("centre", list(Centre))
def test_centres_move_with_the_instances(centre):
    """To the bit, also where several pixels are equally near: the medoid of a ring is its middle."""
    labels, group = many(), named("p4m")
    middle = (torch.tensor(labels.shape[1:]) - 1) / 2
    usual = instances_of(labels).centres(centre)
    ring = 3  # behind the one of image 1, and 2 and 4 of image 2
    assert usual[ring].tolist() == [2, 2]
    for g in range(group.order):
        moved = act(labels, g, group)
        back = (torch.tensor(moved.shape[1:]) - 1) / 2
        wanted = (usual - middle) @ torch.as_tensor(group.matrices[g]).T + back
        assert torch.allclose(instances_of(moved).centres(centre), wanted, rtol=0, atol=TOLERANCE["table"])


def test_the_medoid_lies_in_a_hook_and_the_centroid_beside_it():
    labels = many()[2:]
    inside = {tuple(p) for p in (labels[0] == 2).nonzero().tolist()}
    centroid, medoid = (instances_of(labels).centres(c)[0] for c in (Centre.CENTROID, Centre.MEDOID))
    assert tuple(medoid.int().tolist()) in inside
    assert tuple(centroid.round().int().tolist()) not in inside


@pytest.mark.parametrize("labels", [
    torch.zeros(2, 6, 7, dtype=torch.long),
    torch.ones(2, 6, 7, dtype=torch.long),
    torch.arange(84).view(2, 6, 7),
    many(),
], ids=["none", "one", "a pixel each", "different"])  # fmt: skip
@pytest.mark.parametrize("log", [-200.0, 0.0, 200.0])
def test_any_number_of_instances_has_finite_gradients(labels, log):
    for offset in (0.0, 1.0, 1e6):
        output = output_for(labels, offset=offset)
        with torch.no_grad():
            output["bandwidth"] += log
        single = {name: part.detach().float().requires_grad_() for name, part in output.items()}
        found = seed_loss(single, labels)
        found["total"].backward()
        assert all(part.isfinite() for part in found.values())
        assert all(part.grad is None or part.grad.isfinite().all() for part in single.values())
    if not labels.any():
        assert found["overlap"] == found["bandwidth"] == 0


def test_gradients_are_those_of_finite_differences():
    """Of the parts alone: the seeds' target has no gradient, though it depends on the offsets."""
    labels = many(size=(11, 13))[2:]
    output = output_for(labels)

    def parts(offset, bandwidth):
        found = seed_loss({"offset": offset, "bandwidth": bandwidth, "seed": output["seed"].detach()}, labels)
        return found["overlap"], found["bandwidth"]

    assert torch.autograd.gradcheck(parts, (output["offset"], output["bandwidth"]))
    seed_loss(output, labels)["seed"].backward()
    assert output["offset"].grad is None
    assert output["seed"].grad.abs().max() > 0


def test_instances_are_looked_at_some_at_a_time(monkeypatch):
    """The bound on memory changes neither the loss nor its gradient."""
    labels = many()
    found = []
    for at_once in (2**19, 400, 1):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
        output = output_for(labels)
        loss = seed_loss(output, labels)["total"]
        loss.backward()
        found.append([loss.detach(), *(part.grad for part in output.values())])
    for other in found[1:]:
        assert all(torch.allclose(a, b, rtol=0, atol=TOLERANCE["table"]) for a, b in zip(found[0], other, strict=True))


def test_what_is_left_out_is_negligible(monkeypatch):
    labels = many()
    output = output_for(labels)
    usual = seed_loss(output, labels)
    monkeypatch.setattr(module, "NEGLIGIBLE", 1e-300)
    assert same(seed_loss(output, labels), usual, 2e-4)
    monkeypatch.setattr(module, "NEGLIGIBLE", 0.3)
    assert not same(seed_loss(output, labels), usual, BROKEN), "and a coarser cut is not"


@pytest.mark.parametrize(("phi", "counts"), [(1.1 * module.NEGLIGIBLE, True), (0.9 * module.NEGLIGIBLE, False)])
def test_a_pixel_counts_from_where_it_is_said_to(phi, counts):
    labels = torch.zeros(1, 1, 9, dtype=torch.long)
    labels[0, 0, 0] = 1
    output = perfect(labels)
    output["bandwidth"] = torch.zeros_like(output["bandwidth"])
    output["offset"][0, :, 0, 5] = torch.tensor([(-2 * math.log(phi)) ** 0.5, -5.0])
    offset = output["offset"].requires_grad_()
    seed_loss(output, labels)["overlap"].backward()
    assert bool(offset.grad[0, :, 0, 5].any()) == counts


def test_training_finds_the_instances():
    """Free offsets, bandwidths and seeds fall into the right answer."""
    labels = many()[2:]
    output = {
        "offset": torch.zeros(1, 2, 12, 15, requires_grad=True),
        "bandwidth": torch.full((1, 1, 12, 15), math.log(8.0), requires_grad=True),
        "seed": torch.zeros(1, 1, 12, 15, requires_grad=True),
    }
    optimizer = torch.optim.Adam(output.values(), 0.1)
    first = seed_loss(output, labels)["total"].item()
    for _ in range(150):
        optimizer.zero_grad()
        loss = seed_loss(output, labels)["total"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05 * first
    assert ((output["seed"].sigmoid()[0, 0] > 0.5) == (labels[0] > 0)).all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda o, y: ({**o, "offset": o["offset"][:1]}, y), r"'offset' to be \[B, C, y, x\] for labels \[3, 12, 15\]"),
        (lambda o, y: ({"semantic": o["seed"]}, y), "expected the heads offset, bandwidth, seed, received semantic"),
    ],
)
def test_errors_say_what_is_expected(change, text):
    labels = many()
    with pytest.raises(RequestError, match=text):
        seed_loss(*change(output_for(labels), labels))
