"""The edges from points to their neighbours, ``e_ij = relu(d_i - c_j)``, never all held where a kernel forms them.

An edge network ``relu(W (x_i - x_j) + b)`` is linear before its nonlinearity, so W is applied once a point, not once an
edge. What attention and pooling want of the edges is one number an edge, or one row a point; a compiled kernel forms
the edges of a point while it has them in its registers, forward and again backward. Elsewhere torch holds them all,
``[M, k, F]``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from isotypic.ops import native
from isotypic.ops.native import INTEGER, POINTER
from isotypic.ops.neighbours import Neighbours

_SIGNATURES: dict[str, list[Any]] = {
    "edge_moments": [*[INTEGER] * 3, *[POINTER] * 6, INTEGER],
    "edge_moments_backward": [*[INTEGER] * 3, *[POINTER] * 8, INTEGER],
    "edge_scores": [*[INTEGER] * 3, *[POINTER] * 6, INTEGER],
    "edge_scores_backward": [*[INTEGER] * 3, *[POINTER] * 11, INTEGER],
    "edge_sums": [*[INTEGER] * 3, *[POINTER] * 5, INTEGER],
    "edge_sums_backward": [*[INTEGER] * 3, *[POINTER] * 9, INTEGER],
}


class Edges(ABC):
    """Edges ``e_ij = relu(d_i - c_j)`` of F channels from M points to their k neighbours."""

    @abstractmethod
    def scores(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``weight . e_ij``, ``[M, k]``, and the maximum over the neighbours of ``e_ij``, ``[M, F]``.

        Args:
            weight: ``[F]``.
        """

    @abstractmethod
    def sums(self, shares: Tensor) -> Tensor:
        """Return ``sum_j shares_ij e_ij``, ``[M, F]``, of shares ``[M, k]``."""


def edges(d: Tensor, c: Tensor, neighbours: Neighbours) -> Edges:
    """Return the edges between points.

    Args:
        d: ``[M, F]``, of the points.
        c: ``[M, F]``, of the same as neighbours.
        neighbours: who they are. A place that is not taken holds the point itself, which is a neighbour anyhow: it
            changes no maximum, and is to have a share of 0.
    """
    return _Formed(d, c, neighbours) if _serves(d) else _Held(d, c, neighbours)


def edge_moments(a: Tensor, neighbours: Neighbours) -> tuple[Tensor, Tensor]:
    """Return mean and variance ``[F]`` of ``a_i - a_j`` over all edges that there are.

    Args:
        a: ``[M, F]``.
        neighbours: of the M points.
    """
    if _serves(a):
        mean, var = _Moments.apply(a.contiguous(), neighbours)
        return mean, var
    differences = (a[:, None] - a[neighbours.index])[neighbours.valid]
    return differences.mean(0), differences.var(0, correction=0)


def _serves(x: Tensor) -> bool:
    if x.device.type != "cpu" or x.dtype not in native.DTYPES or torch.compiler.is_compiling():
        return False
    return x.numel() > 0 and not torch.is_autocast_enabled("cpu") and _library(x.dtype) is not None


@cache
def _library(dtype: torch.dtype) -> Any:
    return native.library("edges", "edges.cpp", dtype, _SIGNATURES)


class _Held(Edges):
    """All edges at once."""

    def __init__(self, d: Tensor, c: Tensor, neighbours: Neighbours) -> None:
        self.edges = (d[:, None] - c[neighbours.index]).relu()

    def scores(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return self.edges @ weight, self.edges.amax(1)

    def sums(self, shares: Tensor) -> Tensor:
        return (shares[:, None] @ self.edges)[:, 0]


class _Formed(Edges):
    """Edges formed where they are used."""

    def __init__(self, d: Tensor, c: Tensor, neighbours: Neighbours) -> None:
        self.d, self.c, self.neighbours = d.contiguous(), c.contiguous(), neighbours

    def scores(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        scores, largest = _Scores.apply(self.d, self.c, weight.contiguous(), self.neighbours)
        return scores, largest

    def sums(self, shares: Tensor) -> Tensor:
        return _Sums.apply(self.d, self.c, shares.contiguous(), self.neighbours)


class _Moments(Function):
    """``a -> (mean, var)`` over the edges."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, neighbours: Neighbours) -> tuple[Tensor, Tensor]:
        mean, var = a.new_empty(a.shape[1]), a.new_empty(a.shape[1])
        _call("edge_moments", a, neighbours, a, neighbours.index, neighbours.found, neighbours.low, mean, var)
        ctx.save_for_backward(a, mean)
        ctx.neighbours = neighbours
        return mean, var

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_mean: Tensor, to_var: Tensor) -> tuple[Tensor, None]:
        (a, mean), neighbours = ctx.saved_tensors, ctx.neighbours
        made = torch.zeros_like(a)
        tensors = (mean, to_mean.contiguous(), to_var.contiguous(), made)
        _call("edge_moments_backward", a, neighbours, a, neighbours.index, neighbours.found, neighbours.low, *tensors)
        return made, None


class _Scores(Function):
    """``(d, c, weight) -> (scores, largest)``."""

    @staticmethod
    def forward(ctx: Any, d: Tensor, c: Tensor, weight: Tensor, neighbours: Neighbours) -> tuple[Tensor, Tensor]:
        scores, largest = d.new_empty(neighbours.index.shape), torch.empty_like(d)
        _call("edge_scores", d, neighbours, d, c, neighbours.index, weight, scores, largest)
        ctx.save_for_backward(d, c, weight, largest)
        ctx.neighbours = neighbours
        return scores, largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_scores: Tensor, to_largest: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (d, c, weight, largest), neighbours = ctx.saved_tensors, ctx.neighbours
        made = torch.empty_like(d), torch.zeros_like(c), torch.zeros_like(weight)
        given = (weight, to_scores.contiguous(), to_largest.contiguous(), largest)
        _call("edge_scores_backward", d, neighbours, d, c, neighbours.index, neighbours.low, *given, *made)
        return (*made, None)


class _Sums(Function):
    """``(d, c, shares) -> sums``."""

    @staticmethod
    def forward(ctx: Any, d: Tensor, c: Tensor, shares: Tensor, neighbours: Neighbours) -> Tensor:
        made = torch.empty_like(d)
        _call("edge_sums", d, neighbours, d, c, neighbours.index, shares, made)
        ctx.save_for_backward(d, c, shares)
        ctx.neighbours = neighbours
        return made

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        (d, c, shares), neighbours = ctx.saved_tensors, ctx.neighbours
        made = torch.empty_like(d), torch.zeros_like(c), torch.empty_like(shares)
        given = (shares, gradient.contiguous())
        _call("edge_sums_backward", d, neighbours, d, c, neighbours.index, neighbours.low, *given, *made)
        return (*made, None)


def _call(function: str, like: Tensor, neighbours: Neighbours, *tensors: Tensor) -> None:
    rows, k = neighbours.index.shape
    work = native.threads(2 * rows * k * like.shape[1])
    pointers = [t.data_ptr() for t in tensors]
    getattr(_library(like.dtype), function)(rows, k, like.shape[1], *pointers, work)
