"""The tables of the transforms between a grid and a spectrum: waves, Wigner functions, and where products go.

A signal on SO(3) becomes sums against ``(cos or sin) m alpha`` times ``(cos or sin) n gamma`` at every beta, and then,
in the real basis and with P+, P- their products over beta with d+, d- (:mod:`isotypic.groups.so3.real`),

    X_cc = P+_cc - P-_ss,  X_ss = P-_cc - P+_ss,  X_sc = -P+_sc - P-_cs,  X_cs = P+_cs + P-_sc.

As ``d+-_nm = (-1)^{m-n} d+-_mn``, the orders with one ``L = max(m, n)`` form a :class:`Stack` of equal shapes: all
degrees from L, the *straight* pairs (m = L, n = k) and the *swapped* ones (m = k, n = L), which share a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from isotypic.groups.finite import Floats, Indices
from isotypic.groups.so3.grids import BetaGrid
from isotypic.groups.so3.real import halves, orders
from isotypic.groups.so3.spectra import Band
from isotypic.groups.so3.wigner import wigner_d


@dataclass(frozen=True)
class Stack:
    """The pairs of orders with one maximum.

    Attributes:
        order: L, that maximum.
        levels: degrees from L.
        straight: pairs (L, k), k from 0.
        swapped: pairs (k, L), k from 0.
    """

    order: int
    levels: int
    straight: int
    swapped: int

    @property
    def depth(self) -> int:
        """How many pairs a table must serve."""
        return max(self.straight, self.swapped)


@dataclass(frozen=True)
class Gather:
    """How the products over beta, one behind the other, make a spectrum, and the adjoint of it.

    Attributes:
        index: ``[entries, terms]``: the products that an entry sums, of d+ and of d- on SO(3), one on the sphere.
        sign: ``[entries, terms]``: their signs.
        inverse: ``[products, 1]``: the one entry that a product goes to.
        inverse_sign: ``[products, 1]``; 0 where there is none (the sine of order 0).
    """

    index: Indices
    sign: Floats
    inverse: Indices
    inverse_sign: Floats


def waves(samples: int, limit: int) -> Floats:
    """Return ``cos m t, sin m t`` at uniform t, ``[samples, 2 (limit + 1)]``, columns ``(m, cosine or sine)``."""
    angles = 2 * np.pi / samples * np.multiply.outer(np.arange(samples), np.arange(limit + 1))
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1).reshape(samples, -1)


@cache
def stacks(band: Band) -> tuple[Stack, ...]:
    """Return the stacks of a band, L from 0."""
    return tuple(
        Stack(
            order=top,
            levels=band.degrees - top,
            straight=min(top, band.columns) + 1 if top <= band.rows else 0,
            swapped=min(top - 1, band.rows) + 1 if top <= band.columns else 0,
        )
        for top in range(max(band.rows, band.columns) + 1)
    )


@cache
def wigner_stacks(grid: BetaGrid, band: Band) -> tuple[Floats, ...]:
    """Return d+ and d- at the nodes, for every stack ``[depth, 2, levels, len(grid)]``."""
    tables = [np.empty((stack.depth, 2, stack.levels, len(grid))) for stack in stacks(band)]
    for degree in range(band.degrees):
        both = halves(degree, grid.betas)
        for stack, table in zip(stacks(band)[: degree + 1], tables, strict=False):
            table[:, :, degree - stack.order] = both[:, stack.order, : stack.depth].transpose(1, 0, 2)
    for table in tables:
        table.flags.writeable = False
    return tuple(tables)


def weighted(grid: BetaGrid, band: Band, *, analysis: bool) -> Floats:
    """Return the tables of all stacks in one vector, times what the direction asks for.

    Args:
        grid: the nodes.
        band: of the spectrum.
        analysis: times the quadrature weights of beta; otherwise times ``2 l + 1``.
    """
    made = []
    for stack, table in zip(stacks(band), wigner_stacks(grid, band), strict=True):
        levels = 2.0 * np.arange(stack.order, band.degrees)[:, None] + 1
        made.append((table * (grid.weights if analysis else levels)).reshape(-1))
    return np.concatenate(made)


@cache
def gather(band: Band) -> Gather:
    """Return how the products of all stacks make a spectrum on SO(3).

    The products of a stack lie straight ones first, ``[k, d+ or d-, level, cosine or sine of alpha, of gamma]``.
    """
    first = _starts(band)
    index, sign = [], []
    for degree, (rows, columns) in enumerate(band.shapes):
        (m, sine), (n, other) = orders(rows), orders(columns)
        m, n, row, column = (np.broadcast_to(t, (rows, columns)).reshape(-1) for t in _grid(m, n, sine, other))
        top, low, swapped = np.maximum(m, n), np.minimum(m, n), (n > m).astype(np.int64)
        turned = np.where(swapped, (-1.0) ** (m - n), 1.0)
        pair = [
            first[top, swapped] + (((low * 2 + half) * (band.degrees - top) + degree - top) * 2 + tau) * 2 + sigma
            for half, tau, sigma in ((0, row, column), (1, 1 - row, 1 - column))
        ]
        index.append(np.stack(pair, axis=1))
        sign.append(np.stack([turned * (1 - 2 * row), turned * (2 * column - 1)], axis=1))
    return _with_inverse(np.concatenate(index), np.concatenate(sign), products(band))


def products(band: Band) -> int:
    """Return how many products over beta the stacks of a band make."""
    return sum(8 * stack.levels * (stack.straight + stack.swapped) for stack in stacks(band))


def _grid(m: Indices, n: Indices, sine: Indices, other: Indices) -> tuple[Indices, ...]:
    return m[:, None], n[None, :], sine[:, None], other[None, :]


def _starts(band: Band) -> Indices:
    """Return the first product, ``[L, straight or swapped]``."""
    counts = np.array([[8 * s.levels * s.straight, 8 * s.levels * s.swapped] for s in stacks(band)])
    return (np.cumsum(counts) - counts.reshape(-1)).reshape(-1, 2)


def _with_inverse(index: Indices, sign: Floats, size: int) -> Gather:
    inverse, inverse_sign = np.zeros((size, 1), np.int64), np.zeros((size, 1))
    for places, signs in zip(index.T, sign.T, strict=True):
        inverse[places, 0] = np.arange(len(places))
        inverse_sign[places, 0] = signs
    return Gather(index, sign, inverse, inverse_sign)


def legendre(grid: BetaGrid, band: Band) -> Floats:
    """Return ``d^l_m0`` at the nodes, times sqrt 2 for m > 0: ``[rows + 1, degrees, len(grid)]``, 0 where m > l."""
    table = np.zeros((band.rows + 1, band.degrees, len(grid)))
    for degree in range(band.degrees):
        top = min(degree, band.rows) + 1
        table[:top, degree] = wigner_d(degree, grid.betas)[:, degree : degree + top, degree].T
    table[1:] *= np.sqrt(2)
    return table


def s2_waves(samples: int, limit: int) -> Floats:
    """Return ``cos m alpha, -sin m alpha``, as :func:`waves`: ``X_s = sqrt 2 Im x``."""
    return waves(samples, limit) * np.tile([1.0, -1.0], limit + 1)


@cache
def s2_gather(band: Band) -> Gather:
    """Return where the products ``[m, degree, cosine or sine]`` go in a spectrum of the sphere."""
    index = []
    for degree, (rows, _) in enumerate(band.shapes):
        m, sine = orders(rows)
        index.append((m * band.degrees + degree) * 2 + sine)
    flat = np.concatenate(index)[:, None]
    return _with_inverse(flat, np.ones(flat.shape), (band.rows + 1) * band.degrees * 2)
