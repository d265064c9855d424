"""Real representations of a finite group: one orthogonal matrix an element, ``rho(g h) = rho(g) rho(h)``.

A permutation representation moves a finite set; the regular one moves the group itself by left translation,
``(L_g f)(h) = f(g^-1 h)``; the quotient one moves the left cosets of a subgroup.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isotypic.groups.finite import TOLERANCE, FiniteGroup, Floats, Indices


@dataclass(frozen=True, eq=False)
class Representation:
    """A real orthogonal representation.

    Attributes:
        name: such as ``"regular"``.
        group: the group represented.
        matrices: ``[|G|, n, n]``, float64, ``matrices[g]`` acts from the left on column vectors.
    """

    name: str
    group: FiniteGroup
    matrices: Floats

    def __eq__(self, other: object) -> bool:
        """Representations are equal when group and matrices are; the name does not matter."""
        if not isinstance(other, Representation):
            return NotImplemented
        return self.group == other.group and np.array_equal(self.matrices, other.matrices)

    def __hash__(self) -> int:
        return hash((self.group, self.matrices.tobytes()))

    def __repr__(self) -> str:
        return f"Representation({self.name} of {self.group.name}, dimension {self.dimension})"

    @property
    def dimension(self) -> int:
        """The size n of the matrices."""
        return self.matrices.shape[1]

    @cached_property
    def character(self) -> Floats:
        """The trace of every element's matrix, ``[|G|]``."""
        return np.trace(self.matrices, axis1=1, axis2=2)

    @cached_property
    def is_permutation(self) -> bool:
        """Whether every matrix only permutes the basis."""
        return bool(np.all((np.abs(self.matrices) < TOLERANCE) | (np.abs(self.matrices - 1) < TOLERANCE)))

    @cached_property
    def gather(self) -> Indices:
        """For a permutation representation, ``[|G|, n]``: ``(rho(g) v)[i] = v[gather[g, i]]``."""
        return np.argmax(self.matrices, axis=2)

    def restrict(self, subgroup: Sequence[int]) -> Representation:
        """Return the same matrices as a representation of a subgroup."""
        members = self.group.left_cosets(subgroup)[0]
        return Representation(f"{self.name}|", self.group.restrict(members), self.matrices[members])


def trivial(group: FiniteGroup) -> Representation:
    """Return the representation by the number one: what a scalar field carries."""
    return Representation("trivial", group, np.ones((group.order, 1, 1)))


def vector(group: FiniteGroup) -> Representation:
    """Return the group's own matrices: what a vector field (an offset, a gradient) carries."""
    return Representation("vector", group, group.matrices)


def regular(group: FiniteGroup) -> Representation:
    """Return left translation on functions on the group, ``(L_g f)(h) = f(g^-1 h)``."""
    return permutation("regular", group, group.table)


def quotient(group: FiniteGroup, subgroup: Sequence[int]) -> Representation:
    """Return the permutation of the left cosets of a subgroup, in the order of ``group.left_cosets``."""
    cosets = group.left_cosets(subgroup)
    coset_of = np.empty(group.order, dtype=np.int64)
    coset_of[cosets] = np.arange(len(cosets))[:, None]
    return permutation(f"quotient by {len(cosets[0])}", group, coset_of[group.table[:, cosets[:, 0]]])


def permutation(name: str, group: FiniteGroup, images: Indices) -> Representation:
    """Return the representation that permutes a finite set.

    Args:
        name: what to call it.
        group: the group.
        images: ``[|G|, n]``: element g moves point i to point ``images[g, i]``.
    """
    matrices = np.zeros((group.order, images.shape[1], images.shape[1]))
    columns = np.arange(images.shape[1])
    matrices[np.arange(group.order)[:, None], images, columns] = 1.0
    return Representation(name, group, matrices)


def direct_sum(*parts: Representation) -> Representation:
    """Return the block-diagonal sum of representations of one group."""
    size = sum(part.dimension for part in parts)
    matrices = np.zeros((parts[0].group.order, size, size))
    start = 0
    for part in parts:
        stop = start + part.dimension
        matrices[:, start:stop, start:stop] = part.matrices
        start = stop
    return Representation(" + ".join(part.name for part in parts), parts[0].group, matrices)


def tensor_product(left: Representation, right: Representation) -> Representation:
    """Return the tensor product; its basis vector ``(i, j)`` has index ``i * right.dimension + j``."""
    size = left.dimension * right.dimension
    matrices = np.einsum("gij,gkl->gikjl", left.matrices, right.matrices).reshape(-1, size, size)
    return Representation(f"({left.name} x {right.name})", left.group, matrices)
