"""The isotypic convolution by a kernel compiled for a group and a kernel size: see :mod:`isotypic.ops.native`."""

from __future__ import annotations

import ctypes
import math
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor

from isotypic.groups.finite import FiniteGroup
from isotypic.ops import native
from isotypic.ops.isotypic.case import Case, patch_basis
from isotypic.ops.isotypic.source import header
from isotypic.ops.layout import CHANNELS_LAST, is_channels_last, without_gaps
from isotypic.ops.native import INTEGER, POINTER
from isotypic.ops.resampling import Sizes

LARGEST_PATCH = 2048
"""Entries |G| K of a patch of one field beyond which no kernel is made: its straight-line code would take minutes."""

TRANSFORM = 16
"""What an entry of a weight's blocks costs to make, in multiplications."""

LONG_ROW = 256
"""Samples of a row that is long enough to be transformed at full speed."""

_SIGNATURES: dict[str, list[Any]] = {
    "forward": [POINTER] * 5,
    "weight_gradient": [POINTER] * 5,
    "input_gradient": [POINTER] * 4,
    "weight_to_blocks": [INTEGER, POINTER, POINTER, INTEGER],
    "blocks_to_weight": [INTEGER, POINTER, POINTER, INTEGER],
    "adjoint_blocks": [INTEGER, INTEGER, POINTER, POINTER, INTEGER],
}


def serves(x: Tensor, case: Case) -> bool:
    """Whether there is a compiled kernel for a signal."""
    return x.device.type == "cpu" and x.dtype in native.DTYPES and _kernel(case, x.dtype) is not None


def available(group: FiniteGroup, kernel: Sizes, dtype: torch.dtype) -> bool:
    """Whether the kernel for a group is there or can be built, which takes a second the first time."""
    return group.order * math.prod(kernel) <= LARGEST_PATCH and _library(group, kernel, dtype) is not None


def convolve(x: Tensor, blocks: Tensor, bias: Tensor | None, case: Case) -> Tensor:
    """Convolve ``[B, N |G|, *space]`` by blocks ``[M, N, R]``."""
    x, last = _dense(x)
    made, size = len(blocks), case.output_size(x.shape[2:])
    y = _empty(x, (len(x), made * case.group.order, *size), last)
    blocks, bias = blocks.contiguous(), None if bias is None else bias.contiguous()
    problem = _problem(case, tuple(x.shape), made, (last, last), torch.get_num_threads())
    pointers = (0 if t is None else t.data_ptr() for t in (x, blocks, bias, y))
    _kernel(case, x.dtype).forward(problem, *pointers)
    return y


def correlate(x: Tensor, gradient: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    """Return the gradients of blocks ``[M, N, R]`` and bias ``[M]`` from that of the output."""
    (x, x_last), (gradient, last) = _dense(x), _dense(gradient)
    order = case.group.order
    made = gradient.shape[1] // order
    to_blocks, to_bias = x.new_empty(made, x.shape[1] // order, case.entries), x.new_empty(made)
    problem = _problem(case, tuple(x.shape), made, (x_last, last), torch.get_num_threads())
    pointers = (t.data_ptr() for t in (x, gradient, to_blocks, to_bias))
    _kernel(case, x.dtype).weight_gradient(problem, *pointers)
    return to_blocks, to_bias


def transpose(gradient: Tensor, blocks: Tensor, case: Case, size: Sizes) -> Tensor:
    """Return the gradient of an input of a size from that of the output: the transpose of :func:`convolve`."""
    (gradient, last), blocks = _dense(gradient), blocks.contiguous()
    made, seen, _ = blocks.shape
    x = _empty(gradient, (len(gradient), seen * case.group.order, *size), last)
    problem = _problem(case, tuple(x.shape), made, (last, last), torch.get_num_threads())
    pointers = (t.data_ptr() for t in (gradient, blocks, x))
    _kernel(case, x.dtype).input_gradient(problem, *pointers)
    return x


def to_blocks(weight: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[M, N, R]`` of a weight ``[M, N |G|, *kernel]``."""
    weight = weight.contiguous()
    blocks = weight.new_empty(len(weight), weight.shape[1] // case.group.order, case.entries)
    pairs = blocks.shape[0] * blocks.shape[1]
    _kernel(case, weight.dtype).weight_to_blocks(pairs, weight.data_ptr(), blocks.data_ptr(), _threads(blocks))
    return blocks


def to_weight(gradient: Tensor, case: Case) -> Tensor:
    """Return the gradient of a weight ``[M, N |G|, *kernel]`` from that of its blocks."""
    gradient = gradient.contiguous()
    made, seen, _ = gradient.shape
    weight = gradient.new_empty(made, seen * case.group.order, *case.kernel)
    kernel = _kernel(case, weight.dtype)
    kernel.blocks_to_weight(made * seen, gradient.data_ptr(), weight.data_ptr(), _threads(gradient))
    return weight


def adjoint_blocks(blocks: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[N, M, R]`` of the adjoint of a convolution by blocks ``[M, N, R]``."""
    blocks = blocks.contiguous()
    made, seen, entries = blocks.shape
    adjoint = blocks.new_empty(seen, made, entries)
    pointers = (blocks.data_ptr(), adjoint.data_ptr())
    _kernel(case, blocks.dtype).adjoint_blocks(made, seen, *pointers, _threads(blocks))
    return adjoint


def _threads(blocks: Tensor) -> int:
    return native.threads(TRANSFORM * blocks.numel())


def _dense(x: Tensor) -> tuple[Tensor, bool]:
    """Return a signal without gaps and whether its channels come last."""
    return without_gaps(x), is_channels_last(x)


def _empty(x: Tensor, shape: tuple[int, ...], last: bool) -> Tensor:
    if not last:
        return x.new_empty(shape)
    return torch.empty(shape, dtype=x.dtype, memory_format=CHANNELS_LAST[x.dim()])


@cache
def _kernel(case: Case, dtype: torch.dtype) -> Any:
    """Return the kernel for a case, or None."""
    can = min(case.padding) >= 0 and available(case.group, case.kernel, dtype)
    return _library(case.group, case.kernel, dtype) if can else None


@lru_cache(maxsize=1024)
def _problem(case: Case, shape: tuple[int, ...], made: int, last: tuple[bool, bool], threads: int) -> Any:
    """Return the struct that describes one call; a plane is a volume of one slice."""
    order, seen, size = case.group.order, shape[2:], case.output_size(shape[2:])
    if case.is_pointwise:
        seen = size = _merged(size)
    flat = 3 - len(size)
    axes = [seen, size, *(word[-len(size) :] for word in (case.stride, case.padding, case.dilation, case.kernel))]
    fills = (1, 1, 1, 0, 1, 1)
    numbers = [shape[0], shape[1] // order, made]
    for axis, fill in zip(axes, fills, strict=True):
        numbers += [*([fill] * flat), *axis]
    work = shape[0] * made * (shape[1] // order) * case.basis.multiplications
    for extent in size:
        work *= extent
    numbers += [*map(int, last), native.threads(work, threads)]
    return (ctypes.c_int64 * len(numbers))(*numbers)


def _merged(size: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and samples a row of a signal whose samples are independent: rows of a few hundred."""
    rows, samples = math.prod(size[:-1]), size[-1]
    together = next((r for r in range(1, rows) if rows % r == 0 and r * samples >= LONG_ROW), rows)
    return rows // together, together * samples


@cache
def _library(group: FiniteGroup, kernel: Sizes, dtype: torch.dtype) -> Any:
    """Return the kernel for a group, or None where it cannot be built."""
    generated = {"group.h": header(patch_basis(group, kernel))}
    return native.library(f"isotypic-{group.name}", "convolution.cpp", dtype, _SIGNATURES, generated)
