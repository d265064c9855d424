"""The isotypic convolution on a GPU, by Triton kernels that are made for a group and a kernel size.

Two passes over memory. ``transform`` brings the channels into the Fourier basis, once a sample, with the border and
the gaps of a stride written as zeros, so that a tap has neither a border nor a transform of its own. ``convolve`` is an
implicit matrix product: a program takes OUTPUTS samples of all |G| channels of MADE output fields, and keeps their sums
in registers; for SEEN input fields at a time it loads the taps, adds them up to a patch in the isotypic basis, a tile a
row, and multiplies each tile by its entries of the weight; at the end the sums go back to the regular basis, get the
bias, and leave as whole fields. Patches exist in registers only. ``correlate`` does the same for the gradient of the
weight: patches against the transformed gradient, over a part of the outputs each program; torch adds the parts, always
in one order. The gradient of the input is a convolution by the adjoint blocks.

What an output sample costs, N fields to M, K taps, s bytes a number, m multiplications of a pair of fields a tap (12
for D4, 6 for C4, 24 for D4h, 64 for O):

- products: ``m K N M`` against ``|G|^2 K N M`` by expanded filters;
- memory: ``s |G| (3 N + M)``, x read, its transform written and read, y written, against ``s |G| (N + M)``;
- additions: about ``2 |G| K N``, again for every MADE output fields, which is why MADE should be large.

For D4, 3 x 3, 32 to 32 fields (256 channels) in bfloat16 that is 110 592 multiplications instead of 589 824, 2048 bytes
instead of 1024 and about 4600 additions: bound by arithmetic. A 1 x 1 layer has 12 288 multiplications for the same
bytes, is bound by memory, and cannot gain at that width. No speed has been measured on a GPU.

Half precision is added and multiplied as such, and summed in float32. float32 multiplies in TF32 where
``torch.backends.cudnn.allow_tf32`` says so, as torch's own convolutions do, and otherwise in three products of it that
give float32's precision.
"""

from __future__ import annotations

import linecache
import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from isotypic.groups.finite import FiniteGroup
from isotypic.ops.isotypic import stock
from isotypic.ops.isotypic.case import Case, patch_basis
from isotypic.ops.isotypic.triton_source import kernels, shares
from isotypic.ops.layout import CHANNELS_LAST, memory_format, without_gaps
from isotypic.ops.resampling import Sizes

DTYPES = (torch.bfloat16, torch.float16, torch.float32)

LARGEST_PATCH = 72
"""Entries |G| K of a patch of one field beyond which no kernel is made: it takes minutes to compile, and spills."""

HOPPER = 9
"""The compute capability that the kernels are compiled for, with its registers and shared memory in mind."""

FEWEST = 16
"""Fields of a tile at least; a product has its missing fields filled with zeros."""

SUMS = 1 << 12
"""Sums in float32 that a warp of a convolution keeps in its registers: half of them."""

SHAPES = ((128, 8), (64, 4), (64, 8), (32, 8))
"""Outputs and warps of a program, the preferred first."""

CORRELATION = {"OUTPUTS": 64, "MADE": 16, "SEEN": 64, "num_warps": 8, "num_stages": 2}
"""The tile of a program of ``correlate``: tensor cores want 64 rows."""


def serves(x: Tensor, case: Case) -> bool:
    """Whether there is a Triton kernel for a signal: of a small patch, on a Hopper GPU, where Triton is installed."""
    if x.device.type != "cuda" or x.dtype not in DTYPES or case.basis.positions.size > LARGEST_PATCH:
        return False
    return available() and torch.cuda.get_device_capability(x.device)[0] == HOPPER


@cache
def available() -> bool:
    """Whether Triton is installed."""
    return find_spec("triton") is not None


def convolve(x: Tensor, blocks: Tensor, bias: Tensor | None, case: Case, *, relu: bool = False) -> Tensor:
    """Convolve ``[B, N |G|, *space]`` by blocks ``[M, N, R]``; with `relu` what is negative becomes zero."""
    size = case.output_size(x.shape[2:])
    full = tuple(n + 2 * p for n, p in zip(x.shape[2:], case.padding, strict=True))
    signal = _transform(x, case, full, case.padding)
    return _convolve(signal, blocks, bias, case, size, relu=relu).contiguous(memory_format=memory_format(x))


def transpose(gradient: Tensor, blocks: Tensor, case: Case, size: Sizes) -> Tensor:
    """Return the gradient of an input of a size from that of the output: the transpose of :func:`convolve`."""
    adjoint = case.adjoint
    full = tuple(n + d * (k - 1) for n, k, d in zip(size, case.kernel, case.dilation, strict=True))
    signal = _transform(gradient, case, full, adjoint.padding, case.stride)
    x = _convolve(signal, adjoint_blocks(blocks, case), None, adjoint, size, relu=False)
    return x.contiguous(memory_format=memory_format(gradient))


def correlate(x: Tensor, gradient: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    """Return the gradients of blocks ``[M, N, R]`` and bias ``[M]`` from that of the output."""
    order, size = case.group.order, tuple(gradient.shape[2:])
    full = tuple(n + 2 * p for n, p in zip(x.shape[2:], case.padding, strict=True))
    signal = _transform(x, case, full, case.padding, fewest=CORRELATION["SEEN"])
    spread = _transform(gradient, case, size, (0,) * len(size))
    seen, made, outputs = signal.shape[-1], spread.shape[-1], spread[0, ..., 0].numel()
    tiles = seen // CORRELATION["SEEN"] * made // CORRELATION["MADE"]
    stretch = _multiple(_quotient(outputs * tiles, _processors(x)), 4 * CORRELATION["OUTPUTS"])
    parts = _quotient(outputs, stretch)
    sums = torch.empty(parts, case.entries, seen, made, device=x.device)
    arguments = (signal, spread, sums, outputs, stretch, signal[0].numel(), seen, made, *_geometry(case, full, size))
    kernel = _kernels(case.group, case.kernel)
    with torch.cuda.device_of(x):
        for share, copies in enumerate(shares(case.basis)):
            kernel.correlate[tiles, copies, parts](*arguments, SHARE=share, PRECISION=_precision(x), **CORRELATION)
    fields = (gradient.shape[1] // order, x.shape[1] // order)
    entries = sums.sum(0)[:, : fields[1], : fields[0]].permute(2, 1, 0)
    bias = gradient.sum([0, *range(2, gradient.dim())], dtype=torch.float32).view(-1, order).sum(1)
    return entries.to(x.dtype).contiguous(), bias.to(x.dtype)


def to_blocks(weight: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[M, N, R]`` of a weight ``[M, N |G|, *kernel]``, rounded once."""
    return stock.to_blocks(weight.float(), case).to(weight.dtype)


def to_weight(gradient: Tensor, case: Case) -> Tensor:
    """Return the gradient of a weight ``[M, N |G|, *kernel]`` from that of its blocks."""
    return stock.to_weight(gradient.float(), case).to(gradient.dtype)


def adjoint_blocks(blocks: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[N, M, R]`` of the adjoint of a convolution by blocks ``[M, N, R]``."""
    return stock.adjoint_blocks(blocks.float(), case).to(blocks.dtype)


def _transform(
    x: Tensor, case: Case, full: Sizes, before: Sizes, gaps: Sizes | None = None, *, fewest: int = FEWEST
) -> Tensor:
    """Return the channels of a signal in the Fourier basis, zeros around and in between, ``[|G|, B, *full, fields]``.

    Args:
        x: ``[B, N |G|, *space]``.
        case: what is computed.
        full: the size of space with what is put around.
        before: samples put before the first; fewer than none are taken off.
        gaps: distance of samples; default one.
        fewest: what the fields are filled up to a multiple of.
    """
    x = without_gaps(x)
    order, axes = case.group.order, len(full)
    fields = x.shape[1] // order
    f = x.new_empty(order, len(x), *full, _multiple(fields, fewest))
    samples, seen = f[0, ..., 0].numel(), f.shape[-1]
    pitches = (x.stride(0), x.stride(1), *_volume(x.stride()[2:], 0))
    sizes = (*_volume(x.shape[2:], 1), *_volume(full, 1), *_volume(before, 0), *_volume(gaps or (1,) * axes, 1))
    tile = {"SAMPLES": 32, "SEEN": 16}
    grid = (_quotient(samples, tile["SAMPLES"]), seen // tile["SEEN"])
    with torch.cuda.device_of(x):
        _kernels(case.group, case.kernel).transform[grid](x, f, len(x), fields, seen, *pitches, *sizes, **tile)
    return f


def _convolve(signal: Tensor, blocks: Tensor, bias: Tensor | None, case: Case, size: Sizes, *, relu: bool) -> Tensor:
    """Convolve what :func:`_transform` made; the channels of the result come last."""
    fields, given = blocks.shape[:2]
    seen, made = signal.shape[-1], _multiple(fields, FEWEST)
    weight = functional.pad(blocks.permute(2, 1, 0), (0, made - fields, 0, seen - given)).contiguous()
    shape = (signal.shape[1], fields * case.group.order, *size)
    y = torch.empty(shape, dtype=signal.dtype, device=signal.device, memory_format=CHANNELS_LAST[len(shape)])
    outputs = len(y) * math.prod(size)
    sizes = (outputs, fields, signal[0].numel(), seen, made, *_geometry(case, signal.shape[2:-1], size))
    pointers = (signal, weight, signal.new_zeros(fields) if bias is None else bias.contiguous(), y)

    def grid(tile: Mapping[str, int]) -> tuple[int]:
        return (_quotient(outputs, tile["OUTPUTS"]) * (made // tile["MADE"]),)

    with torch.cuda.device_of(signal):
        _tuned(case.group, case.kernel, signal.device.type)[grid](
            *pointers, *sizes, RELU=relu, PRECISION=_precision(signal)
        )
    return y


def _geometry(case: Case, full: Sequence[int], size: Sizes) -> tuple[int, ...]:
    return (*_volume(size, 1), *_volume(full, 1), *_volume(case.stride, 1), *_volume(case.dilation, 1))


def _volume(axes: Sequence[int], fill: int) -> tuple[int, ...]:
    """Return a number an axis of space, a plane being a volume of one slice."""
    return (*(fill for _ in range(3 - len(axes))), *axes)


def _precision(x: Tensor) -> str:
    return "tf32" if x.dtype != torch.float32 or torch.backends.cudnn.allow_tf32 else "tf32x3"


def _processors(x: Tensor) -> int:
    """Return how many programs run at once; two where kernels are interpreted on a CPU."""
    return torch.cuda.get_device_properties(x.device).multi_processor_count if x.is_cuda else 2


def _multiple(number: int, of: int) -> int:
    return _quotient(number, of) * of


def _quotient(number: int, by: int) -> int:
    return -(-number // by)


@cache
def _kernels(group: FiniteGroup, kernel: Sizes) -> ModuleType:
    """Return the module of a group's kernels; Triton reads the text of functions, so it is kept where Python looks."""
    text = kernels(patch_basis(group, kernel), kernel)
    name = f"isotypic-{group.name}-{'x'.join(map(str, kernel))}.py"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    module = ModuleType(name)
    exec(compile(text, name, "exec"), module.__dict__)
    return module


@cache
def _tuned(group: FiniteGroup, kernel: Sizes, device: str) -> Any:
    """Return ``convolve`` with its tile chosen by trying, once for every number of fields."""
    triton = import_module("triton")
    tune = triton.autotune(
        configs=[triton.Config(tile, num_warps=warps, num_stages=2) for tile, warps in _tiles(group.order, device)],
        key=["seen", "made"],
        prune_configs_by={"early_config_prune": _fitting},
    )
    return tune(_kernels(group, kernel).convolve)


def _tiles(order: int, device: str) -> list[tuple[dict[str, int], int]]:
    """Return tiles, with their warps, of the two preferred shapes whose sums fit."""
    if device == "cpu":
        return [({"OUTPUTS": 64, "MADE": 16, "SEEN": 16}, 4)]
    shapes = [shape for shape in SHAPES if shape[0] * order * FEWEST <= SUMS * shape[1]][:2]
    return [
        ({"OUTPUTS": outputs, "MADE": made, "SEEN": seen}, warps)
        for (outputs, warps), made, seen in product(shapes, (16, 32, 64), (16, 32))
        if outputs * order * made <= SUMS * warps
    ]


def _fitting(configs: list[Any], arguments: Mapping[str, Any], **_: Any) -> list[Any]:
    """Return, for every shape, the widest tile that divides the fields, and one half as wide and twice as deep."""
    kept = []
    whole = [c.kwargs for c in configs if not arguments["made"] % c.kwargs["MADE"]]
    for config in configs:
        tile = config.kwargs
        widest = max(t["MADE"] for t in whole if t["OUTPUTS"] == tile["OUTPUTS"])
        if not arguments["seen"] % tile["SEEN"] and tile["MADE"] * tile["SEEN"] == widest * FEWEST:
            kept.append(config)
    return kept
