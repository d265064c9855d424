"""Transforms between a grid and a spectrum, on the sphere and on SO(3).

Analysis is ``X = A f`` and synthesis ``f = A^T X`` with tables of their own: those of analysis hold the quadrature
weights, those of synthesis ``2 l + 1``. Each is the backward pass of the other, so that nothing is kept for it. The
waves of alpha and gamma are real products with small matrices: they stop at the band, come out in the order in which
the products over beta want them, and need no complex numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from isotypic.groups.so3.spectra import Band
from isotypic.groups.so3.transforms import Stack, stacks
from isotypic.ops.sphere.sparse import SparseRows

AT_ONCE = 2**24
"""Bytes of signals that a CPU transforms at a time: what lies between the steps stays in its caches."""


@dataclass(frozen=True)
class Tables:
    """What a transform reads, tensors of one device, the tables of one dtype.

    Attributes:
        band: of the spectrum; ``columns`` 0 on the sphere.
        alpha: waves of alpha, ``[samples, 2 (rows + 1)]``.
        gamma: waves of gamma, ``[samples, 2 (columns + 1)]``; None on the sphere.
        wigner: the functions of beta: a vector, stack behind stack, or ``[rows + 1, degrees, nodes]`` on the sphere.
        nodes: nodes of beta.
        gather: ``[entries, products]``: the signed products that an entry sums.
        scatter: ``[products, entries]``: the entry that a product goes to, with its sign.
    """

    band: Band
    alpha: Tensor
    gamma: Tensor | None
    wigner: Tensor
    nodes: int
    gather: SparseRows
    scatter: SparseRows

    @property
    def space(self) -> tuple[int, ...]:
        """Samples along beta, alpha and, on SO(3), gamma."""
        return self.nodes, len(self.alpha), *(() if self.gamma is None else (len(self.gamma),))


def analyse(signal: Tensor, tables: Tables) -> Tensor:
    """Return the spectrum ``[entries, B, C]`` of a signal ``[B, C, *space]``, in the precision of the tables."""
    return _Analysis.apply(signal.to(tables.alpha.dtype), tables)


def synthesise(spectrum: Tensor, tables: Tables) -> Tensor:
    """Return the signal ``[B, C, *space]`` of a spectrum ``[entries, B, C]``, in the precision of the tables."""
    return _Synthesis.apply(spectrum.to(tables.alpha.dtype), tables)


class _Analysis(Function):
    """``f -> A f``."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, tables: Tables) -> Tensor:
        ctx.tables = tables
        batch, channels = signal.shape[:2]
        spectrum = signal.new_empty(len(tables.gather.index), batch, channels)
        with torch.autocast(signal.device.type, enabled=False):
            for some in _parts(signal):
                waves = _waves(signal[some].contiguous(), tables)
                products = _s2_products(waves, tables) if tables.gamma is None else _products(waves, tables)
                spectrum[:, some] = tables.gather.times(products).unflatten(1, (-1, channels))
        return spectrum

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Synthesis.apply(gradient, ctx.tables), None


class _Synthesis(Function):
    """``X -> A^T X``."""

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, tables: Tables) -> Tensor:
        ctx.tables = tables
        spread = _s2_spread if tables.gamma is None else _spread
        signal = spectrum.new_empty(*spectrum.shape[1:], *tables.space)  # not a view, which autograd would guard
        with torch.autocast(spectrum.device.type, enabled=False):
            for some in _parts(signal):
                products = tables.scatter.times(spectrum[:, some].flatten(1))
                _signal(spread(products, tables), tables, signal[some])
        return signal

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Analysis.apply(gradient, ctx.tables), None


def _parts(signal: Tensor) -> Iterator[slice]:
    """Yield slices of a batch, on a CPU of :data:`AT_ONCE` bytes of signals or of one signal."""
    batch, one = len(signal), signal.element_size() * prod(signal.shape[1:])
    step = max(1, AT_ONCE // max(1, one) if signal.is_cpu else batch)
    return (slice(first, first + step) for first in range(0, batch, step))


def _waves(signal: Tensor, tables: Tables) -> Tensor:
    """Return ``[(columns + 1,) rows + 1, 2, (2,) B C, beta]``: sums over gamma and alpha against the waves."""
    if tables.gamma is None:
        made = torch.mm(tables.alpha.t(), signal.view(-1, len(tables.alpha)).t())
        return made.view(tables.band.rows + 1, 2, -1, tables.nodes)
    turned = torch.mm(tables.gamma.t(), signal.view(-1, len(tables.gamma)).t())
    columns = tables.band.columns + 1
    made = torch.matmul(tables.alpha.t(), turned.view(columns, -1, len(tables.alpha)).mT)
    return made.view(columns, tables.band.rows + 1, 2, 2, -1, tables.nodes)


def _signal(waves: Tensor, tables: Tables, signal: Tensor) -> None:
    """Write the adjoint of :func:`_waves`."""
    out = signal.view(-1, signal.shape[-1])
    if tables.gamma is None:
        torch.mm(waves.view(tables.alpha.shape[1], -1).t(), tables.alpha.t(), out=out)
        return
    columns = tables.band.columns + 1
    turned = torch.matmul(waves.view(columns, tables.alpha.shape[1], -1).mT, tables.alpha.t())
    torch.mm(turned.view(2 * columns, -1).t(), tables.gamma.t(), out=out)


@dataclass(frozen=True)
class _Slab:
    """The straight or the swapped pairs of one stack.

    Attributes:
        waves: theirs, ``[pairs, (cosine or sine of alpha, of gamma, B C), beta]``.
        table: d+ and d-, ``[pairs, 2 levels, beta]``.
        products: theirs, ``[pairs, 2 levels, (cosine or sine of alpha, of gamma, B C)]``.
    """

    waves: Tensor
    table: Tensor
    products: Tensor


def _slabs(waves: Tensor, products: Tensor, tables: Tables) -> Iterator[_Slab]:
    """Yield views of waves and products, in the order of the latter, with their tables."""
    cuts = _cuts(tables.band)
    both = waves.flatten(2, 4)
    sides = (both.unbind(1), both.unbind(0))
    found = tables.wigner.view(-1, tables.nodes).split(cuts.tables)
    for (stack, pairs, swapped), part in zip(cuts.slabs, products.split(cuts.products), strict=True):
        table = found[stack.order].view(stack.depth, -1, tables.nodes)[:pairs]
        yield _Slab(sides[swapped][stack.order][:pairs], table, part.view(pairs, 2 * stack.levels, -1))


@dataclass(frozen=True)
class _Cuts:
    """How tables and products are cut.

    Attributes:
        tables: rows of the table of every stack.
        slabs: their stack, how many pairs, and whether they are the swapped ones.
        products: of every slab.
    """

    tables: list[int]
    slabs: list[tuple[Stack, int, bool]]
    products: list[int]


@cache
def _cuts(band: Band) -> _Cuts:
    slabs, products = [], []
    for stack in stacks(band):
        for pairs, swapped in ((stack.straight, False), (stack.swapped, True)):
            if pairs:
                slabs.append((stack, pairs, swapped))
                products.append(8 * stack.levels * pairs)
    return _Cuts([2 * stack.levels * stack.depth for stack in stacks(band)], slabs, products)


def _products(waves: Tensor, tables: Tables) -> Tensor:
    """Return the products over beta with d+ and d-, ``[products, B C]``."""
    made = waves.new_empty(len(tables.scatter.index), waves.shape[-2])
    for slab in _slabs(waves, made, tables):
        torch.bmm(slab.table, slab.waves.mT, out=slab.products)
    return made


def _spread(products: Tensor, tables: Tables) -> Tensor:
    """Return the adjoint of :func:`_products`."""
    band = tables.band
    waves = products.new_empty(band.columns + 1, band.rows + 1, 2, 2, products.shape[-1], tables.nodes)
    for slab in _slabs(waves, products, tables):
        if slab.waves.is_contiguous():
            torch.bmm(slab.products.mT, slab.table, out=slab.waves)
        else:
            slab.waves.copy_(torch.bmm(slab.products.mT, slab.table))
    return waves


def _s2_products(waves: Tensor, tables: Tables) -> Tensor:
    """Return the products over beta with ``d_m0``, ``[(m, degree, cosine or sine), B C]``."""
    rows = waves.flatten(1, 2)
    return torch.bmm(tables.wigner, rows.transpose(1, 2)).view(-1, waves.shape[2])


def _s2_spread(products: Tensor, tables: Tables) -> Tensor:
    """Return the adjoint of :func:`_s2_products`."""
    rows = products.view(*tables.wigner.shape[:2], -1)
    return torch.bmm(rows.transpose(1, 2), tables.wigner)
