"""Decays and showers of four-momenta that conserve them exactly: what small generators of jets are made of.

A body of mass M that falls apart into two of masses m1 + m2 <= M has in its rest frame two of opposite momentum
``k = sqrt((M^2 - (m1 + m2)^2) (M^2 - (m1 - m2)^2)) / 2M``. A shower splits every body heavier than a hadron again, with
masses drawn below its own, until none is left; so the invariant mass of all is that of the first.
"""

from __future__ import annotations

import numpy as np

from isotypic.data.jets.kinematics import mass_of

HADRON = 0.5
"""GeV: what is not heavier than this does not split."""

_GENERATIONS = 12
_HEAVY, _LIGHT = (0.15, 0.85), (0.1, 0.9)
"""Ranges of the mass of one part, as a share of the whole, and of the other, as a share of what is left."""


def decay(parents: np.ndarray, first: np.ndarray, second: np.ndarray, cosine: np.ndarray, angle: np.ndarray) -> tuple:
    """Return what is left of bodies that fall apart into two.

    Args:
        parents: ``[n, 4]`` GeV.
        first: ``[n]`` mass of one part.
        second: ``[n]`` mass of the other; both together not more than the parent's.
        cosine: ``[n]`` of the angle in the rest frame between the first and the parent's direction of flight.
        angle: ``[n]`` around that direction.

    Returns:
        two arrays ``[n, 4]`` that add up to the parents.
    """
    mass = mass_of(parents)
    squared = (mass**2 - (first + second) ** 2) * (mass**2 - (first - second) ** 2)
    size = np.sqrt(np.maximum(squared, 0)) / (2 * mass)
    along, side, up = _frame(parents[:, :3])
    sine = np.sqrt(np.maximum(1 - cosine**2, 0))
    parts = (cosine, along), (sine * np.cos(angle), side), (sine * np.sin(angle), up)
    direction = sum(length[:, None] * axis for length, axis in parts)
    rest = np.concatenate([size[:, None] * direction, np.hypot(size, first)[:, None]], 1)
    one = _boosted(rest, parents, mass)
    return one, parents - one


def shower(partons: np.ndarray, jet: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Split bodies until each is a hadron.

    Args:
        partons: ``[n, 4]`` GeV.
        jet: ``[n]`` int64, the jet of each.
        generator: draws masses and angles.

    Returns:
        the particles ``[m, 4]``, and the jet ``[m]`` of each.
    """
    done = []
    for _ in range(_GENERATIONS):
        splits = mass_of(partons) > HADRON
        done.append((partons[~splits], jet[~splits]))
        partons, jet = np.concatenate(split(partons[splits], generator)), np.tile(jet[splits], 2)
    momenta, owners = zip(*done, (partons, jet), strict=True)
    return np.concatenate(momenta), np.concatenate(owners)


def split(parents: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the two parts of every body, with masses and angles as of a shower: often one is soft."""
    mass, count = mass_of(parents), len(parents)
    first = mass * generator.uniform(*_HEAVY, count)
    second = (mass - first) * generator.uniform(*_LIGHT, count)
    cosine = np.cos(np.pi * generator.random(count))
    return decay(parents, first, second, cosine, 2 * np.pi * generator.random(count))


def in_two(parents: np.ndarray, first: np.ndarray, second: np.ndarray, generator: np.random.Generator) -> tuple:
    """Return the two parts of bodies that fall apart in all directions alike."""
    count = len(parents)
    return decay(parents, first, second, generator.uniform(-1, 1, count), 2 * np.pi * generator.random(count))


def _frame(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three orthonormal axes ``[n, 3]``, the first along the vectors."""
    along = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    other = np.eye(3)[np.abs(along).argmin(1)]
    side = np.cross(along, other)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    return along, side, np.cross(along, side)


def _boosted(rest: np.ndarray, parents: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return four-momenta ``[n, 4]`` of the parents' rest frames as the laboratory sees them."""
    energy = (rest * parents).sum(1) / mass
    share = (rest[:, 3] + energy) / (parents[:, 3] + mass)
    return np.concatenate([rest[:, :3] + share[:, None] * parents[:, :3], energy[:, None]], 1)
