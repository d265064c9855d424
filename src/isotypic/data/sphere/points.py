"""The points of the SOFT grid of a bandwidth, the area that each stands for, and how a rotation moves what is read.

A point of colatitude beta and longitude alpha is ``(sin b cos a, sin b sin a, cos b)``; images are ``[beta, alpha]``,
the north pole on top. A function turned by h is ``(h f)(p) = f(h^-1 p)``: its samples are those of f at the turned-back
points, so nothing is ever resampled.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from isotypic.groups.finite import Floats, Indices
from isotypic.groups.so3.grids import soft


@lru_cache(maxsize=8)
def grid_points(bandwidth: int) -> Floats:
    """Return the points ``[2 b, 2 b, 3]`` of the SOFT grid, axes beta, alpha and (x, y, z).

    >>> grid_points(4).shape
    (8, 8, 3)
    """
    beta = soft(bandwidth).betas[:, None]
    alpha = 2 * np.pi * np.arange(2 * bandwidth)[None] / (2 * bandwidth)
    around = np.sin(beta) * np.cos(alpha), np.sin(beta) * np.sin(alpha)
    return np.stack([*around, np.broadcast_to(np.cos(beta), around[0].shape)], -1)


@lru_cache(maxsize=8)
def areas(bandwidth: int) -> Floats:
    """Return the area ``[2 b, 2 b]`` that each point of the grid stands for, of sum ``4 pi``.

    They are the quadrature weights of the grid, which integrate spherical harmonics of degrees below ``2 b`` exactly.

    >>> float((areas(8).sum() / np.pi).round(12))
    4.0
    """
    samples = 2 * bandwidth
    return np.repeat(4 * np.pi * soft(bandwidth).weights[:, None] / samples, samples, 1)


def read_at(bandwidth: int, rotations: Rotation | None, count: int) -> Floats:
    """Return where functions are read for their samples on the grid, ``[count, 4 b^2, 3]``.

    Args:
        bandwidth: of the grid.
        rotations: by which each of the functions is turned, ``count`` of them; None for not at all.
        count: how many functions.
    """
    points = grid_points(bandwidth).reshape(-1, 3)
    if rotations is None:
        return np.broadcast_to(points, (count, *points.shape))
    return np.einsum("pi,nij->npj", points, rotations.as_matrix())  # p R is R^-1 p


def nearest_points(points: Floats, bandwidth: int) -> tuple[Indices, Indices]:
    """Return the rows (of beta) and columns (of alpha) of the grid points nearest to unit vectors ``[..., 3]``."""
    beta, alpha = np.arccos(np.clip(points[..., 2], -1, 1)), np.arctan2(points[..., 1], points[..., 0])
    row = np.clip(np.rint(beta * 2 * bandwidth / np.pi - 0.5), 0, 2 * bandwidth - 1)
    return row.astype(np.int64), np.rint(alpha * bandwidth / np.pi).astype(np.int64) % (2 * bandwidth)


def turned_back(classes: np.ndarray, rotations: Rotation) -> np.ndarray:
    """Return classes ``[n, 2 b, 2 b]`` of turned functions at the points that they were turned from.

    What was at p is at ``h p``; there the nearest point of the grid is read.

    Args:
        classes: of the functions turned by h.
        rotations: h, one a function.
    """
    bandwidth = classes.shape[-1] // 2
    points = np.einsum("nij,abj->nabi", rotations.as_matrix(), grid_points(bandwidth))
    row, column = nearest_points(points, bandwidth)
    return classes[np.arange(len(classes))[:, None, None], row, column]
