"""Group convolutions by kernels that the group does not map to themselves, such as 7 x 1 for p4m.

Let H be the subgroup that keeps the axes of an image, and c run over representatives of its left cosets: the identity
and, where the group swaps the axes, a quarter-turn. The H-convolution L by the kernel gives the outputs of the elements
in H, and turned with the image those of the others:

``y(p, c h) = L(c^-1 f)(c^-1 p, h)``.

That is the formula of a group convolution, with a kernel that is turned where its element turns: half of a field's
channels see a column, half a row, and nothing between them is computed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from isotypic.errors import RequestError
from isotypic.groups.catalogue import resolve
from isotypic.groups.fields import regular_fields
from isotypic.groups.finite import FiniteGroup, Indices
from isotypic.nn.layer import EquivariantLayer
from isotypic.nn.plane import GroupConv2d
from isotypic.ops.action import swaps_axes


class GroupRectangleConv2d(EquivariantLayer):
    """Group convolution of regular fields by a rectangular kernel; the output has the size of the input.

    Exact on every size. With a group that keeps the axes (C1, C2, Cs, D2) it is :class:`~isotypic.nn.GroupConv2d`.

    Args:
        in_fields: fields of the input ``[B, in_fields * |G|, y, x]``.
        out_fields: fields of the output.
        kernel_size: taps ``(y, x)`` of the channels whose element keeps the axes, both odd; the others have ``(x, y)``.
        group: a group of the pixel grid, or its name.
        bias: whether to add one learned number a field.

    Raises:
        RequestError: a group that is not of the grid, an even kernel; at the call, an input of another type.

    >>> layer = GroupRectangleConv2d(4, 8, (7, 1), "p4m")
    >>> layer(torch.zeros(2, 32, 21, 32)).shape
    torch.Size([2, 64, 21, 32])
    """

    before: Tensor
    after: Tensor

    def __init__(
        self,
        in_fields: int,
        out_fields: int,
        kernel_size: tuple[int, int],
        group: str | FiniteGroup,
        *,
        bias: bool = True,
    ) -> None:
        resolved = resolve(group, 2)
        super().__init__(regular_fields(resolved, in_fields), regular_fields(resolved, out_fields))
        if any(k % 2 == 0 for k in kernel_size):
            raise RequestError(f"expected a kernel of odd sides, received {kernel_size}")
        kept = [g for g in range(resolved.order) if not swaps_axes(resolved, g, (1, 2))]
        self.cosets = tuple(int(members[0]) for members in resolved.left_cosets(kept))
        fields = in_fields * len(self.cosets)
        self.column = GroupConv2d(fields, out_fields, kernel_size, resolved.restrict(kept), padding="same", bias=bias)
        self.motions = tuple((_motion(resolved, int(resolved.inverse[c])), _motion(resolved, c)) for c in self.cosets)
        before, after = _orders(resolved, kept, self.cosets)
        self.register_buffer("before", _channels(before, in_fields), persistent=False)
        self.register_buffer("after", _channels(after, out_fields)[0], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``[B, in_fields * |G|, y, x]``."""
        self.check(x)
        made = []
        for before, (backward, forward) in zip(self.before, self.motions, strict=True):
            outputs = self.column(_move(x.index_select(1, before), backward))
            made.append(_move(outputs, forward).unflatten(1, (self.out_type.fields, -1)))
        return torch.stack(made, 2).flatten(1, 3).index_select(1, self.after)

    def extra_repr(self) -> str:
        """Say types and kernel in one line."""
        return f"{super().extra_repr()}, kernel {'x'.join(map(str, self.column.window.kernel))}"


@dataclass(frozen=True)
class _Motion:
    """How one element moves the pixels: flips along axes, then perhaps the axes swapped.

    Known before the call: :func:`isotypic.ops.action.move_space` asks the group, which a compiler cannot follow.
    """

    flipped: tuple[int, ...]
    swapped: bool


def _motion(group: FiniteGroup, element: int) -> _Motion:
    backward = group.grid_matrices[group.inverse[element]]
    flipped = tuple(2 + axis for axis in range(2) if backward[axis].sum() < 0)
    return _Motion(flipped, bool(backward[0, 0] == 0))


def _move(x: Tensor, motion: _Motion) -> Tensor:
    x = x.flip(motion.flipped) if motion.flipped else x
    return x.transpose(2, 3) if motion.swapped else x


def _orders(group: FiniteGroup, kept: list[int], cosets: tuple[int, ...]) -> tuple[Indices, Indices]:
    """Return for a field which channel each channel was, before L for every coset, and behind it.

    Before: channel h of the field of H that stands for the right coset H t is that of ``c h t``. A subgroup of index
    two has the same left and right cosets. Behind: the channels lie in the order ``(c, h)`` of ``c h``.
    """
    h, c = np.asarray(kept), np.asarray(cosets)
    before = group.table[np.ix_(c, group.table[np.ix_(h, c)].T.ravel())]
    after = np.argsort(group.table[np.ix_(c, h)].ravel())
    return before, after[None]


def _channels(order: Indices, fields: int) -> Tensor:
    """Return orders ``[n, |G|]`` of one field's channels as those of so many fields, ``[n, fields * |G|]``."""
    starts = np.arange(fields)[:, None] * order.shape[1]
    return torch.as_tensor((starts + order[:, None]).reshape(len(order), -1))
