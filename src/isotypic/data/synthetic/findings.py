"""What is found in a synthetic scan: nodules, and what looks like them.

Nodules are compact: ellipsoids of nearly equal radii with a few bumps, some with spicules, some on a vessel. What looks
like them (distractors) has the same volume and the same tissue, and another shape:

===========  ===================================================================================
bifurcation  three vessels that meet
end          a vessel that ends, with a round tip
elongated    an ellipsoid with one long axis
scar         an ellipsoid with one short axis, flat
===========  ===================================================================================

Of either kind some are solid, some part-solid: a core in a shell of ground glass. All orientations are alike, so that
turning or mirroring a scan changes nothing about the task. A finding of diameter d has about the volume of a ball of
diameter d; vessels lead away from it.

Of *oriented* findings nodules and distractors are the same comets, a head and a tail, but nodules have the tail towards
+z and distractors towards -z: the mirror of one kind is the other. A function that is invariant under a mirror at a
plane of z, or a half turn about an axis in it, has the same distribution on both; that is the control, in which
symmetry must not help.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from isotypic.data.synthetic.shapes import Cone, Ellipsoid, Floats, Part, Solid, direction, frame, near_direction

DIAMETERS = (4.0, 12.0)
"""Millimetres, of nodules and distractors."""

UNAGREED = -1.0
"""The diameter of an excluded finding that nobody measured."""

_SMALL = (2.0, 3.0)
_DENSITIES = (0.5, 1.0)
_LONG, _FLAT = (2.2, 3.5), (2.5, 4.5)
_GLASS, _CORE = 0.45, 0.6
_PART_SOLID = _SPICULATED = 0.3
_ATTACHED = 0.5


class Kind(str, Enum):
    """What a finding counts as."""

    NODULE = "nodule"
    DISTRACTOR = "distractor"
    EXCLUDED = "excluded"


class Finding(NamedTuple):
    """One finding.

    Attributes:
        kind: what it counts as.
        centre: ``[3]`` world position (x, y, z) in millimetres.
        diameter: millimetres, or :data:`UNAGREED`.
        parts: what it is made of.
    """

    kind: Kind
    centre: Floats
    diameter: float
    parts: tuple[Part, ...]


Draw = Callable[[Floats, float, np.random.Generator], list[Solid]]


def draw(kind: Kind, centre: Floats, generator: np.random.Generator) -> Finding:
    """Return a finding of some kind, its shape, size, tissue and orientation drawn at random.

    Args:
        kind: what it counts as; an excluded one is a nodule too small to count, or between a nodule and a distractor.
        centre: ``[3]`` world position.
        generator: draws.
    """
    if kind is Kind.EXCLUDED and generator.random() < 0.5:
        diameter = generator.uniform(*_SMALL)
        return Finding(kind, centre, diameter, _tissue(_blob(centre, diameter, generator), generator))
    diameter = _diameter(generator)
    shapes: Sequence[Draw] = {
        Kind.NODULE: (_nodule,),
        Kind.DISTRACTOR: (_bifurcation, _end, _elongated, _scar),
        Kind.EXCLUDED: (_between,),
    }[kind]
    solids = shapes[int(generator.integers(len(shapes)))](centre, diameter, generator)
    return Finding(kind, centre, UNAGREED if kind is Kind.EXCLUDED else diameter, _tissue(solids, generator))


def draw_oriented(kind: Kind, centre: Floats, generator: np.random.Generator) -> Finding:
    """Return a comet whose tail tells its kind: towards +z a nodule, towards -z a distractor.

    Excluded ones are small, and have their tail towards either side.

    Args:
        kind: what it counts as.
        centre: ``[3]`` world position of its head.
        generator: draws.
    """
    diameter = generator.uniform(*_SMALL) if kind is Kind.EXCLUDED else _diameter(generator)
    towards = {Kind.NODULE: 1.0, Kind.DISTRACTOR: -1.0, Kind.EXCLUDED: generator.choice([-1.0, 1.0])}[kind]
    axis = near_direction(np.array([0.0, 0.0, 1.0]), 0.15, generator) * [1.0, 1.0, towards]
    radius, length = 0.45 * diameter, diameter * generator.uniform(1.1, 1.5) + 2
    head = Ellipsoid(centre, np.full(3, radius), np.eye(3))
    tail = Cone(centre, centre + length * axis, (0.7 * radius, 0.2 * radius))
    return Finding(kind, centre, diameter, _tissue([head, tail], generator))


def vessel(
    start: Floats, towards: Floats, radius: float, generator: np.random.Generator, *, length: float = 24.0
) -> list[Solid]:
    """Return a winding tube that tapers to a third of its radius.

    Args:
        start: ``[3]`` world position.
        towards: ``[3]`` direction at the start.
        radius: millimetres at the start.
        generator: draws its bends.
        length: millimetres.
    """
    count = 4
    solids: list[Solid] = []
    for number in range(count):
        end = start + length / count * towards
        taper = [radius * (1 - 2 / 3 * (number + i) / count) for i in range(2)]
        solids.append(Cone(start, end, (taper[0], taper[1])))
        start, towards = end, near_direction(towards, 0.2, generator)
    return solids


def _diameter(generator: np.random.Generator) -> float:
    return float(generator.uniform(*DIAMETERS))


def _tissue(solids: Sequence[Solid], generator: np.random.Generator) -> tuple[Part, ...]:
    density = float(generator.uniform(*_DENSITIES))
    if generator.random() >= _PART_SOLID:
        return tuple(Part(solid, density) for solid in solids)
    core = [Part(solid.scaled(_CORE), min(1.5 * density, 1.0)) for solid in solids]
    return (*(Part(solid, 2 * _GLASS * density) for solid in solids), *core)


def _nodule(centre: Floats, diameter: float, generator: np.random.Generator) -> list[Solid]:
    solids = _blob(centre, diameter, generator)
    if generator.random() < _SPICULATED:
        solids += _spicules(centre, diameter, generator)
    if generator.random() < _ATTACHED:
        axis = direction(generator)
        beside = centre + 0.3 * diameter * direction(generator)
        for towards in (axis, -axis):
            solids += vessel(beside, towards, 0.22 * diameter, generator)
    return solids


def _blob(centre: Floats, diameter: float, generator: np.random.Generator) -> list[Solid]:
    radii = 0.47 * diameter * _unit_volume(np.exp(generator.normal(0, 0.1, 3)))
    solids: list[Solid] = [Ellipsoid(centre, radii, frame(generator))]
    for _ in range(generator.integers(0, 4)):
        bump = 0.5 * diameter * generator.uniform(0.4, 0.6)
        place = centre + (0.5 * diameter - 0.7 * bump) * direction(generator)
        solids.append(Ellipsoid(place, np.full(3, bump), np.eye(3)))
    return solids


def _spicules(centre: Floats, diameter: float, generator: np.random.Generator) -> list[Solid]:
    spicules: list[Solid] = []
    for _ in range(generator.integers(5, 10)):
        tip = centre + diameter * generator.uniform(0.7, 1.0) * direction(generator)
        spicules.append(Cone(centre, tip, (0.12 * diameter, 0.2)))
    return spicules


def _bifurcation(centre: Floats, diameter: float, generator: np.random.Generator) -> list[Solid]:
    axis = direction(generator)
    solids: list[Solid] = []
    for towards in (-axis, near_direction(axis, 0.5, generator), near_direction(axis, 0.5, generator)):
        solids += vessel(centre, towards, 0.33 * diameter, generator)
    return solids


def _end(centre: Floats, diameter: float, generator: np.random.Generator) -> list[Solid]:
    axis = direction(generator)
    tip = centre - 0.35 * diameter * axis
    return [Ellipsoid(tip, np.full(3, 0.4 * diameter), np.eye(3)), *vessel(tip, axis, 0.37 * diameter, generator)]


def _elongated(centre: Floats, diameter: float, generator: np.random.Generator) -> list[Solid]:
    return _ellipsoid(centre, diameter, [1.0, 1.0, generator.uniform(*_LONG)], generator)


def _scar(centre: Floats, diameter: float, generator: np.random.Generator) -> list[Solid]:
    return _ellipsoid(centre, diameter, [1.0, 1.0, 1 / generator.uniform(*_FLAT)], generator)


def _between(centre: Floats, diameter: float, generator: np.random.Generator) -> list[Solid]:
    return _ellipsoid(centre, diameter, [1.0, 1.0, 1.5 ** generator.choice([-1.0, 1.0])], generator)


def _ellipsoid(centre: Floats, diameter: float, ratios: Sequence[float], generator: np.random.Generator) -> list[Solid]:
    radii = diameter / 2 * _unit_volume(np.array(ratios) * np.exp(generator.normal(0, 0.1, 3)))
    return [Ellipsoid(centre, radii, frame(generator))]


def _unit_volume(radii: Floats) -> Floats:
    """Return radii in the same proportions, of an ellipsoid as large as the ball of radius 1."""
    return radii / np.cbrt(radii.prod())
