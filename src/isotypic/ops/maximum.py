"""The maximum over the |G| channels of every field; channels that tie share its gradient.

Signals with their channels last go through a compiled kernel where there is one; torch's own reduction, which such
short rows make ten times slower, serves everything else.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from isotypic.ops import native
from isotypic.ops.layout import CHANNELS_LAST, is_channels_last, without_gaps
from isotypic.ops.native import INTEGER, POINTER

PASSES = 4
"""What a sample costs, in multiplications of a convolution."""

_SIGNATURES: dict[str, list[Any]] = {
    "maximum_forward": [INTEGER, INTEGER, POINTER, POINTER, INTEGER],
    "maximum_backward": [INTEGER, INTEGER, POINTER, POINTER, POINTER, POINTER, INTEGER],
}


def field_maximum(x: Tensor, order: int) -> Tensor:
    """Return ``[B, fields, *space]`` of ``[B, fields * order, *space]``.

    Args:
        x: the signal.
        order: channels of a field.
    """
    return _Maximum.apply(without_gaps(x), order) if _serves(x) else x.unflatten(1, (-1, order)).amax(2)


def _serves(x: Tensor) -> bool:
    """Whether the kernel takes a signal: on the CPU, channels last, of a dtype that it is built for."""
    if x.device.type != "cpu" or x.dtype not in native.DTYPES or torch.compiler.is_compiling():
        return False
    return x.dim() in CHANNELS_LAST and is_channels_last(x) and x.numel() > 0 and _library(x.dtype) is not None


@cache
def _library(dtype: torch.dtype) -> Any:
    return native.library("maximum", "maximum.cpp", dtype, _SIGNATURES)


class _Maximum(Function):
    """``x [B, fields * order, *space] -> [B, fields, *space]``, both with their channels last and without gaps."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: int) -> Tensor:
        shape = (len(x), x.shape[1] // order, *x.shape[2:])
        y = x.new_empty((shape[0], *shape[2:], shape[1])).movedim(-1, 1)
        _library(x.dtype).maximum_forward(y.numel(), order, x.data_ptr(), y.data_ptr(), _threads(x))
        ctx.save_for_backward(x, y)
        ctx.order = order
        return y

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        x, y = ctx.saved_tensors
        if torch.is_grad_enabled():
            largest = x.unflatten(1, (-1, ctx.order)) == y.unsqueeze(2)
            return (largest * (gradient / largest.sum(2)).unsqueeze(2)).flatten(1, 2), None
        gradient = gradient.movedim(1, -1).contiguous()
        made = torch.empty_like(x)
        pointers = (t.data_ptr() for t in (x, y, gradient, made))
        _library(x.dtype).maximum_backward(y.numel(), ctx.order, *pointers, _threads(x))
        return made, None


def _threads(x: Tensor) -> int:
    return native.threads(PASSES * x.numel())
