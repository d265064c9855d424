"""The losses of jets against their formulas written out, and k-means whatever the order."""

import math

import numpy as np
import pytest
import torch
from laws import signal

from isotypic.errors import RequestError
from isotypic.tasks.clustering.kmeans import assigned, kmeans
from isotypic.tasks.clustering.loss import MASS_CLASSES, deep_kmeans_loss, focal_loss, mass_class


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 5.0])
def test_focal_loss_is_its_formula(gamma):
    logits, labels = signal(9, 5), torch.arange(9) % 5
    found = focal_loss(logits, labels, gamma)
    for i in range(9):
        p = math.exp(logits[i, labels[i]]) / sum(math.exp(v) for v in logits[i])
        assert float(found[i]) == pytest.approx(-((1 - p) ** gamma) * math.log(p), rel=1e-12)


def test_focal_loss_of_a_sure_network_is_finite_with_its_gradient():
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], dtype=dtype, requires_grad=True)
        loss = focal_loss(logits, torch.zeros(2, dtype=torch.long))
        loss.sum().backward()
        assert loss.isfinite().all()
        assert logits.grad.isfinite().all()
        assert loss[0] == 0


def test_without_gamma_it_is_cross_entropy_and_with_gamma_it_is_not():
    logits, labels = signal(9, 5), torch.arange(9) % 5
    wanted = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(focal_loss(logits, labels, 0), wanted)
    assert (focal_loss(logits, labels, 2) < wanted).all()


@pytest.mark.parametrize("alpha", [0.0, 1.0, 13.0])
def test_deep_kmeans_is_its_formula(alpha):
    latent, centroids = signal(7, 3), signal(4, 3, seed=1)
    found = deep_kmeans_loss(latent, centroids, alpha)
    for i in range(7):
        d = [float(((latent[i] - mu) ** 2).sum()) for mu in centroids]
        weights = [math.exp(-alpha * value) for value in d]
        assert float(found[i]) == pytest.approx(sum(w * v for w, v in zip(weights, d, strict=True)) / sum(weights))


def test_deep_kmeans_becomes_kmeans():
    latent, centroids = signal(50, 3), signal(3, 3, seed=1)
    nearest = torch.cdist(latent, centroids).square().amin(1)
    torch.testing.assert_close(deep_kmeans_loss(latent, centroids, 1e5), nearest)
    assert (deep_kmeans_loss(latent, centroids, 1.0) > nearest + 1e-6).any()


def test_mass_classes_are_bins_to_200_gev_and_what_is_heavier():
    edges = np.linspace(0, 200, 20)
    masses = torch.tensor([*edges, *(edges[:-1] + 5), 199.999, 1e4], dtype=torch.float32)
    found = mass_class(masses.double()).numpy()
    assert (found == np.digitize(masses.double().numpy(), edges) - 1).all()
    assert MASS_CLASSES == 20
    assert found.max() == 19
    assert mass_class(torch.tensor([80.4])).equal(mass_class(torch.tensor([80.4, 15.0]))[:1]), "not numbered by batch"


def test_kmeans_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(centre, 0.4, (60, 3)) for centre in ((0, 0, 0), (2, 0, 0), (0, 2, 1))])
    found = kmeans(points, 3, seed=4)
    shuffled = points[rng.permutation(len(points))]
    assert (kmeans(shuffled, 3, seed=4) == found).all()
    assert sorted(np.bincount(assigned(points, found)).tolist()) == pytest.approx([60, 60, 60], abs=6)
    with pytest.raises(RequestError, match=r"at least 3 points with finite coordinates .* received 2 points"):
        kmeans(points[:2], 3)
    with pytest.raises(RequestError, match="1 of them not finite"):
        kmeans(np.vstack([points, np.full((1, 3), np.nan)]), 3)
