"""Figures of clusters: against scikit-learn and all matchings, summed over parts, and the purity of a signal."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from isotypic.errors import RequestError
from isotypic.metrics.anomaly import background_rejection, best_cluster
from isotypic.metrics.clustering import ClusterTable, centroid_geometry


def drawn(seed=0, n=300, clusters=3, agree=0.6):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    guess = rng.integers(0, clusters, n)
    return np.where(rng.random(n) < agree, (labels + 1) % clusters, guess), labels


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("clusters", [2, 3, 5])
def test_the_accuracy_is_that_of_the_best_of_all_matchings(seed, clusters):
    found, labels = drawn(seed, clusters=clusters)
    table = ClusterTable.of(found, labels, (clusters, 3))
    wide = max(clusters, 3)
    best = max(np.mean(np.array(order)[found] == labels) for order in permutations(range(wide)))
    assert table.accuracy == pytest.approx(best)
    assert table.total == 300
    assert np.trace(table.confusion) == pytest.approx(best * 300) or clusters > 3


@pytest.mark.parametrize("seed", range(5))
def test_nmi_and_ari_are_scikit_learns(seed):
    found, labels = drawn(seed, clusters=4)
    table = ClusterTable.of(found, labels, (4, 3))
    assert table.nmi == pytest.approx(normalized_mutual_info_score(labels, found))
    assert table.ari == pytest.approx(adjusted_rand_score(labels, found))


def test_tables_of_parts_add_up_and_matching_part_by_part_finds_too_much():
    found, labels = drawn(agree=0.1)
    whole = ClusterTable.of(found, labels, (3, 3))
    parts = [ClusterTable.of(found[i::30], labels[i::30], (3, 3)) for i in range(30)]
    assert (sum(parts[1:], parts[0]).counts == whole.counts).all()
    assert np.mean([part.accuracy for part in parts]) > whole.accuracy + 0.05, "the control: matched batch by batch"


def test_clusters_that_are_the_classes_by_other_names():
    labels = np.array([0, 1, 2, 2, 1, 0])
    table = ClusterTable.of((labels + 1) % 3, labels, (3, 3))
    assert (table.accuracy, table.nmi, table.ari) == (1, pytest.approx(1), 1)
    assert table.matching.tolist() == [2, 0, 1]
    one = ClusterTable.of(np.zeros(6, int), labels, (3, 3))
    assert (one.accuracy, one.nmi, one.ari) == (pytest.approx(1 / 3), pytest.approx(0), 0)
    assert np.isnan(ClusterTable.of(labels[:0], labels[:0], (3, 3)).accuracy)


def test_numbers_out_of_range_are_refused():
    with pytest.raises(RequestError, match=r"expected clusters from 0 to 1, received 0 to 2"):
        ClusterTable.of(np.array([0, 2]), np.array([0, 0]), (2, 1))
    with pytest.raises(RequestError, match=r"a class \[n\] a sample, received \[2\] and \[3\]"):
        ClusterTable.of(np.zeros(2, int), np.zeros(3, int), (2, 1))


def test_centroids_at_known_places():
    found = centroid_geometry(torch.tensor([[0.0, 0], [3, 4], [0, 0]]), alpha=2)
    assert found.log_distances == pytest.approx((np.log(5), -np.inf, np.log(5)))
    assert found.sharpness == pytest.approx((50, 0, 50))


def test_the_best_cluster_is_the_purest_that_holds_enough():
    table = ClusterTable(np.array([[900, 2], [60, 7], [0, 1]]))
    found = best_cluster(table, least=0.2)
    assert (found.cluster, found.signal, found.background) == (1, 7, 60)
    assert found.signal_to_background == pytest.approx(7 / 60)
    assert found.fraction == pytest.approx(7 / 67)
    assert found.enhancement == pytest.approx(7 / 60 / (10 / 960))
    assert found.efficiency == pytest.approx(0.7)
    assert best_cluster(table, least=0).cluster == 2, "the control: a single event is as pure as can be"
    with pytest.raises(RequestError, match=r"a cluster with 90% of the signal, the fullest holds 70%"):
        best_cluster(table, least=0.9)
    with pytest.raises(RequestError, match=r"both present, received counts \[5, 0\]"):
        best_cluster(ClusterTable(np.array([[5, 0]])))


def test_the_published_purity():
    """28 % signal to background is a signal fraction of 21.9 %."""
    found = best_cluster(ClusterTable(np.array([[2500, 700], [96500, 300]])))
    assert found.signal_to_background == pytest.approx(0.28)
    assert found.fraction == pytest.approx(0.219, abs=5e-4)


def test_the_rejection_at_an_efficiency():
    rng = np.random.default_rng(0)
    labels = (rng.random(4000) < 0.3).astype(int)
    scores = rng.normal(size=4000) + 2 * labels
    for efficiency in (0.3, 0.5, 1.0):
        threshold = max(t for t in scores[labels == 1] if np.mean(scores[labels == 1] >= t) >= efficiency)
        assert background_rejection(scores, labels, efficiency) == pytest.approx(
            1 / np.mean(scores[labels == 0] >= threshold)
        )
    assert background_rejection(np.zeros(10), np.arange(10) % 2, 0.5) == 1, "what ties is kept together"
    with pytest.raises(RequestError, match=r"efficiency in \(0, 1\]"):
        background_rejection(scores, labels, 0)
