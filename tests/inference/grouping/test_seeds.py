import tracemalloc
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from isotypic.errors import RequestError
from isotypic.groups import named, vector
from isotypic.inference.grouping.buckets import bucketed
from isotypic.inference.grouping.seeds import SeedConfig, cluster_seeds
from isotypic.metrics.partition import differing_pixels, move_array
from isotypic.ops.action import act

GROUP = named("p4m")
SIZES = [(64, 64), (65, 65), (60, 71)]
PUBLISHED = SeedConfig(settling=0)


def moved_offset(offset, element):
    return act(torch.from_numpy(offset), element, GROUP, vector(GROUP)).numpy()


def field(size, centres, radius=6.5, seed=0, noise=1.2, symmetric=False, saturated=True):
    """What a trained network says of discs that touch: seed, offset and log bandwidth, and the true labels.

    Offsets and bandwidths miss their aim by noise; saturated seeds are 1 in most of a disc.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]].astype(float)
    down, right = centres[:, 0, None, None] - y, centres[:, 1, None, None] - x
    apart = np.hypot(down, right)
    near = apart.min(0)
    offset = np.stack([np.take_along_axis(part, apart.argmin(0)[None], 0)[0] for part in (down, right)])
    wobble, waver = noise * rng.normal(size=(2, *size)), 0.05 * rng.normal(size=size)
    if symmetric:
        # The mean over the group is as symmetric as the discs; on a mirror line it has no part across.
        offset, wobble = (sum(moved_offset(part, g) for g in range(8)) / 8 for part in (offset, 2 * wobble))
        waver = sum(move_array(waver, g, GROUP) for g in range(8)) / 8
    fall = np.exp(-((near / radius) ** 2))
    seed_map = np.clip(1.6 * fall if saturated else fall, 0, 1)
    labels = np.where(seed_map > 0.5, 1 + apart.argmin(0), 0)
    return seed_map, offset + wobble, np.log(0.45 * radius) + waver, labels


def scattered(size, seed=0, apart=11.0):
    """Centres of discs that just touch or overlap a little."""
    rng = np.random.default_rng(seed)
    centres = []
    for centre in rng.uniform([5, 5], np.array(size) - 6, (400, 2)):
        if all(np.hypot(*(centre - other)) > apart for other in centres):
            centres.append(centre)
    return np.array(centres)


def orbit(size, places=((4.0, 14.0), (22.0, 22.0), (0.0, 26.0), (9.0, 30.0))):
    """All images of some places about the centre of the image under the eight elements."""
    moved = [matrix @ place for matrix in GROUP.grid_matrices for place in np.array(places)]
    return np.unique(np.round(moved, 9), axis=0) + (np.array(size) - 1) / 2


def differing(cluster, maps, noise=1e-15, dtype=np.float64):
    """Differing pixels under every element, the network's rounding drawn anew for each."""
    upright = cluster(*(part.astype(dtype) for part in maps))
    counts = []
    for g in range(GROUP.order):
        rng = np.random.default_rng(100 + g)
        moved = [move_array(maps[0], g, GROUP), moved_offset(maps[1], g), move_array(maps[2], g, GROUP)]
        rounded = [part * (1 + noise * rng.normal(size=part.shape)) for part in moved]
        rounded[0] = np.minimum(rounded[0], 1)
        labels = cluster(*(part.astype(dtype) for part in rounded))
        counts.append(differing_pixels(upright, move_array(labels, int(GROUP.inverse[g]), GROUP)))
    return counts


def reference(seed, offset, bandwidth, config=PUBLISHED, equal_as_they_come=False):
    """The same rule, written without any thought of time: every object against every pixel."""
    y, x = np.mgrid[: seed.shape[0], : seed.shape[1]]
    points = np.stack([y + offset[0], x + offset[1]])
    foreground = seed > config.foreground + 1e-5

    def claims(members):
        centre = points[:, members].mean(1)
        return ((points - centre[:, None, None]) ** 2).sum(0) / np.exp(bandwidth[members].mean()) ** 2

    def settle(pixel):
        members = np.zeros_like(foreground)
        members[pixel] = True
        for _ in range(config.settling + 1):
            phi = np.exp(-claims(members) / 2)
            before, members = members, foreground & (phi > 0.5)
            if np.array_equal(before, members):
                break
        return phi, members

    length = np.zeros_like(seed) if equal_as_they_come else np.hypot(*offset)
    order = np.lexsort((length.ravel(), -np.floor(np.minimum(seed * 1024, 1023)).ravel()))
    covered, taken = np.zeros_like(foreground), np.zeros_like(foreground)
    best, labels, number = np.zeros(seed.shape), np.zeros(seed.shape, dtype=int), 0
    for pixel in zip(*np.unravel_index(order, seed.shape), strict=True):
        if seed[pixel] <= config.seed or covered[pixel]:
            continue
        phi, members = settle(pixel)
        fresh = (members & ~taken).sum()
        covered |= members
        covered[pixel] = True
        if fresh >= config.minimum_size and fresh > config.fresh * members.sum():
            number += 1
            taken |= members
            wins = members & (phi > best)
            labels[wins], best[wins] = number, phi[wins]
    sizes = np.bincount(labels.ravel())
    return np.where(sizes[labels] >= config.minimum_size, labels, 0)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("saturated", [True, False])
def test_the_partition_turns_with_the_image(size, saturated):
    *maps, labels = field(size, scattered(size), saturated=saturated)
    assert differing(cluster_seeds, maps) == [0] * 8
    assert cluster_seeds(*maps).max() > 0.8 * labels.max()


@pytest.mark.parametrize("size", SIZES)
def test_equal_seeds_as_they_come_do_not(size):
    *maps, _ = field(size, scattered(size))
    assert max(differing(partial(reference, equal_as_they_come=True), maps)) > 3


@pytest.mark.parametrize("size", [(80, 80), (81, 81)])
def test_symmetric_images_turn_too(size):
    *maps, labels = field(size, orbit(size), symmetric=True)
    assert differing(cluster_seeds, maps) == [0] * 8
    assert cluster_seeds(*maps).max() == labels.max() == len(orbit(size))


def test_one_of_two_symmetric_seeds_does_not():
    *maps, _ = field((80, 80), orbit((80, 80)), symmetric=True)
    assert max(differing(partial(cluster_seeds, config=PUBLISHED), maps)) > 0


def drawn_out(left=0.99):
    """An object whose ends point 3 pixels beside its middle; from either end a proposal settles without the other."""
    rows, columns = np.mgrid[:5, :100]
    side, ends = np.sign(columns - 49.5), abs(columns - 49.5) > 30
    offset = np.stack([2.0 - rows, 49.5 + 3 * side * ends - columns])
    return np.where(ends, np.where(side < 0, left, 0.99), 0.95), offset


def test_equal_seeds_whose_proposals_shut_each_other_out_settle_as_one():
    bandwidth = np.full((5, 100), np.log(3.5 / (2 * np.log(2)) ** 0.5))
    whole, rest = (cluster_seeds(*drawn_out(left), bandwidth) for left in (0.99, 0.98))
    assert (whole == 1).all()
    assert (rest[:, 20:] == 1).all()
    assert not rest[:, :20].any()  # one comes first: the control, and what one by one gives on either side


def test_a_pixel_between_twins_belongs_to_neither():
    seed, offset, bandwidth = np.full((7, 9), 0.6), np.zeros((2, 7, 9)), np.full((7, 9), np.log(3.0))
    seed[3, 1] = seed[3, 7] = 1.0
    labels = cluster_seeds(seed, offset, bandwidth, SeedConfig(settling=0, minimum_size=1, fresh=0))
    assert (labels[:, 4] == 0).all()
    assert labels[3].tolist() == [1, 1, 1, 1, 0, 2, 2, 2, 2]


@pytest.mark.parametrize("size", SIZES)
def test_in_float32_at_most_a_thousandth_differs(size):
    *maps, _ = field(size, scattered(size))
    assert max(differing(cluster_seeds, maps, noise=1e-7, dtype=np.float32)) <= size[0] * size[1] / 1000


@pytest.mark.parametrize("config", [SeedConfig(), PUBLISHED, SeedConfig(fresh=0.9, minimum_size=60, seed=0.6)])
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_rule_without_shortcuts(config, seed):
    *maps, _ = field((60, 71), scattered((60, 71), seed), seed=seed)
    assert differing_pixels(cluster_seeds(*maps, config), reference(*maps, config)) == 0


def test_it_finds_the_objects():
    *maps, labels = field((64, 64), scattered((64, 64)), noise=0.3)
    found = cluster_seeds(*maps)
    assert found.max() == labels.max()
    assert differing_pixels(found, labels) == 0
    assert found.dtype == np.int32


@pytest.mark.parametrize("rows", [1, 7, 64, 1000])
def test_the_height_of_the_strips_changes_nothing(rows):
    *maps, _ = field((60, 71), scattered((60, 71)))
    assert np.array_equal(cluster_seeds(*maps, rows=rows), cluster_seeds(*maps))


def test_strips_taken_for_images_of_their_own_do_change_it():
    *maps, _ = field((60, 71), scattered((60, 71)))
    halves = [cluster_seeds(*(part[..., rows, :] for part in maps)) for rows in (slice(0, 30), slice(30, 60))]
    halves[1][halves[1] > 0] += halves[0].max()
    assert differing_pixels(np.concatenate(halves), cluster_seeds(*maps)) > 20


@given(st.floats(-200, 200), st.floats(-200, 200))
@settings(max_examples=20)
def test_where_all_pixels_point_to_does_not_matter(down, right):
    seed, offset, bandwidth, _ = field((60, 71), scattered((60, 71)), saturated=False)
    far = offset + np.array([down, right])[:, None, None]
    assert differing_pixels(cluster_seeds(seed, far, bandwidth), cluster_seeds(seed, offset, bandwidth)) == 0


def test_maps_and_labels_may_lie_on_disk(tmp_path):
    *maps, _ = field((60, 71), scattered((60, 71)))
    for number, part in enumerate(maps):
        np.save(tmp_path / f"{number}.npy", part)
    on_disk = [np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(3)]
    out = np.lib.format.open_memmap(tmp_path / "labels.npy", "w+", np.int32, (60, 71))
    out[...] = 5
    assert cluster_seeds(*on_disk, out=out, rows=16) is out
    assert np.array_equal(np.load(tmp_path / "labels.npy"), cluster_seeds(*maps))


def peak(maps, rows):
    tracemalloc.start()
    assert cluster_seeds(*maps, rows=rows).max() == 30 * 20
    result = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return result


def test_memory_is_nine_bytes_a_pixel_and_a_strip():
    y, x = np.mgrid[:1500, :1000]
    offset = np.stack([25 - y % 50, 25 - x % 50]).astype(np.float32)
    maps = np.ones(y.shape, np.float32), offset, np.full(y.shape, np.log(25.0), np.float32)
    tables = 2**23  # the counts of 2^18 keys
    assert peak(maps, 16) < 9 * y.size + 100 * 16 * 1000 + tables
    assert peak(maps, 1500) > 2 * 9 * y.size


@pytest.mark.parametrize("value", [0.0, 0.5, 0.8])
def test_no_seed_no_object(value):
    assert not cluster_seeds(np.full((8, 9), value), np.zeros((2, 8, 9)), np.zeros((8, 9))).any()


def test_seeds_at_the_threshold_are_background_whatever_the_rounding():
    noise = 1e-7 * np.random.default_rng(0).normal(size=(8, 9))
    seed = 0.5 + noise
    seed[4, 4] = 1.0
    labels = cluster_seeds(seed, np.zeros((2, 8, 9)), np.full((8, 9), 2.0), SeedConfig(minimum_size=1))
    assert labels.sum() == 1


def test_objects_below_the_smallest_size_are_background():
    maps = np.ones((3, 5)), np.zeros((2, 3, 5)), np.full((3, 5), 4.0)
    assert cluster_seeds(*maps, SeedConfig(minimum_size=15)).tolist() == np.ones((3, 5)).tolist()
    assert not cluster_seeds(*maps, SeedConfig(minimum_size=16)).any()


@given(st.lists(st.integers(0, 5), max_size=60), st.integers(1, 20))
def test_buckets_are_a_stable_sort_however_they_are_cut(keys, rows):
    keys = np.array(keys, dtype=np.int64)

    def strips():
        for first in range(0, len(keys), rows):
            yield np.arange(first, min(first + rows, len(keys))), keys[first : first + rows]

    buckets = bucketed(strips, 6, 100)
    assert np.array_equal(buckets.pixels, keys.argsort(kind="stable"))
    assert np.array_equal(
        buckets.between(2, 4),
        np.concatenate([np.flatnonzero(keys == key) for key in (2, 3, 4)]),
    )
    assert buckets.pixels.dtype == np.int32
    assert bucketed(strips, 6, 2**31).pixels.dtype == np.int64


def maps_with(**changed):
    maps = {"seed": np.ones((8, 9)), "offset": np.zeros((2, 8, 9)), "bandwidth": np.zeros((8, 9))} | changed
    return lambda: cluster_seeds(**maps)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (maps_with(offset=np.zeros((2, 8, 8))), r"received \[8, 9\], \[2, 8, 8\] and \[8, 9\]"),
        (maps_with(seed=np.full((8, 9), 3.0)), "received 3.0 to 3.0 in rows 0 to 7; apply sigmoid to logits first"),
        (maps_with(seed=np.full((8, 9), np.nan)), "a seed map of probabilities, received nan"),
        (maps_with(offset=np.full((2, 8, 9), np.inf)), "finite offsets and bandwidths of the foreground, received NaN"),
        (maps_with(bandwidth=np.full((8, 9), np.nan)), "finite offsets and bandwidths of the foreground, received NaN"),
        (maps_with(rows=0), "at least one row at a time, received 0"),
        (maps_with(out=np.zeros((8, 9))), r"out to be contiguous \[8, 9\] of int32, received \[8, 9\] of float64"),
    ],
)
def test_bad_requests(call, text):
    with pytest.raises(RequestError, match=text):
        call()
