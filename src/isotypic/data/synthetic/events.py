"""Events of the LHC Olympics' kind from the small generator: two jets of quarks or gluons, or of a W' -> X Y.

Background: two jets back to back of transverse momentum 1100 to 2200 GeV, falling, with masses as of quarks and gluons.
Signal: a W' at rest falls apart into X and Y in all directions alike but those of the beam, and either into two quarks.
The whole is boosted along the beam, and soft particles are added all around. What a network learns here says nothing
about physics.

Source of the task: G. Kasieczka et al., The LHC Olympics 2020, arXiv 2101.08320.
"""

from __future__ import annotations

import numpy as np

from isotypic.data.jets.kinematics import azimuth, massless, pseudorapidity, transverse
from isotypic.data.synthetic.decays import decay, shower
from isotypic.data.synthetic.jets import KINDS, masses, padded, quarks, with_mass
from isotypic.data.writers.jet_files import LHCO_PARTICLES

_PT = (1100.0, 2200.0)
_FALL = 5
_CENTRAL = 0.8
"""Largest cosine of the angle between the beam and X."""
_BOOST = 0.5
_SOFT, _SOFT_PT, _SOFT_ETA = 80, 0.7, 2.5


def draw(signal: np.ndarray, masses_: tuple[float, float, float], generator: np.random.Generator) -> np.ndarray:
    """Return events.

    Args:
        signal: ``[n]`` bool, which of them are W' -> X Y.
        masses_: of W', X and Y in GeV.
        generator: draws everything.

    Returns:
        ``[n, 700, 3]``, (pT, eta, phi) of their particles in falling order of pT, zeros after the last.
    """
    count = len(signal)
    bodies = np.where(signal[:, None, None], _signal(count, masses_, generator), _background(count, generator))
    owner = np.repeat(np.arange(count), 2)
    flat, split = bodies.reshape(-1, 4), np.repeat(signal, 2)
    mass = np.tile(masses_[1:], count)[split]
    first, second = quarks(flat[split], mass, generator)
    partons = np.concatenate([flat[~split], first, second])
    owners = np.concatenate([owner[~split], owner[split], owner[split]])
    particles, of = shower(partons, owners, generator)
    soft, of_soft = _soft(count, generator)
    return _seen(padded(np.concatenate([particles, soft]), np.concatenate([of, of_soft]), count, LHCO_PARTICLES))


def _signal(count: int, masses_: tuple[float, float, float], generator: np.random.Generator) -> np.ndarray:
    """Return X and Y ``[n, 2, 4]``."""
    whole = with_mass(_along_beam(count, masses_[0], generator), np.full(count, masses_[0]))
    first, second = (np.full(count, mass) for mass in masses_[1:])
    cosine = generator.uniform(-_CENTRAL, _CENTRAL, count)
    return np.stack(decay(whole, first, second, cosine, 2 * np.pi * generator.random(count)), 1)


def _background(count: int, generator: np.random.Generator) -> np.ndarray:
    """Return two jets ``[n, 2, 4]``."""
    pt = (_PT[0] ** -_FALL + generator.random(count) * (_PT[1] ** -_FALL - _PT[0] ** -_FALL)) ** (-1 / _FALL)
    centre, phi = generator.normal(0, _BOOST, count), generator.uniform(-np.pi, np.pi, count)
    apart = generator.uniform(-1, 1, count)
    found = []
    for sign in (1, -1):
        kinds = generator.choice([KINDS.index("g"), KINDS.index("q")], count)
        momentum = massless(pt, centre + sign * apart, phi + (sign < 0) * np.pi)
        found.append(with_mass(momentum, masses(kinds, pt, generator)))
    return np.stack(found, 1)


def _along_beam(count: int, mass: float, generator: np.random.Generator) -> np.ndarray:
    """Return four-momenta ``[n, 4]`` that fly along the beam, with an energy to be set."""
    pz = mass * np.sinh(generator.normal(0, _BOOST / 2, count))
    pz = np.where(np.abs(pz) < 1e-3, 1e-3, pz)
    return np.stack([np.zeros(count), np.zeros(count), pz, np.zeros(count)], -1)


def _soft(count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return soft particles ``[m, 4]``, and the event of each."""
    owner = np.repeat(np.arange(count), generator.poisson(_SOFT, count))
    pt = generator.exponential(_SOFT_PT, len(owner)) + 0.1
    eta = generator.uniform(-_SOFT_ETA, _SOFT_ETA, len(owner))
    return massless(pt, eta, generator.uniform(-np.pi, np.pi, len(owner))), owner


def _seen(momenta: np.ndarray) -> np.ndarray:
    """Return (pT, eta, phi) ``[n, p, 3]``, which is all that such files tell."""
    return np.stack([transverse(momenta), pseudorapidity(momenta), azimuth(momenta)], -1)
