"""Convolution by several copies of one kernel and the maximum over them, with little kept for backward.

``y(p) = max_i (f * w_i)(p)`` with ``w_i[x] = w[moves_i[x]]``: every copy holds the weights of one kernel at moved
positions. The maximum runs, so that two responses are alive at a time, and what backward needs is the signal, the
weight and one byte an output sample: which copy won. Where copies tie, the gradient goes to the first of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from isotypic.ops.resampling import Sizes


@dataclass(frozen=True)
class Copies:
    """How the copies of a kernel move over an image, numbers as ``(y, x)``.

    Attributes:
        kernel: taps.
        stride: samples between outputs.
        padding: zeros on either side.
        dilation: samples between taps.
        groups: independent blocks of channels.
        turned: for every copy, whether its axes are swapped, and taps, padding and dilation with them.
    """

    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int
    turned: tuple[bool, ...]

    def axes(self, sizes: Sizes, copy: int) -> Sizes:
        """Return numbers of the kernel as ``(y, x)`` of one copy."""
        return sizes[::-1] if self.turned[copy] else sizes

    def arguments(self, copy: int) -> tuple[Sizes, Sizes, Sizes, int]:
        """Return stride, padding, dilation and groups of one copy's convolution."""
        return self.stride, self.axes(self.padding, copy), self.axes(self.dilation, copy), self.groups

    def filters(self, weight: Tensor, moves: Tensor, copy: int) -> Tensor:
        """Return one copy ``[M, N, *taps]`` of a weight ``[M, N, *kernel]``."""
        return weight.flatten(2).index_select(2, moves[copy]).unflatten(2, self.axes(self.kernel, copy))


def responses(x: Tensor, weight: Tensor, moves: Tensor, copies: Copies) -> Iterator[Tensor]:
    """Yield the convolution by every copy, ``[B, M, y, x]``.

    Args:
        x: ``[B, N, y, x]``.
        weight: ``[M, N / groups, *kernel]``.
        moves: ``[copies, taps]``: from which position, counted along rows, each position of a copy has its weight.
        copies: how the copies move.
    """
    for i in range(len(copies.turned)):
        yield torch.conv2d(x, copies.filters(weight, moves, i), None, *copies.arguments(i))


def maxout_convolution(x: Tensor, weight: Tensor, moves: Tensor, copies: Copies) -> Tensor:
    """Return the maximum of :func:`responses`; gradients of any order.

    An export is given the plain maximum, which any runtime knows.
    """
    differentiated = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
    if differentiated and not torch.compiler.is_exporting():
        return _Maxout.apply(x, weight, moves, copies)
    return reduce(torch.maximum, responses(x, weight, moves, copies))


def neighbour_mean(x: Tensor, reach: Sequence[int]) -> Tensor:
    """Return the mean of ``r + 1`` neighbours along each of the last axes, ``n - r`` samples along it.

    A kernel convolved with the box of r + 1 (:func:`isotypic.ops.resampling.widen`) sees a signal as the kernel
    itself sees this mean. The mean is the same for all copies of a kernel, and no matter how they are turned.
    """
    first = x.dim() - len(reach)
    for axis, r in enumerate(reach, first):
        if r:
            # Slices that end before the last sample, not after a number of them: an export serves other sizes too.
            before = (slice(None),) * axis
            x = torch.stack([x[(*before, slice(i, i - r or None))] for i in range(r + 1)]).mean(0)
    return x


class _Maxout(Function):
    """``(x, weight) -> y``: the gradient of an output sample goes to the copy that won it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, moves: Tensor, copies: Copies) -> Tensor:
        made = responses(x, weight, moves, copies)
        best = next(made)
        winner = torch.zeros_like(best, dtype=torch.uint8)
        for i, response in enumerate(made, 1):
            winner = torch.maximum(winner, (response > best).to(torch.uint8) * i)
            best = torch.maximum(best, response)
        ctx.save_for_backward(x, weight, moves, winner)
        ctx.copies = copies
        return best

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (x, weight, moves, winner), copies = ctx.saved_tensors, ctx.copies
        to_x, to_weight = (
            torch.zeros_like(t) if needed else None
            for t, needed in zip((x, weight), ctx.needs_input_grad[:2], strict=True)
        )
        places = moves.argsort(1)
        for i in range(len(copies.turned)):
            won, filters = gradient * (winner == i), copies.filters(weight, moves, i)
            part, entries = _gradients(won, x, filters, copies.arguments(i), ctx.needs_input_grad[:2])
            if to_x is not None:
                to_x = to_x + part
            if to_weight is not None:
                to_weight = to_weight + entries.flatten(2).index_select(2, places[i]).view_as(weight)
        return to_x, to_weight, None, None


def _gradients(
    gradient: Tensor, x: Tensor, filters: Tensor, arguments: tuple[Sizes, Sizes, Sizes, int], needed: tuple[bool, bool]
) -> tuple[Any, Any]:
    """Return the gradients of signal and filters of one convolution, None where they are not needed.

    One call for both: on the CPU two take half as long again.
    """
    stride, padding, dilation, groups = arguments
    window = (stride, padding, dilation, False, (0, 0), groups)
    return torch.ops.aten.convolution_backward(gradient, x, filters, None, *window, (*needed, False))[:2]
