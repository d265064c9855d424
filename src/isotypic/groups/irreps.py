"""Real irreducible representations, computed from the product table by one algorithm for every finite group.

The regular representation holds every irrep. The matrices that commute with all left translations are spanned by
the right translations; a *generic symmetric* one, ``S = sum_g c_g R(g)`` with ``c_g = c_{g^-1}``, has exactly one
irreducible subspace an eigenvalue, whatever the type of the irrep. So one symmetric eigenproblem of size |G| and a
comparison of characters give all irreps; no character table is typed in.

The type follows from the norm of the character, ``<chi, chi> = 1, 2, 4`` for real, complex, quaternionic: the
dimension of the commuting division algebra. An irrep of dimension d occurs ``d / <chi, chi>`` times in the regular
representation.

Each irrep is given in a basis that does not depend on the linear algebra library: the common eigenvectors of its
elements, those that are diagonal in the group's own axes first, so that for the groups of the grid the entries are
0 and +-1 wherever they can be.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache

import numpy as np

from isotypic.groups.finite import TOLERANCE, FiniteGroup, Floats, Indices
from isotypic.groups.representations import Representation, regular

_EIGENVALUE_GAP = 1e-7


class IrrepType(Enum):
    """The division algebra of the maps that commute with a real irrep; the value is its dimension."""

    REAL = 1
    COMPLEX = 2
    QUATERNIONIC = 4


@dataclass(frozen=True, eq=False)
class Irrep(Representation):
    """A real irreducible representation."""

    @property
    def type(self) -> IrrepType:
        """Real, complex or quaternionic, by the norm of the character."""
        return IrrepType(round(float(np.mean(self.character**2))))

    @property
    def multiplicity(self) -> int:
        """How often it occurs in the regular representation, ``dimension / type``."""
        return self.dimension // self.type.value


@cache
def irreps(group: FiniteGroup) -> tuple[Irrep, ...]:
    """Return the real irreps of a finite group, the trivial one first, then by dimension and character.

    >>> from isotypic.groups import named
    >>> [(rho.dimension, rho.type.name) for rho in irreps(named("C4"))]
    [(1, 'REAL'), (1, 'REAL'), (2, 'COMPLEX')]
    """
    left = regular(group).matrices
    spaces = _eigenspaces(_generic_commuting(group))
    candidates = [space.T @ left @ space for space in spaces]
    distinct: dict[tuple[float, ...], Floats] = {}
    for matrices in candidates:
        character = np.round(np.trace(matrices, axis1=1, axis2=2), 6) + 0.0
        distinct.setdefault(tuple(character.tolist()), matrices)
    ordered = sorted(distinct, key=lambda character: (character[0], tuple(-value for value in character)))
    order = _axis_elements_first(group)
    return tuple(
        Irrep(f"{group.name}:{index}", group, _canonical(distinct[character], order))
        for index, character in enumerate(ordered)
    )


@dataclass(frozen=True)
class FourierBlock:
    """One copy of an irrep in the regular representation.

    Attributes:
        irrep: the irrep.
        start: the first row of the copy in the Fourier matrix; it has ``irrep.dimension`` rows.
    """

    irrep: Irrep
    start: int


@cache
def fourier_blocks(group: FiniteGroup) -> tuple[FourierBlock, ...]:
    """Return where each copy of each irrep lies in the rows of :func:`fourier_matrix`."""
    blocks, start = [], 0
    for irrep in irreps(group):
        for _ in range(irrep.multiplicity):
            blocks.append(FourierBlock(irrep, start))
            start += irrep.dimension
    return tuple(blocks)


@cache
def fourier_matrix(group: FiniteGroup) -> Floats:
    """Return the orthonormal group Fourier matrix F, ``[|G|, |G|]``.

    ``F L(g) F^T`` is block-diagonal for every g, with the irreps of :func:`fourier_blocks` as blocks (L the regular
    representation): row ``start + i`` of a block is ``sqrt(d / |G|) rho(g)_{i c}`` as a function of g, with one
    column c for each copy.

    Source:
        A. Terras, Fourier Analysis on Finite Groups and Applications (1999), chapters 15 to 17.
    """
    rows = [_fourier_rows(irrep) for irrep in irreps(group)]
    return np.concatenate(rows)


def isotypic_basis(representation: Representation) -> tuple[tuple[Irrep, Floats], ...]:
    """Split any real representation into irreps.

    Returns:
        For each irrep that occurs, itself and ``U [m, d, n]``, m its multiplicity: for every copy k the rows of
        ``U[k]`` are orthonormal and ``U[k] rho(g) = irrep(g) U[k]``; rows of different copies are orthogonal.

    The projections ``P_{i1} = d/|G| sum_g irrep(g)_{i1} rho(g)`` carry a basis of the first row to the others.
    """
    found = []
    for irrep in irreps(representation.group):
        copies = _copies(irrep, representation)
        if len(copies):
            found.append((irrep, copies))
    return tuple(found)


def _copies(irrep: Irrep, representation: Representation) -> Floats:
    """Return orthonormal intertwiners ``[m, d, n]`` from a representation onto an irrep."""
    order, d, n = irrep.group.order, irrep.dimension, representation.dimension
    copies: list[Floats] = []
    for start in range(n * d):
        row, column = start % d, start // d
        # The average over the group of irrep(g)^T E rho(g), for the matrix unit E at (row, column).
        copy = irrep.matrices[:, row].T @ representation.matrices[:, column] / order
        for known in copies:
            copy = copy - copy @ known.T @ known
        norm = np.linalg.norm(copy) / np.sqrt(d)
        if norm > TOLERANCE**0.5:
            copies.append(_orthonormal_rows(copy))
    return np.stack(copies) if copies else np.empty((0, d, n))


def _orthonormal_rows(copy: Floats) -> Floats:
    """Scale an intertwiner: by Schur its Gram matrix is a multiple of one (it is symmetric and commutes)."""
    return copy / np.sqrt(np.trace(copy @ copy.T) / len(copy))


def _fourier_rows(irrep: Irrep) -> Floats:
    copies = _copies(irrep, regular(irrep.group))
    return copies.reshape(-1, irrep.group.order)


def _generic_commuting(group: FiniteGroup) -> Floats:
    """Return a symmetric matrix that commutes with every left translation and is otherwise generic."""
    weights = np.random.default_rng(20).normal(size=group.order)
    weights = weights + weights[group.inverse]
    # S[h, k] = c(h^-1 k) commutes with left translation, which replaces h, k by g h, g k.
    return weights[group.table[group.inverse]]


def _eigenspaces(symmetric: Floats) -> list[Floats]:
    """Return orthonormal bases ``[n, d]`` of the eigenspaces of a symmetric matrix."""
    values, vectors = np.linalg.eigh(symmetric)
    scale = max(1.0, float(np.abs(values).max()))
    breaks = np.nonzero(np.diff(values) > _EIGENVALUE_GAP * scale)[0] + 1
    return np.split(vectors, breaks, axis=1)


def _axis_elements_first(group: FiniteGroup) -> Indices:
    """Return the elements, those whose matrices are diagonal first: they give the sparsest eigenvectors."""
    off_diagonal = group.matrices * (1 - np.eye(group.dim))
    return np.argsort(np.abs(off_diagonal).max(axis=(1, 2)) > TOLERANCE, kind="stable")


def _canonical(matrices: Floats, order: Indices) -> Floats:
    """Return an equivalent irrep in a basis that depends on the group alone."""
    spaces = [np.eye(matrices.shape[1])]
    for element in order:
        symmetric = matrices[element] + matrices[element].T
        spaces = [space @ part for space in spaces for part in reversed(_eigenspaces(space.T @ symmetric @ space))]
    basis = np.concatenate(spaces, axis=1)
    changed = basis.T @ matrices @ basis
    signs = _signs(changed)
    changed = changed * signs[None, :, None] * signs[None, None, :]
    rounded = np.round(changed)
    return np.where(np.abs(changed - rounded) < TOLERANCE, rounded, changed) + 0.0


def _signs(matrices: Floats) -> Floats:
    """Return signs of the basis vectors that make the first non-zero entry of each row against row 0 positive."""
    signs = np.ones(matrices.shape[1])
    for i in range(1, matrices.shape[1]):
        entries = matrices[:, i, 0]
        nonzero = entries[np.abs(entries) > TOLERANCE**0.5]
        signs[i] = np.sign(nonzero[0]) if len(nonzero) else 1.0
    return signs
