"""The isotypic convolution by torch's own functions, in blocks of outputs whose patches stay in the cache.

It serves every device and dtype, and is what the compiled kernel is tested against. The steps are those of the kernel:
channels into the Fourier basis once a sample, positions into theirs by few additions, couplings, one product an irrep,
and back. Outputs are counted along the padded rows, so that the samples under a tap lie next to each other; what falls
between rows is thrown away.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from isotypic.groups.finite import Floats
from isotypic.groups.patches import Block, PatchBasis
from isotypic.ops.isotypic.case import Case
from isotypic.ops.isotypic.program import Output, Program, program
from isotypic.ops.layout import memory_format
from isotypic.ops.resampling import Sizes

BLOCK_BYTES = 1 << 22
"""Patches of one block on a CPU: about what its caches hold."""


def convolve(x: Tensor, blocks: Tensor, bias: Tensor | None, case: Case) -> Tensor:
    """Convolve ``[B, N |G|, *space]`` by blocks ``[M, N, R]``."""
    basis, made, order = case.basis, len(blocks), case.group.order
    patches = _Patches(x, case, case.output_size(x.shape[2:]))
    weights = _matrices(blocks, basis)
    back = _like(basis.channel.T[:, _rows_by_block(basis)], x)
    y = x.new_empty(len(x), made, order, *patches.grid)
    flat = y.flatten(3)
    for image, start, stop in patches.ranges():
        seen = patches.of(image, start, stop)
        products = [w @ z.flatten(0, 1).flatten(1) for w, z in zip(weights, seen, strict=True)]
        rows = torch.cat([_as_rows(p, b, made) for p, b in zip(products, basis.blocks, strict=True)])
        flat[image, :, :, start:stop] = (back @ rows.flatten(1)).view(order, made, -1).transpose(0, 1)
    y = patches.cropped(y).flatten(1, 2)
    if bias is not None:
        y = y + bias.repeat_interleave(order).view(-1, *(1 for _ in case.kernel))
    return y.contiguous(memory_format=memory_format(x))


def transpose(gradient: Tensor, blocks: Tensor, case: Case, size: Sizes) -> Tensor:
    """Return the gradient of an input of a size from that of the output: the transpose of :func:`convolve`.

    The patches of one image are held at once, to be added tap by tap.
    """
    basis, order, (made, fields, _) = case.basis, case.group.order, blocks.shape
    weights = [w.T for w in _matrices(blocks, basis)]
    rows = _like(basis.channel[_rows_by_block(basis)], gradient) @ _channels_first(gradient, order)
    rows = rows.view(len(gradient), order, made, -1)
    x = gradient.new_zeros(len(gradient), order, fields, *(n + 2 * p for n, p in zip(size, case.padding, strict=True)))
    taps = gradient.new_empty(basis.taps, order, fields, *gradient.shape[2:])
    for image, start, stop in _ranges(rows, fields, basis):
        parts = _factors(rows[image, :, :, start:stop], basis)
        seen = [
            (w @ y).view(-1, fields, b.columns, stop - start)
            for w, y, b in zip(weights, parts, basis.blocks, strict=True)
        ]
        taps.flatten(3)[..., start:stop] = _patches_back(seen, basis)
        if stop == rows.shape[3]:
            for tap, window in zip(taps, _windows(case, gradient.shape[2:]), strict=True):
                x[image][(slice(None), slice(None), *window)] += tap
    inside = (slice(p, p + n) for n, p in zip(size, case.padding, strict=True))
    x = x[(slice(None), slice(None), slice(None), *inside)]
    x = (_like(basis.channel.T, x) @ x.flatten(2)).view(len(x), order, fields, *size)
    return x.transpose(1, 2).flatten(1, 2).contiguous(memory_format=memory_format(gradient))


def correlate(x: Tensor, gradient: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    """Return the gradients of blocks ``[M, N, R]`` and bias ``[M]`` from that of the output."""
    basis, order = case.basis, case.group.order
    made, fields = gradient.shape[1] // order, x.shape[1] // order
    patches = _Patches(x, case, tuple(gradient.shape[2:]))
    forth = _like(basis.channel[_rows_by_block(basis)], x)
    spread = patches.on_grid(gradient.unflatten(1, (made, order))).flatten(3)
    sums = [x.new_zeros(b.rows_out * made, b.rows_in * fields) for b in basis.blocks]
    for image, start, stop in patches.ranges():
        rows = forth @ spread[image, :, :, start:stop].transpose(0, 1).flatten(1)
        parts = _factors(rows.view(order, made, -1), basis)
        for total, left, z in zip(sums, parts, patches.of(image, start, stop), strict=True):
            total.addmm_(left, z.flatten(0, 1).flatten(1).T)
    entries = [
        total.view(b.rows_out, made, b.rows_in, fields).permute(1, 3, 0, 2).flatten(2)
        for total, b in zip(sums, basis.blocks, strict=True)
    ]
    return torch.cat(entries, 2), gradient.sum([0, *range(2, gradient.dim())]).view(made, order).sum(1)


def to_blocks(weight: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[M, N, R]`` of a weight ``[M, N |G|, *kernel]``."""
    matrix = case.table("blocks", weight)
    return (weight.reshape(-1, len(matrix)) @ matrix).view(len(weight), -1, case.entries)


def to_weight(gradient: Tensor, case: Case) -> Tensor:
    """Return the gradient of a weight ``[M, N |G|, *kernel]`` from that of its blocks."""
    rows = gradient.reshape(-1, case.entries) @ case.table("blocks", gradient).T
    return rows.view(len(gradient), -1, *case.kernel)


def adjoint_blocks(blocks: Tensor, case: Case) -> Tensor:
    """Return the blocks ``[N, M, R]`` of the adjoint of a convolution by blocks ``[M, N, R]``."""
    turned = blocks.reshape(-1, case.entries) @ case.table("adjoint", blocks)
    return turned.view_as(blocks).transpose(0, 1).contiguous()


class _Patches:
    """The patches of a signal in the isotypic basis, some outputs at a time.

    Args:
        x: ``[B, N |G|, *space]``.
        case: what is computed.
        size: the size of the output.

    Attributes:
        grid: the output with its rows as long as the padded ones, so that it is one run of samples.
    """

    def __init__(self, x: Tensor, case: Case, size: Sizes) -> None:
        self.case, self.basis, self.size, self.order = case, case.basis, size, case.group.order
        self.fields = x.shape[1] // self.order
        channels = _like(self.basis.channel, x) @ _channels_first(x, self.order)
        signal = channels.view(len(x), self.order, self.fields, *x.shape[2:])
        self.signal = functional.pad(signal, [p for side in reversed(case.padding) for p in (side, side)])
        strided = set(case.stride) != {1}
        self.grid: Sizes = size if strided else (size[0], *self.signal.shape[4:])
        self.samples = math.prod(self.grid) if strided else self._last_sample() + 1
        self.taps = list(self._taps(strided))
        self.buffers: dict[int, list[Tensor]] = {}

    def _last_sample(self) -> int:
        """Return where the last output lies on the grid."""
        place = 0
        for extent, n in zip(self.size, self.grid, strict=True):
            place = place * n + extent - 1
        return place

    def _taps(self, strided: bool) -> Iterator[Tensor]:
        """Yield, for every tap, the samples under it of all outputs, ``[B, |G|, N, outputs]``."""
        flat = self.signal.flatten(3)
        for window in _windows(self.case, self.size):
            if strided:
                yield self.signal[(slice(None), slice(None), slice(None), *window)].flatten(3)
                continue
            place = 0
            for axis, n in zip(window, self.signal.shape[3:], strict=True):
                place = place * n + axis.start
            yield flat[..., place : place + self.samples]

    def ranges(self) -> Iterator[tuple[int, int, int]]:
        """Yield an image and a range of outputs, as many as the cache holds."""
        return _ranges(self.signal.flatten(3)[..., : self.samples], self.fields, self.basis)

    def of(self, image: int, start: int, stop: int) -> list[Tensor]:
        """Return the patches under some outputs, an irrep each: ``[rows_in, N, columns, outputs]``."""
        values = [tap[image, :, :, start:stop] for tap in self.taps]
        for step in _program(self.basis).steps:
            values.append(torch.add(values[step.left], values[step.right], alpha=step.factor))
        made = self._buffers(stop - start)
        for move in _moves(self.basis):
            _write(move.terms, values, made[move.block][move.row, :, move.column])
        return made

    def _buffers(self, count: int) -> list[Tensor]:
        if count not in self.buffers:
            sizes = [(b.rows_in, self.fields, b.columns, count) for b in self.basis.blocks]
            self.buffers[count] = [self.signal.new_empty(size) for size in sizes]
        return self.buffers[count]

    def cropped(self, y: Tensor) -> Tensor:
        """Return the outputs that are no gap between rows."""
        return y[(slice(None), slice(None), slice(None), *(slice(n) for n in self.size))]

    def on_grid(self, gradient: Tensor) -> Tensor:
        """Return a gradient with zeros in the gaps between rows."""
        sides = [p for n, m in zip(reversed(self.grid), reversed(self.size), strict=True) for p in (0, n - m)]
        return functional.pad(gradient, sides)


def _ranges(like: Tensor, fields: int, basis: PatchBasis) -> Iterator[tuple[int, int, int]]:
    """Yield an image and a range of outputs of ``[B, |G|, fields, outputs]``, with patches that the cache holds."""
    samples = like.shape[3]
    bytes_of_sample = fields * basis.positions.size * like.element_size()
    most = max(16, BLOCK_BYTES // bytes_of_sample) if like.device.type == "cpu" else samples
    step = -(-samples // -(-samples // most))
    for image, start in product(range(len(like)), range(0, samples, step)):
        yield image, start, min(start + step, samples)


def _windows(case: Case, size: Sizes) -> Iterator[tuple[slice, ...]]:
    """Yield, for every tap, the samples of the padded input under it of outputs of a size."""
    for tap in product(*(range(k) for k in case.kernel)):
        axes = zip(tap, case.dilation, size, case.stride, strict=True)
        yield tuple(slice(d * t, d * t + (n - 1) * s + 1, s) for t, d, n, s in axes)


Terms = tuple[tuple[float, int, int], ...]


@dataclass(frozen=True)
class _Move:
    """One row of a block's patches: the sum of factors times (value of the positions, channel)."""

    block: int
    row: int
    column: int
    terms: Terms


def _write(terms: Terms, values: list[Tensor], target: Tensor) -> None:
    """Write a sum of factors times (value, channel)."""
    factor, value, channel = terms[0]
    torch.mul(values[value][channel], factor, out=target)
    for factor, value, channel in terms[1:]:
        target.add_(values[value][channel], alpha=factor)


def _patches_back(seen: list[Tensor], basis: PatchBasis) -> Tensor:
    """Return what patches in the isotypic basis, ``[rows_in, N, columns, outputs]`` an irrep, give to every tap.

    The transpose of what makes them: its steps the other way round.
    """
    steps, (_, fields, _, count) = _program(basis).steps, seen[0].shape
    values = seen[0].new_zeros(basis.taps + len(steps), basis.group.order, fields, count)
    for move in _moves(basis):
        source = seen[move.block][move.row, :, move.column]
        for factor, index, channel in move.terms:
            values[index, channel].add_(source, alpha=factor)
    for step, made in zip(reversed(steps), reversed(values.unbind()), strict=False):
        values[step.left].add_(made)
        values[step.right].add_(made, alpha=step.factor)
    return values[: basis.taps]


@cache
def _program(basis: PatchBasis) -> Program:
    return program(basis.patch)


@cache
def _moves(basis: PatchBasis) -> tuple[_Move, ...]:
    """Return every row of the patches, from the values of the program and the channels."""
    return tuple(_couple(basis))


def _couple(basis: PatchBasis) -> Iterator[_Move]:
    outputs, copies = _program(basis).outputs, [0] * len(basis.blocks)
    for index, start, _ in basis.channel_copies:
        for coupling in basis.couplings[index]:
            block = basis.blocks[coupling.block]
            for component, matrix in enumerate(coupling.matrix):
                place = copies[coupling.block] * block.irrep.dimension + component
                terms = _terms(matrix, coupling.patch, start, outputs)
                yield _Move(coupling.block, *divmod(place, block.columns), terms)
            copies[coupling.block] += 1


def _terms(matrix: Floats, patch: int, start: int, outputs: tuple[Output, ...]) -> Terms:
    """Return the non-zero entries of one row of a coupling; every row of the positions' basis has a value."""
    pairs = zip(*matrix.nonzero(), strict=True)
    found = [(outputs[patch + a], float(matrix[a, b]), start + int(b)) for a, b in pairs]
    return tuple((output.scale * factor, output.index or 0, channel) for output, factor, channel in found)


def _matrices(blocks: Tensor, basis: PatchBasis) -> list[Tensor]:
    """Return every block ``[(copy, out field), (copy, in field)]``."""
    parts = blocks.split([b.rows_out * b.rows_in for b in basis.blocks], 2)
    return [
        part.unflatten(2, (b.rows_out, b.rows_in)).permute(2, 0, 3, 1).flatten(2).flatten(0, 1)
        for part, b in zip(parts, basis.blocks, strict=True)
    ]


def _factors(rows: Tensor, basis: PatchBasis) -> list[Tensor]:
    """Return rows of output fields, ``[row, field, output]``, as ``[(copy, field), (component, output)]`` an irrep."""
    parts = rows.split([b.rows_out * b.columns for b in basis.blocks])
    return [
        part.unflatten(0, (b.rows_out, b.columns)).transpose(1, 2).flatten(0, 1).flatten(1)
        for part, b in zip(parts, basis.blocks, strict=True)
    ]


def _as_rows(made: Tensor, block: Block, fields: int) -> Tensor:
    """Return a product ``[(copy, field), (component, output)]`` as rows of output fields, ``[row, field, output]``."""
    parts = made.view(block.rows_out, fields, block.columns, made.shape[1] // block.columns)
    return parts.transpose(1, 2).flatten(0, 1)


def _rows_by_block(basis: PatchBasis) -> list[int]:
    """Return the rows of the Fourier matrix block by block, copy by copy."""
    return [
        start + i
        for which in range(len(basis.blocks))
        for index, start, _ in basis.channel_copies
        if index == which
        for i in range(basis.irreps[index].dimension)
    ]


def _channels_first(x: Tensor, order: int) -> Tensor:
    """Return a signal ``[B, N |G|, *space]`` as ``[B, |G|, (field, sample)]``."""
    return x.unflatten(1, (-1, order)).transpose(1, 2).flatten(2)


def _like(matrix: Floats, tensor: Tensor) -> Tensor:
    return torch.as_tensor(matrix, dtype=tensor.dtype, device=tensor.device)
