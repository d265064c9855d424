"""Batch norm whose statistics are shared over the |G| channels of a field.

``y = (x - mean) / sqrt(var + eps) * weight + bias`` with mean and variance over batch, space and the field's channels.
Signals with their channels last go through a compiled kernel where there is one; torch's own function, which such
fields make up to ten times slower, serves everything else.

Source:
    S. Ioffe, C. Szegedy, Batch Normalization, ICML 2015, arXiv 1502.03167.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional

from isotypic.ops import native
from isotypic.ops.layout import CHANNELS_LAST, is_channels_last, without_gaps
from isotypic.ops.native import INTEGER, POINTER, REAL

PASSES = 8
"""What a sample costs, in multiplications of a convolution: a norm is bound by memory."""

_SIGNATURES: dict[str, list[Any]] = {
    "norm_forward": [*[INTEGER] * 3, *[POINTER] * 3, REAL, *[POINTER] * 3, INTEGER],
    "norm_backward": [*[INTEGER] * 3, *[POINTER] * 3, REAL, *[POINTER] * 5, INTEGER],
}


@dataclass(frozen=True)
class Running:
    """Statistics of what has been seen.

    Attributes:
        mean: ``[fields]``, changed in place.
        var: ``[fields]``, unbiased; likewise.
        momentum: the weight of what is new.
    """

    mean: Tensor
    var: Tensor
    momentum: float

    def move(self, mean: Tensor, var: Tensor, samples: int) -> None:
        """Move towards the mean and the variance, over ``samples``, of a batch."""
        self.mean.lerp_(mean, self.momentum)
        self.var.lerp_(var * (samples / (samples - 1)), self.momentum)


Affine = tuple[Tensor | None, Tensor | None]
"""Weight and bias ``[fields]``, or None for ones and zeros."""


def field_batch_norm(x: Tensor, affine: Affine, running: Running, *, order: int, eps: float) -> Tensor:
    """Normalise a signal by its own statistics, and move the running ones towards them.

    Args:
        x: ``[B, fields * order, *space]``.
        affine: weight and bias.
        running: the statistics to move.
        order: channels of a field.
        eps: added to the variance.
    """
    if not _serves(x, running.mean, *affine):
        return _by_torch(x, affine, order, eps, (running.mean, running.var, running.momentum))
    y, mean, var = _FieldNorm.apply(without_gaps(x), *affine, order, eps)
    running.move(mean, var, x.numel() // len(mean))
    return y


def _serves(x: Tensor, *others: Tensor | None) -> bool:
    """Whether the kernel takes a signal: channels last, two samples at least, one dtype throughout."""
    if x.device.type != "cpu" or x.dtype not in native.DTYPES or torch.compiler.is_compiling():
        return False
    if any(t is not None and t.dtype != x.dtype for t in others) or x.numel() <= x.shape[1]:
        return False
    return x.dim() in CHANNELS_LAST and is_channels_last(x) and _library(x.dtype) is not None


@cache
def _library(dtype: torch.dtype) -> Any:
    return native.library("norm", "norm.cpp", dtype, _SIGNATURES)


def _by_torch(
    x: Tensor,
    affine: Affine,
    order: int,
    eps: float,
    running: tuple[Tensor | None, Tensor | None, float] = (None, None, 0.0),
) -> Tensor:
    """Normalise by torch's own function, a field as one channel with more samples."""
    mean, var, momentum = running
    arguments = (mean, var, *affine, True, momentum, eps)
    if order == 1:
        return functional.batch_norm(x, *arguments)
    if x.is_contiguous():
        return functional.batch_norm(x.reshape(len(x), -1, order * x[0, 0].numel()), *arguments).view(x.shape)
    rows = x.movedim(1, -1)
    fields = rows.reshape(-1, x.shape[1] // order, order)
    return functional.batch_norm(fields, *arguments).view(rows.shape).movedim(-1, 1)


class _FieldNorm(Function):
    """``(x, weight, bias) -> (y, mean, var)``; mean and variance are not differentiated."""

    @staticmethod
    def forward(  # noqa: PLR0917  (autograd passes by position)
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, order: int, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        fields = x.shape[1] // order
        y, mean, var = torch.empty_like(x), x.new_empty(fields), x.new_empty(fields)
        inputs, outputs = _pointers(x, weight, bias), _pointers(y, mean, var)
        _library(x.dtype).norm_forward(*_sizes(x, order), *inputs, eps, *outputs, _threads(x))
        ctx.save_for_backward(x, weight, bias, mean, var)
        ctx.order, ctx.eps = order, eps
        ctx.mark_non_differentiable(mean, var)
        return y, mean, var

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, var = ctx.saved_tensors
        if torch.is_grad_enabled():
            return (*_differentiable(ctx, x, (weight, bias), gradient), None, None)
        gradient = gradient.contiguous(memory_format=CHANNELS_LAST[x.dim()])
        made = [None if t is None else torch.empty_like(t) for t in (x, weight, bias)]
        inputs, outputs = _pointers(x, gradient, weight), _pointers(mean, var, *made)
        _library(x.dtype).norm_backward(*_sizes(x, ctx.order), *inputs, ctx.eps, *outputs, _threads(x))
        return (*made, None, None)


def _differentiable(ctx: Any, x: Tensor, affine: Affine, gradient: Tensor) -> Iterator[Tensor | None]:
    """Yield the gradients of signal, weight and bias as functions of everything, by torch's own function."""
    y = _by_torch(x, affine, ctx.order, ctx.eps)
    inputs = [t if t is not None and t.requires_grad else None for t in (x, *affine)]
    found = iter(torch.autograd.grad(y, [t for t in inputs if t is not None], gradient, create_graph=True))
    return (None if t is None else next(found) for t in inputs)


def _sizes(x: Tensor, order: int) -> tuple[int, int, int]:
    """Return rows, fields and channels of a field."""
    return x.numel() // x.shape[1], x.shape[1] // order, order


def _pointers(*tensors: Tensor | None) -> list[int]:
    return [0 if t is None else t.data_ptr() for t in tensors]


def _threads(x: Tensor) -> int:
    return native.threads(PASSES * x.numel())
