"""Learned numbers of which every field has one: scales, shifts, and the slope of a PReLU."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.groups.catalogue import resolve
from isotypic.groups.finite import FiniteGroup


class FieldParameter(nn.Module):
    """One learned number a field, spread over its |G| channels and broadcast over space.

    ``forward()`` returns ``[fields * |G|, 1, ...]``, to be added to or multiplied with ``[B, fields * |G|, *space]``.

    Args:
        fields: how many numbers.
        group: the group or its name.
        initial: what they start as.
        trailing: axes of size one after the channels.
        dim: axes of space, where the group is given by name.
    """

    def __init__(
        self, fields: int, group: str | FiniteGroup, initial: float = 1.0, *, trailing: int = 2, dim: int = 2
    ) -> None:
        super().__init__()
        self.order = (resolve(group, dim) if isinstance(group, str) else group).order
        self.trailing = trailing
        self.value = nn.Parameter(torch.full((fields,), float(initial)))

    def forward(self) -> Tensor:
        """Return the number of every channel."""
        return self.value.repeat_interleave(self.order)[(..., *(None,) * self.trailing)]


class FieldPReLU(nn.Module):
    """``max(0, x) + slope min(0, x)`` with a learned slope for every field.

    Args:
        fields: fields of the signal ``[B, fields * |G|, *space]``.
        group: the group or its name.
        initial: what the slopes start as.
        dim: axes of space, where the group is given by name.

    Source:
        K. He et al., Delving Deep into Rectifiers, ICCV 2015, arXiv 1502.01852.
    """

    def __init__(self, fields: int, group: str | FiniteGroup, initial: float = 0.25, *, dim: int = 2) -> None:
        super().__init__()
        self.order = (resolve(group, dim) if isinstance(group, str) else group).order
        self.weight = nn.Parameter(torch.full((fields,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the slopes."""
        return functional.prelu(x, self.weight.repeat_interleave(self.order))
