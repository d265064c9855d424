"""Spheres as they look from far away: the orthographic picture of samples on the SOFT grid."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from isotypic.data.sphere.points import nearest_points
from isotypic.groups.finite import Floats

FROM_SOUTH = Rotation.from_matrix(np.diag([1.0, -1.0, -1.0]))
"""The view of the south pole, an image's rows down and its columns to the right."""

SOUTH = np.array([0.0, 0.0, -1.0])


def seen(samples: np.ndarray, view: Rotation, side: int) -> tuple[np.ndarray, Floats]:
    """Return what is seen of a sphere, and how far each pixel faces the viewer.

    Args:
        samples: ``[..., 2 b, 2 b]``.
        view: turns the sphere before the viewer, who has x to the right, y up and z towards the eye.
        side: of the picture in pixels.

    Returns:
        The nearest samples ``[..., side, side]``, and the cosine of the angle to the viewer ``[side, side]``; 0 where
        there is no sphere.
    """
    across = (2 * np.arange(side) + 1) / side - 1
    x, y = np.broadcast_arrays(across[None], -across[:, None])
    facing = np.sqrt(np.maximum(1 - x**2 - y**2, 0))
    points = view.inv().apply(np.stack([x, y, facing], -1).reshape(-1, 3)).reshape(side, side, 3)
    row, column = nearest_points(points / np.linalg.norm(points, axis=-1, keepdims=True), samples.shape[-1] // 2)
    return samples[..., row, column], facing


def following(turn: Rotation) -> Rotation:
    """Return the view of where a rotation takes the south pole: how an image has been spun is still seen."""
    where = turn.apply(SOUTH)
    axis = np.cross(where, SOUTH)
    length = float(np.linalg.norm(axis))
    angle = np.arctan2(length, float(where @ SOUTH))
    return FROM_SOUTH * Rotation.from_rotvec(angle * (axis / length if length > 1e-12 else np.array([1.0, 0, 0])))
