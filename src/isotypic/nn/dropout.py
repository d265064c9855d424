"""Dropout that drops whole fields, so that what is left is still a signal of the same type."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups.catalogue import resolve
from isotypic.groups.fields import regular_fields
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.layer import EquivariantLayer


class GroupDropout(EquivariantLayer):
    """Zero fields at random in training and scale the rest by ``1 / (1 - p)``.

    The |G| channels of a field live or die together. By default a field is dropped over all of space: for one draw
    of the random numbers the layer is then exactly equivariant. With ``pointwise`` every position is drawn alone,
    and equivariance holds in distribution.

    Args:
        fields: fields of the signal, ``[B, fields * |G|, *space]``.
        group: the group or its name.
        p: probability to drop, 0 to 1.
        pointwise: draw every position alone.
        dim: axes of space, where the group is given by name.
    """

    def __init__(
        self, fields: int, group: str | FiniteGroup, p: float = 0.5, *, pointwise: bool = False, dim: int = 2
    ) -> None:
        if not 0 <= p <= 1:
            raise RequestError(f"expected a dropout probability between 0 and 1, received {p}")
        kind = regular_fields(resolve(group, dim) if isinstance(group, str) else group, fields)
        super().__init__(kind, kind)
        self.p, self.pointwise = p, pointwise

    def forward(self, x: Tensor) -> Tensor:
        """Drop fields in training; the identity in evaluation."""
        self.check(x)
        if not self.training or self.p == 0:
            return x
        space = x.shape[2:] if self.pointwise else (1,) * (x.dim() - 2)
        mask = functional.dropout(x.new_ones(len(x), self.in_type.fields, *space), self.p, training=True)
        return x * mask.repeat_interleave(self.in_type.representation.dimension, dim=1)

    def extra_repr(self) -> str:
        """Say the probability."""
        return f"{super().extra_repr()}, p={self.p}"
