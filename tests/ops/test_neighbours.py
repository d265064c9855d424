"""Neighbours in clouds: against all distances sorted, whatever the order, the padding and the batch."""

import pytest
import torch
from laws import signal

from isotypic.errors import RequestError
from isotypic.ops import edges as edges_module
from isotypic.ops import native, neighbours
from isotypic.ops.clouds import Clouds, ordered
from isotypic.ops.edges import edge_moments, edges
from isotypic.ops.neighbours import nearest

needs_compiler = pytest.mark.skipif(native._compiler() is None, reason="no C++ compiler on this machine")
COUNTS = (7, 1, 12, 3, 0, 12)
DTYPES = [torch.float32, torch.float64]


def batch(dims=3, dtype=torch.float64, counts=COUNTS, width=12, seed=0):
    features = signal(len(counts), width, dims, seed=seed, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(len(counts), width, generator=generator)
    mask = scores.argsort(1).argsort(1) < torch.tensor(counts)[:, None]
    return features * mask[..., None], mask


def by_hand(points, low, high, k):
    """All neighbours of every row, sorted by distance, the row itself first."""
    found = []
    for i in range(len(points)):
        others = [j for j in range(int(low[i]), int(high[i])) if j != i]
        others.sort(key=lambda j: (float((points[i] - points[j]).square().sum()), j))
        found.append([i, *others][:k])
    return found


def both_ways(monkeypatch):
    yield "compiled"
    monkeypatch.setattr(neighbours, "_serves", lambda _: False)
    monkeypatch.setattr(edges_module, "_serves", lambda _: False)
    yield "torch"


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("dims", [2, 3, 19, 40])
def test_the_nearest_are_those_of_all_distances_sorted(dims, padded, monkeypatch):
    features, mask = batch(dims)
    clouds = Clouds.of(features, mask, padded=padded)
    points = clouds.rows(features)
    low, high = clouds.limits
    for way in both_ways(monkeypatch):
        found = nearest(points, clouds.limits, 5)
        wanted = by_hand(points, low, high, 5)
        for row, index, count in zip(wanted, found.index.tolist(), found.found.tolist(), strict=True):
            assert index[:count] == row, way
            assert set(index[count:]) <= {row[0]}, "a place that is not taken holds the point itself"
        assert not found.complete


def test_padding_is_never_a_neighbour_and_has_itself_alone():
    features, mask = batch()
    clouds = Clouds.of(features, mask, padded=True)
    real = mask.flatten()[clouds.places]
    found = nearest(clouds.rows(features), clouds.limits, 4)
    assert real[found.index[real]].all()
    assert (found.index[~real] == torch.nonzero(~real)).all()
    assert (found.found[~real] == 1).all()


def test_without_the_mask_padding_is_a_neighbour():
    """The control: zeros lie near the axis of the jet."""
    features, mask = batch()
    clouds = Clouds.of(features, torch.ones_like(mask))
    real = mask.flatten()[clouds.places]
    found = nearest(clouds.rows(features), clouds.limits, 4)
    assert not real[found.index[real]].all()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_neighbours_do_not_depend_on_the_batch_or_on_padding(dtype, monkeypatch):
    features, mask = batch(20, dtype, counts=(9, 12, 11, 4, 30, 30), width=30)
    for _ in both_ways(monkeypatch):
        clouds = Clouds.of(features, mask)
        together = nearest(clouds.rows(features), clouds.limits, 6).index
        for jet in range(len(mask)):
            alone = Clouds.of(features[[jet], :], mask[[jet], :])
            own = nearest(alone.rows(features[[jet], :]), alone.limits, 6).index
            inside = clouds.cloud == jet
            assert torch.equal(together[inside] - int(clouds.limits[0][inside][0]), own)


def permuted(features, mask, seed=5):
    order = torch.stack(
        [torch.randperm(mask.shape[1], generator=torch.Generator().manual_seed(seed + i)) for i in range(len(mask))]
    )
    return features.gather(1, order[..., None].expand_as(features)), mask.gather(1, order)


@pytest.mark.parametrize("cells", [None, 2])
def test_no_order_of_the_particles_changes_their_rows(cells):
    """Also where cells make distances, and whole particles, tie."""
    features, mask = batch(3)
    features = features if cells is None else (features * cells).round()
    rows = Clouds.of(features, mask).rows(features)
    moved, moved_mask = permuted(features, mask)
    assert torch.equal(Clouds.of(moved, moved_mask).rows(moved), rows)
    assert not torch.equal(moved[moved_mask], rows)


def test_particles_that_tie_are_ordered_by_the_next_column():
    features = torch.tensor([[[1.0, 2.0], [1.0, 3.0], [5.0, 0.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, True, False]])
    assert ordered(features, mask)[0].tolist() == [2, 1, 0, 3]
    assert ordered(features, mask, leading=1)[0].tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize("padded", [False, True])
def test_the_mean_is_over_particles_or_over_all_places(padded):
    features, mask = batch()
    clouds = Clouds.of(features, mask, padded=padded)
    wanted = features.sum(1) / (12 if padded else mask.sum(1).clamp(min=1)[:, None])
    torch.testing.assert_close(clouds.mean(clouds.rows(features)), wanted)


def setting(padded=False, k=5, channels=21):
    features, mask = batch()
    clouds = Clouds.of(features, mask, padded=padded)
    found = nearest(clouds.rows(features), clouds.limits, k)
    rows = len(found.index)
    leaves = [
        signal(rows, channels, seed=1),
        signal(rows, channels, seed=2),
        signal(channels, seed=3),
        signal(rows, k, seed=4),
    ]
    return found, [leaf.requires_grad_() for leaf in leaves]


@needs_compiler
@pytest.mark.parametrize("padded", [False, True])
def test_edges_formed_are_the_edges_held(padded, monkeypatch):
    results = []
    for _ in both_ways(monkeypatch):
        found, (d, c, weight, shares) = setting(padded)
        shares_there = shares * found.valid
        between = edges(d, c, found)
        scores, largest = between.scores(weight)
        sums = between.sums(shares_there)
        mean, var = edge_moments(d, found)
        valid = found.valid
        outputs = [scores * valid, largest, sums, mean, var]
        total = sum((out * signal(*out.shape, seed=9 + i)).sum() for i, out in enumerate(outputs))
        total.backward()
        results.append([*outputs, d.grad, c.grad, weight.grad, shares.grad])
    for formed, held in zip(*results, strict=True):
        torch.testing.assert_close(formed, held, rtol=1e-11, atol=1e-11)


@needs_compiler
def test_gradients_are_those_of_differences():
    found, (d, c, weight, shares) = setting(channels=3)

    def function(d, c, weight, shares):
        between = edges(d, c, found)
        return (*between.scores(weight), between.sums(shares), *edge_moments(d, found))

    assert torch.autograd.gradcheck(function, (d, c, weight, shares))


@needs_compiler
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing_of_note(threads, monkeypatch):
    found, (d, c, weight, shares) = setting()
    results = []
    for count in (1, threads):
        monkeypatch.setattr(native, "threads", lambda work, count=count: count)
        for leaf in (d, c, weight, shares):
            leaf.grad = None
        between = edges(d, c, found)
        scores, largest = between.scores(weight)
        (
            scores.square().sum()
            + largest.square().sum()
            + between.sums(shares).square().sum()
            + edge_moments(d, found)[1].sum()
        ).backward()
        results.append([d.grad, c.grad, weight.grad, shares.grad])
    for one, many in zip(*results, strict=True):
        torch.testing.assert_close(one, many, rtol=1e-12, atol=1e-12)


def test_wrong_shapes_are_refused():
    features, mask = batch()
    with pytest.raises(RequestError, match=r"expected features \[B, P, F\] and a boolean mask \[B, P\], received"):
        Clouds.of(features, mask[:, :3])
    clouds = Clouds.of(features, mask)
    with pytest.raises(RequestError, match="at least 1 neighbour, the point itself, received k = 0"):
        nearest(clouds.rows(features), clouds.limits, 0)
