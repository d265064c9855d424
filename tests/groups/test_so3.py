"""Rotations and Wigner matrices: closed forms, the laws of a representation, quadrature; wrong signs fail."""

from math import factorial, sqrt

import numpy as np
import pytest
from laws import BROKEN, TOLERANCE

from isotypic.errors import RequestError
from isotypic.groups.so3 import (
    Band,
    S2Kernel,
    SO3Kernel,
    from_zyz,
    gauss_legendre,
    random_rotations,
    real_wigner_matrix,
    soft,
    to_zyz,
    wigner_d,
    wigner_matrix,
)
from isotypic.groups.so3.real import halves, real_change

BETAS = np.array([0.0, 0.3, 1.1, np.pi / 2, 2.7, np.pi])


def explicit(degree, m, n, beta):
    """Wigner's sum, of factorials."""
    scale = sqrt(factorial(degree + m) * factorial(degree - m) * factorial(degree + n) * factorial(degree - n))
    total = 0.0
    for s in range(max(0, n - m), min(degree + n, degree - m) + 1):
        below = factorial(degree + n - s) * factorial(s) * factorial(m - n + s) * factorial(degree - m - s)
        powers = np.cos(beta / 2) ** (2 * degree + n - m - 2 * s) * np.sin(beta / 2) ** (m - n + 2 * s)
        total = total + (-1) ** (m - n + s) / below * powers
    return scale * total


@pytest.mark.parametrize("degree", range(4))
def test_wigner_d_is_wigners_sum(degree):
    table = wigner_d(degree, BETAS)
    for m in range(-degree, degree + 1):
        for n in range(-degree, degree + 1):
            error = np.abs(table[:, degree + m, degree + n] - explicit(degree, m, n, BETAS)).max()
            assert error < TOLERANCE["table"], (m, n)


def test_wigner_d_has_the_usual_closed_forms():
    c, s = np.cos(BETAS), np.sin(BETAS)
    forms = {
        (1, 1, 1): (1 + c) / 2,
        (1, 1, 0): -s / sqrt(2),
        (1, 1, -1): (1 - c) / 2,
        (1, 0, 0): c,
        (2, 2, 2): ((1 + c) / 2) ** 2,
        (2, 2, 0): sqrt(6) / 4 * s**2,
        (2, 1, 0): -sqrt(3 / 2) * s * c,
        (2, 0, 0): (3 * c**2 - 1) / 2,
        (3, 3, 3): ((1 + c) / 2) ** 3,
        (3, 0, 0): (5 * c**3 - 3 * c) / 2,
    }
    for (degree, m, n), form in forms.items():
        found = wigner_d(degree, BETAS)[:, degree + m, degree + n]
        assert np.abs(found - form).max() < TOLERANCE["table"], (degree, m, n)
    assert np.abs(wigner_d(1, BETAS)[:, 2, 1] - s / sqrt(2)).max() > BROKEN, "the other sign of m passes"


@pytest.mark.parametrize("degree", [5, 49])
def test_symmetries_and_orthogonality_hold_up_to_high_degrees(degree):
    table, m = wigner_d(degree, BETAS), np.arange(-degree, degree + 1)
    sign = (-1.0) ** (m[:, None] - m)
    assert np.abs(table - sign * table.transpose(0, 2, 1)).max() < TOLERANCE["table"]
    assert np.abs(table - sign * table[:, ::-1, ::-1]).max() < TOLERANCE["table"]
    mirrored = (-1.0) ** (degree + m)[:, None] * table[:, :, ::-1]
    assert np.abs(wigner_d(degree, np.pi - BETAS) - mirrored).max() < TOLERANCE["table"]
    assert np.abs(table @ table.transpose(0, 2, 1) - np.eye(2 * degree + 1)).max() < TOLERANCE["table"]


@pytest.mark.parametrize("degree", [1, 2, 3, 8])
def test_the_wigner_matrices_are_a_unitary_representation(degree):
    g, h = random_rotations(2, seed=3)
    product = wigner_matrix(degree, g) @ wigner_matrix(degree, h)
    assert np.abs(product - wigner_matrix(degree, g * h)).max() < TOLERANCE["table"]
    one = wigner_matrix(degree, g) @ wigner_matrix(degree, g).conj().T
    assert np.abs(one - np.eye(2 * degree + 1)).max() < TOLERANCE["table"]
    assert np.abs(product - wigner_matrix(degree, h * g)).max() > BROKEN, "the order does not matter"

    def wrong(rotation):
        """A wrong sign of m alone."""
        alpha, *_ = to_zyz(rotation)
        return np.exp(-2j * np.arange(-degree, degree + 1) * alpha)[:, None] * wigner_matrix(degree, rotation)

    assert np.abs(wrong(g) @ wrong(h) - wrong(g * h)).max() > BROKEN


@pytest.mark.parametrize("degree", [1, 4])
def test_the_real_basis_makes_rotations_real_and_splits_those_about_y(degree):
    g, h = random_rotations(2, seed=4)
    change = real_change(degree)
    assert np.abs(change @ change.conj().T - np.eye(2 * degree + 1)).max() < TOLERANCE["table"]
    assert np.abs((change @ wigner_matrix(degree, g).conj() @ change.conj().T).imag).max() < TOLERANCE["table"]
    product = real_wigner_matrix(degree, g) @ real_wigner_matrix(degree, h)
    assert np.abs(product - real_wigner_matrix(degree, g * h)).max() < TOLERANCE["table"]
    plus, minus = halves(degree, np.array([0.7]))[..., 0]
    turned = real_wigner_matrix(degree, from_zyz(0.0, 0.7, 0.0))
    cosines, sines = np.r_[0, 1 : 2 * degree : 2], np.r_[2 : 2 * degree + 1 : 2]
    assert np.abs(turned[np.ix_(cosines, cosines)] - plus).max() < TOLERANCE["table"]
    assert np.abs(turned[np.ix_(sines, sines)] - minus[1:, 1:]).max() < TOLERANCE["table"]
    assert np.abs(turned[np.ix_(cosines, sines)]).max() < TOLERANCE["table"]


def test_degree_one_turns_as_vectors_do():
    g = random_rotations(1, seed=5)[0]
    # The spectrum of the linear function v . p is (v_z, -v_x, v_y) in the rows 0, c_1, s_1, up to a factor.
    to_rows = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    assert np.abs(real_wigner_matrix(1, g) @ to_rows - to_rows @ g.as_matrix()).max() < TOLERANCE["table"]


@pytest.mark.parametrize("grid", [soft(6), gauss_legendre(6), gauss_legendre(5)], ids=str)
def test_quadrature_integrates_products_of_the_band_exactly(grid):
    b = grid.bandwidth
    rows = np.stack([wigner_d(degree, grid.betas)[:, degree, degree] for degree in range(b)])
    norms = 2 * np.arange(b)[:, None] + 1
    assert np.abs(norms * (rows * grid.weights) @ rows.T - np.eye(b)).max() < TOLERANCE["table"]
    midpoint = np.sin(grid.betas) / np.sin(grid.betas).sum()
    assert np.abs(norms * (rows * midpoint) @ rows.T - np.eye(b)).max() > BROKEN


def test_the_weights_are_those_of_the_specification():
    b, j = 5, np.arange(10)
    terms = [np.sin((2 * j + 1) * (2 * k + 1) * np.pi / (4 * b)) / (2 * k + 1) for k in range(b)]
    weights = 2 / b * np.sin(np.pi * (2 * j + 1) / (4 * b)) * np.sum(terms, axis=0) / (2 * (2 * b) ** 2)
    assert np.abs(soft(b).weights / (2 * b) ** 2 - weights).max() < TOLERANCE["table"]


def test_angles_go_there_and_back_and_a_point_is_what_the_north_pole_becomes():
    g = random_rotations(20, seed=6)
    assert np.abs((from_zyz(*to_zyz(g)).inv() * g).magnitude()).max() < 1e-7
    _, beta, gamma = to_zyz(from_zyz(0.3, 0.0, 0.4))
    assert (abs(beta), gamma) == (0.0, 0.0)
    point = from_zyz(0.3, 1.2, 0.9).apply([0.0, 0.0, 1.0])
    assert np.allclose(point, [np.sin(1.2) * np.cos(0.3), np.sin(1.2) * np.sin(0.3), np.cos(1.2)])


def test_random_rotations_are_seeded_and_of_the_haar_measure():
    g = random_rotations(4000, seed=0)
    assert np.array_equal(g.as_quat(), random_rotations(4000, seed=0).as_quat())
    assert not np.array_equal(g.as_quat(), random_rotations(4000, seed=1).as_quat())
    # The mean of every irrep but the trivial is zero; of entries of variance 1 / 3.
    assert np.abs(g.as_matrix().mean(axis=0)).max() < 4 / sqrt(3 * 4000)


def test_kernels_say_where_their_points_lie():
    kernel = SO3Kernel(0.6)
    assert np.allclose(kernel.betas, [0.2, 0.4, 0.6])
    assert kernel.shape == (3, 8, 8)
    first, last = (from_zyz(0.5, 0.2, turn - 0.5) for turn in kernel.turn_angles[[0, -1]])
    assert (first.inv() * last).magnitude() < 1e-7, "the grid holds one point twice"
    assert S2Kernel(0.6).shape == (3, 8)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: wigner_d(-1, BETAS), "expected a degree of at least 0, received -1"),
        (lambda: soft(0), "expected a bandwidth of at least 1, received 0"),
        (lambda: random_rotations(0, 0), "expected to draw at least one rotation, received 0"),
        (lambda: S2Kernel(4.0), r"expected a largest beta of a kernel in \(0, pi\] radians, received 4"),
        (lambda: SO3Kernel(turns=7), "expected an even number of turns, received 7: take 8"),
        (lambda: S2Kernel(rings=0), "expected at least one point along every axis"),
        (lambda: Band(0, 0, 0), "expected at least one degree"),
    ],
)
def test_wrong_requests_are_refused(make, says):
    with pytest.raises(RequestError, match=says):
        make()
