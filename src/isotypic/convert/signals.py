"""What a tensor of the converted network means, node by node."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import fx

from isotypic.groups.fields import FieldType, regular_fields, scalar_fields
from isotypic.groups.finite import FiniteGroup


@dataclass(frozen=True)
class Signal:
    """The meaning of one tensor.

    Attributes:
        fields: how many fields it has.
        regular: whether they are regular fields (|G| channels each) or scalar ones.
        space: axes of space that are left: those of the group, 1 when merged, 0 for a vector ``[B, channels]``.
        axis: where the channels are, 1 or -1.
        window: for an image that the network has flattened, its size; the tensor itself is still an image.
        one_sided: per axis, samples of zero padding that the network added on the far side alone and that the next
            convolution takes into its window; and, as ``padding``, those on both sides.
        padding: see ``one_sided``.
        resize: the network padded the tensor to the size of what it is joined with.
    """

    fields: int
    regular: bool
    space: int
    axis: int = 1
    window: tuple[int, ...] = ()
    one_sided: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    resize: bool = False

    def type(self, group: FiniteGroup) -> FieldType:
        """Return the field type."""
        return (regular_fields if self.regular else scalar_fields)(group, self.fields)

    def with_fields(self, fields: int) -> Signal:
        """Return the same kind of signal with another number of regular fields, nothing pending."""
        return replace(self, fields=fields, regular=True, window=(), one_sided=(), padding=(), resize=False)

    @property
    def pending(self) -> str:
        """What the network did to the tensor that has not been done yet, in words; empty for nothing."""
        if self.window:
            return "was flattened with its space"
        if self.one_sided or self.padding:
            return "was padded on one side"
        return "was padded to another's size" if self.resize else ""


@dataclass(frozen=True)
class Converted:
    """A node of the new graph and what it means."""

    node: fx.Node
    signal: Signal
