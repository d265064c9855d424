"""Instances from embeddings: the foreground pixels are clustered by what they are embedded as, not by where they are.

An invariant network gives the pixels of a turned image the same embeddings up to rounding, in another order. That is
not enough for the same clusters: k-means++ draws by index, sums depend on their order, and a density clustering breaks
ties of distances by index. So

1. embeddings are rounded to 16 bits of the largest and sorted lexicographically. Rounding comes first, or noise of
   1e-16 in a nearly constant coordinate would decide the order. What the method then gets is the same to the bit,
   unless one value lies within noise of a rounding boundary: of 10,000 pixels with 16 values and noise of 1e-14 of the
   largest, that is to be expected in one image of ten thousand; in float32 in every image;
2. the method finds the *means* of clusters, from nothing but values: mean shift starts at the farthest points, k-means
   at those merged to the number that is asked for, and HDBSCAN draws nothing;
3. every pixel joins the nearest mean, whatever the method did with it, noise included. That is continuous in the
   embeddings: where a value did cross a rounding boundary only pixels halfway between two means could move.

Instances are numbered by size, the largest first, then by their first pixel. In an image that is itself symmetric
invariant embeddings cannot tell symmetric twins apart; an offset head can (:mod:`isotypic.inference.grouping.seeds`).

Sources:
    B. De Brabandere, D. Neven, L. Van Gool, arXiv 1708.02551. T. F. Gonzalez, Clustering to minimize the maximum
    intercluster distance, Theoretical Computer Science 38 (1985). J. H. Ward, Hierarchical Grouping to Optimize an
    Objective Function, Journal of the American Statistical Association 58 (1963). R. J. G. B. Campello, D. Moulavi,
    J. Sander, Density-Based Clustering Based on Hierarchical Density Estimates, PAKDD 2013.
"""

from __future__ import annotations

from math import ceil, log2

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import HDBSCAN, KMeans, MeanShift
from sklearn.metrics import pairwise_distances_argmin
from sklearn.metrics.pairwise import euclidean_distances

from isotypic.errors import RequestError
from isotypic.tasks.segmentation.grouping import ClusteringConfig, ClusterMethod

Floats = NDArray[np.float64]

_BITS = 16
"""Of the largest absolute value; far above the noise of float64, far below the margins of the loss."""

_SPARE, _MERGED = 8, 512
"""Farthest points for every cluster of k-means, and how many at most are merged."""


def cluster_embeddings(
    embedding: NDArray[np.floating], foreground: NDArray[np.bool_], config: ClusteringConfig
) -> NDArray[np.int32]:
    """Return the instances of an image, ``[y, x]``, 0 for background.

    Args:
        embedding: ``[E, y, x]``.
        foreground: ``[y, x]``.
        config: the method and its lengths.

    Raises:
        RequestError: the sizes do not fit, or an embedding of the foreground is not finite.
    """
    if embedding.ndim != 3 or embedding.shape[1:] != foreground.shape or foreground.dtype != np.bool_:
        raise RequestError(
            f"expected an embedding [E, y, x] and a foreground [y, x] of bool, received {list(embedding.shape)} and "
            f"{list(foreground.shape)} of {foreground.dtype}"
        )
    labels = np.zeros(foreground.shape, dtype=np.int32)
    points = embedding[:, foreground].T.astype(np.float64)
    if not np.isfinite(points).all():
        raise RequestError("expected finite embeddings, received NaN or infinity")
    if len(points):
        means = _FINDERS[config.method](sorted_points(points), config)
        labels[foreground] = number_by_size(pairwise_distances_argmin(points, means))
    return labels


def sorted_points(points: Floats) -> Floats:
    """Return rounded points in lexicographic order: the same to the bit for any order of the pixels.

    Args:
        points: ``[n, E]``.

    >>> sorted_points(np.array([[1 + 1e-15, 0.25], [1.0, 0.5]])).tolist()
    [[1.0, 0.25], [1.0, 0.5]]
    """
    largest = abs(points).max(initial=0)
    if largest > 0:
        # A power of two, so that the noise of the largest value does not move the boundaries.
        step = 2.0 ** (ceil(log2(largest)) - _BITS)
        points = np.round(points / step) * step + 0.0  # turns -0 into 0
    return points[np.lexsort(points.T[::-1])]


def farthest_points(points: Floats, *, count: int | None = None, within: float = 0.0) -> Floats:
    """Return points far from each other: first the one farthest from the mean, then always the one farthest from all.

    Args:
        points: ``[n, E]``, at least one.
        count: stop at so many; default: no limit.
        within: stop when every point is at most so far from one of them; 0 stops when they are all the distinct points.

    >>> farthest_points(np.array([[0.0], [0.1], [1.0], [5.0]]), within=0.5).ravel().tolist()
    [5.0, 0.0, 1.0]
    """
    chosen = [points[_squares(points, points.mean(0)).argmax()]]
    nearest = _squares(points, chosen[0])
    while len(chosen) != count and nearest.max() > within**2:
        chosen.append(points[nearest.argmax()])
        nearest = np.minimum(nearest, _squares(points, chosen[-1]))
    return np.stack(chosen)


def number_by_size(cluster: NDArray[np.integer]) -> NDArray[np.int32]:
    """Return numbers from 1 by falling size, and by the first pixel among clusters of one size.

    >>> number_by_size(np.array([7, 4, 4, 9]))
    array([2, 1, 1, 3], dtype=int32)
    """
    _, first, inverse, sizes = np.unique(cluster, return_index=True, return_inverse=True, return_counts=True)
    numbers = np.empty(len(sizes), dtype=np.int32)
    numbers[np.lexsort((first, -sizes))] = np.arange(1, len(sizes) + 1)
    return numbers[inverse]


def merged_means(points: Floats, count: int) -> Floats:
    """Return means to start k-means from, ``[count, E]``: no single pixel far from all others is one of them.

    The farthest points are pixels between instances as often as instances. So more of them are chosen, every point
    joins the nearest, and the clusters are merged by Ward's rule: always the two whose merging adds least to the sum of
    squared distances from the means, ``n m / (n + m) |mu - nu|^2`` for n and m points with means mu and nu.

    Args:
        points: ``[n, E]``, at least one.
        count: how many; fewer are returned of fewer distinct points.

    >>> merged_means(np.array([[0.0], [0.1], [0.1], [4.0], [4.1], [9.0]]), 2).ravel().round(2).tolist()
    [5.7, 0.07]
    """
    chosen = farthest_points(points, count=max(count, min(_SPARE * count, _MERGED)))
    nearest = pairwise_distances_argmin(points, chosen)
    sizes = np.bincount(nearest, minlength=len(chosen)).astype(float)
    means = np.stack([np.bincount(nearest, column) for column in points.T], 1) / sizes[:, None]
    while len(means) > count:
        shared = sizes[:, None] * sizes / (sizes[:, None] + sizes)
        cost = shared * euclidean_distances(means, squared=True)
        np.fill_diagonal(cost, np.inf)
        one, other = sorted(np.unravel_index(cost.argmin(), cost.shape))
        together = sizes[one] + sizes[other]
        means[one] = (sizes[one] * means[one] + sizes[other] * means[other]) / together
        sizes[one] = together
        means, sizes = np.delete(means, other, 0), np.delete(sizes, other)
    return means


def _squares(points: Floats, centre: Floats) -> Floats:
    return ((points - centre) ** 2).sum(1)


def _k_means(points: Floats, config: ClusteringConfig) -> Floats:
    start = merged_means(points, config.clusters or 1)
    return KMeans(len(start), init=start, n_init=1).fit(points).cluster_centers_


def _mean_shift(points: Floats, config: ClusteringConfig) -> Floats:
    seeds = farthest_points(points, within=config.bandwidth)
    return MeanShift(bandwidth=config.bandwidth, seeds=seeds).fit(points).cluster_centers_


def _hdbscan(points: Floats, config: ClusteringConfig) -> Floats:
    """Return the means of HDBSCAN's clusters; pixels that are too few for a cluster, or all noise, are one."""
    everything = points.mean(0, keepdims=True)
    if len(points) < config.minimum_size:
        return everything
    # Without a gap a single object would be split or all noise: HDBSCAN compares clusters, it does not judge one.
    found = HDBSCAN(
        config.minimum_size, cluster_selection_epsilon=config.gap, allow_single_cluster=True, copy=True
    ).fit_predict(points)
    means = [points[found == number].mean(0) for number in range(found.max() + 1)]
    return np.stack(means) if means else everything


_FINDERS = {
    ClusterMethod.K_MEANS: _k_means,
    ClusterMethod.MEAN_SHIFT: _mean_shift,
    ClusterMethod.HDBSCAN: _hdbscan,
}
