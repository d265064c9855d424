"""Steerable kernels obey their constraint everywhere in the plane, and there are as many as characters say."""

import math

import numpy as np
import pytest
from laws import BROKEN, TOLERANCE

from isotypic.errors import RequestError
from isotypic.groups import FieldType, irreps, named, quotient, regular, trivial, vector
from isotypic.groups.circle import (
    O2,
    FieldSum,
    Frequency,
    O2Fields,
    SO2Fields,
    components,
    field_sum,
    fields_of_the_plane,
    invariants,
    matrix_at,
    members,
    restriction,
    turn,
)
from isotypic.groups.harmonics import (
    Rings,
    angular_action,
    grid_points,
    harmonics,
    kernel_coefficients,
    orthonormal,
    sample,
    solutions,
)

GROUPS = ["C8", "C16", "D8"]
RINGS = Rings()
POINTS = np.random.default_rng(0).normal(0, 1.5, (5, 2))


def representations(group):
    half_turn = np.argmin(np.abs(group.matrices + np.eye(2)).sum(axis=(1, 2)))
    return [trivial(group), regular(group), quotient(group, group.subgroup([int(half_turn)])), *irreps(group)]


def constraint_error(coefficients, matrix, out, into, kernel=(5, 5)):
    """``max |k(g x) - rho_out(g) k(x) rho_in(g)^T|`` at random points."""
    moved = sample(coefficients, POINTS @ matrix.T, kernel, RINGS)
    wanted = np.einsum("oi,bijp,nj->bonp", out, sample(coefficients, POINTS, kernel, RINGS), into, optimize=True)
    return float(np.abs(moved - wanted).max(initial=0))


@pytest.mark.parametrize("name", GROUPS)
def test_every_pair_of_fields_obeys_the_constraint_under_every_element(name):
    group = named(name)
    for out in representations(group):
        for into in representations(group):
            basis = kernel_coefficients(out, into, (5, 5), RINGS)
            errors = [
                constraint_error(basis, group.matrices[g], out.matrices[g], into.matrices[g])
                for g in range(group.order)
            ]
            assert max(errors) < TOLERANCE["float64"], (out, into)


def test_frequencies_of_the_circle_obey_the_constraint_at_random_angles():
    for f in range(4):
        for g in range(4):
            out, into = Frequency(f), Frequency(g)
            basis = kernel_coefficients(out, into, (7, 7), RINGS)
            for angle in np.random.default_rng(1).uniform(0, 2 * np.pi, 5):
                error = constraint_error(basis, turn(angle), out.matrix(angle), into.matrix(angle), (7, 7))
                assert error < TOLERANCE["float64"]


FLIP = np.diag([1.0, -1.0])
IRREPS_OF_O2 = [Frequency(0, O2, odd=True), *(Frequency(f, O2) for f in range(4))]


def test_irreps_of_the_full_circle_obey_the_constraint_under_rotations_and_reflections():
    for out in IRREPS_OF_O2:
        for into in IRREPS_OF_O2:
            basis = kernel_coefficients(out, into, (7, 7), RINGS)
            for angle in np.random.default_rng(1).uniform(0, 2 * np.pi, 3):
                for mirrored in (False, True):
                    moved = turn(angle) @ FLIP if mirrored else turn(angle)
                    matrices = out.matrix(angle, mirrored), into.matrix(angle, mirrored)
                    assert constraint_error(basis, moved, *matrices, (7, 7)) < TOLERANCE["float64"]


def test_rotations_alone_leave_kernels_that_reflections_break():
    """Negative control: SO(2) has twice as many kernels, and they do not all obey the flip."""
    for f, g in ((0, 1), (1, 1), (1, 2)):
        whole, half = (
            kernel_coefficients(*(Frequency(h, *group) for h in (f, g)), (7, 7), RINGS) for group in ((), (O2,))
        )
        assert len(whole) == 2 * len(half)
        flips = Frequency(f).flip, Frequency(g).flip
        assert constraint_error(whole, FLIP, *flips, (7, 7)) > BROKEN


@pytest.mark.parametrize("name", ["C4", "D4", "D16"])
def test_restriction_is_a_homomorphism_and_keeps_the_channels(name):
    group = named(name)
    for rho in IRREPS_OF_O2:
        found = restriction(rho, group)
        products = np.einsum("gij,hjk->ghik", found.matrices, found.matrices)
        assert np.abs(products - found.matrices[group.table]).max() < TOLERANCE["table"]
    assert np.abs(restriction(Frequency(1, O2), group).matrices - group.matrices).max() < TOLERANCE["table"]
    large, small = named("D8"), named("D4")
    inside = members(large, small)
    assert np.abs(large.matrices[inside] - small.matrices).max() < TOLERANCE["table"]
    assert np.array_equal(restriction(regular(large), small).matrices, regular(large).matrices[inside])


def test_a_basis_of_another_group_fails_the_constraint():
    """Negative control: kernels for C4 do not turn by 45 degrees."""
    small, large = regular(named("C4")), named("C8")
    basis = kernel_coefficients(small, small, (5, 5), RINGS)
    swap = np.eye(4)[:, [1, 2, 3, 0]]
    assert constraint_error(basis, large.matrices[1], swap, swap) > BROKEN


@pytest.mark.parametrize("name", ["C1", "Cs", "C5", *GROUPS])
@pytest.mark.parametrize("frequency", [0, 1, 2, 3, 5])
def test_solutions_are_as_many_as_the_characters_say(name, frequency):
    """dim Hom_G = mean of the product of the three characters."""
    group = named(name)
    angular = np.trace(angular_action(group, frequency), axis1=1, axis2=2)
    for out in irreps(group):
        for into in irreps(group):
            expected = round(float(np.mean(out.character * into.character * angular)))
            found = solutions(out, into, frequency)
            assert found.shape == (expected, out.dimension, into.dimension, 2 if frequency else 1)
            flat = found.reshape(expected, math.prod(found.shape[1:]))
            assert np.abs(flat @ flat.T - np.eye(expected)).max(initial=0) < TOLERANCE["table"]


@pytest.mark.parametrize("name", GROUPS)
def test_the_basis_between_regular_fields_has_g_kernels_a_harmonic(name):
    """Between regular fields a kernel is any function of G times any harmonic, and 5 x 5 resolves all."""
    rho = regular(named(name))
    for size in (1, 3, 5):
        count = sum(1 + (m > 0) for _, m in RINGS.waves((size, size)))
        assert len(kernel_coefficients(rho, rho, (size, size), RINGS)) == rho.dimension * count


def test_the_closed_form_of_the_full_circle_is_that_of_a_large_dihedral_group():
    group = named("D32")
    for out in IRREPS_OF_O2:
        for into in IRREPS_OF_O2:
            for m in range(7):
                exact = solutions(out, into, m)
                matrices = restriction(out, group).matrices, restriction(into, group).matrices
                mean = (
                    np.einsum("gab,gcd,gef->acebdf", *matrices, angular_action(group, m), optimize=True) / group.order
                )
                flat = exact.reshape(len(exact), -1) if len(exact) else np.zeros((0, math.prod(mean.shape[:3])))
                assert np.abs(flat.T @ flat - mean.reshape(flat.shape[1], -1)).max() < TOLERANCE["table"]


def test_the_closed_form_of_the_circle_is_that_of_a_large_cyclic_group():
    """The irreps of C_32 of frequency f turn like those of SO(2); the same space of solutions comes out."""
    group = named("C32")
    angles = 2 * np.pi * np.arange(32) / 32
    for f in range(4):
        for g in range(4):
            for m in range(7):
                exact = solutions(Frequency(f), Frequency(g), m)
                out, into = ([Frequency(h).matrix(a) for a in angles] for h in (f, g))
                mean = np.einsum("gab,gcd,gef->acebdf", out, into, angular_action(group, m)) / 32
                flat = exact.reshape(len(exact), -1) if len(exact) else np.zeros((0, math.prod(mean.shape[:3])))
                assert np.abs(flat.T @ flat - mean.reshape(flat.shape[1], -1)).max() < TOLERANCE["table"]
                assert len(exact) in (0, 1, 2, 4)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7])
def test_sampled_kernels_are_orthogonal_and_of_norm_one_an_output_channel(size):
    kernel = (size, size)
    group = named("C8")
    for out in representations(group):
        for into in representations(group):
            basis = sample(kernel_coefficients(out, into, kernel, RINGS), grid_points(kernel), kernel, RINGS)
            flat = basis.reshape(len(basis), math.prod(basis.shape[1:]))
            gap = np.abs(flat @ flat.T / out.dimension - np.eye(len(flat))).max(initial=0)
            assert gap < TOLERANCE["table"]


def test_what_nearly_depends_is_left_out():
    vectors = np.array([[1.0, 0, 0], [1.0, 1e-3, 0], [0, 2, 0], [1, 1, 1e-12], [3, 4, 5]])
    kept = list(orthonormal(vectors, 0.1))
    assert [index for index, _ in kept] == [0, 2, 4]
    stacked = np.stack([vector for _, vector in kept])
    assert np.abs(stacked @ stacked.T - np.eye(3)).max() < TOLERANCE["table"]


def test_no_frequency_at_the_centre_and_more_with_the_radius():
    assert RINGS.waves((3, 3)) == ((0.0, 0), (1.0, 0), (1.0, 1), (1.0, 2))
    assert max(m for r, m in RINGS.waves((7, 7)) if r == 3) == 6
    assert RINGS.waves((2, 2)) == ((0.5, 0), (0.5, 1))
    assert len(harmonics(POINTS, (5, 5), RINGS)) == 15


def test_invariants_and_components():
    group = named("D8")
    for rho in (*representations(group), vector(group)):
        fixed = invariants(rho)
        assert len(fixed) == round(float(rho.character.mean()))
        assert np.abs(np.einsum("gij,mj->gmi", rho.matrices, fixed) - fixed).max(initial=0) < TOLERANCE["table"]
        assert sum(copies.shape[0] * copies.shape[1] for _, copies in components(rho)) == rho.dimension
    assert invariants(Frequency(0)).shape == (1, 1)
    assert invariants(Frequency(2)).shape == (0, 2)
    assert invariants(Frequency(0, O2)).shape == (1, 1)
    assert invariants(Frequency(0, O2, odd=True)).shape == (0, 1)


def test_matrices_at_an_angle():
    group = named("D8")
    assert np.array_equal(matrix_at(vector(group), 45), group.matrices[1])
    assert np.allclose(matrix_at(Frequency(2), 45), turn(np.pi / 2))
    with pytest.raises(RequestError, match="expected a rotation of D8, received 30 degrees"):
        matrix_at(vector(group), 30)


def test_sums_of_fields():
    group = named("C8")
    kind = field_sum((FieldType(trivial(group), 3), FieldType(regular(group), 2)))
    assert (kind.channels, kind.fields, kind.sizes) == (19, 5, [3, 16])
    assert kind.representation.dimension == 19
    assert field_sum(kind) is kind
    assert field_sum(SO2Fields(1, 2)).sizes == [4]
    assert str(kind) == "3 trivial fields of C8 (3 channels) + 2 regular fields of C8 (16 channels)"


BAD = {
    "frequency": (lambda: SO2Fields(-1, 1), "frequency of SO.2. of at least 0, received -1"),
    "fields": (lambda: SO2Fields(1, 0), "expected at least one field, received 0"),
    "odd": (lambda: O2Fields(1, 2, odd=True), r"odd fields of frequency 0 of O\(2\) alone, received frequency 1 of O"),
    "odd rotations": (lambda: Frequency(0, odd=True), r"alone, received frequency 0 of SO\(2\)"),
    "two circles": (lambda: FieldSum((SO2Fields(0, 1), O2Fields(0, 1))), r"received SO\(2\), O\(2\); use Restrict"),
    "subgroup": (lambda: members(named("D4"), named("C8")), "expected a subgroup of D4, received C8"),
    "mirrors": (lambda: restriction(Frequency(1), named("Cs")), r"subgroup of SO\(2\), received Cs: it holds more"),
    "two circles' irreps": (lambda: solutions(Frequency(0), Frequency(0, O2), 1), "irreps of one group"),
    "empty": (lambda: FieldSum(()), "at least one field type in a sum of fields, received none"),
    "groups": (
        lambda: FieldSum((SO2Fields(0, 1), FieldType(trivial(named("C8")), 1))),
        r"expected field types of one group, received SO\(2\), C8; use Restrict first",
    ),
    "space": (
        lambda: fields_of_the_plane(FieldType(trivial(named("O", 3)), 1)),
        "group of the plane, received 1 trivial fields of O .1 channels., of a group of space",
    ),
    "SO(2) listed": (lambda: field_sum(SO2Fields(1, 2)).representation, "expected a finite group, received SO"),
    "rings": (lambda: Rings(0.0), "rings of positive width and a cutoff of at least 0, received 0.0 and 2.0"),
    "mixed irreps": (
        lambda: kernel_coefficients(Frequency(1), regular(named("C8")), (3, 3), RINGS),
        r"expected irreps of one group, received SO\(2\) and C8",
    ),
}


@pytest.mark.parametrize(("make", "text"), BAD.values(), ids=BAD)
def test_bad_requests_are_refused(make, text):
    with pytest.raises(RequestError, match=text):
        make()
