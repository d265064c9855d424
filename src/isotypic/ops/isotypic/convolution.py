"""The isotypic convolution as torch operators, with gradients of any order.

Three bilinear maps, each the derivative of the others: ``convolve(x, blocks)``, the same with the adjoint blocks,
which carries gradients back, and ``correlate(x, gradient)``, the gradient of the blocks. No patch outlives its block of
outputs: what backward needs is made again from x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from isotypic.ops.isotypic import compiled, stock
from isotypic.ops.isotypic.case import Case, case_of

_LIBRARY = torch.library.Library("isotypic", "DEF")
_LIBRARY.define("transform(Tensor x, str case, str name) -> Tensor")
_LIBRARY.define("convolve(Tensor x, Tensor blocks, Tensor? bias, str case) -> Tensor")
_LIBRARY.define("correlate(Tensor x, Tensor gradient, str case) -> (Tensor, Tensor)")


def to_blocks(weight: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[M, N, R]`` of a weight ``[M, N |G|, *kernel]``, R entries a pair of fields."""
    return torch.ops.isotypic.transform(weight, case.key, "blocks")


def isotypic_convolution(x: Tensor, blocks: Tensor, bias: Tensor | None, case: Case) -> Tensor:
    """Convolve regular fields by the blocks of a weight.

    Args:
        x: ``[B, N |G|, *space]``.
        blocks: ``[M, N, R]``, from :func:`to_blocks`.
        bias: ``[M]``, or None.
        case: what is computed, :func:`~isotypic.ops.isotypic.case.known`.

    Returns:
        ``[B, M |G|, *space]``, in the memory format of x.
    """
    return torch.ops.isotypic.convolve(x, blocks, bias, case.key)


_TRANSPOSED = {"blocks": "weight", "weight": "blocks", "adjoint": "transposed adjoint", "transposed adjoint": "adjoint"}


def _transform(x: Tensor, key: str, name: str) -> Tensor:
    """Bring a weight into blocks, blocks into those of the adjoint convolution, or gradients the way back."""
    case = case_of(key)
    if name == "blocks":
        matrix = case.table("blocks", x)
        return x.reshape(len(x), -1, len(matrix)) @ matrix
    if name == "weight":
        return (x @ case.table("blocks", x).T).view(len(x), -1, *case.kernel)
    matrix = case.table("adjoint", x)
    return (x.transpose(0, 1) @ (matrix if name == "adjoint" else matrix.T)).contiguous()


def _engine(x: Tensor, case: Case) -> Any:
    """Return the module that computes a case: the compiled kernel, or torch's own functions."""
    return compiled if compiled.serves(x, case) else stock


def _convolve(x: Tensor, blocks: Tensor, bias: Tensor | None, key: str) -> Tensor:
    case = case_of(key)
    return _engine(x, case).convolve(x, blocks, bias, case)


def _correlate(x: Tensor, gradient: Tensor, key: str) -> tuple[Tensor, Tensor]:
    case = case_of(key)
    return _engine(x, case).correlate(x, gradient, case)


def _empty_transform(x: Tensor, key: str, name: str) -> Tensor:
    case = case_of(key)
    if name == "blocks":
        return x.new_empty(len(x), x.shape[1] // case.group.order, len(case.basis.weight_to_blocks))
    if name == "weight":
        return x.new_empty(len(x), x.shape[1] * case.group.order, *case.kernel)
    return x.new_empty(x.shape[1], x.shape[0], x.shape[2])


def _empty_output(x: Tensor, blocks: Tensor, bias: Tensor | None, key: str) -> Tensor:
    case = case_of(key)
    shape = (len(x), len(blocks) * case.group.order, *case.output_size(x.shape[2:]))
    return x.new_empty(shape).to(memory_format=stock.memory_format(x))


def _empty_gradients(x: Tensor, gradient: Tensor, key: str) -> tuple[Tensor, Tensor]:
    case = case_of(key)
    order, entries = case.group.order, len(case.basis.weight_to_blocks)
    made = gradient.shape[1] // order
    return x.new_empty(made, x.shape[1] // order, entries), x.new_empty(made)


def _keep_for_transform(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, ctx.key, ctx.name = inputs


def _transform_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    return torch.ops.isotypic.transform(gradient, ctx.key, _TRANSPOSED[ctx.name]), None, None


def _keep_for_convolve(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, blocks, bias, ctx.key = inputs
    ctx.biased = bias is not None
    ctx.save_for_backward(x, blocks)


def _convolve_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
    x, blocks = ctx.saved_tensors
    to_x = to_entries = to_bias = None
    if ctx.needs_input_grad[0]:
        to_x = _carry_back(gradient, blocks, case_of(ctx.key), x.shape[2:])
    if ctx.needs_input_grad[1] or (ctx.biased and ctx.needs_input_grad[2]):
        to_entries, to_bias = torch.ops.isotypic.correlate(x, gradient, ctx.key)
    return to_x, to_entries, to_bias if ctx.biased else None, None


def _keep_for_correlate(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, gradient, ctx.key = inputs
    ctx.save_for_backward(x, gradient)


def _correlate_backward(ctx: Any, blocks: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, None]:
    x, gradient = ctx.saved_tensors
    to_x = _carry_back(gradient, blocks, case_of(ctx.key), x.shape[2:])
    return to_x, torch.ops.isotypic.convolve(x, blocks, bias, ctx.key), None


def _carry_back(gradient: Tensor, blocks: Tensor, case: Case, size: Sequence[int]) -> Tensor:
    """Return the gradient of the input, of a size, from that of the output: convolve by the adjoint blocks.

    A stride is undone by zeros between the samples.
    """
    adjoint = torch.ops.isotypic.transform(blocks, case.key, "adjoint")
    return torch.ops.isotypic.convolve(_spread(gradient, case, size), adjoint, None, case.adjoint.key)


def _spread(gradient: Tensor, case: Case, size: Sequence[int]) -> Tensor:
    """Put zeros between samples, and behind the last as many as the strided window never saw."""
    if set(case.stride) == {1}:
        return gradient
    axes = zip(size, case.kernel, case.padding, case.dilation, strict=True)
    sizes = [n + 2 * p - d * (k - 1) for n, k, p, d in axes]
    spread = gradient.new_zeros(*gradient.shape[:2], *sizes).to(memory_format=stock.memory_format(gradient))
    spread[(slice(None), slice(None), *(slice(None, None, s) for s in case.stride))] = gradient
    return spread


def _register(name: str, run: Any, fake: Any, backward: Any, keep: Any) -> None:
    _LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    torch.library.register_fake(f"isotypic::{name}", fake, lib=_LIBRARY)
    torch.library.register_autograd(f"isotypic::{name}", backward, setup_context=keep, lib=_LIBRARY)


_register("transform", _transform, _empty_transform, _transform_backward, _keep_for_transform)
_register("convolve", _convolve, _empty_output, _convolve_backward, _keep_for_convolve)
_register("correlate", _correlate, _empty_gradients, _correlate_backward, _keep_for_correlate)
