"""k-means that does not depend on the order of the points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from isotypic.errors import RequestError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def kmeans(points: Floats, clusters: int, seed: int = 0, restarts: int = 10) -> Floats:
    """Return the centroids ``[clusters, D]`` of k-means, the best of some starts, ordered by their coordinates.

    k-means++ draws points by their number, so the points are put in order first.

    Args:
        points: ``[n, D]``.
        clusters: how many.
        seed: of the starts.
        restarts: how many starts.

    Raises:
        RequestError: fewer points than clusters, or one that is not finite.
    """
    if len(points) < clusters or not np.isfinite(points).all():
        raise RequestError(
            f"expected at least {clusters} points with finite coordinates to find {clusters} clusters in, received "
            f"{len(points)} points, {int((~np.isfinite(points)).any(1).sum())} of them not finite"
        )
    points = in_order(points)
    fitted = KMeans(clusters, n_init=restarts, random_state=seed).fit(points)
    return in_order(np.asarray(fitted.cluster_centers_, dtype=np.float64))


def in_order(points: Floats) -> Floats:
    """Return points in the order of their coordinates."""
    return points[np.lexsort(points.T[::-1])]


def assigned(points: Floats, centroids: Floats) -> Indices:
    """Return the nearest centroid of every point, ``[n]``."""
    return np.square(points[:, None] - centroids).sum(2).argmin(1)
