"""What every equivariant layer is: an ordinary module that knows the types of its input and output.

``layer(g x) = g layer(x)`` for every element g, where g acts on x by ``in_type`` and on the result by ``out_type``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from isotypic.errors import RequestError
from isotypic.groups.fields import FieldType


class EquivariantLayer(nn.Module, ABC):
    """A layer on plain tensors ``[batch, channels, *space]`` with channels field-major.

    Attributes:
        in_type: what the input's channels mean.
        out_type: what the output's channels mean.
    """

    in_type: FieldType
    out_type: FieldType

    def __init__(self, in_type: FieldType, out_type: FieldType) -> None:
        super().__init__()
        self.in_type, self.out_type = in_type, out_type

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map a signal of ``in_type`` to one of ``out_type``."""

    def check(self, x: Tensor) -> None:
        """Raise RequestError unless a tensor has the channels and axes that the layer expects."""
        axes = self.in_type.group.dim
        if x.dim() != axes + 2 or x.shape[1] != self.in_type.channels:
            space = ", ".join("zyx"[3 - axes :])
            raise RequestError(
                f"{self}: expected [batch, {self.in_type.channels}, {space}], {self.in_type}, received {list(x.shape)}"
            )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    def extra_repr(self) -> str:
        """Say the types in one line."""
        group, a, b = self.in_type.group, self.in_type, self.out_type
        names = (a.representation.name, b.representation.name)
        kinds = names[0] if names[0] == names[1] else f"{names[0]} to {names[1]}"
        return f"{a.fields} -> {b.fields} fields, {kinds}, {group.name}"
