"""The real basis of a degree, in which the spectra of real signals are real and products need no complex numbers.

The spectrum of a real signal obeys ``conj(x_mn) = (-1)^{m-n} x_{-m,-n}``. The unitary U with rows ``0, c_1, s_1, c_2,
s_2, ...``, ``(U x)_{c_m} = (x_m + (-1)^m x_{-m}) / sqrt 2`` and ``(U x)_{s_m} = (x_m - (-1)^m x_{-m}) / (i sqrt 2)``,
makes ``X = U x U^*`` real; ``z = x y^*`` becomes ``Z = X Y^T``. With

    d+_mn = c (d_mn + (-1)^n d_{m,-n}),  d-_mn = c (d_mn - (-1)^n d_{m,-n}),  c = 2^{-([m = 0] + [n = 0]) / 2},

rotation about y joins cosines with cosines by d+ and sines with sines by d-, for m and n from 0. The position of an
order does not depend on the degree: orders up to N are the first 2 N + 1 rows.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from isotypic.groups.finite import Floats, Indices
from isotypic.groups.so3.wigner import Complexes, wigner_d, wigner_matrix


def orders(size: int) -> tuple[Indices, Indices]:
    """Return for each of the first rows of the real basis its order m, and 0 for a cosine or 1 for a sine."""
    rows = np.arange(size)
    return (rows + 1) // 2, ((rows % 2 == 0) & (rows > 0)).astype(np.int64)


def real_change(degree: int) -> Complexes:
    """Return the unitary U, ``[2 l + 1, 2 l + 1]``: columns m from -l to l, rows ``0, c_1, s_1, ...``."""
    order, sine = orders(2 * degree + 1)
    change = np.zeros((order.size, order.size), dtype=np.complex128)
    rows, sign = np.arange(order.size), (-1.0) ** order
    factor = np.where(sine, -1j, 1.0) / np.sqrt(2)
    change[rows, degree + order] = factor
    change[rows, degree - order] = np.where(sine, -sign, sign) * factor
    change[0, degree] = 1.0
    return change


def real_wigner_matrix(degree: int, rotation: Rotation) -> Floats:
    """Return ``U conj(D^l(g)) U^*``, real orthogonal: what a rotation does to a real spectrum, from the left.

    Args:
        degree: l.
        rotation: one rotation g.
    """
    change = real_change(degree)
    return (change @ wigner_matrix(degree, rotation).conj() @ change.conj().T).real


def halves(degree: int, betas: Floats) -> Floats:
    """Return d+ and d-, ``[2, l + 1, l + 1, len(betas)]``, of the orders m and n from 0 to l."""
    table = np.moveaxis(wigner_d(degree, betas)[:, degree:], 0, -1)
    n = np.arange(degree + 1)
    straight, mirrored = table[:, degree:], table[:, degree::-1] * ((-1.0) ** n)[None, :, None]
    scale = np.where(n == 0, np.sqrt(0.5), 1.0)
    return np.stack([straight + mirrored, straight - mirrored]) * np.multiply.outer(scale, scale)[..., None]
