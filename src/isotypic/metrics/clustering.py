"""How well clusters are the classes that nothing was told of: one table, from which every figure follows.

The numbers of clusters mean nothing, so clusters are matched one to one with classes such that as many samples as
possible agree (Hungarian), once over the whole set: matching batch by batch finds more agreement than there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import comb, entr
from torch import Tensor

from isotypic.errors import RequestError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ClusterTable:
    """How many samples of each class are in each cluster; tables of parts of a set add up to that of the whole.

    Attributes:
        counts: ``[clusters, classes]`` int64.
    """

    counts: Indices

    @classmethod
    def of(cls, clusters: Indices, labels: Indices, shape: tuple[int, int]) -> ClusterTable:
        """Count samples.

        Args:
            clusters: ``[n]``, from 0.
            labels: ``[n]``, from 0.
            shape: how many clusters and classes there are.

        Raises:
            RequestError: other lengths, or a number out of range.
        """
        if clusters.shape != labels.shape or clusters.ndim != 1:
            raise RequestError(
                f"expected a cluster and a class [n] a sample, received {list(clusters.shape)} and {list(labels.shape)}"
            )
        for what, values, count in (("clusters", clusters, shape[0]), ("classes", labels, shape[1])):
            if len(values) and not 0 <= int(values.min()) <= int(values.max()) < count:
                raise RequestError(
                    f"expected {what} from 0 to {count - 1}, received {int(values.min())} to {int(values.max())}"
                )
        pairs = np.bincount(clusters * shape[1] + labels, minlength=shape[0] * shape[1])
        return cls(pairs.reshape(shape).astype(np.int64))

    def __add__(self, other: ClusterTable) -> ClusterTable:
        return ClusterTable(self.counts + other.counts)

    @property
    def total(self) -> int:
        """All samples."""
        return int(self.counts.sum())

    @property
    def matching(self) -> Indices:
        """The class of every cluster ``[clusters]`` in the best one-to-one matching; -1 for one that has none."""
        rows, columns = linear_sum_assignment(self.counts, maximize=True)
        found = np.full(len(self.counts), -1)
        found[rows] = columns
        return found

    @property
    def accuracy(self) -> float:
        """The share of samples whose cluster is matched with their class, 0 to 1; NaN without samples."""
        rows, columns = linear_sum_assignment(self.counts, maximize=True)
        return _share(int(self.counts[rows, columns].sum()), self.total)

    @property
    def confusion(self) -> list[list[int]]:
        """Counts of the true class by the class that the cluster is matched with, ``[classes][classes]``.

        A cluster beyond the classes counts as that of its most frequent class.
        """
        classes = self.counts.shape[1]
        confusion = np.zeros((classes, classes), np.int64)
        for cluster, matched in zip(self.counts, self.matching, strict=True):
            confusion[:, cluster.argmax() if matched < 0 else matched] += cluster
        return confusion.tolist()

    @property
    def nmi(self) -> float:
        """Mutual information of clusters and classes over the mean of their entropies, 0 to 1."""
        if not self.total:
            return float("nan")
        p = self.counts / self.total
        clusters, classes = entr(p.sum(1)).sum(), entr(p.sum(0)).sum()
        mean = (clusters + classes) / 2
        return float((clusters + classes - entr(p).sum()) / mean) if mean else 1.0

    @property
    def ari(self) -> float:
        """The adjusted Rand index: 1 where clusters are the classes, 0 on average where they are drawn at random."""
        if self.total < 2:
            return float("nan")
        pairs = comb(self.counts, 2).sum()
        clusters, classes = comb(self.counts.sum(1), 2).sum(), comb(self.counts.sum(0), 2).sum()
        expected = clusters * classes / comb(self.total, 2)
        most = (clusters + classes) / 2
        return float((pairs - expected) / (most - expected)) if most != expected else 1.0


@dataclass(frozen=True)
class Geometry:
    """How far apart centroids are, of all pairs in the order (0, 1), (0, 2), (1, 2), ...

    Attributes:
        log_distances: natural logarithm of the distance; -inf of centroids that are one.
        sharpness: ``alpha d^2``: from about 1 on a sample belongs to one of the two, not to both.
    """

    log_distances: tuple[float, ...]
    sharpness: tuple[float, ...]


def centroid_geometry(centroids: Tensor, alpha: float) -> Geometry:
    """Return how far apart centroids ``[K, D]`` are at an inverse temperature alpha."""
    squares = torch.pdist(centroids.detach().double()).square()
    return Geometry(tuple((squares.log() / 2).tolist()), tuple((alpha * squares).tolist()))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
