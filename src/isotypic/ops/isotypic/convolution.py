"""The isotypic convolution with gradients of any order.

Three bilinear maps, each the derivative of the others: ``convolve(x, blocks)``, the same with the adjoint blocks,
which carries gradients back, and ``correlate(x, gradient)``, the gradient of the blocks. No patch outlives its block of
outputs: what backward needs is made again from x.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from isotypic.errors import RequestError
from isotypic.ops.isotypic import compiled, stock
from isotypic.ops.isotypic.case import Case
from isotypic.ops.layout import memory_format


def to_blocks(weight: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[M, N, R]`` of a weight ``[M, N |G|, *kernel]``, R entries a pair of fields."""
    if not torch.is_grad_enabled():
        return _engine(weight, case).to_blocks(weight, case)
    return _ToBlocks.apply(weight, case)


def isotypic_convolution(x: Tensor, blocks: Tensor, bias: Tensor | None, case: Case) -> Tensor:
    """Convolve regular fields by the blocks of a weight.

    Args:
        x: ``[B, N |G|, *space]``.
        blocks: ``[M, N, R]``, from :func:`to_blocks`.
        bias: ``[M]``, or None.
        case: what is computed.

    Returns:
        ``[B, M |G|, *space]``, in the memory format of x.

    Raises:
        RequestError: signal and blocks of two dtypes.
    """
    if x.dtype != blocks.dtype:
        raise RequestError(f"expected a signal of the weight's dtype {blocks.dtype}, received {x.dtype}")
    if not torch.is_grad_enabled():
        return _engine(x, case).convolve(x, blocks, bias, case)
    return _Convolve.apply(x, blocks, bias, case)


def _engine(x: Tensor, case: Case) -> ModuleType:
    """Return the module that computes a case: the compiled kernel, or torch's own functions."""
    return compiled if compiled.serves(x, case) else stock


class _ToBlocks(Function):
    """``weight -> blocks``, linear."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, case: Case) -> Tensor:
        ctx.case = case
        return _engine(weight, case).to_blocks(weight, case)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _ToWeight.apply(gradient, ctx.case), None


class _ToWeight(Function):
    """``gradient of blocks -> gradient of weight``, its adjoint."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, case: Case) -> Tensor:
        ctx.case = case
        return _engine(gradient, case).to_weight(gradient, case)

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor, None]:
        return _ToBlocks.apply(weight, ctx.case), None


class _Convolve(Function):
    """``(x, blocks, bias) -> y``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, blocks: Tensor, bias: Tensor | None, case: Case) -> Tensor:
        ctx.save_for_backward(x, blocks)
        ctx.case = case
        return _engine(x, case).convolve(x, blocks, bias, case)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (x, blocks), case = ctx.saved_tensors, ctx.case
        to_x = to_entries = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _carry_back(gradient, blocks, case, x.shape[2:])
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            to_entries, to_bias = _Correlate.apply(x, gradient, case)
        return to_x, to_entries, to_bias if ctx.needs_input_grad[2] else None, None


class _Correlate(Function):
    """``(x, gradient of y) -> (gradient of blocks, gradient of bias)``."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gradient: Tensor, case: Case) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, gradient)
        ctx.case = case
        return _engine(x, case).correlate(x, gradient, case)

    @staticmethod
    def backward(ctx: Any, blocks: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, None]:
        x, gradient = ctx.saved_tensors
        return _carry_back(gradient, blocks, ctx.case, x.shape[2:]), _Convolve.apply(x, blocks, bias, ctx.case), None


def _carry_back(gradient: Tensor, blocks: Tensor, case: Case, size: Sequence[int]) -> Tensor:
    """Return the gradient of the input, of a size, from that of the output: convolve by the adjoint blocks.

    A stride is undone by zeros between the samples.
    """
    spread = _spread(gradient, case, size)
    return _Convolve.apply(spread, _adjoint_blocks(blocks, case), None, case.adjoint)


def _adjoint_blocks(blocks: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[N, M, R]`` of the convolution that carries gradients from the output to the input."""
    differentiated = torch.is_grad_enabled() and blocks.requires_grad
    return (stock if differentiated else _engine(blocks, case)).adjoint_blocks(blocks, case)


def _spread(gradient: Tensor, case: Case, size: Sequence[int]) -> Tensor:
    """Put zeros between samples, and behind the last as many as the strided window never saw."""
    if set(case.stride) == {1}:
        return gradient
    axes = zip(size, case.kernel, case.padding, case.dilation, strict=True)
    sizes = [n + 2 * p - d * (k - 1) for n, k, p, d in axes]
    spread = gradient.new_zeros(*gradient.shape[:2], *sizes).to(memory_format=memory_format(gradient))
    spread[(slice(None), slice(None), *(slice(None, None, s) for s in case.stride))] = gradient
    return spread
