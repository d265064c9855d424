"""Where the voxels of a scan lie in the world.

A world point is ``(x, y, z)`` in millimetres, an index ``(z, y, x)`` in voxels as NumPy counts them; whole indices
are the centres of voxels. With the origin o (the centre of the first voxel), the spacing s and the direction D of ITK,
whose columns are the unit vectors along the axes x, y, z of the array,

    p(i) = o + D diag(s) (i_x, i_y, i_z),        i(p) = (D diag(s))^-1 (p - o), reversed.

D may flip axes, exchange them, or be oblique; it need not be orthogonal (a tilted gantry shears a volume).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

from isotypic.errors import RequestError

Floats = NDArray[np.float64]

_FLAT = 1e-6
"""A direction matrix with a smaller determinant spans no volume."""

_ALONG = 1e-3
"""Millimetres beside a world axis, of a millimetre along it, by which an axis may differ and is not oblique."""

_ROUNDING = 1e-6
"""Voxels by which a point may seem to lie outside."""


class Orientation(NamedTuple):
    """How the axes of an array lie to those of the world, each being compared with the one that it is nearest to.

    Attributes:
        flipped: some axis runs against the one of the world.
        exchanged: some axis is nearest to another one of the world than its own.
        oblique: some axis is parallel to none of the world.
    """

    flipped: bool
    exchanged: bool
    oblique: bool


@dataclass(frozen=True, eq=False)
class Geometry:
    """Origin, spacing and direction of a volume, in ITK's order (x, y, z).

    Args:
        origin: ``[3]``, the centre of the first voxel in millimetres.
        spacing: ``[3]``, millimetres from a voxel to the next along each axis.
        direction: ``[3, 3]``, or nine numbers row by row: column k is the unit vector along axis k.

    Raises:
        RequestError: a number is not finite, a spacing is not positive, or the directions lie in one plane.

    >>> flipped = Geometry((10, 20, 30), (0.5, 0.5, 2), np.diag((-1, -1, 1)))
    >>> flipped.index_of((9, 20, 36)).tolist()
    [3.0, 0.0, 2.0]
    >>> flipped.world_of((3, 0, 2)).tolist()
    [9.0, 20.0, 36.0]
    """

    origin: ArrayLike
    spacing: ArrayLike
    direction: ArrayLike

    def __post_init__(self) -> None:
        shapes = {"origin": (3,), "spacing": (3,), "direction": (3, 3)}
        for name, shape in shapes.items():
            object.__setattr__(self, name, _numbers(name, getattr(self, name), shape))
        spacing, direction = np.asarray(self.spacing), np.asarray(self.direction)
        if (spacing <= 0).any():
            raise RequestError(f"expected a positive spacing (x, y, z) in millimetres, received {spacing.tolist()}")
        if abs(np.linalg.det(direction)) < _FLAT:
            raise RequestError(f"expected three directions that span space, received {direction.tolist()}")

    @property
    def steps(self) -> Floats:
        """``[3, 3]``: column a is the way (x, y, z) in millimetres from a voxel to the next along axis a (z, y, x)."""
        return (np.asarray(self.direction) * np.asarray(self.spacing))[:, ::-1]

    @property
    def orientation(self) -> Orientation:
        """How the axes lie to those of the world.

        >>> Geometry((0, 0, 0), (1, 1, 2), [[0, 1, 0], [1, 0, 0], [0, 0, -1]]).orientation
        Orientation(flipped=True, exchanged=True, oblique=False)
        """
        direction = np.asarray(self.direction)
        world, axis = linear_sum_assignment(-abs(direction))
        along = direction[world, axis]
        beside = np.linalg.norm(direction, axis=0)[axis] ** 2 - along**2
        return Orientation(
            flipped=bool((along < 0).any()),
            exchanged=bool((world != axis).any()),
            oblique=bool((beside > _ALONG**2).any()),
        )

    def index_of(self, world: ArrayLike) -> Floats:
        """Return the indices (z, y, x), with fractions, ``[..., 3]`` of world points (x, y, z) ``[..., 3]``."""
        way = np.asarray(world, dtype=np.float64) - np.asarray(self.origin)
        return way @ np.linalg.inv(self.steps).T

    def world_of(self, index: ArrayLike) -> Floats:
        """Return the world points (x, y, z) ``[..., 3]`` of indices (z, y, x) ``[..., 3]``."""
        return np.asarray(index, dtype=np.float64) @ self.steps.T + np.asarray(self.origin)


def outside(
    geometry: Geometry, shape: ArrayLike, position: Floats, reach: ArrayLike = (0.0, 0.0, 0.0)
) -> NDArray[np.bool_]:
    """Return which boxes ``[n]`` reach outside a volume: beyond the centres of its outermost voxels.

    Args:
        geometry: of the volume.
        shape: (z, y, x) voxels.
        position: ``[n, 3]``, the centres of the boxes (x, y, z) in millimetres.
        reach: (x, y, z) millimetres from a centre to the faces, along the axes of the world; zero: points.
    """
    index, voxels = geometry.index_of(position), abs(np.linalg.inv(geometry.steps)) @ np.asarray(reach)
    beyond = (index - voxels < -_ROUNDING) | (index + voxels > np.asarray(shape) - 1 + _ROUNDING)
    return beyond.any(axis=-1)


def _numbers(name: str, values: ArrayLike, shape: tuple[int, ...]) -> Floats:
    numbers = np.array(values, dtype=np.float64)
    if numbers.size != np.prod(shape) or not np.isfinite(numbers).all():
        raise RequestError(f"expected {name} of {np.prod(shape)} finite numbers, received {numbers.tolist()}")
    return numbers.reshape(shape)
