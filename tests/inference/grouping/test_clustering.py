import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.cluster import KMeans

from isotypic.errors import RequestError
from isotypic.groups import named
from isotypic.inference.grouping.clustering import (
    ClusteringConfig,
    ClusterMethod,
    cluster_embeddings,
    farthest_points,
    merged_means,
    number_by_size,
    sorted_points,
)
from isotypic.inference.grouping.foreground import semantic_foreground
from isotypic.metrics.partition import differing_pixels, move_array

GROUP = named("p4m")
METHODS = [
    ClusteringConfig(method=ClusterMethod.K_MEANS, clusters=5),
    ClusteringConfig(method=ClusterMethod.MEAN_SHIFT),
    ClusteringConfig(method=ClusterMethod.HDBSCAN),
]
SIZES = [(40, 40), (41, 41), (36, 45)]


def embedded(size, instances=5, spread=0.12, seed=0):
    """Discs, embedded as a trained network does: tight clusters, mixed at the borders, one coordinate all but constant.

    Returns:
        Embeddings ``[16, y, x]``, foreground, and the true labels.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    centres = rng.permutation(np.argwhere(np.ones((3, 3))))[:instances] * np.array(size) / 3 + np.array(size) / 6
    apart = np.sqrt((y - centres[:, 0, None, None]) ** 2 + (x - centres[:, 1, None, None]) ** 2)
    labels = np.where(apart.min(0) < 6.2, 1 + apart.argmin(0), 0).astype(np.int32)
    means = rng.normal(size=(instances, 16))
    means *= 3.5 / np.linalg.norm(means, axis=1, keepdims=True)
    mixed = 0.4 * np.clip(apart.min(0) - 5, 0, 1) * rng.random(size)
    field = means[apart.argmin(0)] * (1 - mixed[..., None]) + spread * rng.normal(size=(*size, 16))
    field[..., 0] = 0.7 + 1e-12 * rng.normal(size=size)
    return np.moveaxis(field, -1, 0), labels > 0, labels


def turned(embedding, foreground, element, noise):
    """What the network gives for the turned image, with its own rounding."""
    rng = np.random.default_rng(100 + element)
    field = move_array(embedding, element, GROUP)
    return field * (1 + noise * rng.normal(size=field.shape)), move_array(foreground, element, GROUP)


def differing(cluster, size, noise=1e-15, **kind):
    embedding, foreground, _ = embedded(size, **kind)
    upright = cluster(embedding, foreground)
    moved = [cluster(*turned(embedding, foreground, g, noise)) for g in range(GROUP.order)]
    return [
        differing_pixels(upright, move_array(labels, int(GROUP.inverse[g]), GROUP)) for g, labels in enumerate(moved)
    ]


def unsorted_plus_plus(clusters):
    def cluster(embedding, foreground):
        labels = np.zeros(foreground.shape, dtype=np.int32)
        found = KMeans(clusters, n_init=1, random_state=0).fit_predict(embedding[:, foreground].T)
        labels[foreground] = 1 + found
        return labels

    return cluster


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("config", METHODS, ids=lambda config: config.method.value)
def test_the_partition_turns_with_the_image(config, size):
    assert differing(lambda *image: cluster_embeddings(*image, config), size) == [0] * 8


@pytest.mark.parametrize("config", METHODS, ids=lambda config: config.method.value)
def test_it_does_where_clusters_run_into_each_other(config):
    counts = differing(lambda *image: cluster_embeddings(*image, config), (40, 40), spread=0.9, seed=3)
    assert counts == [0] * 8


@pytest.mark.parametrize("config", METHODS, ids=lambda config: config.method.value)
def test_in_float32_at_most_a_thousandth_differs(config):
    counts = differing(lambda *image: cluster_embeddings(*image, config), (41, 41), noise=1e-6)
    assert max(counts) <= 41 * 41 / 1000


@pytest.mark.parametrize("size", SIZES)
def test_unsorted_k_means_plus_plus_flips(size):
    # More clusters than there are objects, as where the paper's four do not fit: many local optima.
    assert max(differing(unsorted_plus_plus(8), size)) > 10
    ours = ClusteringConfig(method=ClusterMethod.K_MEANS, clusters=8)
    assert differing(lambda *image: cluster_embeddings(*image, ours), size) == [0] * 8


@pytest.mark.parametrize("config", METHODS, ids=lambda config: config.method.value)
def test_it_finds_the_objects(config):
    embedding, foreground, labels = embedded((60, 66))
    found = cluster_embeddings(embedding, foreground, config)
    assert differing_pixels(found, labels) == 0
    assert found.dtype == np.int32
    assert (np.diff(np.bincount(found.ravel())[1:]) <= 0).all()


@pytest.mark.parametrize("config", METHODS[1:], ids=lambda config: config.method.value)
@pytest.mark.parametrize("instances", [1, 2, 9])
def test_it_finds_how_many_there_are(config, instances):
    embedding, foreground, labels = embedded((60, 60), instances)
    assert differing_pixels(cluster_embeddings(embedding, foreground, config), labels) == 0


@pytest.mark.parametrize("config", METHODS, ids=lambda config: config.method.value)
@pytest.mark.parametrize("pixels", [0, 1, 3])
def test_almost_no_foreground(config, pixels):
    foreground = np.zeros((8, 9), dtype=bool)
    foreground.ravel()[:pixels] = True
    labels = cluster_embeddings(np.zeros((4, 8, 9)), foreground, config)
    assert np.array_equal(labels, foreground.astype(np.int32))


def test_k_means_is_not_led_astray_by_pixels_between_instances():
    embedding, foreground, labels = embedded((60, 66))
    stray = np.argwhere(labels == 0)[:: labels.size // 60][:12]
    foreground[tuple(stray.T)] = True
    embedding[(slice(None), *stray.T)] = 9 * np.eye(16)[:, :12]
    points = sorted_points(embedding[:, foreground].T)
    started = KMeans(5, init=farthest_points(points, count=5), n_init=1).fit(points)  # the control
    ours = cluster_embeddings(embedding, foreground, METHODS[0])
    assert differing_pixels(np.where(labels, ours, 0), labels) == 0
    found = np.zeros_like(labels)
    found[foreground] = 1 + started.predict(embedding[:, foreground].T)
    assert differing_pixels(np.where(labels, found, 0), labels) > 100


@pytest.mark.parametrize("clusters", [1, 5, 64, 100, 600])
def test_k_means_starts_at_as_many_means_as_are_asked_for(clusters):
    points = sorted_points(np.random.default_rng(0).normal(size=(900, 3)))
    means = merged_means(points, clusters)
    assert means.shape == (clusters, 3)
    assert len(np.unique(means, axis=0)) == clusters


def test_fewer_distinct_pixels_than_clusters_are_all_found():
    embedding = np.zeros((2, 1, 6))
    embedding[0] = [[0, 0, 4, 4, 4, 9]]
    labels = cluster_embeddings(embedding, np.ones((1, 6), dtype=bool), METHODS[0])
    assert labels.tolist() == [[2, 2, 1, 1, 1, 3]]


@given(st.permutations(range(40)), st.integers(0, 5))
def test_sorted_points_are_the_same_to_the_bit_in_any_order(order, seed):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(40, 3))
    points[:, 0] = 0.7
    noisy = points[list(order)] * (1 + 1e-16 * rng.normal(size=(40, 3)))
    assert np.array_equal(sorted_points(points), sorted_points(noisy))


def test_sorting_alone_follows_the_noise():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(40, 2))
    points[:, 0] = 0.7 + 1e-15 * rng.normal(size=40)
    noisy = points + [[1e-15, 0]] * rng.normal(size=(40, 1))
    plain = [x[np.lexsort(x.T[::-1])][:, 1] for x in (points, noisy)]
    assert not np.allclose(*plain)
    assert np.array_equal(sorted_points(points), sorted_points(noisy))


def test_farthest_points_cover():
    points = np.random.default_rng(0).normal(size=(200, 2))
    chosen = farthest_points(points, within=0.5)
    apart = np.linalg.norm(points[:, None] - chosen, axis=2)
    assert apart.min(1).max() <= 0.5
    assert np.linalg.norm(chosen[:, None] - chosen, axis=2)[np.triu_indices(len(chosen), 1)].min() > 0.5
    assert np.array_equal(farthest_points(points, count=3), chosen[:3])


def test_numbers_go_by_size_then_place():
    assert number_by_size(np.array([5, 2, 2, 8, 8, 1])).tolist() == [3, 1, 1, 2, 2, 4]


def test_equal_logits_are_background_whatever_the_rounding():
    rng = np.random.default_rng(0)
    logits = np.zeros((2, 16, 16)) + 1e-7 * rng.normal(size=(2, 16, 16))
    assert not semantic_foreground(logits).any()
    assert logits.argmax(0).any()  # what a plain argmax makes of it
    logits[1] += 0.01
    assert semantic_foreground(logits).all()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: cluster_embeddings(np.zeros((2, 4, 4)), np.zeros((4, 5), dtype=bool), METHODS[2]),
            r"a foreground \[y, x\] of bool, received \[2, 4, 4\] and \[4, 5\] of bool",
        ),
        (
            lambda: cluster_embeddings(np.full((2, 4, 4), np.nan), np.ones((4, 4), dtype=bool), METHODS[2]),
            "expected finite embeddings, received NaN or infinity",
        ),
        (lambda: semantic_foreground(np.zeros((1, 4, 4))), r"of background and more, received \[1, 4, 4\]"),
    ],
)
def test_bad_requests(call, text):
    with pytest.raises(RequestError, match=text):
        call()


@pytest.mark.parametrize("options", [{"method": "k-means"}, {"method": "hdbscan", "clusters": 4}])
def test_the_number_of_clusters_belongs_to_k_means(options):
    with pytest.raises(ValidationError, match="clusters must be given with method k-means, and with no other"):
        ClusteringConfig(**options)
