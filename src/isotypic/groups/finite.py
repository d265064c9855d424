"""Finite groups of orthogonal matrices, as product tables.

Conventions. A group is the closure of a list of generator matrices. The matrices act from the left on column
vectors of coordinates in *array axis order*: ``(y, x)`` in the plane and ``(z, y, x)`` in space, with y pointing
down the rows; the standard rotation by 90 degrees is then what ``numpy.rot90`` does to an image. Elements are
indices ``0 .. |G|-1``; element 0 is the identity. ``table[g, h]`` is the index of the product ``g h`` ("first h,
then g").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from isotypic.errors import RequestError

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

TOLERANCE = 1e-9
"""Entries of group matrices closer than this are the same number; they are algebraic numbers of size one."""

MAX_ORDER = 512
"""A closure that grows beyond this many elements is taken for an infinite group."""


@dataclass(frozen=True, eq=False)
class FiniteGroup:
    """A finite group given by one orthogonal matrix an element.

    Make one by :func:`generate` or :func:`isotypic.groups.named`.

    Attributes:
        name: what it is called, such as ``"D4"``.
        matrices: ``[|G|, d, d]``, float64, ``matrices[0]`` the identity.
    """

    name: str
    matrices: Floats

    def __eq__(self, other: object) -> bool:
        """Two groups are equal when they have the same name and the same matrices in the same order."""
        if self is other:
            return True
        if not isinstance(other, FiniteGroup):
            return NotImplemented
        return self.name == other.name and np.array_equal(self.matrices, other.matrices)

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.name, self.matrices.shape, self.matrices.tobytes()))

    def __repr__(self) -> str:
        return f"FiniteGroup({self.name}, order {self.order}, dim {self.dim})"

    @property
    def order(self) -> int:
        """The number of elements |G|."""
        return len(self.matrices)

    @property
    def dim(self) -> int:
        """The dimension d of the space that the group acts on."""
        return self.matrices.shape[1]

    @cached_property
    def table(self) -> Indices:
        """The product table ``[|G|, |G|]``: ``table[g, h]`` is the element g h."""
        products = np.einsum("gij,hjk->ghik", self.matrices, self.matrices)
        return _locate(products.reshape(-1, self.dim, self.dim), self.matrices).reshape(self.order, self.order)

    @cached_property
    def inverse(self) -> Indices:
        """The inverse of every element, ``[|G|]``."""
        return np.argmax(self.table == 0, axis=1)

    @cached_property
    def is_grid_symmetry(self) -> bool:
        """Whether every element maps the pixel (voxel) grid to itself: a signed permutation of the axes."""
        return bool(np.all(np.abs(self.matrices - np.round(self.matrices)) < TOLERANCE))

    @cached_property
    def grid_matrices(self) -> Indices:
        """The matrices as integers; RequestError where the group does not map the grid to itself."""
        if not self.is_grid_symmetry:
            raise RequestError(
                f"expected a group that maps the pixel grid to itself, received {self.name}: "
                "its rotations are not multiples of 90 degrees; use a subgroup such as C4 or D4"
            )
        return np.round(self.matrices).astype(np.int64)

    @cached_property
    def conjugacy_classes(self) -> tuple[tuple[int, ...], ...]:
        """The classes ``{g h g^-1 : g in G}``, each sorted, in the order of their smallest element."""
        conjugates = self.table[self.table, self.inverse[:, None]]
        return tuple(sorted({tuple(sorted(set(column.tolist()))) for column in conjugates.T}))

    def subgroup(self, generators: Iterable[int]) -> tuple[int, ...]:
        """Return the sorted elements of the subgroup that some elements generate.

        >>> from isotypic.groups import named
        >>> named("D4").subgroup([2])
        (0, 2)
        """
        members = {0}
        frontier = set(generators)
        while frontier:
            members |= frontier
            inside = np.fromiter(members, dtype=np.int64)
            frontier = set(self.table[np.ix_(inside, inside)].ravel().tolist()) - members
        return tuple(sorted(members))

    @cached_property
    def subgroups(self) -> tuple[tuple[int, ...], ...]:
        """All subgroups as sorted element tuples, by size; found by joining cyclic ones until nothing is new."""
        cyclic = {self.subgroup([g]) for g in range(self.order)}
        found, frontier = set(cyclic), set(cyclic)
        while frontier:
            pairs = ((small, big) for big in frontier for small in cyclic if not set(small) <= set(big))
            frontier = {self.subgroup({*small, *big}) for small, big in pairs} - found
            found |= frontier
        return tuple(sorted(found, key=lambda members: (len(members), members)))

    def left_cosets(self, subgroup: Sequence[int]) -> Indices:
        """Return the left cosets g H as rows ``[|G|/|H|, |H|]``; the first is H itself.

        Raises:
            RequestError: the elements are not a subgroup.
        """
        members = tuple(sorted(subgroup))
        if self.subgroup(members) != members:
            raise RequestError(f"expected the elements of a subgroup of {self.name}, received {members}")
        rows = np.sort(self.table[:, list(members)], axis=1)
        return np.unique(rows, axis=0)

    def restrict(self, subgroup: Sequence[int], name: str | None = None) -> FiniteGroup:
        """Return a subgroup as a group of its own, with the same matrices."""
        members = self.left_cosets(subgroup)[0]
        return FiniteGroup(name or f"{self.name}|{len(members)}", self.matrices[members])

    def describe(self, element: int) -> str:
        """Say in words what an element does, such as ``"90°"`` or ``"mirror 45°"``.

        In the plane a rotation is named by its angle, counter-clockwise as seen on the screen, and a reflection
        by the rotation that follows the left-right flip. In space a proper rotation is named by angle and axis
        ``(z, y, x)``; an improper one is the inversion followed by a rotation.
        """
        matrix = self.matrices[element]
        mirrored = np.linalg.det(matrix) < 0
        if self.dim == 2:
            angle = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])) % 360
            return f"{'mirror ' if mirrored else ''}{angle:g}°"
        rotation = -matrix if mirrored else matrix
        angle = np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1)))
        axis = _axis(rotation) if angle > TOLERANCE else np.zeros(3)
        name = f"{angle:.4g}° about ({', '.join(f'{a:g}' for a in axis)})" if angle > TOLERANCE else "0°"
        return f"inversion, {name}" if mirrored else name


def generate(name: str, generators: Sequence[Sequence[Sequence[float]]]) -> FiniteGroup:
    """Close a list of generator matrices under multiplication.

    The elements come in Dimino's order: the powers of the first generator, then whole cosets of what is there,
    so that ``D4`` is ``e, r, r^2, r^3, m, r m, r^2 m, r^3 m``.

    Args:
        name: what to call the group.
        generators: orthogonal matrices ``[d, d]`` in array axis order.

    Raises:
        RequestError: a matrix is not square and orthogonal, or the closure does not end.

    Source:
        G. Butler, Fundamental Algorithms for Permutation Groups, LNCS 559 (1991), chapter 4 (Dimino).
    """
    steps = np.asarray(generators, dtype=np.float64)
    if steps.ndim != 3 or steps.shape[1] != steps.shape[2]:
        raise RequestError(f"expected square generator matrices of one size, received shape {steps.shape}")
    if np.abs(steps @ steps.transpose(0, 2, 1) - np.eye(steps.shape[1])).max() > TOLERANCE:
        raise RequestError(f"expected orthogonal generator matrices for {name}")
    elements = [np.eye(steps.shape[1])]
    for count in range(len(steps)):
        elements = _extend(elements, steps[: count + 1], name)
    matrices = np.stack(elements)
    return FiniteGroup(
        name, np.where(np.abs(matrices - np.round(matrices)) < TOLERANCE, np.round(matrices), matrices) + 0.0
    )


def _extend(elements: list[Floats], generators: Floats, name: str) -> list[Floats]:
    """Return the closure of a group's elements with one more generator, coset by coset."""
    subgroup = list(elements)
    representatives = [generators[-1]]
    while representatives:
        candidate = representatives.pop(0)
        if _contains(elements, candidate):
            continue
        elements = elements + [member @ candidate for member in subgroup]
        if len(elements) > MAX_ORDER:
            raise RequestError(f"the generators of {name} make more than {MAX_ORDER} elements: not a finite group")
        representatives += [candidate @ generator for generator in generators]
    return elements


def _contains(elements: list[Floats], matrix: Floats) -> bool:
    return bool((np.abs(np.stack(elements) - matrix).max(axis=(1, 2)) < TOLERANCE).any())


def _locate(matrices: Floats, elements: Floats) -> Indices:
    """Return, for each matrix, the index of the element that it is."""
    gram = np.einsum("aij,bij->ab", matrices, elements)
    return np.argmax(gram, axis=1)


def _axis(rotation: Floats) -> Floats:
    """Return the axis of a rotation of space, right-handed in array axis order, its largest entry +-1."""
    axis = np.array([rotation[j, i] - rotation[i, j] for i, j in ((1, 2), (2, 0), (0, 1))])
    if np.abs(axis).max() < TOLERANCE:
        # A half turn: every column of R + 1 lies along the axis, which has no direction.
        columns = rotation + np.eye(3)
        axis = columns[:, np.argmax(np.abs(columns).max(axis=0))]
        axis = axis * np.sign(axis[np.nonzero(np.abs(axis) > TOLERANCE)[0][0]])
    return np.round(axis / np.abs(axis).max(), 9) + 0.0
