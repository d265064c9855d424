"""Wigner's matrices ``d^l(beta) = exp(-i beta J_y)`` and ``D^l(g)``, from the eigenvectors of J_y.

``J_y = P J_x P^-1`` with ``P = diag(i^-m)``, and J_x is real, symmetric and tridiagonal, with the eigenvalues -l to l
and the eigenvectors W: ``d^l_mn(beta) = i^{n-m} sum_k W_mk W_nk e^{-i k beta}``. The terms of k and -k are conjugate up
to the sign ``(-1)^{m-n}``, so that d is real: a sum of cosines where m - n is even and of sines where it is odd.

Source:
    X. Feng, P. Wang, W. Yang, G. Jin, High-precision evaluation of Wigner's d matrix by exact diagonalization,
    Physical Review E 92 (2015), arXiv 1507.04535.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh_tridiagonal
from scipy.spatial.transform import Rotation

from isotypic.errors import RequestError
from isotypic.groups.finite import Floats
from isotypic.groups.so3.rotations import to_zyz

Complexes = npt.NDArray[np.complex128]


def wigner_d(degree: int, betas: Floats) -> Floats:
    """Return ``d^l_mn(beta)``, ``[len(betas), 2 l + 1, 2 l + 1]``, rows m and columns n from -l to l.

    Args:
        degree: l, at least 0.
        betas: angles in radians.

    Raises:
        RequestError: a negative degree.

    >>> wigner_d(1, np.array([0.0, np.pi]))[:, 1, 1].round(12).tolist()
    [1.0, -1.0]
    """
    if degree < 0:
        raise RequestError(f"expected a degree of at least 0, received {degree}")
    terms, power = _terms(degree)
    k = np.arange(-degree, degree + 1)
    angles = np.multiply.outer(k, np.asarray(betas, dtype=np.float64))
    flat = np.empty((power.size, angles.shape[1]))
    even = power.reshape(-1) % 2 == 0
    flat[even] = terms[even] @ np.cos(angles)
    flat[~even] = terms[~even] @ np.sin(angles)
    return np.moveaxis(flat.reshape(*power.shape, -1), -1, 0)


def wigner_matrix(degree: int, rotation: Rotation) -> Complexes:
    """Return the irrep ``D^l_mn(g) = e^{i m alpha} d^l_mn(beta) e^{i n gamma}`` of one rotation, unitary.

    Args:
        degree: l.
        rotation: one rotation g.

    Returns:
        ``[2 l + 1, 2 l + 1]``, rows m and columns n from -l to l.
    """
    alpha, beta, gamma = (float(angle) for angle in to_zyz(rotation))
    m = np.arange(-degree, degree + 1)
    return np.exp(1j * m * alpha)[:, None] * wigner_d(degree, np.array([beta]))[0] * np.exp(1j * m * gamma)


def _terms(degree: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return the coefficients ``[(2 l + 1)^2, 2 l + 1]`` of the cosines or sines of k beta, and ``(n - m) mod 4``."""
    m = np.arange(-degree, degree + 1)
    vectors, power = _eigenvectors(degree), (m[None, :] - m[:, None]) % 4
    # The real part of i^power (cos - i sin): cos, sin, -cos, -sin.
    sign = np.array([1.0, 1.0, -1.0, -1.0])[power]
    terms = (sign[:, :, None] * vectors[:, None, :]) * vectors[None, :, :]
    return terms.reshape(power.size, -1), power


@cache
def _eigenvectors(degree: int) -> Floats:
    """Return the eigenvectors of J_x as columns, by ascending eigenvalue."""
    m = np.arange(-degree, degree)
    if not degree:
        return np.ones((1, 1))
    return eigh_tridiagonal(np.zeros(m.size + 1), 0.5 * np.sqrt(degree * (degree + 1) - m * (m + 1.0)))[1]
