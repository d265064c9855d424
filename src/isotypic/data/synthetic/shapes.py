"""Solids with soft edges in a volume of unequal voxels: ellipsoids, and cones with round ends.

Places are world millimetres in the order (x, y, z), arrays have the axes (z, y, x), as in ITK. A solid has a *depth*
at every place: about the distance to its surface, positive inside. It fills the voxel there to

    min(max(1/2 + depth / (2 w), 0), 1),   w = 0.6 mm,

so that edges are blurred alike in all directions, however long the sides of a voxel are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mesh = tuple[Floats, Floats, Floats]
"""Coordinates x, y and z that broadcast to ``[z, y, x]``."""

BLUR = 0.6
"""Half the width of an edge, in millimetres."""

_NOTHING = 1e-9


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of a scan lie.

    Attributes:
        shape: voxels (z, y, x).
        spacing: ``[3]`` millimetres from voxel to voxel along x, y and z.
        origin: ``[3]`` world position (x, y, z) of the first voxel.
        sign: ``[3]`` 1 where the world's coordinate grows with the index, -1 where it falls.
    """

    shape: tuple[int, int, int]
    spacing: Floats
    origin: Floats
    sign: Floats

    @property
    def step(self) -> Floats:
        """World millimetres from voxel to voxel along x, y and z, with their signs."""
        return self.spacing * self.sign

    def around(self, low: Floats, high: Floats) -> tuple[slice, slice, slice]:
        """Return the slices (z, y, x) of the voxels between two corners of the world; empty where there are none."""
        ends = np.sort(np.stack([low - self.origin, high - self.origin]) / self.step, axis=0)
        first = np.maximum(np.ceil(ends[0]), 0).astype(int)
        last = np.maximum(np.floor(ends[1]).astype(int) + 1, first)
        x, y, z = (slice(a, b) for a, b in zip(first.tolist(), last.tolist(), strict=True))
        return z, y, x

    def mesh(self, window: tuple[slice, slice, slice]) -> Mesh:
        """Return the world coordinates of the voxels of a window."""
        z, y, x = (
            self.origin[axis] + self.step[axis] * np.arange(size)[side]
            for axis, size, side in zip((2, 1, 0), self.shape, window, strict=True)
        )
        return x[None, None, :], y[None, :, None], z[:, None, None]


class Solid(Protocol):
    """Something with an inside."""

    def corners(self) -> tuple[Floats, Floats]:
        """Return the lowest and the highest (x, y, z) of a box around it."""

    def depth(self, mesh: Mesh) -> Floats:
        """Return about how deep inside the places lie, ``[z, y, x]`` in millimetres; negative outside."""

    def scaled(self, factor: float) -> Solid:
        """Return the same solid with its thickness multiplied."""


class Part(NamedTuple):
    """A solid and how much tissue fills it: 1 as much as there can be, 0.3 like ground glass."""

    solid: Solid
    density: float


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """All places ``p`` with ``|axes (p - centre) / radii| <= 1``.

    Attributes:
        centre: ``[3]`` world position.
        radii: ``[3]`` millimetres.
        axes: ``[3, 3]``, orthonormal rows: the direction of every radius.
    """

    centre: Floats
    radii: Floats
    axes: Floats

    def corners(self) -> tuple[Floats, Floats]:
        """Return the lowest and the highest (x, y, z) of a box around it."""
        half = np.sqrt(((self.axes * self.radii[:, None]) ** 2).sum(axis=0))
        return self.centre - half, self.centre + half

    def depth(self, mesh: Mesh) -> Floats:
        """Return the depth to first order in the distance from the surface; exact for a ball."""
        along = [_dot(mesh, self.centre, axis) / radius for axis, radius in zip(self.axes, self.radii, strict=True)]
        norm = np.sqrt(sum(a**2 for a in along))
        slope = np.sqrt(sum((a / radius) ** 2 for a, radius in zip(along, self.radii, strict=True)))
        return (1 - norm) * (norm + _NOTHING) / (slope + _NOTHING / self.radii.min())

    def scaled(self, factor: float) -> Ellipsoid:
        """Return it with all radii multiplied."""
        return Ellipsoid(self.centre, factor * self.radii, self.axes)


@dataclass(frozen=True, eq=False)
class Cone:
    """A tube that tapers from one point to another, with round ends.

    Attributes:
        start: ``[3]`` world position of one end of its axis.
        end: ``[3]`` of the other.
        radii: millimetres at the start and at the end.
    """

    start: Floats
    end: Floats
    radii: tuple[float, float]

    def corners(self) -> tuple[Floats, Floats]:
        """Return the lowest and the highest (x, y, z) of a box around it."""
        ends, radii = np.stack([self.start, self.end]), np.array(self.radii)[:, None]
        return (ends - radii).min(axis=0), (ends + radii).max(axis=0)

    def depth(self, mesh: Mesh) -> Floats:
        """Return the radius at the nearest point of the axis less the distance from it."""
        axis = self.end - self.start
        place = np.clip(_dot(mesh, self.start, axis) / (axis @ axis), 0, 1)
        away = [c - (s + place * a) for c, s, a in zip(mesh, self.start, axis, strict=True)]
        return self.radii[0] + (self.radii[1] - self.radii[0]) * place - np.sqrt(sum(a**2 for a in away))

    def scaled(self, factor: float) -> Cone:
        """Return a tube along the same axis with both radii multiplied."""
        return Cone(self.start, self.end, (factor * self.radii[0], factor * self.radii[1]))


def fill(tissue: NDArray[np.float32], grid: Grid, part: Part) -> None:
    """Fill the voxels of a solid with its tissue, where there is less of it so far.

    Args:
        tissue: ``[z, y, x]`` how much tissue there is, 0..1; changed in place.
        grid: where the voxels lie.
        part: what to fill in.
    """
    low, high = part.solid.corners()
    window = grid.around(low - BLUR, high + BLUR)
    there = tissue[window]
    if there.size:
        inside = np.clip(0.5 + part.solid.depth(grid.mesh(window)) / (2 * BLUR), 0, 1)
        np.maximum(there, part.density * inside, out=there, casting="same_kind")


def direction(generator: np.random.Generator) -> Floats:
    """Return a direction ``[3]``, all alike."""
    drawn = generator.normal(size=3)
    return drawn / np.linalg.norm(drawn)


def near_direction(axis: Floats, spread: float, generator: np.random.Generator) -> Floats:
    """Return a direction near another one: less near the larger ``spread`` is, and about ``axis`` all alike."""
    drawn = axis + spread * generator.normal(size=3)
    return drawn / np.linalg.norm(drawn)


def frame(generator: np.random.Generator) -> Floats:
    """Return three directions at right angles, ``[3, 3]``, all orientations alike."""
    columns, upper = np.linalg.qr(generator.normal(size=(3, 3)))
    return (columns * np.sign(np.diag(upper))).T


def _dot(mesh: Mesh, centre: Floats, axis: Floats) -> Floats:
    """Return the scalar product of ``axis`` with the way from ``centre`` to every place."""
    x, y, z = mesh
    return axis[0] * (x - centre[0]) + axis[1] * (y - centre[1]) + axis[2] * (z - centre[2])
