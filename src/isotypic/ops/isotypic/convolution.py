"""The isotypic convolution with gradients of any order.

Three bilinear maps, each the derivative of the others: ``convolve(x, blocks)``; its transpose, which carries gradients
back, and is without a stride the same with the adjoint blocks; and ``correlate(x, gradient)``, the gradient of the
blocks. No patch outlives its block of outputs: what backward needs is made again from x.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from isotypic.errors import RequestError
from isotypic.ops.isotypic import compiled, stock, triton_kernel
from isotypic.ops.isotypic.case import Case
from isotypic.ops.layout import without_gaps
from isotypic.ops.resampling import Sizes


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
    """Return the module that computes a case: compiled on a CPU, by Triton on a GPU, else by torch's own functions."""
    return next((engine for engine in (compiled, triton_kernel) if engine.serves(x, case)), stock)


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
        gradient = without_gaps(gradient)
        if ctx.needs_input_grad[0]:
            to_x = _carry_back(gradient, blocks, case, x.shape[2:])
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            to_entries, to_bias = _Correlate.apply(x, gradient, case)
        return to_x, to_entries, to_bias if ctx.needs_input_grad[2] else None, None


class _Transpose(Function):
    """``(gradient of y, blocks) -> gradient of x``, of a size."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, blocks: Tensor, case: Case, size: Sizes) -> Tensor:
        ctx.save_for_backward(gradient, blocks)
        ctx.case = case
        return _engine(gradient, case).transpose(gradient, blocks, case, size)

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (gradient, blocks), case = ctx.saved_tensors, ctx.case
        to_gradient = to_blocks = None
        if ctx.needs_input_grad[0]:
            to_gradient = _Convolve.apply(x, blocks, None, case)
        if ctx.needs_input_grad[1]:
            to_blocks, _ = _Correlate.apply(x, gradient, case)
        return to_gradient, to_blocks, None, None


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
    """Return the gradient of the input, of a size, from that of the output.

    Without a stride it is convolved by the adjoint blocks, which takes less than the transpose, unless windows that lie
    in the padding alone would have to be cropped.
    """
    if set(case.stride) == {1} and min(case.adjoint.padding) >= 0:
        return _Convolve.apply(gradient, _adjoint_blocks(blocks, case), None, case.adjoint)
    return _Transpose.apply(gradient, blocks, case, tuple(size))


def _adjoint_blocks(blocks: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[N, M, R]`` of the convolution that carries gradients from the output to the input."""
    differentiated = torch.is_grad_enabled() and blocks.requires_grad
    return (stock if differentiated else _engine(blocks, case)).adjoint_blocks(blocks, case)
