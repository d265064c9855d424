"""Rotations of space as ``scipy.spatial.transform.Rotation``: zyz Euler angles, and draws of the Haar measure."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.spatial.transform import Rotation

from isotypic.errors import RequestError
from isotypic.groups.finite import Floats

ZYZ = "ZYZ"
"""Scipy's name for ``R_z(alpha) R_y(beta) R_z(gamma)``, each about an axis of the turned body."""


def from_zyz(alpha: float | Floats, beta: float | Floats, gamma: float | Floats) -> Rotation:
    """Return ``R_z(alpha) R_y(beta) R_z(gamma)``, angles in radians; arrays of one shape ``[k]`` give k rotations."""
    return Rotation.from_euler(ZYZ, np.stack([alpha, beta, gamma], axis=-1))


def to_zyz(rotation: Rotation) -> tuple[Floats, Floats, Floats]:
    """Return alpha, beta, gamma in radians, beta in [0, pi]; where beta is 0 or pi, gamma is 0."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # scipy tells of beta = 0 and pi
        angles = rotation.as_euler(ZYZ)
    return angles[..., 0], angles[..., 1], angles[..., 2]


def random_rotations(count: int, seed: int) -> Rotation:
    """Draw rotations from the Haar measure.

    Args:
        count: how many, at least 1.
        seed: the same seed gives the same rotations.
    """
    if count < 1:
        raise RequestError(f"expected to draw at least one rotation, received {count}")
    return Rotation.random(count, np.random.default_rng(seed))
