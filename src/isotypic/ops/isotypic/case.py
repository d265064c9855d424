"""What one isotypic convolution computes: the group, the window, and the tables that follow from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from isotypic.groups.finite import FiniteGroup
from isotypic.groups.patches import PatchBasis
from isotypic.ops.expansion import moved_positions
from isotypic.ops.resampling import Sizes


@dataclass(frozen=True, eq=False)
class Case:
    """A convolution of regular fields with zero padding; compared by identity, so that it is a quick key.

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
    def basis(self) -> PatchBasis:
        """The isotypic basis of its patches."""
        return patch_basis(self.group, self.kernel)

    @cached_property
    def entries(self) -> int:
        """Entries R of the blocks of a pair of fields."""
        return len(self.basis.weight_to_blocks)

    def table(self, name: str, like: Tensor) -> Tensor:
        """Return a table of the group and the kernel with the dtype and device of a tensor, made once.

        ``blocks`` ``[|G| K, R]`` leads from the weight of a pair of fields to its R block entries; ``adjoint``
        ``[R, R]`` from those of a convolution to those of the one that carries gradients back.
        """
        return _tables(self.group, self.kernel, like.dtype, like.device)[name]

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
        """The case that carries a gradient from the output back to the input, where there is no stride."""
        sides = tuple(d * (k - 1) - p for k, p, d in zip(self.kernel, self.padding, self.dilation, strict=True))
        return replace(self, stride=(1,) * len(self.kernel), padding=sides)


@cache
def patch_basis(group: FiniteGroup, kernel: Sizes) -> PatchBasis:
    """Return the isotypic basis of the patches of a kernel, made once."""
    return PatchBasis(group, moved_positions(group, kernel)[group.inverse])


@cache
def _tables(group: FiniteGroup, kernel: Sizes, dtype: torch.dtype, device: torch.device) -> dict[str, Tensor]:
    basis = patch_basis(group, kernel)
    made = {"blocks": basis.weight_to_blocks, "adjoint": basis.adjoint_blocks}
    with torch.inference_mode(False):
        return {
            name: torch.as_tensor(np.ascontiguousarray(matrix.T), dtype=dtype, device=device)
            for name, matrix in made.items()
        }
