"""Field types: what the channels of a plain tensor mean.

A signal with |G| channels a field is *field-major*: channel = field * n + i, where n is the dimension of the
field's representation (|G| for the regular one) and i its basis index. Concatenation and residual sums of fields
are then those of channels.
"""

from __future__ import annotations

from dataclasses import dataclass

from isotypic.errors import RequestError
from isotypic.groups.finite import FiniteGroup
from isotypic.groups.representations import Representation, regular, trivial


@dataclass(frozen=True)
class FieldType:
    """So many copies of one representation.

    Attributes:
        representation: how one field changes under the group.
        fields: how many fields, at least 1.
    """

    representation: Representation
    fields: int

    def __post_init__(self) -> None:
        if self.fields < 1:
            raise RequestError(f"expected at least one field, received {self.fields}")

    def __str__(self) -> str:
        return f"{self.fields} {self.representation.name} fields of {self.group.name} ({self.channels} channels)"

    @property
    def group(self) -> FiniteGroup:
        """The symmetry group."""
        return self.representation.group

    @property
    def channels(self) -> int:
        """How many channels a tensor of this type has."""
        return self.fields * self.representation.dimension


def scalar_fields(group: FiniteGroup, fields: int) -> FieldType:
    """Return the type of an ordinary image: the group moves pixels and leaves the channels alone."""
    return FieldType(trivial(group), fields)


def regular_fields(group: FiniteGroup, fields: int) -> FieldType:
    """Return the type of a G-CNN's feature map: |G| channels a field, permuted by the group."""
    return FieldType(regular(group), fields)
