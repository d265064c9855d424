"""The discriminative loss against its formula written out, closed forms, and the symmetries that it must have."""

import pytest
import torch
from laws import BROKEN, TOLERANCE, signal
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.ops.action import act
from isotypic.tasks.segmentation.discriminative import DiscriminativeConfig, Norm, discriminative_loss
from isotypic.tasks.segmentation.instances import instances_of

PARTS = ["variance", "distance", "regularisation", "semantic"]


def many(batch=3, size=(9, 12)):
    """Labels with gaps: no instance in image 0, one in image 1, and five in each other one."""
    drawn = torch.randint(0, 6, (batch, *size), generator=torch.Generator().manual_seed(1)) * 7
    drawn[0] = 0
    drawn[1] = (drawn[1] > 14) * 3
    return drawn


def output_for(labels, dimension=4, scale=1.0, seed=0, dtype=torch.float64):
    batch, *space = labels.shape
    output = {
        "semantic": signal(batch, 2, *space, seed=seed),
        "embedding": signal(batch, dimension, *space, seed=seed + 1),
    }
    return {name: (scale * part).to(dtype).requires_grad_() for name, part in output.items()}


def by_the_formula(embedding, labels, order, d_v=0.5, d_d=1.5):
    """Image by image, instance by instance, pair by pair."""
    parts = torch.zeros(3, dtype=torch.float64)
    for x, image in zip(embedding, labels, strict=True):
        sets = [x[:, image == k].T for k in image.unique().tolist() if k > 0]
        means = [s.mean(0) for s in sets]
        count = len(sets)
        for points, mean in zip(sets, means, strict=True):
            hinges = [max(0.0, float((mean - p).norm(order)) - d_v) ** 2 for p in points]
            parts[0] += sum(hinges) / len(points) / count
            parts[2] += mean.norm(order) / count
        for a in range(count):
            for b in range(count):
                if a != b:
                    gap = max(0.0, 2 * d_d - float((means[a] - means[b]).norm(order)))
                    parts[1] += gap**2 / (count * (count - 1))
    return parts / len(labels)


@pytest.mark.parametrize("norm", list(Norm))
def test_it_is_the_formula(norm):
    labels = many()
    output = output_for(labels, scale=0.7)
    found = discriminative_loss(output, labels, DiscriminativeConfig(norm=norm))
    wanted = by_the_formula(output["embedding"].detach(), labels, norm.order)
    assert wanted.min() > BROKEN, "every part must say something"
    assert torch.allclose(torch.stack([found[p] for p in PARTS[:3]]), wanted, atol=TOLERANCE["float64"])
    semantic = functional.cross_entropy(output["semantic"], (labels > 0).long())
    assert torch.equal(found["semantic"], semantic)
    total = found["variance"] + found["distance"] + 0.001 * found["regularisation"] + semantic
    assert torch.allclose(found["total"], total)


def test_the_norms_and_the_margins_matter():
    labels = many()
    output = output_for(labels, scale=0.7)
    usual = discriminative_loss(output, labels)
    for other in ({"norm": "l1"}, {"variance_margin": 0.4}, {"distance_margin": 1.4}):
        changed = discriminative_loss(output, labels, DiscriminativeConfig(**other))
        assert abs(changed["total"] - usual["total"]) > BROKEN


def test_weights_are_those_of_the_configuration():
    labels = many()
    output = output_for(labels, scale=0.7)
    for name in PARTS:
        weights = {f"{part}_weight": 3.0 if part == name else 0.0 for part in PARTS}
        found = discriminative_loss(output, labels, DiscriminativeConfig(**weights))
        assert torch.allclose(found["total"], 3 * found[name])


@pytest.mark.parametrize("apart", [0.0, 1.0, 2.5, 3.0, 10.0])
def test_two_constant_instances(apart):
    """No variance; ``(3 - apart)^2`` while they are nearer than 3; the mean of the two lengths."""
    labels = torch.tensor([[[1, 1, 0], [2, 2, 2]]])
    output = output_for(labels)
    embedding = torch.zeros(1, 4, 2, 3, dtype=torch.float64)
    embedding[0, 2, 1] = apart
    found = discriminative_loss({**output, "embedding": embedding.requires_grad_()}, labels)
    assert found["variance"] == 0
    assert found["distance"].item() == pytest.approx(max(0.0, 3 - apart) ** 2)
    assert found["regularisation"].item() == pytest.approx(apart / 2)
    found["total"].backward()
    assert embedding.grad.isfinite().all(), "equal embeddings, equal means and a mean at zero have a gradient"


def test_a_point_within_the_margin_costs_nothing():
    labels = torch.ones(1, 1, 2, dtype=torch.long)
    for apart, cost in ((0.4, 0.0), (0.5, 0.0), (0.8, 0.09)):
        embedding = torch.tensor([-apart, apart], dtype=torch.float64).view(1, 1, 1, 2)
        found = discriminative_loss({**output_for(labels), "embedding": embedding}, labels)
        assert found["variance"].item() == pytest.approx(cost, abs=1e-12)


@pytest.mark.parametrize("norm", list(Norm))
@pytest.mark.parametrize("labels", [
    torch.zeros(2, 4, 5, dtype=torch.long),
    torch.ones(2, 4, 5, dtype=torch.long),
    torch.arange(40).view(2, 4, 5),
    many(),
], ids=["none", "one", "a pixel each", "different"])  # fmt: skip
def test_any_number_of_instances_has_finite_gradients(labels, norm):
    for scale in (0.0, 1.0, 1e4):
        output = output_for(labels, scale=scale)
        found = discriminative_loss(output, labels, DiscriminativeConfig(norm=norm))
        found["total"].backward()
        assert all(part.isfinite() for part in found.values())
        assert all(head.grad.isfinite().all() for head in output.values())
    if not labels.any():
        assert all(found[part] == 0 for part in PARTS[:3])
    if (labels == 1).all():
        assert found["distance"] == 0


@pytest.mark.parametrize("norm", list(Norm))
def test_gradients_are_those_of_finite_differences(norm):
    labels = many(size=(3, 4))
    output = output_for(labels, dimension=3)

    def total(semantic, embedding):
        heads = {"semantic": semantic, "embedding": embedding}
        return discriminative_loss(heads, labels, DiscriminativeConfig(norm=norm))["total"]

    assert torch.autograd.gradcheck(total, tuple(output.values()))


def same(first, second):
    return all(torch.allclose(first[p], second[p], rtol=0, atol=TOLERANCE["float64"]) for p in PARTS)


def test_it_knows_neither_numbers_nor_places():
    labels = many()
    output = output_for(labels, scale=0.7)
    usual = discriminative_loss(output, labels)
    renumbered = torch.where(labels > 0, 100 - labels, 0)
    assert same(discriminative_loss(output, renumbered), usual)

    order = torch.randperm(labels[0].numel(), generator=torch.Generator().manual_seed(2))

    def shuffled(image):
        return image.flatten(-2)[..., order].view_as(image)

    moved = {name: shuffled(part) for name, part in output.items()}
    assert same(discriminative_loss(moved, shuffled(labels)), usual)
    assert not same(discriminative_loss(moved, labels), usual), "the labels left where they were"


def test_it_is_invariant_under_every_symmetry_of_the_grid():
    labels, group = many(), named("p4m")
    output = output_for(labels, scale=0.7)
    usual = discriminative_loss(output, labels)
    for g in range(group.order):
        moved = {name: act(part, g, group) for name, part in output.items()}
        assert same(discriminative_loss(moved, act(labels, g, group)), usual)


def test_a_batch_is_the_mean_of_its_images():
    labels = many()
    output = output_for(labels, scale=0.7)
    alone = [
        discriminative_loss({n: p[i : i + 1] for n, p in output.items()}, labels[i : i + 1]) for i in range(len(labels))
    ]
    means = {p: torch.stack([a[p] for a in alone]).mean() for p in PARTS}
    assert same(discriminative_loss(output, labels), means)


def test_instances_of_two_images_with_one_number_are_two():
    """Negative control of the batch: read as one wide image, the numbers meet."""
    labels = many()[1:]
    output = output_for(labels, scale=0.7)
    wide = {name: torch.cat(list(part), -1)[None] for name, part in output.items()}
    found = discriminative_loss(wide, torch.cat(list(labels), -1)[None])
    assert not same(found, discriminative_loss(output, labels))


def test_half_precision_is_summed_in_single():
    labels = torch.ones(1, 64, 64, dtype=torch.long)
    output = output_for(labels, scale=300.0, dtype=torch.float16)
    found = discriminative_loss(output, labels)
    assert found["total"].dtype == torch.float32
    assert found["total"].isfinite()


def test_instances_are_numbered_image_behind_image():
    found = instances_of(torch.tensor([[[0, 7], [7, 2]], [[0, 0], [0, 2]]], dtype=torch.int32))
    assert found.pixel.tolist() == [1, 2, 3, 7]
    assert found.member.tolist() == [1, 1, 0, 2]
    assert found.image.tolist() == [0, 0, 1]
    assert found.owner.tolist() == [-1, 1, 1, 0, -1, -1, -1, 2]
    assert found.position.tolist() == [[0, 1], [1, 0], [1, 1], [1, 1]]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda o, y: ({"semantic": o["semantic"]}, y), "expected the heads semantic, embedding, received semantic"),
        (
            lambda o, y: (o, y[:, 1:]),
            r"'semantic' to be \[B, C, y, x\] for labels \[3, 8, 12\], received \[3, 2, 9, 12\]",
        ),
        (lambda o, y: (o, y.double()), r"labels \[B, y, x\] of integers, received \[3, 9, 12\] of float64"),
        (lambda o, y: (o, y > 0), r"of integers, received \[3, 9, 12\] of bool"),
    ],
)
def test_errors_say_what_is_expected(change, text):
    labels = many()
    with pytest.raises(RequestError, match=text):
        discriminative_loss(*change(output_for(labels), labels))
