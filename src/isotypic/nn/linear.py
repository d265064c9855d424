"""Linear layers on fields that have no space left, or whose channels come last."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from isotypic.errors import RequestError
from isotypic.groups.catalogue import resolve
from isotypic.groups.fields import FieldType, regular_fields, scalar_fields
from isotypic.groups.finite import FiniteGroup
from isotypic.nn.filters import FilterBank
from isotypic.ops.expansion import FilterShape


class GroupLinear(nn.Module):
    """Equivariant linear map of regular fields, ``y[m, g] = sum_{n, h} weight[m, n, g^-1 h] x[n, h] + bias[m]``.

    It acts on the last axis, as ``torch.nn.Linear``: the channels of a pooled signal ``[B, fields * |G|]``, or those of
    a channels-last one ``[B, *space, fields * |G|]``.

    Attributes:
        in_type: fields of the input.
        out_type: fields of the output.
        weight: ``[out_fields, in_fields * |G|]``.
        bias: ``[out_fields]``.

    Args:
        in_fields: fields of the input.
        out_fields: fields of the output.
        group: the group or its name.
        bias: whether to add one learned number a field.
        lift: whether the input is invariant (scalar fields).
        dim: axes of space, where the group is given by name.
    """

    in_type: FieldType
    out_type: FieldType

    def __init__(
        self,
        in_fields: int,
        out_fields: int,
        group: str | FiniteGroup,
        *,
        bias: bool = True,
        lift: bool = False,
        dim: int = 2,
    ) -> None:
        super().__init__()
        resolved = resolve(group, dim) if isinstance(group, str) else group
        self.in_type = (scalar_fields if lift else regular_fields)(resolved, in_fields)
        self.out_type = regular_fields(resolved, out_fields)
        components = self.in_type.representation.dimension
        self.bank = FilterBank(FilterShape(resolved, in_fields, components, (1,) * resolved.dim))
        self.weight = nn.Parameter(torch.empty(out_fields, in_fields * components))
        self.bias = nn.Parameter(torch.zeros(out_fields)) if bias else None
        nn.init.normal_(self.weight, std=(1.0 / self.weight.shape[1]) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last axis."""
        if x.shape[-1] != self.in_type.channels:
            raise RequestError(f"{self}: expected [..., {self.in_type.channels}], received {list(x.shape)}")
        axes = self.in_type.group.dim
        weight = self.weight[(..., *(None,) * axes)]
        made = self.bank(weight, self.bias, (0,) * axes, (1,) * axes, False)
        return functional.linear(x, made.filters.flatten(1), made.bias)

    def __repr__(self) -> str:
        return f"GroupLinear({self.in_type.fields} -> {self.out_type.fields} fields, {self.in_type.group.name})"
