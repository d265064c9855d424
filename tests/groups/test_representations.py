import numpy as np
import pytest
from laws import TABLE_GROUPS, TOLERANCE, group_of

from isotypic.errors import RequestError
from isotypic.groups import (
    FieldType,
    IrrepType,
    direct_sum,
    fourier_blocks,
    fourier_matrix,
    generate,
    irreps,
    isotypic_basis,
    named,
    permutation,
    quotient,
    regular,
    regular_fields,
    scalar_fields,
    tensor_product,
    trivial,
    vector,
)
from isotypic.ops.expansion import moved_positions

QUATERNIONS = generate(
    "Q8",
    [
        [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]],
        [[0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]],
    ],
)
ALL_GROUPS = [*(group_of(case) for case in TABLE_GROUPS), QUATERNIONS]


def is_homomorphism(representation):
    products = representation.matrices[:, None] @ representation.matrices[None]
    return np.abs(products - representation.matrices[representation.group.table]).max() < TOLERANCE["table"]


@pytest.mark.parametrize("group", ALL_GROUPS, ids=repr)
def test_every_representation_is_a_homomorphism(group):
    made = [trivial(group), vector(group), regular(group), *irreps(group)]
    made += [quotient(group, members) for members in group.subgroups[:6]]
    made += [direct_sum(made[1], made[2]), tensor_product(made[1], made[1])]
    for representation in made:
        assert is_homomorphism(representation), representation


def test_right_translation_by_g_is_no_homomorphism():
    group = named("D4")
    assert not is_homomorphism(permutation("wrong", group, group.table.T))


@pytest.mark.parametrize("group", ALL_GROUPS, ids=repr)
def test_irreps_are_orthogonal_irreducible_and_complete(group):
    found = irreps(group)
    for i, a in enumerate(found):
        assert np.abs(a.matrices @ a.matrices.transpose(0, 2, 1) - np.eye(a.dimension)).max() < TOLERANCE["table"]
        for j, b in enumerate(found):
            inner = np.mean(a.character * b.character)
            assert abs(inner - (a.type.value if i == j else 0)) < TOLERANCE["table"]
    assert sum(rho.dimension**2 // rho.type.value for rho in found) == group.order
    classes = {frozenset(members) | frozenset(group.inverse[list(members)]) for members in group.conjugacy_classes}
    assert len(found) == len(classes)
    assert np.array_equal(found[0].matrices, trivial(group).matrices)


def test_a_reducible_representation_fails_the_norm_of_its_character():
    assert np.mean(regular(named("D4")).character ** 2) == 8


@pytest.mark.parametrize("group", ALL_GROUPS, ids=repr)
def test_the_type_agrees_with_frobenius_and_schur(group):
    squares = group.table[np.arange(group.order), np.arange(group.order)]
    indicator = {IrrepType.REAL: 1, IrrepType.COMPLEX: 0, IrrepType.QUATERNIONIC: -2}
    for rho in irreps(group):
        assert abs(rho.character[squares].mean() - indicator[rho.type]) < TOLERANCE["table"]


def test_known_types_and_dimensions():
    assert [(r.dimension, r.type.name) for r in irreps(named("C4"))] == [(1, "REAL"), (1, "REAL"), (2, "COMPLEX")]
    assert [r.dimension for r in irreps(named("D4"))] == [1, 1, 1, 1, 2]
    assert [r.dimension for r in irreps(named("O", 3))] == [1, 1, 2, 3, 3]
    assert [r.dimension for r in irreps(named("Oh", 3))] == [1, 1, 1, 1, 2, 2, 3, 3, 3, 3]
    assert irreps(QUATERNIONS)[-1].type is IrrepType.QUATERNIONIC


def test_the_basis_is_that_of_the_axes():
    assert set(np.unique(irreps(named("D4"))[-1].matrices)) == {-1.0, 0.0, 1.0}
    for rho in irreps(named("Oh", 3))[-4:]:
        assert set(np.unique(rho.matrices)) == {-1.0, 0.0, 1.0}


def block_diagonality(group, basis):
    """How far ``F L(g) F^T`` is from the irreps on the diagonal."""
    wanted = np.zeros((group.order, group.order, group.order))
    for block in fourier_blocks(group):
        rows = slice(block.start, block.start + block.irrep.dimension)
        wanted[:, rows, rows] = block.irrep.matrices
    return np.abs(basis @ regular(group).matrices @ basis.T - wanted).max()


@pytest.mark.parametrize("group", ALL_GROUPS, ids=repr)
def test_the_fourier_matrix_is_orthonormal_and_block_diagonalises(group):
    basis = fourier_matrix(group)
    assert np.abs(basis @ basis.T - np.eye(group.order)).max() < TOLERANCE["table"]
    assert block_diagonality(group, basis) < TOLERANCE["table"]


def test_another_orthonormal_matrix_does_not():
    other = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    assert block_diagonality(named("D4"), other) > 0.1


@pytest.mark.parametrize("group", [named("D4"), named("C4"), named("D4h", 3), named("O", 3), QUATERNIONS], ids=repr)
def test_any_representation_splits_into_irreps(group):
    rho = tensor_product(direct_sum(vector(group), trivial(group)), regular(group))
    parts = isotypic_basis(rho)
    basis = np.concatenate([copies.reshape(-1, rho.dimension) for _, copies in parts])
    assert np.abs(basis @ basis.T - np.eye(rho.dimension)).max() < TOLERANCE["table"]
    for irrep, copies in parts:
        for copy in copies:
            assert np.abs(copy @ rho.matrices - irrep.matrices @ copy).max() < TOLERANCE["table"]


def test_the_pixels_of_a_patch_split_as_the_design_says():
    group = named("D4")
    pixels = permutation("patch", group, np.argsort(moved_positions(group, (3, 3)), axis=1))
    assert is_homomorphism(pixels)
    assert [len(copies) for _, copies in isotypic_basis(pixels)] == [3, 1, 1, 2]


def test_quotients_permute_cosets():
    group = named("D4")
    rho = quotient(group, group.subgroup([4]))
    assert rho.dimension == 4
    assert rho.is_permutation
    assert np.allclose(quotient(group, (0,)).matrices, regular(group).matrices)
    assert not vector(group).is_permutation


def test_restriction_is_a_representation_of_the_subgroup():
    group = named("O", 3)
    restricted = vector(group).restrict(group.subgroup([1]))
    assert restricted.group.order == 4
    assert is_homomorphism(restricted)


def test_field_types_count_channels():
    assert regular_fields(named("p4m"), 5).channels == 40
    assert scalar_fields(named("p4m"), 5).channels == 5
    assert str(regular_fields(named("p4"), 2)) == "2 regular fields of C4 (8 channels)"
    with pytest.raises(RequestError, match="expected at least one field, received 0"):
        FieldType(trivial(named("p4")), 0)
