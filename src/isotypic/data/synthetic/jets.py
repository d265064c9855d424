"""A small generator of jets, without a programme of particle physics: for tests, and to try things on.

A W, Z or top of transverse momentum 800 to 1600 GeV, falling as its fourth power, falls apart into quarks: W and Z into
two, a top into a b and a W that does likewise. Its mass is drawn from a Breit-Wigner curve (80.4 and 2.1 GeV; 91.2 and
2.5; 173 and 1.4), cut at ten widths. Quarks have a virtual mass and shower (:mod:`isotypic.data.synthetic.decays`);
four-momenta are conserved, so the jet has the mass of what it came from. Jets of quarks and gluons begin with a virtual
mass drawn from a power law, from 15 and 22 GeV on, and fall with the mass.

Nothing else is simulated: no underlying event, no detector, no clustering, all particles of a jet are in it. What a
network learns here says nothing about physics.
"""

from __future__ import annotations

import numpy as np

from isotypic.data.jets.kinematics import leading, massless
from isotypic.data.synthetic.decays import in_two, shower

KINDS = ("g", "q", "w", "z", "t")

MASSES = {"w": (80.4, 2.1), "z": (91.2, 2.5), "t": (173.0, 1.4)}
"""Mass and width of what falls apart, in GeV."""

_PT = (800.0, 1600.0)
_FALL = 3
_LEAST = {"q": 15.0, "g": 22.0}
_TAIL = 0.45
_MOST = 0.3
"""Largest virtual mass, as a share of the transverse momentum."""
_QUARK = (0.03, 0.15)
"""Virtual mass of a quark, as a share of the mass that it comes from."""


def draw(kinds: np.ndarray, generator: np.random.Generator, most: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Draw a jet of every kind that is asked for.

    Args:
        kinds: ``[n]`` int64, indices into :data:`KINDS`.
        generator: draws everything.
        most: particles that are kept, those of largest transverse momentum.

    Returns:
        four-momenta ``[n, most, 4]`` of the particles and ``[n, 4]`` of the jets, in GeV.
    """
    count = len(kinds)
    pt = (_PT[0] ** -_FALL + generator.random(count) * (_PT[1] ** -_FALL - _PT[0] ** -_FALL)) ** (-1 / _FALL)
    eta, phi = generator.uniform(-2, 2, count), generator.uniform(-np.pi, np.pi, count)
    jets = with_mass(massless(pt, eta, phi), masses(kinds, pt, generator))
    partons, owner = _partons(jets, kinds, generator)
    return padded(*shower(partons, owner, generator), count, most), jets


def masses(kinds: np.ndarray, pt: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return the mass ``[n]`` of a jet of every kind ``[n]`` and transverse momentum ``[n]``."""
    found = np.zeros(len(kinds))
    for place, kind in enumerate(KINDS):
        chosen = kinds == place
        if kind in MASSES:
            found[chosen] = breit_wigner(*MASSES[kind], int(chosen.sum()), generator)
        else:
            found[chosen] = np.minimum(_LEAST[kind] * generator.random(chosen.sum()) ** -_TAIL, _MOST * pt[chosen])
    return found


def breit_wigner(mass: float, width: float, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return masses ``[count]`` of a Breit-Wigner curve, cut at ten widths."""
    edge = np.arctan(20.0)
    return mass + width / 2 * np.tan(generator.uniform(-edge, edge, count))


def with_mass(momenta: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return four-momenta of the same momentum and another mass."""
    energy = np.sqrt((momenta[..., :3] ** 2).sum(-1) + mass**2)
    return np.concatenate([momenta[..., :3], energy[..., None]], -1)


def quarks(parents: np.ndarray, mass: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the two quarks of every body ``[n, 4]``, which are off their mass shell."""
    first, second = (mass * generator.uniform(*_QUARK, len(mass)) for _ in range(2))
    return in_two(parents, first, second, generator)


def padded(momenta: np.ndarray, owner: np.ndarray, count: int, most: int) -> np.ndarray:
    """Return particles ``[m, 4]`` by the jet ``[m]`` that they are of: ``[count, most, 4]``, in falling order of pT."""
    order = np.argsort(owner, kind="stable")
    sizes = np.bincount(owner, minlength=count)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    found = np.zeros((count, max(int(sizes.max(initial=0)), 1), 4))
    found[owner[order], place] = momenta[order]
    return leading(found, most)


def _partons(jets: np.ndarray, kinds: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return what showers, ``[m, 4]``, and the jet ``[m]`` of each."""
    top, boson = kinds == KINDS.index("t"), np.isin(kinds, [KINDS.index("w"), KINDS.index("z")])
    w_mass = breit_wigner(*MASSES["w"], int(top.sum()), generator)
    b_mass = MASSES["t"][0] * generator.uniform(*_QUARK, len(w_mass))
    w, b = in_two(jets[top], w_mass, b_mass, generator)
    parents = np.concatenate([jets[boson], w])
    owners = np.concatenate([np.flatnonzero(boson), np.flatnonzero(top)])
    mass = np.sqrt(parents[:, 3] ** 2 - (parents[:, :3] ** 2).sum(1))
    first, second = quarks(parents, mass, generator)
    plain = ~(top | boson)
    return (
        np.concatenate([first, second, b, jets[plain]]),
        np.concatenate([owners, owners, np.flatnonzero(top), np.flatnonzero(plain)]),
    )
