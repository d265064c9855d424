"""The isotypic decomposition of a patch of regular fields: where every equivariant kernel is block-diagonal.

A patch of one regular field is a vector ``v[q, h]``, q a position of the kernel and h an element; the group moves it
by ``(g v)[q, h] = v[g^-1 q, g^-1 h]``: a permutation of positions, tensor left translation. A group convolution is,
patch by patch, an intertwiner from that representation to left translation, so by Schur's lemma it couples only copies
of one irrep, and by one number a pair of copies where the irrep is of real type.

The basis is made in three steps, each a small matrix, so that a patch is transformed by few additions:

1. the *channel* transform: the rows of the group's Fourier matrix, once a sample;
2. the *patch* transform: the positions split into irreps, the same for every channel;
3. the *coupling* (Clebsch-Gordan) of an irrep of the positions with one of the channels, which is a renaming unless
   both have more than one dimension.

Every copy is scaled so that its largest entry is one: transforms are then additions wherever the group allows, and what
is left over is in the blocks of the weight.

Source:
    J.-P. Serre, Linear Representations of Finite Groups (1977), chapters 2 and 13.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from isotypic.groups.finite import FiniteGroup, Floats, Indices
from isotypic.groups.irreps import Irrep, IrrepType, fourier_blocks, fourier_matrix, irreps, isotypic_basis
from isotypic.groups.representations import permutation, tensor_product

_ZERO = 1e-9


@dataclass(frozen=True)
class Coupling:
    """One copy of an irrep in (irrep of the positions) tensor (irrep of the channels).

    Attributes:
        block: which irrep of the group it is, an index into :func:`~isotypic.groups.irreps.irreps`.
        patch: the first row of the positions' copy in :attr:`PatchBasis.patch`.
        matrix: ``[d, patch dimension, channel dimension]``.
    """

    block: int
    patch: int
    matrix: Floats


@dataclass(frozen=True)
class Block:
    """One diagonal block of every kernel.

    For an irrep of real type the block is one number a pair of copies and serves all d components; otherwise the
    components take part in the product.

    Attributes:
        irrep: the irrep.
        copies_in: its copies in the patch of one field.
        copies_out: its copies in one output field.
    """

    irrep: Irrep
    copies_in: int
    copies_out: int

    @property
    def columns(self) -> int:
        """Components that share a product."""
        return self.irrep.dimension if self.irrep.type is IrrepType.REAL else 1

    @property
    def rows_in(self) -> int:
        """Rows of the product that one input field has."""
        return self.copies_in * self.irrep.dimension // self.columns

    @property
    def rows_out(self) -> int:
        """Rows of the product that one output field has."""
        return self.copies_out * self.irrep.dimension // self.columns

    @property
    def multiplications(self) -> int:
        """Multiplications for a pair of fields and an output sample."""
        return self.rows_in * self.rows_out * self.columns


class PatchBasis:
    """The isotypic basis of patches of one field.

    Args:
        group: the group.
        positions: ``[|G|, K]``: element g moves position q of the kernel to position ``positions[g, q]``.

    Attributes:
        channel: ``[|G|, |G|]``, the scaled Fourier matrix; its transpose leads from the blocks to an output field.
        patch: ``[K, K]``, the scaled basis of the positions.
        couplings: for every irrep of the channels, the couplings of one copy.
    """

    def __init__(self, group: FiniteGroup, positions: Indices) -> None:
        self.group, self.positions = group, positions
        self.irreps = irreps(group)
        fourier = fourier_matrix(group)
        scale = _copy_scale(fourier, [copy.irrep.dimension for copy in fourier_blocks(group)])
        self.channel = _clean(fourier / scale[:, None])
        copies = isotypic_basis(permutation("positions", group, positions))
        self._patch_copies = [(irrep, copy) for irrep, all_copies in copies for copy in all_copies]
        self.patch = np.concatenate([_scaled(copy) for _, copy in self._patch_copies])
        self.couplings = tuple(tuple(self._couplings(irrep)) for irrep in self.irreps)

    @property
    def taps(self) -> int:
        """Positions K of the kernel."""
        return self.positions.shape[1]

    def _couplings(self, channel: Irrep) -> Iterator[Coupling]:
        """Yield the couplings of one channel copy with every copy of the positions."""
        start = 0
        for irrep, _ in self._patch_copies:
            d = irrep.dimension
            for found, copies in isotypic_basis(tensor_product(irrep, channel)):
                block = self.irreps.index(found)
                for copy in copies:
                    yield Coupling(block, start, _scaled(copy).reshape(-1, d, channel.dimension))
            start += d

    @cached_property
    def channel_copies(self) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
        """For every channel copy: its irrep, its first row, and where its couplings start among each block's copies."""
        counts, found = [0] * len(self.irreps), []
        for copy in fourier_blocks(self.group):
            index = self.irreps.index(copy.irrep)
            found.append((index, copy.start, tuple(counts)))
            for coupling in self.couplings[index]:
                counts[coupling.block] += 1
        return tuple(found)

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The diagonal blocks, one an irrep of the group (every irrep occurs in a regular field)."""
        return tuple(
            Block(irrep, len(self.coordinates(index)), irrep.multiplicity) for index, irrep in enumerate(self.irreps)
        )

    @property
    def multiplications(self) -> int:
        """Multiplications for a pair of fields and an output sample; ``|G|^2 K`` without the basis."""
        return sum(block.multiplications for block in self.blocks)

    def coordinates(self, block: int) -> Floats:
        """Return the copies of an irrep in the patch: ``[copies, d, K |G|]``, over ``(q, h)``."""
        found = []
        for index, start, _ in self.channel_copies:
            d = self.irreps[index].dimension
            channel = self.channel[start : start + d]
            for coupling in self.couplings[index]:
                if coupling.block == block:
                    rows = self.patch[coupling.patch : coupling.patch + coupling.matrix.shape[1]]
                    mixed = np.einsum("iab,aq,bh->iqh", coupling.matrix, rows, channel)
                    found.append(mixed.reshape(len(mixed), -1))
        return np.stack(found) if found else np.empty((0, self.irreps[block].dimension, self.positions.size))

    @cached_property
    def weight_to_blocks(self) -> Floats:
        """``[sum rows_out rows_in, |G| K]``: from the weight of a pair of fields, over ``(a, u)``, to its blocks.

        The map of a patch is ``W[g, (q, h)] = w[g^-1 h, g^-1 q]``; an entry of a block is ``f W t`` for a row f of the
        output's basis and a row t of the patch's, each over its squared length.
        """
        return np.concatenate([self._entries(index) for index in range(len(self.irreps))])

    @cached_property
    def block_entries(self) -> Floats:
        """``[R, |G| K]``, sparse: from a weight with both transforms done, over ``(a, u)``, to its R block entries.

        :attr:`weight_to_blocks` after the channel transform of every position and the patch transform of every channel.
        """
        channel, patch = np.linalg.inv(self.channel), np.linalg.inv(self.patch)
        dense = self.weight_to_blocks.reshape(-1, self.group.order, self.taps)
        entries = np.einsum("rau,ab,uv->rbv", dense, channel, patch, optimize=True)
        return _clean(entries.reshape(len(dense), -1))

    @cached_property
    def adjoint_blocks(self) -> Floats:
        """``[R, R]``, sparse: from the blocks of a convolution to those of its adjoint, which carries gradients back.

        The adjoint's weight is ``w'[a, u] = w[a^-1, -a^-1 u]``, u counted from the centre.
        """
        opposite = self.taps - 1 - np.arange(self.taps)
        moved = opposite[self.positions[self.group.inverse]]
        source = self.group.inverse[:, None] * self.taps + moved
        blocks = self.weight_to_blocks
        return _clean(blocks[:, np.argsort(source.ravel())] @ np.linalg.pinv(blocks))

    def _entries(self, index: int) -> Floats:
        block, t = self.blocks[index], self.coordinates(index)
        t = t / np.sum(t**2, axis=(1, 2), keepdims=True) * block.irrep.dimension
        f = self._outputs(block.irrep)
        if block.irrep.type is IrrepType.REAL:
            f, t = f[:, :1], t[:, :1]
        f, t = f.reshape(-1, self.group.order), t.reshape(-1, self.taps, self.group.order)
        # t[(g u), (g a)], then summed against f over g.
        moved = t[:, self.positions[:, None, :], self.group.table[:, :, None]]
        return np.einsum("fg,tgau->ftau", f, moved).reshape(-1, self.group.order * self.taps)

    def _outputs(self, irrep: Irrep) -> Floats:
        """Return the rows ``[copies, d, |G|]`` that read an output field: the inverse of the transposed channels."""
        starts = [copy.start for copy in fourier_blocks(self.group) if copy.irrep is irrep]
        outputs = np.stack([self.channel[start : start + irrep.dimension] for start in starts])
        return outputs / np.sum(outputs**2, axis=(1, 2), keepdims=True) * irrep.dimension


def _copy_scale(rows: Floats, dimensions: list[int]) -> Floats:
    """Return, for every row, the largest entry of the copy that it belongs to."""
    starts = np.cumsum([0, *dimensions[:-1]])
    largest = [np.abs(rows[s : s + d]).max() for s, d in zip(starts, dimensions, strict=True)]
    return np.repeat(largest, dimensions)


def _scaled(copy: Floats) -> Floats:
    return _clean(copy / np.abs(copy).max())


def _clean(matrix: Floats) -> Floats:
    """Return a matrix with entries next to an integer made that integer."""
    rounded = np.round(matrix)
    return np.where(np.abs(matrix - rounded) < _ZERO, rounded, matrix) + 0.0
