"""The spectra of kernels near the identity, without ever holding all their points times all their entries.

The spectrum of a kernel psi on its points is ``y_mn = sum psi conj(D_mn)``. On the points of
:class:`~isotypic.groups.so3.kernels.SO3Kernel` it is ``y^l_mn = sum_k d^l_mn(beta_k) w_k[(m - n) mod around, n mod
period]`` with ``w_k[u, v] = sum_{a, t} psi[k, a, t] e^{-2 pi i (u a / around + 2 v t / period)}``: a small Fourier
transform, an index, and a sum of as many terms as there are rings, twice in the real basis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from isotypic.groups.finite import Floats, Indices
from isotypic.groups.so3.kernels import S2Kernel, SO3Kernel
from isotypic.groups.so3.real import orders
from isotypic.groups.so3.spectra import Band
from isotypic.groups.so3.wigner import wigner_d


@dataclass(frozen=True)
class Lookup:
    """A sparse matrix with equally many entries a row.

    Attributes:
        index: ``[rows, terms]``: columns.
        value: ``[rows, terms]``.
    """

    index: Indices
    value: Floats


def s2_kernel_table(kernel: S2Kernel, degrees: int, columns: int) -> Floats:
    """Return the real spectrum of every point, ``[entries, points]``, rows ``(l, q)``.

    Args:
        kernel: the points.
        degrees: of the spectrum.
        columns: the largest order of q.
    """
    rows = []
    for degree in range(degrees):
        m, sine = orders(2 * min(degree, columns) + 1)
        ring = wigner_d(degree, kernel.betas)[:, degree + m, degree] * np.where(m > 0, np.sqrt(2), 1.0)
        angles = np.multiply.outer(m, kernel.alphas)
        turned = np.where(sine[:, None], -np.sin(angles), np.cos(angles))
        rows.append(np.einsum("kq,qa->qka", ring, turned).reshape(len(m), -1))
    return np.concatenate(rows)


def kernel_waves(kernel: SO3Kernel) -> Floats:
    """Return the Fourier transform of a ring, ``[2 around period, around turns]``, rows ``(part, u, v)``."""
    u, v, a, t = np.ogrid[: kernel.around, : kernel.period, : kernel.around, : kernel.turns]
    angles = 2 * np.pi * (u * a / kernel.around + 2 * v * t / kernel.period)
    return np.stack([np.cos(angles), -np.sin(angles)]).reshape(2 * u.size * v.size, -1)


@cache
def kernel_lookup(kernel: SO3Kernel, band: Band) -> Lookup:
    """Return how waves ``[ring, real or imaginary, u, v]`` make the real spectrum Y of a kernel.

    Args:
        kernel: the points.
        band: rows are the columns p of Y, columns its rows q: an entry is ``(l, p, q)``, as products want it.
    """
    made = [_degree_lookup(kernel, degree, shape) for degree, shape in enumerate(band.shapes)]
    return Lookup(np.concatenate([m.index for m in made]), np.concatenate([m.value for m in made]))


def collapsed_table(kernel: SO3Kernel, degrees: int, columns: int) -> Floats:
    """Return the real spectrum of every point summed over its rows, ``[entries, points]``, rows ``(l, p)``.

    The sum over the orders m of ``y_mn`` that a real signal on the sphere keeps, the even ones: in the real basis
    ``Y_0 + sqrt 2 sum over even m of Y_{c_m}``.

    Args:
        kernel: the points.
        degrees: of the spectrum.
        columns: the largest order of p.
    """
    rings = np.kron(np.eye(kernel.rings), kernel_waves(kernel))
    rows = []
    for degree in range(degrees):
        p, q = 2 * min(degree, columns) + 1, 2 * degree + 1
        m, sine = orders(q)
        kept = np.where((m % 2 == 0) & (sine == 0), np.where(m > 0, np.sqrt(2), 1.0), 0.0)
        found = _degree_lookup(kernel, degree, (p, q))
        terms = (found.value.reshape(p, q, -1) * kept[:, None]).reshape(p, -1)
        summed = np.zeros((p, len(rings)))
        np.add.at(summed, (np.arange(p)[:, None], found.index.reshape(p, -1)), terms)
        rows.append(summed @ rings)
    return np.concatenate(rows)


def _degree_lookup(kernel: SO3Kernel, degree: int, shape: tuple[int, int]) -> Lookup:
    """Return the lookup of one degree, rows ``(p, q)``."""
    (n, other), (m, sine) = orders(shape[0]), orders(shape[1])
    m, n, sine, other = (np.broadcast_to(t, shape) for t in (m[None, :], n[:, None], sine[None, :], other[:, None]))
    table = wigner_d(degree, kernel.betas)
    imaginary = sine != other
    scale = 0.5 ** (((m == 0) * 1.0 + (n == 0)) / 2)
    straight = np.where(imaginary & (sine == 0), -1.0, 1.0)
    mirrored = np.where((sine == 1) & (other == 1), -1.0, 1.0) * (-1.0) ** n
    index, value = [], []
    for ring, d in enumerate(table):
        for order, sign in ((n, straight), (-n, mirrored)):
            place = (ring * 2 + imaginary) * kernel.around + (m - order) % kernel.around
            index.append(place * kernel.period + order % kernel.period)
            value.append(scale * sign * d[degree + m, degree + order])
    return Lookup(*(np.stack(t, axis=-1).reshape(-1, 2 * kernel.rings) for t in (index, value)))
