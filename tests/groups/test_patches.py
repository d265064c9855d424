"""The isotypic basis of patches: complete, orthogonal, and block-diagonal for every equivariant map."""

import numpy as np
import pytest
from laws import TOLERANCE

from isotypic.groups import named
from isotypic.groups.irreps import fourier_blocks
from isotypic.groups.patches import PatchBasis
from isotypic.ops.expansion import moved_positions

CASES = [
    ("C2", 2, (2, 3)),
    ("C4", 2, (3, 3)),
    ("Cs", 2, (3, 5)),
    ("D2", 2, (3, 3)),
    ("D4", 2, (1, 1)),
    ("D4", 2, (2, 2)),
    ("D4", 2, (3, 3)),
    ("D4", 2, (5, 5)),
    ("D4", 3, (2, 3, 3)),
    ("D4h", 3, (3, 3, 3)),
    ("O", 3, (3, 3, 3)),
    ("Oh", 3, (2, 2, 2)),
]


def basis_of(name, dim, kernel):
    group = named(name, dim)
    return PatchBasis(group, moved_positions(group, kernel)[group.inverse])


def direct(group, positions, weight, patch):
    """``y[g] = sum_{q, h} w[g^-1 h, g^-1 q] v[q, h]``, summed as it stands."""
    inverse = group.inverse
    moved = lambda g, h: weight[group.table[inverse[g], h], positions[inverse[g]]]  # noqa: E731
    elements = range(group.order)
    return np.array([sum((moved(g, h) * patch[:, h]).sum() for h in elements) for g in elements])


def by_blocks(basis, weight, patch):
    """The same through the isotypic basis: blocks of the weight times coordinates of the patch."""
    flat, start = basis.weight_to_blocks @ weight.ravel(), 0
    result = np.zeros(basis.group.order)
    for index, block in enumerate(basis.blocks):
        size = block.rows_out * block.rows_in
        matrix = flat[start : start + size].reshape(block.rows_out, block.rows_in)
        start += size
        coordinates = (basis.coordinates(index) @ patch.ravel()).reshape(block.rows_in, block.columns)
        made = (matrix @ coordinates).reshape(-1, block.irrep.dimension)
        copies = [copy.start for copy in fourier_blocks(basis.group) if copy.irrep is block.irrep]
        for row, first in zip(made, copies, strict=True):
            result += row @ basis.channel[first : first + len(row)]
    return result


@pytest.mark.parametrize("case", CASES, ids=str)
def test_blocks_compute_the_convolution(case):
    basis, draw = basis_of(*case), np.random.default_rng(0)
    weight = draw.normal(size=(basis.group.order, basis.taps))
    patch = draw.normal(size=(basis.taps, basis.group.order))
    wanted = direct(basis.group, basis.positions, weight, patch)
    assert np.abs(by_blocks(basis, weight, patch) - wanted).max() < TOLERANCE["table"] * np.abs(wanted).max() * 10
    other = by_blocks(basis, weight[::-1], patch)
    assert np.abs(other - wanted).max() > 1e-3


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_coordinates_are_an_orthogonal_basis(case):
    basis = basis_of(*case)
    rows = np.concatenate([basis.coordinates(i).reshape(-1, basis.positions.size) for i in range(len(basis.irreps))])
    assert rows.shape == (basis.positions.size, basis.positions.size)
    gram = rows @ rows.T
    assert np.abs(gram - np.diag(np.diag(gram))).max() < TOLERANCE["table"]
    assert np.diag(gram).min() > 0


@pytest.mark.parametrize(
    ("name", "dim", "multiplications"), [("C4", 2, 6), ("D4", 2, 12), ("D4h", 3, 24), ("O", 3, 64), ("Oh", 3, 128)]
)
def test_multiplications_are_those_of_the_irreps(name, dim, multiplications):
    """The table of the design: per pair of fields and tap, against |G|^2."""
    basis = basis_of(name, dim, (3,) * dim)
    assert basis.multiplications == multiplications * basis.taps
    assert basis.multiplications < basis.group.order**2 * basis.taps


def test_nine_pixels_under_d4_split_as_they_should():
    """3 A1 + B1 + B2 + 2 E, and no A2."""
    basis = basis_of("D4", 2, (3, 3))
    trivial = basis.couplings[0]
    counts = [sum(c.block == i for c in trivial) for i in range(5)]
    assert sorted(counts[1:4]) == [0, 1, 1]
    assert (counts[0], counts[4]) == (3, 2)
