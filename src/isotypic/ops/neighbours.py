"""The k nearest neighbours of every point of a cloud, itself included and first.

Distances are sums of squared differences, formed pair by pair: no cancellation, and the distance of two points depends
on these two alone, not on the batch that they are in. Of points as near the one with the lower row comes first
(:mod:`isotypic.ops.clouds` orders the rows). A compiled kernel serves the CPU; elsewhere torch's functions do.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from isotypic.errors import RequestError
from isotypic.ops import native
from isotypic.ops.native import INTEGER, POINTER

_SIGNATURES: dict[str, list[Any]] = {"nearest": [*[INTEGER] * 3, *[POINTER] * 4, INTEGER]}
_AT_ONCE = 1 << 22
"""Distances that are held at a time where torch forms them."""


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The neighbours of M rows.

    Attributes:
        index: ``[M, k]`` int64, rows: itself, then by rising distance; itself again where there are fewer than k.
        found: ``[M]`` int64, how many of them there are, 1 to k.
        low: ``[M]`` int64, the first row of the cloud of each: a cloud begins where that is the row itself.
        complete: whether every row has k.
    """

    index: Tensor
    found: Tensor
    low: Tensor
    complete: bool

    @property
    def valid(self) -> Tensor:
        """Which of them there are, ``[M, k]`` bool."""
        return torch.arange(self.index.shape[1], device=self.index.device) < self.found[:, None]


@torch.no_grad()
def nearest(points: Tensor, limits: tuple[Tensor, Tensor], k: int) -> Neighbours:
    """Return the k nearest neighbours of every row within its own cloud.

    Args:
        points: ``[M, D]``.
        limits: of every row the first row of its cloud and the one behind the last, ``[M]`` int64 each; see
            :attr:`isotypic.ops.clouds.Clouds.limits`.
        k: neighbours, itself included, at least 1.

    Raises:
        RequestError: k is below 1.
    """
    if k < 1:
        raise RequestError(f"expected at least 1 neighbour, the point itself, received k = {k}")
    low, high = limits
    found = (high - low).clamp(max=k)
    points = points.detach().contiguous()
    index = _by_kernel(points, low, high, k) if _serves(points) else _by_torch(points, low, high, k)
    return Neighbours(index, found, low, bool((found == k).all()))


def _serves(points: Tensor) -> bool:
    if points.device.type != "cpu" or points.dtype not in native.DTYPES or torch.compiler.is_compiling():
        return False
    return _library(points.dtype) is not None


@cache
def _library(dtype: torch.dtype) -> Any:
    return native.library("neighbours", "neighbours.cpp", dtype, _SIGNATURES)


def _by_kernel(points: Tensor, low: Tensor, high: Tensor, k: int) -> Tensor:
    rows, dims = points.shape
    index = low.new_empty(rows, k)
    pointers = [t.contiguous().data_ptr() for t in (points, low, high, index)]
    threads = native.threads(int((high - low).sum()) * dims)
    _library(points.dtype).nearest(rows, dims, k, *pointers, threads)
    return index


def _by_torch(points: Tensor, low: Tensor, high: Tensor, k: int) -> Tensor:
    """Return the same, from the distances of some padded clouds at a time."""
    itself = torch.arange(len(points), device=points.device)
    index = itself[:, None].repeat(1, k)
    starts, sizes = low.unique_consecutive(return_counts=True)
    starts, sizes = starts[sizes > 1], sizes[sizes > 1]
    if not len(sizes):
        return index
    width = int(sizes.max())
    slots = torch.arange(width, device=points.device)
    for some in torch.arange(len(sizes), device=points.device).split(max(1, _AT_ONCE // width**2)):
        inside = slots < sizes[some][:, None]
        rows = torch.where(inside, starts[some][:, None] + slots, 0)
        padded = points[rows]
        distances = torch.cdist(padded, padded, compute_mode="donot_use_mm_for_euclid_dist")
        distances = distances.masked_fill(~inside[:, None], torch.inf)
        distances.diagonal(dim1=1, dim2=2).fill_(-1)
        order = distances.sort(dim=2, stable=True)[1][..., :k]
        near = torch.where(
            inside.gather(1, order.flatten(1)).view(order.shape), order + starts[some][:, None, None], rows[..., None]
        )
        index[rows[inside], : order.shape[2]] = near[inside]
    return index
