"""What one isotypic convolution computes: the group, the window, and the tables that follow from them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from isotypic.groups.finite import FiniteGroup, Floats
from isotypic.groups.patches import PatchBasis
from isotypic.ops.expansion import moved_positions
from isotypic.ops.resampling import Sizes


@dataclass(frozen=True)
class Case:
    """A convolution of regular fields with zero padding.

    Attributes:
        group: the group of the grid.
        kernel: taps along each axis.
        stride: samples between outputs.
        padding: samples on either side.
        dilation: samples between taps.
    """

    group: FiniteGroup
    kernel: Sizes
    stride: Sizes
    padding: Sizes
    dilation: Sizes

    @cached_property
    def key(self) -> str:
        """A short name that no other case has: what an operator is told."""
        words = [self.kernel, self.stride, self.padding, self.dilation]
        digest = hashlib.sha256(self.group.matrices.tobytes()).hexdigest()[:8]
        return "/".join([f"{self.group.name}-{digest}", *("x".join(map(str, word)) for word in words)])

    @property
    def basis(self) -> PatchBasis:
        """The isotypic basis of its patches."""
        return patch_basis(self.group, self.kernel)

    def table(self, name: str, like: Tensor) -> Tensor:
        """Return a table of the group and the kernel with the dtype and device of a tensor, made once.

        ``blocks`` ``[|G| K, R]`` leads from the weight of a pair of fields to its R block entries; ``adjoint``
        ``[R, R]`` from the blocks of a convolution to those of the one that carries gradients back.
        """
        return _table(self.group, self.kernel, name, like.dtype, like.device)

    def output_size(self, size: Sequence[int]) -> Sizes:
        """Return the output's size along each axis of space."""
        axes = zip(size, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in axes)

    @cached_property
    def is_pointwise(self) -> bool:
        """Whether every output depends on one sample of the input, in order."""
        return {*self.kernel, *self.stride} == {1} and set(self.padding) == {0}

    @cached_property
    def adjoint(self) -> Case:
        """The case that carries a gradient, spread over the stride, from the output back to the input."""
        sides = tuple(d * (k - 1) - p for k, p, d in zip(self.kernel, self.padding, self.dilation, strict=True))
        return known(replace(self, stride=(1,) * len(self.kernel), padding=sides))


_CASES: dict[str, Case] = {}


def known(case: Case) -> Case:
    """Return a case that :func:`case_of` finds by its key."""
    return _CASES.setdefault(case.key, case)


def case_of(key: str) -> Case:
    """Return the case with a key."""
    return _CASES[key]


@cache
def patch_basis(group: FiniteGroup, kernel: Sizes) -> PatchBasis:
    """Return the isotypic basis of the patches of a kernel, made once."""
    return PatchBasis(group, moved_positions(group, kernel)[group.inverse])


@cache
def _table(group: FiniteGroup, kernel: Sizes, name: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    basis = patch_basis(group, kernel)
    made = basis.weight_to_blocks if name == "blocks" else _adjoint(basis)
    with torch.inference_mode(False):
        return torch.as_tensor(np.ascontiguousarray(made.T), dtype=dtype, device=device)


def _adjoint(basis: PatchBasis) -> Floats:
    """Return the map from blocks to adjoint blocks: ``w'[a, u] = w[a^-1, -a^-1 u]``, u counted from the centre."""
    group, taps = basis.group, basis.taps
    opposite = taps - 1 - np.arange(taps)
    moved = opposite[basis.positions[group.inverse]]
    source = group.inverse[:, None] * taps + moved
    blocks = basis.weight_to_blocks
    return blocks[:, np.argsort(source.ravel())] @ np.linalg.pinv(blocks)
