"""From the one authoritative weight of a group convolution to the filter bank of an ordinary one.

A group convolution from regular fields n to regular fields m is
``(f * psi)(p, g) = sum_{q, h} f(q, h) psi(g^-1 h, g^-1 (q - p))`` (Cohen & Welling, Group Equivariant Convolutional
Networks, ICML 2016, arXiv 1602.07576), and a lifting convolution the same without h. Either is an ordinary
convolution whose filter bank holds every weight |G| times, once an output element:
``bank[m, g, n, h, x] = weight[m, n, g^-1 h, g^-1 x]``.

So expansion is a gather along the rows ``[m, (n, h, x)]`` of the weight, and its adjoint is a gather and a sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup, Indices


@dataclass(frozen=True)
class FilterShape:
    """The sizes of a filter bank before expansion.

    Attributes:
        group: the symmetry group.
        fields: input fields that one output field sees (in_fields / groups).
        components: channels of one input field: |G| for a regular field, 1 for a scalar one.
        kernel: the kernel size along each axis.
    """

    group: FiniteGroup
    fields: int
    components: int
    kernel: tuple[int, ...]

    @property
    def row(self) -> int:
        """Weights of one output field, ``fields * components * prod(kernel)``: the true fan-in."""
        return self.fields * self.components * int(np.prod(self.kernel))


def moved_positions(group: FiniteGroup, kernel: Sequence[int]) -> Indices:
    """Return ``[|G|, prod(kernel)]``: the flat index of ``g^-1 x`` for every kernel position x.

    Positions are counted from the centre of the kernel, so even sizes are fine.

    Raises:
        RequestError: an element swaps axes of different size.
    """
    sizes = np.asarray(kernel)
    positions = np.stack(np.meshgrid(*map(np.arange, kernel), indexing="ij"), axis=-1).reshape(-1, len(kernel))
    doubled = 2 * positions - (sizes - 1)
    backward = group.grid_matrices[group.inverse]
    moved = (np.einsum("gij,xj->gxi", backward, doubled) + (sizes - 1)) // 2
    if (moved < 0).any() or (moved >= sizes).any():
        raise RequestError(
            f"expected a kernel that {group.name} maps to itself, received {'x'.join(map(str, kernel))}: "
            "give the axes that the group swaps the same size"
        )
    return np.ravel_multi_index(tuple(np.moveaxis(moved, -1, 0)), tuple(kernel))


def gather_index(shape: FilterShape, *, channels_last: bool) -> Indices:
    """Return ``[|G|, row]``: where each entry of an expanded row comes from in the weight's row.

    The weight's row is ordered ``(n, h, x)``; the expanded one ``(n, h, x)`` too, or ``(x, n, h)`` for channels_last,
    so that the filter bank comes out in the memory format of the image and is not copied again.
    """
    group, positions = shape.group, moved_positions(shape.group, shape.kernel)
    components = (
        group.table[group.inverse][:, :, None] if shape.components > 1 else np.zeros((group.order, 1, 1), np.int64)
    )
    block = components * positions.shape[1] + positions[:, None, :]
    fields = np.arange(shape.fields) * block[0].size
    index = fields[None, :, None, None] + block[:, None]
    if channels_last:
        index = index.transpose(0, 3, 1, 2)
    return index.reshape(group.order, shape.row)


def expand(weight: Tensor, shape: FilterShape, index: Tensor, inverse: Tensor, *, channels_last: bool) -> Tensor:
    """Expand a weight to the filter bank of an ordinary convolution.

    Args:
        weight: ``[M, N components, *kernel]``.
        shape: its sizes; N is ``shape.fields``.
        index: :func:`gather_index` of this memory format, flat, on the weight's device.
        inverse: the inverse permutation of every row of it, flat.
        channels_last: the memory format of the result.

    Returns:
        ``[M |G|, N components, *kernel]``.
    """
    order = shape.group.order
    if order == 1:
        return weight
    rows = _Gather.apply(weight.reshape(len(weight), shape.row), index, inverse)
    channels = shape.fields * shape.components
    if channels_last:
        return rows.view(len(weight) * order, *shape.kernel, channels).movedim(-1, 1)
    return rows.view(len(weight) * order, channels, *shape.kernel)


def inverse_permutations(index: Indices) -> Indices:
    """Return the inverse of every row of ``[|G|, row]`` permutations, offset into the flat expanded row."""
    return np.argsort(index, axis=1) + np.arange(len(index))[:, None] * index.shape[1]


class _Gather(torch.autograd.Function):
    """``rows [M, R] -> [M, copies * R]``, every copy a permutation of the row."""

    @staticmethod
    def forward(rows: Tensor, index: Tensor, inverse: Tensor) -> Tensor:
        return rows.index_select(1, index)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.row = inputs[0].shape[1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        index, inverse = ctx.saved_tensors
        if gradient.requires_grad:
            return _GatherSum.apply(gradient, index, inverse, ctx.row), None, None
        return _gather_sum(gradient, inverse, ctx.row), None, None


class _GatherSum(torch.autograd.Function):
    """The adjoint of :class:`_Gather`: put every copy back in the weight's order and add them up."""

    @staticmethod
    def forward(copies: Tensor, index: Tensor, inverse: Tensor, row: int) -> Tensor:
        return _gather_sum(copies, inverse, row)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1], inputs[2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _Gather.apply(gradient, *ctx.saved_tensors), None, None, None


def _gather_sum(copies: Tensor, inverse: Tensor, row: int) -> Tensor:
    return copies.index_select(1, inverse).view(len(copies), -1, row).sum(1)
