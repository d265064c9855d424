"""What a network of jets is trained for: the classes of the jet mass, and tight clusters.

Every loss is one number a jet, so that a batch may be shared among processes however uneven the shares are.

Source:
    Focal loss: T.-Y. Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.
    Deep k-means: M. Moradi Fard, T. Thonet, E. Gaussier, Deep k-Means, Pattern Recognit. Lett. 2020, arXiv 1806.10069.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MASS_EDGES, HEAVIEST = 20, 200.0
"""The edges of the mass classes: so many numbers from 0 to so many GeV; what is heavier is a class of its own."""

MASS_CLASSES = MASS_EDGES


def mass_class(mass: Tensor) -> Tensor:
    """Return the class of jet masses in GeV: 19 bins of equal width from 0 to 200, and one for heavier jets.

    >>> mass_class(torch.tensor([0.0, 80.4, 199.0, 200.0, 500.0])).tolist()
    [0, 7, 18, 19, 19]
    """
    edges = torch.linspace(0, HEAVIEST, MASS_EDGES, dtype=torch.float64, device=mass.device)
    return (torch.bucketize(mass.double(), edges, right=True) - 1).clamp(min=0)


def focal_loss(logits: Tensor, labels: Tensor, gamma: float = 2.0) -> Tensor:
    """Return ``-(1 - p)^gamma log p`` with p the probability of the true class, ``[n]``.

    Args:
        logits: ``[n, classes]``.
        labels: ``[n]``.
        gamma: how much less a sample counts of which the network is sure; 0 is cross-entropy.
    """
    negative = functional.cross_entropy(logits, labels, reduction="none")
    return (-torch.expm1(-negative)).pow(gamma) * negative


def squared_distances(latent: Tensor, centroids: Tensor) -> Tensor:
    """Return ``|z_i - mu_k|^2``, ``[n, K]``, of points ``[n, D]`` and centroids ``[K, D]``."""
    return (latent[:, None] - centroids).square().sum(2)


def deep_kmeans_loss(latent: Tensor, centroids: Tensor, alpha: float) -> Tensor:
    """Return ``sum_k softmax_k(-alpha d_ik) d_ik`` with ``d_ik = |z_i - mu_k|^2``, ``[n]``.

    As alpha grows it becomes the loss of k-means, the distance to the nearest centroid.

    Args:
        latent: ``[n, D]``.
        centroids: ``[K, D]``.
        alpha: the inverse temperature, at least 0.
    """
    distances = squared_distances(latent, centroids)
    return ((-alpha * distances).softmax(1) * distances).sum(1)
