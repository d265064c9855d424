"""The circle group SO(2) of all rotations of the plane, its irreps, and sums of field types.

The real irrep of frequency f sends the rotation by alpha to ``R(f alpha)``, the 2 x 2 rotation matrix, for f > 0 and
to the number one for f = 0. Angles are those of the group's matrices in array axis order ``(y, x)``: the rotation by
90 degrees is ``numpy.rot90``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from isotypic.errors import RequestError
from isotypic.groups.fields import FieldType
from isotypic.groups.finite import TOLERANCE, FiniteGroup, Floats
from isotypic.groups.irreps import Irrep, irreps, isotypic_basis
from isotypic.groups.representations import Representation, direct_sum


@dataclass(frozen=True)
class CircleGroup:
    """SO(2), the group of all rotations of the plane; there is one, :data:`SO2`."""

    name: str = "SO(2)"
    dim: int = 2


SO2 = CircleGroup()


@dataclass(frozen=True)
class Frequency:
    """The real irrep of SO(2) that turns f times as fast as the plane.

    Attributes:
        frequency: f, at least 0.
    """

    frequency: int

    def __post_init__(self) -> None:
        if self.frequency < 0:
            raise RequestError(f"expected a frequency of SO(2) of at least 0, received {self.frequency}")

    @property
    def name(self) -> str:
        """What it is called."""
        return f"frequency {self.frequency}"

    @property
    def group(self) -> CircleGroup:
        """SO(2)."""
        return SO2

    @property
    def dimension(self) -> int:
        """1 for f = 0, 2 otherwise."""
        return 2 if self.frequency else 1

    @property
    def is_permutation(self) -> bool:
        """Whether every matrix only permutes the basis: f = 0 alone."""
        return self.frequency == 0

    def matrix(self, angle: float) -> Floats:
        """Return the matrix of the rotation by an angle in radians, ``R(f angle)``."""
        return turn(self.frequency * angle) if self.frequency else np.ones((1, 1))


@dataclass(frozen=True)
class SO2Fields:
    """So many fields of one frequency of SO(2): what :class:`~isotypic.groups.FieldType` is for a finite group.

    Attributes:
        frequency: how fast one field turns; 0 is a scalar field, 1 a vector field.
        fields: how many fields, at least 1.

    >>> SO2Fields(1, 8).channels
    16
    """

    frequency: int
    fields: int

    def __post_init__(self) -> None:
        Frequency(self.frequency)
        if self.fields < 1:
            raise RequestError(f"expected at least one field, received {self.fields}")

    def __str__(self) -> str:
        return f"{self.fields} {self.representation.name} fields of SO(2) ({self.channels} channels)"

    @property
    def representation(self) -> Frequency:
        """How one field changes under a rotation."""
        return Frequency(self.frequency)

    @property
    def group(self) -> CircleGroup:
        """SO(2)."""
        return SO2

    @property
    def channels(self) -> int:
        """How many channels a tensor of this type has."""
        return self.fields * self.representation.dimension


AnyRepresentation = Representation | Frequency
AnyIrrep = Irrep | Frequency
Fields = FieldType | SO2Fields


@dataclass(frozen=True)
class FieldSum:
    """Fields of several representations of one group, one part behind the other along the channels.

    Attributes:
        parts: the types, at least one.
    """

    parts: tuple[Fields, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise RequestError("expected at least one field type in a sum of fields, received none")
        names = [part.group.name for part in self.parts]
        if any(part.group != self.parts[0].group for part in self.parts):
            raise RequestError(f"expected field types of one group, received {', '.join(names)}; use Restrict first")
        if self.group.dim != 2:
            raise RequestError(f"expected fields of a group of the plane, received {names[0]} of dimension 3")

    def __str__(self) -> str:
        return " + ".join(str(part) for part in self.parts)

    def __iter__(self) -> Iterator[Fields]:
        return iter(self.parts)

    @property
    def group(self) -> FiniteGroup | CircleGroup:
        """The symmetry group."""
        return self.parts[0].group

    @property
    def channels(self) -> int:
        """How many channels a tensor of this type has."""
        return sum(part.channels for part in self.parts)

    @property
    def fields(self) -> int:
        """How many fields, of whatever representation."""
        return sum(part.fields for part in self.parts)

    @property
    def sizes(self) -> list[int]:
        """The channels of every part, for ``torch.split``."""
        return [part.channels for part in self.parts]

    @property
    def representation(self) -> Representation:
        """How the channels change under a finite group: of one field, or of all channels for several parts.

        Raises:
            RequestError: the group is SO(2), whose elements cannot be listed.
        """
        finite = [part for part in self.parts if isinstance(part, FieldType)]
        if not finite:
            raise RequestError("expected a finite group, received SO(2): use matrix_at for one angle")
        if len(finite) == 1:
            return finite[0].representation
        return direct_sum(*(part.representation for part in finite for _ in range(part.fields)))


FieldsLike = Fields | FieldSum | Sequence[Fields]


def field_sum(fields: FieldsLike) -> FieldSum:
    """Return one field type, or a sequence of them, as a sum."""
    if isinstance(fields, FieldSum):
        return fields
    return FieldSum((fields,) if isinstance(fields, (FieldType, SO2Fields)) else tuple(fields))


def turn(angle: float) -> Floats:
    """Return the rotation matrix ``[[cos, -sin], [sin, cos]]`` of an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def is_trivial(representation: AnyRepresentation) -> bool:
    """Whether every element acts as the number one."""
    if isinstance(representation, Frequency):
        return representation.frequency == 0
    return representation.dimension == 1 and bool(np.all(np.abs(representation.matrices - 1) < TOLERANCE))


def matrix_at(representation: AnyRepresentation, degrees: float) -> Floats:
    """Return the matrix of the rotation by some degrees.

    Raises:
        RequestError: the rotation is not in the group.
    """
    if isinstance(representation, Frequency):
        return representation.matrix(np.radians(degrees))
    distance = np.abs(representation.group.matrices - turn(np.radians(degrees))).max(axis=(1, 2))
    element = int(np.argmin(distance))
    if distance[element] > TOLERANCE:
        raise RequestError(f"expected a rotation of {representation.group.name}, received {degrees:g} degrees")
    return representation.matrices[element]


@cache
def components(representation: AnyRepresentation) -> tuple[tuple[AnyIrrep, Floats], ...]:
    """Split a representation into irreps, as :func:`~isotypic.groups.isotypic_basis` does, for SO(2) too."""
    if isinstance(representation, Frequency):
        return ((representation, np.eye(representation.dimension)[None]),)
    return isotypic_basis(representation)


@cache
def invariants(representation: AnyRepresentation) -> Floats:
    """Return an orthonormal basis ``[m, n]`` of the vectors that every element leaves alone."""
    if isinstance(representation, Frequency):
        return np.ones((1, 1)) if representation.frequency == 0 else np.empty((0, 2))
    first = irreps(representation.group)[0]
    found = [copies[:, 0] for irrep, copies in components(representation) if irrep == first]
    return found[0] if found else np.empty((0, representation.dimension))
