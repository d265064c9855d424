"""Spectra of kernels near the identity, in the blocks that products of spectra want.

See :mod:`isotypic.groups.so3.kernel_tables` for the mathematics. A weight is ``[O, C, *points]``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from isotypic.groups.so3.spectra import Band
from isotypic.ops.sphere.sparse import SparseRows


def point_blocks(weight: Tensor, table: Tensor, band: Band) -> list[Tensor]:
    """Return the blocks of a kernel whose points all meet all entries: on the sphere, or collapsed to it.

    Args:
        weight: ``[O, C, *points]``.
        table: ``[entries, points]``.
        band: of the blocks: rows p, columns q.
    """
    out_channels, in_channels = weight.shape[:2]
    points = weight.transpose(0, 1).reshape(in_channels * out_channels, -1)
    return _blocks(torch.mm(table, points.t()), band, in_channels)


def lookup_blocks(weight: Tensor, waves: Tensor, rows: SparseRows, transposed: SparseRows, band: Band) -> list[Tensor]:
    """Return the blocks of a kernel on SO(3).

    Args:
        weight: ``[O, C, rings, around, turns]``.
        waves: the Fourier transform of a ring.
        rows: how waves make entries ``(l, p, q)``.
        transposed: the transposed matrix.
        band: of the blocks: rows p, columns q.
    """
    out_channels, in_channels, rings = weight.shape[:3]
    points = weight.permute(2, 3, 4, 1, 0).reshape(rings, -1, in_channels * out_channels)
    transformed = torch.matmul(waves, points).flatten(0, 1)
    return _blocks(_SparseProduct.apply(transformed, rows, transposed), band, in_channels)


def _blocks(entries: Tensor, band: Band, in_channels: int) -> list[Tensor]:
    """Turn ``[entries, C O]`` into ``[p C, q O]`` for every degree; none is a view that would keep all entries."""
    first, *others = entries.split(band.sizes)
    parts = zip([first.clone(), *others], band.shapes, strict=True)
    return [part.view(p, q, in_channels, -1).transpose(1, 2).reshape(p * in_channels, -1) for part, (p, q) in parts]


class _SparseProduct(Function):
    """``x -> S x`` for a sparse S whose transpose is at hand."""

    @staticmethod
    def forward(ctx: Any, dense: Tensor, rows: SparseRows, transposed: SparseRows) -> Tensor:
        ctx.rows, ctx.transposed = rows, transposed
        return rows.times(dense)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _SparseProduct.apply(gradient, ctx.transposed, ctx.rows), None, None
