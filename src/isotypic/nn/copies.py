"""The copies of one kernel that maxout convolutions respond to: rotations and flips of its positions.

For which elements a set is closed decides for which the maximum over it is exact; :class:`KernelSet` holds that group.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

import numpy as np
import torch

from isotypic.errors import RequestError, unknown
from isotypic.groups.catalogue import named
from isotypic.groups.finite import FiniteGroup, Indices
from isotypic.groups.representations import Representation, permutation, regular
from isotypic.ops.action import move_space
from isotypic.ops.resampling import Sizes

_RING = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
"""The border of a 3 x 3 kernel, clockwise."""


class Turns(IntEnum):
    """How many rotations of a 3 x 3 kernel, evenly spaced."""

    HALVES = 2
    QUARTERS = 4
    EIGHTHS = 8

    @classmethod
    def of(cls, angles: int | Turns) -> Turns:
        """Return the rotations by their number; RequestError for another number."""
        if angles not in set(cls):
            raise RequestError(f"expected 2, 4 or 8 angles, received {angles!r}")
        return cls(angles)


class Flips(str, Enum):
    """Which flips of a kernel."""

    PAPER = "paper"
    """Identity, vertical and horizontal flip, as published: no group, so equivariant to nothing."""

    KLEIN = "klein"
    """The group that they generate: the half-turn too."""

    DIHEDRAL = "dihedral"
    """All eight symmetries of the square: the quarter-turns and the diagonal flips too."""

    @classmethod
    def of(cls, name: str | Flips) -> Flips:
        """Return a set of flips by name; RequestError for another name."""
        if name not in set(cls):
            raise unknown("set of flips", str(name), [flips.value for flips in cls])
        return cls(name)


@dataclass(frozen=True)
class KernelSet:
    """The copies of one kernel.

    Attributes:
        positions: for every copy ``[y, x]``, from which position of the kernel, counted along rows, each position
            has its weight.
        responses: how the group for which the layer is exact permutes the copies.
    """

    positions: tuple[Indices, ...]
    responses: Representation

    @property
    def group(self) -> FiniteGroup:
        """The group for which the layer is exact."""
        return self.responses.group


def ring_shift(steps: int) -> Indices:
    """Return a 3 x 3 kernel's positions after clockwise shifts of its ring by 45 degrees each, ``[3, 3]``.

    Two shifts are exactly a rotation by 90 degrees.

    >>> kernel = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    >>> kernel.ravel()[ring_shift(1)].tolist()
    [[4, 1, 2], [7, 5, 3], [8, 9, 6]]
    """
    positions = np.arange(9).reshape(3, 3)
    border = tuple(np.array(_RING).T)
    positions[border] = np.roll(positions[border], steps)
    return positions


def rotated(turns: Turns) -> KernelSet:
    """Return the rotations of a 3 x 3 kernel, counter-clockwise one after the other."""
    step = 8 // turns
    group = named("C2" if turns is Turns.HALVES else "C4")
    positions = tuple(ring_shift(-step * i) for i in range(turns))
    apart = turns // group.order
    images = (np.arange(turns) + apart * np.arange(group.order)[:, None]) % turns
    return KernelSet(positions, permutation("regular" if apart == 1 else "ring", group, images))


def flipped(flips: Flips, kernel: Sizes) -> KernelSet:
    """Return the flips of a kernel of any size, in the order of D2 or D4."""
    group = named("D4" if flips is Flips.DIHEDRAL else "D2")
    weights = torch.arange(int(np.prod(kernel))).view(kernel)
    positions = tuple(move_space(weights, g, group).numpy() for g in range(group.order))
    if flips is not Flips.PAPER:
        return KernelSet(positions, regular(group))
    published = [g for g, matrix in enumerate(group.matrices) if g == 0 or np.linalg.det(matrix) < 0]
    nothing = permutation("flips", named("C1"), np.arange(len(published))[None])
    return KernelSet(tuple(positions[g] for g in published), nothing)
