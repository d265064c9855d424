"""The circle groups SO(2) (all rotations of the plane) and O(2) (with reflections), their irreps, and sums of fields.

The real irrep of frequency f > 0 sends the rotation by alpha to ``R(f alpha)``, the 2 x 2 rotation matrix, and in O(2)
the left-right flip to ``diag(1, -1)``. Frequency 0 sends rotations to the number one; O(2) has two of them, the scalar
and the *odd* one, whose sign every reflection changes (a curl, a handedness). Angles are those of the group's matrices
in array axis order ``(y, x)``: the rotation by 90 degrees is ``numpy.rot90``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from isotypic.errors import RequestError
from isotypic.groups.fields import FieldType
from isotypic.groups.finite import TOLERANCE, FiniteGroup, Floats, Indices
from isotypic.groups.irreps import Irrep, irreps, isotypic_basis
from isotypic.groups.representations import Representation, direct_sum


@dataclass(frozen=True)
class CircleGroup:
    """All rotations of the plane, :data:`SO2`, or those and all reflections, :data:`O2`."""

    name: str
    mirrors: bool
    dim: int = 2


SO2 = CircleGroup("SO(2)", mirrors=False)
O2 = CircleGroup("O(2)", mirrors=True)


@dataclass(frozen=True)
class Frequency:
    """The real irrep that turns f times as fast as the plane.

    Attributes:
        frequency: f, at least 0.
        group: SO(2) or O(2).
        odd: for frequency 0 of O(2): whether reflections change the sign.
    """

    frequency: int
    group: CircleGroup = SO2
    odd: bool = False

    def __post_init__(self) -> None:
        if self.frequency < 0:
            raise RequestError(f"expected a frequency of {self.group.name} of at least 0, received {self.frequency}")
        if self.odd and (self.frequency or not self.group.mirrors):
            raise RequestError(
                f"expected odd fields of frequency 0 of O(2) alone, received frequency {self.frequency} of "
                f"{self.group.name}"
            )

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{'odd ' if self.odd else ''}frequency {self.frequency}"

    @property
    def dimension(self) -> int:
        """1 for f = 0, 2 otherwise."""
        return 2 if self.frequency else 1

    @property
    def is_permutation(self) -> bool:
        """Whether every matrix only permutes the basis: the scalar alone."""
        return self.frequency == 0 and not self.odd

    @property
    def flip(self) -> Floats:
        """The matrix of the left-right flip."""
        return np.diag([1.0, -1.0]) if self.frequency else np.full((1, 1), -1.0 if self.odd else 1.0)

    def matrix(self, angle: float, mirrored: bool = False) -> Floats:
        """Return the matrix of the rotation by an angle in radians, behind the left-right flip if ``mirrored``."""
        turned = turn(self.frequency * angle) if self.frequency else np.ones((1, 1))
        return turned @ self.flip if mirrored else turned


@dataclass(frozen=True)
class CircleFields(ABC):
    """So many fields of one irrep of a circle group: what :class:`~isotypic.groups.FieldType` is for a finite one.

    Attributes:
        frequency: how fast one field turns; 0 is a scalar field, 1 a vector field.
        fields: how many fields, at least 1.
    """

    frequency: int
    fields: int

    def __post_init__(self) -> None:
        self.representation  # noqa: B018 - refuses what is no irrep
        if self.fields < 1:
            raise RequestError(f"expected at least one field, received {self.fields}")

    def __str__(self) -> str:
        return f"{self.fields} {self.representation.name} fields of {self.group.name} ({self.channels} channels)"

    @property
    @abstractmethod
    def representation(self) -> Frequency:
        """How one field changes."""

    @property
    def group(self) -> CircleGroup:
        """The symmetry group."""
        return self.representation.group

    @property
    def channels(self) -> int:
        """How many channels a tensor of this type has."""
        return self.fields * self.representation.dimension


@dataclass(frozen=True)
class SO2Fields(CircleFields):
    """Fields of one frequency under all rotations.

    >>> SO2Fields(1, 8).channels
    16
    """

    @property
    def representation(self) -> Frequency:
        """How one field changes under a rotation."""
        return Frequency(self.frequency, SO2)


@dataclass(frozen=True)
class O2Fields(CircleFields):
    """Fields of one frequency under all rotations and reflections.

    Attributes:
        odd: for frequency 0: whether reflections change the sign.

    >>> print(O2Fields(0, 3, odd=True))
    3 odd frequency 0 fields of O(2) (3 channels)
    """

    odd: bool = False

    @property
    def representation(self) -> Frequency:
        """How one field changes under a rotation or a reflection."""
        return Frequency(self.frequency, O2, self.odd)


AnyRepresentation = Representation | Frequency
AnyIrrep = Irrep | Frequency
Fields = FieldType | CircleFields


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
            RequestError: the group is SO(2) or O(2), whose elements cannot be listed.
        """
        finite = [part for part in self.parts if isinstance(part, FieldType)]
        if not finite:
            raise RequestError(f"expected a finite group, received {self.group.name}: use matrix_at for one angle")
        if len(finite) == 1:
            return finite[0].representation
        return direct_sum(*(part.representation for part in finite for _ in range(part.fields)))


FieldsLike = Fields | FieldSum | Sequence[Fields]


def field_sum(fields: FieldsLike) -> FieldSum:
    """Return one field type, or a sequence of them, as a sum."""
    if isinstance(fields, FieldSum):
        return fields
    return FieldSum((fields,) if isinstance(fields, (FieldType, CircleFields)) else tuple(fields))


def fields_of_the_plane(fields: FieldsLike) -> FieldSum:
    """Return fields as a sum, for what is defined by angles.

    Raises:
        RequestError: the group acts on volumes.
    """
    kind = field_sum(fields)
    if kind.group.dim != 2:
        raise RequestError(f"expected fields of a group of the plane, received {kind}, of a group of space")
    return kind


def turn(angle: float) -> Floats:
    """Return the rotation matrix ``[[cos, -sin], [sin, cos]]`` of an angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def is_trivial(representation: AnyRepresentation) -> bool:
    """Whether every element acts as the number one."""
    if isinstance(representation, Frequency):
        return representation.is_permutation
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


def members(group: FiniteGroup, smaller: FiniteGroup) -> Indices:
    """Return the element of a group that each element of a subgroup is, ``[|H|]``.

    Raises:
        RequestError: not a subgroup.
    """
    if smaller.dim == group.dim:
        gap = np.abs(smaller.matrices[:, None] - group.matrices[None]).max(axis=(2, 3))
        if (gap.min(axis=1) < TOLERANCE).all():
            return gap.argmin(axis=1)
    raise RequestError(f"expected a subgroup of {group.name}, received {smaller.name}")


@cache
def restriction(representation: AnyRepresentation, smaller: FiniteGroup) -> Representation:
    """Return what a subgroup does to the channels of a representation, in their order.

    Raises:
        RequestError: not a subgroup.
    """
    if not isinstance(representation, Frequency):
        matrices = representation.matrices[members(representation.group, smaller)]
        return Representation(representation.name, smaller, matrices)
    mirrored = np.linalg.det(smaller.matrices) < 0
    if smaller.dim != 2 or (mirrored.any() and not representation.group.mirrors):
        name = representation.group.name
        raise RequestError(f"expected a subgroup of {name}, received {smaller.name}: it holds more than rotations")
    angles = np.arctan2(smaller.matrices[:, 1, 0], smaller.matrices[:, 0, 0])
    moved = [representation.matrix(angle, flipped) for angle, flipped in zip(angles, mirrored, strict=True)]
    return Representation(representation.name, smaller, np.stack(moved))


@cache
def components(representation: AnyRepresentation) -> tuple[tuple[AnyIrrep, Floats], ...]:
    """Split a representation into irreps, as :func:`~isotypic.groups.isotypic_basis` does; one of a circle is one."""
    if isinstance(representation, Frequency):
        return ((representation, np.eye(representation.dimension)[None]),)
    return isotypic_basis(representation)


@cache
def invariants(representation: AnyRepresentation) -> Floats:
    """Return an orthonormal basis ``[m, n]`` of the vectors that every element leaves alone."""
    if isinstance(representation, Frequency):
        return np.ones((1, 1)) if is_trivial(representation) else np.empty((0, representation.dimension))
    first = irreps(representation.group)[0]
    found = [copies[:, 0] for irrep, copies in components(representation) if irrep == first]
    return found[0] if found else np.empty((0, representation.dimension))
