"""The filter bank of a steerable convolution: bases between the parts of two types, expansion, blocks of fields."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from isotypic.errors import RequestError
from isotypic.groups.circle import FieldSum
from isotypic.groups.finite import Floats, Indices
from isotypic.groups.harmonics import Rings, grid_points, harmonics, kernel_coefficients
from isotypic.nn.fieldwise import ExactTables
from isotypic.nn.filters import Bank
from isotypic.ops.resampling import Sizes, widen


class KernelTables:
    """The bases of all pairs of parts of two types, as a picklable call.

    Args:
        made: the type along the first axis of the filter bank.
        seen: the type along the second.
        kernel: samples along y and x.
        rings: the radial profile.
    """

    def __init__(self, made: FieldSum, seen: FieldSum, kernel: Sizes, rings: Rings) -> None:
        self.made, self.seen, self.kernel, self.rings = made, seen, (kernel[0], kernel[1]), rings

    def basis(self, i: int, j: int) -> Floats:
        """Return the basis ``[B, n_made, n_seen, A]`` between part i made and part j seen."""
        pair = (self.made.parts[i].representation, self.seen.parts[j].representation)
        return kernel_coefficients(*pair, self.kernel, self.rings)

    def __call__(self) -> dict[str, Floats]:
        """Return the harmonics on the grid and every basis that is not empty, as ``[B, n_made n_seen A]``."""
        tables = {"harmonics": harmonics(grid_points(self.kernel), self.kernel, self.rings)}
        pairs = [(i, j) for i in range(len(self.made.parts)) for j in range(len(self.seen.parts))]
        bases = {_name(i, j): self.basis(i, j) for i, j in pairs}
        return {**tables, **{name: basis.reshape(len(basis), -1) for name, basis in bases.items() if len(basis)}}


class SteerableFilters(Bank[tuple[Tensor, Sizes]]):
    """Expands coefficients to the filter bank of an ordinary convolution, for any strided size.

    The last expansion is kept as :class:`~isotypic.nn.filters.Bank` says. Bases and expansions are not in the state
    dict. The expansion runs in the weight's own precision under autocast.

    Args:
        types: those along the first and the second axis of the filters, of all blocks.
        kernel: samples along y and x.
        rings: the radial profile.
        groups: independent blocks, each with its share of the fields of every part.

    Attributes:
        made: the type along the first axis, of one block.
        seen: the type along the second.
        sizes: how many basis elements there are for each pair of their parts.
    """

    def __init__(self, types: tuple[FieldSum, FieldSum], kernel: Sizes, rings: Rings, groups: int) -> None:
        super().__init__()
        made, seen = (one_block(kind, groups) for kind in types)
        self.made, self.seen, self.kernel, self.groups = made, seen, kernel, groups
        source = KernelTables(made, seen, kernel, rings)
        self.sizes = [[len(source.basis(i, j)) for j in range(len(seen.parts))] for i in range(len(made.parts))]
        self.tables = ExactTables(source)

    def blocks(self) -> list[tuple[int, int, int]]:
        """Return ``(i, j, coefficients)`` for every pair of parts, in the order of the weight."""
        return [
            (i, j, self.groups * self.made.parts[i].fields * self.seen.parts[j].fields * size)
            for i, row in enumerate(self.sizes)
            for j, size in enumerate(row)
        ]

    def forward(self, weight: Tensor, remainder: Sizes, dilation: Sizes, channels_last: bool) -> tuple[Tensor, Sizes]:
        """Return the filters ``[groups * made channels, seen channels, y, x]``, widened, and the dilation left."""
        key = (remainder, dilation, channels_last)
        return self.keep(key, weight, None, lambda: self._expand(weight, *key))

    def _expand(self, weight: Tensor, remainder: Sizes, dilation: Sizes, channels_last: bool) -> tuple[Tensor, Sizes]:
        with torch.autocast(weight.device.type, enabled=False):
            pieces = iter(weight.split([count for *_, count in self.blocks()]))
            rows = [
                torch.cat([self._block(i, j, next(pieces)) for j in range(len(self.seen.parts))], 2)
                for i in range(len(self.made.parts))
            ]
            filters, left = widen(torch.cat(rows, 1).flatten(0, 1), remainder, dilation)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return filters.contiguous(memory_format=layout), left

    def _block(self, i: int, j: int, coefficients: Tensor) -> Tensor:
        """Return the filters of one pair of parts, ``[groups, channels of i, channels of j, y, x]``."""
        a, b = self.made.parts[i], self.seen.parts[j]
        shape = (self.groups, a.channels, b.channels, *self.kernel)
        if not len(coefficients):
            return coefficients.new_zeros(shape)
        waves, sizes = self.tables("harmonics"), (a.representation.dimension, b.representation.dimension)
        weights = coefficients.view(self.groups * a.fields * b.fields, -1) @ self.tables(_name(i, j))
        sampled = weights.view(-1, len(waves)) @ waves
        return sampled.view(self.groups, a.fields, b.fields, *sizes, *self.kernel).transpose(2, 3).reshape(shape)


def one_block(kind: FieldSum, groups: int) -> FieldSum:
    """Return the type of one of so many blocks, each with its share of the fields of every part.

    Raises:
        RequestError: the fields of a part cannot be shared out.
    """
    if groups < 1 or any(part.fields % groups for part in kind):
        raise RequestError(f"expected groups that divide the fields of every part of {kind}, received {groups}")
    return FieldSum(tuple(replace(part, fields=part.fields // groups) for part in kind))


def block_order(kind: FieldSum, groups: int) -> Indices:
    """Return which channel each channel is when they are put block behind block."""
    starts = np.cumsum([0, *kind.sizes[:-1]])
    shares = [np.arange(n).reshape(groups, -1) + start for n, start in zip(kind.sizes, starts, strict=True)]
    return np.concatenate(shares, axis=1).ravel()


def _name(i: int, j: int) -> str:
    return f"basis_{i}_{j}"
