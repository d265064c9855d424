"""Transforms between a grid and a spectrum, on the sphere and on SO(3).

Analysis is ``X = A f`` and synthesis ``f = A^T X`` with tables of their own: those of analysis hold the quadrature
weights, those of synthesis ``2 l + 1``. Each is the backward pass of the other, so that nothing is kept for it. The
waves of alpha and gamma are real products with small matrices: they stop at the band, come out in the order in which
the products over beta want them, and need no complex numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from isotypic.groups.so3.spectra import Band
from isotypic.groups.so3.transforms import Stack, stacks


@dataclass(frozen=True)
class Tables:
    """What a transform reads, tensors of one device, the tables of one dtype.

    Attributes:
        band: of the spectrum; ``columns`` 0 on the sphere.
        alpha: waves of alpha, ``[samples, 2 (rows + 1)]``.
        gamma: waves of gamma, ``[samples, 2 (columns + 1)]``; None on the sphere.
        wigner: the functions of beta: a vector, stack behind stack, or ``[rows + 1, degrees, nodes]`` on the sphere.
        nodes: nodes of beta.
        index: ``[1 or 2, entries]``: the products that an entry sums.
        sign: the signs of these.
        inverse: ``[products]``: the entry that a product goes to.
        inverse_sign: the signs of these.
    """

    band: Band
    alpha: Tensor
    gamma: Tensor | None
    wigner: Tensor
    nodes: int
    index: Tensor
    sign: Tensor
    inverse: Tensor
    inverse_sign: Tensor

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
        with torch.autocast(signal.device.type, enabled=False):
            waves = _waves(signal.contiguous(), tables)
            products = _s2_products(waves, tables) if tables.gamma is None else _products(waves, tables)
            return _gathered(products.unflatten(1, signal.shape[:2]), tables)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Synthesis.apply(gradient, ctx.tables), None


class _Synthesis(Function):
    """``X -> A^T X``."""

    @staticmethod
    def forward(ctx: Any, spectrum: Tensor, tables: Tables) -> Tensor:
        ctx.tables = tables
        with torch.autocast(spectrum.device.type, enabled=False):
            products = spectrum.flatten(1).index_select(0, tables.inverse).mul_(tables.inverse_sign[:, None])
            spread = _s2_spread if tables.gamma is None else _spread
            # Not a view, which could not be changed in place.
            signal = spectrum.new_empty(*spectrum.shape[1:], *tables.space)
            _signal(spread(products, tables), tables, signal)
            return signal

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _Analysis.apply(gradient, ctx.tables), None


def _waves(signal: Tensor, tables: Tables) -> Tensor:
    """Return ``[rows + 1, 2, (columns + 1, 2,) B C, beta]``: sums over alpha (and gamma) against the waves."""
    if tables.gamma is not None:
        signal = torch.mm(tables.gamma.t(), signal.view(-1, len(tables.gamma)).t())
    made = torch.mm(tables.alpha.t(), signal.view(-1, len(tables.alpha)).t())
    middle = () if tables.gamma is None else (tables.band.columns + 1, 2)
    return made.view(tables.band.rows + 1, 2, *middle, -1, tables.nodes)


def _signal(waves: Tensor, tables: Tables, signal: Tensor) -> None:
    """Write the adjoint of :func:`_waves`."""
    out = signal.view(-1, signal.shape[-1])
    if tables.gamma is None:
        torch.mm(waves.view(tables.alpha.shape[1], -1).t(), tables.alpha.t(), out=out)
        return
    made = torch.mm(waves.view(tables.alpha.shape[1], -1).t(), tables.alpha.t())
    torch.mm(made.view(tables.gamma.shape[1], -1).t(), tables.gamma.t(), out=out)


def _gathered(products: Tensor, tables: Tables) -> Tensor:
    """Return the spectrum ``[entries, B, C]`` of the products ``[products, B, C]``."""
    made = products.index_select(0, tables.index[0])
    if len(tables.index) == 1:
        return made
    made.mul_(tables.sign[0, :, None, None])
    return made.addcmul_(products.index_select(0, tables.index[1]), tables.sign[1, :, None, None])


@dataclass(frozen=True)
class _Slab:
    """Pairs of orders of one stack, one side of it, and cosine or sine of alpha.

    Attributes:
        waves: where they lie in the waves: an index.
        table: d+ and d-, ``[pairs, 2 levels, beta]``.
        start: the first of their products.
        stop: behind the last.
    """

    waves: tuple[int | slice, ...]
    table: Tensor
    start: int
    stop: int


def _slabs(tables: Tables) -> Iterator[_Slab]:
    """Yield the slabs in the order of their products."""
    first = start = 0
    for stack in stacks(tables.band):
        size = stack.depth * 2 * stack.levels * tables.nodes
        table = tables.wigner[first : first + size].view(stack.depth, 2 * stack.levels, tables.nodes)
        first += size
        for index, pairs in _sides(stack):
            stop = start + 4 * stack.levels * pairs
            yield _Slab(index, table[:pairs], start, stop)
            start = stop


def _sides(stack: Stack) -> Iterator[tuple[tuple[int | slice, ...], int]]:
    for sine in (0, 1) if stack.straight else ():
        yield (stack.order, sine, slice(stack.straight)), stack.straight
    for sine in (0, 1) if stack.swapped else ():
        yield (slice(stack.swapped), sine, stack.order), stack.swapped


def _products(waves: Tensor, tables: Tables) -> Tensor:
    """Return the products over beta with d+ and d-, ``[products, B C]``."""
    channels = waves.shape[-2]
    made = waves.new_empty(len(tables.inverse), channels)
    for slab in _slabs(tables):
        rows = waves[slab.waves].flatten(1, 2)
        out = made[slab.start : slab.stop].view(len(rows), -1, 2 * channels)
        torch.bmm(slab.table, rows.transpose(1, 2), out=out)
    return made


def _spread(products: Tensor, tables: Tables) -> Tensor:
    """Return the adjoint of :func:`_products`."""
    band, channels = tables.band, products.shape[-1]
    waves = products.new_empty(band.rows + 1, 2, band.columns + 1, 2, channels, tables.nodes)
    for slab in _slabs(tables):
        rows = products[slab.start : slab.stop].view(len(slab.table), -1, 2 * channels)
        made = torch.bmm(rows.transpose(1, 2), slab.table)
        waves[slab.waves] = made.view(-1, 2, channels, tables.nodes)
    return waves


def _s2_products(waves: Tensor, tables: Tables) -> Tensor:
    """Return the products over beta with ``d_m0``, ``[(m, degree, cosine or sine), B C]``."""
    rows = waves.flatten(1, 2)
    return torch.bmm(tables.wigner, rows.transpose(1, 2)).view(-1, waves.shape[2])


def _s2_spread(products: Tensor, tables: Tables) -> Tensor:
    """Return the adjoint of :func:`_s2_products`."""
    rows = products.view(*tables.wigner.shape[:2], -1)
    return torch.bmm(rows.transpose(1, 2), tables.wigner)
